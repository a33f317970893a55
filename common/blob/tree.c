#include "base/fs.h"
#include "blob/blob.h"

#include <dirent.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DEPTH_MAX      16
#define ROOT_BYTES_MAX (256u << 20) // of a manifest.json
#define PUBLISH_TRIES  5            // with a service that forgets what was not synced yet

// --- Fetching
// -------------------------------------------------------------------------------------

static err_code_t make_folder_of(const char *path, err_t *err) {
    char *copy = mem_dup(path);
    *strrchr(copy, '/') = 0;
    err_code_t code = fs_mkdirs(copy, err);
    free(copy);
    return code;
}

static bool is_right(const char *path, const char *digest) {
    char found[DIGEST_HEX_SIZE];
    return digest_file(path, found, NULL, NULL) == ERR_OK && strcmp(found, digest) == 0;
}

static err_code_t fetch(blob_t *blob, const char *digest, const char *remote, const char *to,
                        err_t *err) {
    if (is_right(to, digest))
        return ERR_OK;
    err_code_t code = make_folder_of(to, err);
    if (code || access(to, F_OK) != 0)
        return code ? code : blob_get_file(blob, digest, remote, to, err);
    // Damaged, or being replaced by somebody else just now: a good one takes its place in one step.
    char *fresh = mem_format("%s.fresh-%ld", to, (long)getpid());
    code = blob_get_file(blob, digest, remote, fresh, err);
    if (code == ERR_OK)
        code = fs_rename(fresh, to, err);
    if (code)
        unlink(fresh);
    free(fresh);
    return code;
}

err_code_t blob_fetch_file(blob_t *blob, const char *files, const char *path,
                           const char digest[DIGEST_HEX_SIZE], err_t *err) {
    char *to = fs_join(files, path);
    err_code_t code = fetch(blob, digest, path, to, err);
    free(to);
    return code;
}

err_code_t blob_fetch_upload(blob_t *blob, const char *files, const char digest[DIGEST_HEX_SIZE],
                             err_t *err) {
    char *to = blob_path(files, digest);
    err_code_t code = fetch(blob, digest, NULL, to, err);
    free(to);
    return code;
}

static err_code_t bad_root(const char *path, err_t *err) {
    return err_set(err, ERR_CORRUPT, "%s does not say which files are beside it", path);
}

// A folder of the stack and its copy.
typedef struct {
    blob_t *blob;
    const char *remote, *local;
} folder_t;

// name: of a file in that very folder, nothing else.
static err_code_t fetch_named(const folder_t *folder, const char *name, const char *digest,
                              err_t *err) {
    if (!name || !name[0] || name[0] == '.' || strchr(name, '/') || !digest ||
        !blob_digest_valid(digest))
        return bad_root(folder->remote, err);
    char *from = fs_join(folder->remote, name), *to = fs_join(folder->local, name);
    err_code_t code = fetch(folder->blob, digest, from, to, err);
    free(from);
    free(to);
    return code;
}

// Every object that has a sha256 is about a file: "file" is its name, or the key under which it
// stands.
static err_code_t fetch_all(const folder_t *folder, const char *key, json_t *json, int depth,
                            err_t *err) {
    err_code_t code = ERR_OK;
    const char *name;
    json_t *value;
    size_t i;
    if (depth > DEPTH_MAX)
        return bad_root(folder->remote, err);
    const char *digest = json_string_value(json_object_get(json, "sha256"));
    const char *file = json_string_value(json_object_get(json, "file"));
    if (digest)
        return fetch_named(folder, file ? file : key, digest, err);
    json_object_foreach(json, name, value) {
        if (code == ERR_OK)
            code = fetch_all(folder, name, value, depth + 1, err);
    }
    json_array_foreach(json, i, value) {
        if (code == ERR_OK)
            code = fetch_all(folder, NULL, value, depth + 1, err);
    }
    return code;
}

err_code_t blob_fetch_folder(blob_t *blob, const char *path, const char *root,
                             const char digest[DIGEST_HEX_SIZE], const char *to, err_t *err) {
    const folder_t folder = {blob, path, to};
    void *text = NULL;
    size_t size;
    char *file = fs_join(to, root);
    err_code_t code = fetch_named(&folder, root, digest, err);
    if (code == ERR_OK)
        code = fs_read(file, ROOT_BYTES_MAX, &text, &size, err);
    if (code == ERR_OK) {
        json_t *json = json_loadb(text, size, 0, NULL);
        code = json ? fetch_all(&folder, NULL, json, 0, err) : bad_root(path, err);
        json_decref(json);
    }
    free(text);
    free(file);
    return code;
}

// --- Publishing
// -----------------------------------------------------------------------------------

err_code_t blob_publish_file(blob_t *blob, const char *files, const char *path,
                             const char digest[DIGEST_HEX_SIZE], err_t *err) {
    // It may be there: by an earlier try, or because the folder is the stack's own.
    err_code_t code = blob_place(blob, digest, path, err);
    char *full = fs_join(files, path);
    for (int tries = 0; code == ERR_NOT_FOUND && tries < PUBLISH_TRIES; tries++) {
        code = blob_put_file(blob, full, digest, NULL, err);
        if (code == ERR_OK)
            code = blob_sync(blob, err);
        if (code == ERR_OK)
            code = blob_place(blob, digest, path, err);
        else if (code == ERR_NOT_FOUND) // the file itself is not here
            break;
    }
    free(full);
    return code;
}

static err_code_t publish_one(blob_t *blob, const char *files, const char *path, const char *name,
                              err_t *err) {
    char digest[DIGEST_HEX_SIZE];
    char *one = fs_join(path, name), *full = fs_join(files, one);
    err_code_t code = digest_file(full, digest, NULL, err);
    if (code == ERR_OK)
        code = blob_publish_file(blob, files, one, digest, err);
    free(one);
    free(full);
    return code;
}

err_code_t blob_publish_folder(blob_t *blob, const char *files, const char *path, const char *root,
                               err_t *err) {
    char *full = fs_join(files, path);
    DIR *folder = opendir(full);
    err_code_t code = folder ? ERR_OK : err_set_errno(err, "cannot read the folder %s", full);
    for (const struct dirent *entry; code == ERR_OK && (entry = readdir(folder)) != NULL;)
        if (entry->d_name[0] != '.' && strcmp(entry->d_name, root) != 0)
            code = publish_one(blob, files, path, entry->d_name, err);
    if (folder)
        closedir(folder);
    free(full);
    return code ? code : publish_one(blob, files, path, root, err);
}
