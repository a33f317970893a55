#include "base/fs.h"
#include "blob/blob.h"

#include <dirent.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ROOT_BYTES_MAX (256u << 20) // of a manifest.json

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
    unlink(to); // damaged; or there is none
    err_code_t code = make_folder_of(to, err);
    return code ? code : blob_get_file(blob, digest, remote, to, err);
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

// name: of a file in that very folder, nothing else.
static err_code_t fetch_named(blob_t *blob, const char *files, const char *path, const char *name,
                              const json_t *about, err_t *err) {
    const char *digest = json_string_value(json_object_get(about, "sha256"));
    if (!name || !name[0] || name[0] == '.' || strchr(name, '/') || !digest ||
        !blob_digest_valid(digest))
        return bad_root(path, err);
    char *one = fs_join(path, name);
    err_code_t code = blob_fetch_file(blob, files, one, digest, err);
    free(one);
    return code;
}

static err_code_t fetch_list(blob_t *blob, const char *files, const char *path, json_t *list,
                             err_t *err) {
    err_code_t code = ERR_OK;
    const char *name;
    json_t *about;
    size_t i;
    if (json_is_object(list)) {
        json_object_foreach(list, name, about) {
            if (code == ERR_OK)
                code = fetch_named(blob, files, path, name, about, err);
        }
        return code;
    }
    if (!json_is_array(list))
        return bad_root(path, err);
    json_array_foreach(list, i, about) {
        if (code == ERR_OK)
            code = fetch_named(blob, files, path, json_string_value(json_object_get(about, "file")),
                               about, err);
    }
    return code;
}

err_code_t blob_fetch_folder(blob_t *blob, const char *files, const char *path, const char *root,
                             const char digest[DIGEST_HEX_SIZE], err_t *err) {
    void *text = NULL;
    size_t size;
    char *below = fs_join(path, root), *full = fs_join(files, below);
    err_code_t code = blob_fetch_file(blob, files, below, digest, err);
    if (code == ERR_OK)
        code = fs_read(full, ROOT_BYTES_MAX, &text, &size, err);
    if (code == ERR_OK) {
        json_t *json = json_loadb(text, size, 0, NULL);
        code = fetch_list(blob, files, path, json_object_get(json, "files"), err);
        json_decref(json);
    }
    free(text);
    free(below);
    free(full);
    return code;
}

// --- Publishing
// -----------------------------------------------------------------------------------

err_code_t blob_publish_file(blob_t *blob, const char *files, const char *path,
                             const char digest[DIGEST_HEX_SIZE], err_t *err) {
    // It may be there: by an earlier try, or because the folder is the stack's own.
    err_code_t code = blob_place(blob, digest, path, err);
    if (code != ERR_NOT_FOUND)
        return code;
    char *full = fs_join(files, path);
    code = blob_put_file(blob, full, digest, NULL, err);
    if (code == ERR_OK)
        code = blob_sync(blob, err);
    if (code == ERR_OK)
        code = blob_place(blob, digest, path, err);
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
