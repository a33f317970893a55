// Files of the stack where it is not on this host: fetched before they are used, sent before they
// are told of.
#include "base/fs.h"
#include "base/log.h"
#include "blob/blob.h"
#include "bus/bus.h"
#include "child_impl.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CONNECTIONS 8 // kept; threads of a decoder fetch side by side
#define HOLDS_MAX   64

// One connection, and what its waiting depends on.
typedef struct {
    child_t *child;
    blob_t *blob;
    bool to_the_end; // a drain does not end it: what is sent is what the job keeps
    uint64_t moved;
} line_t;

struct child_files {
    child_t *child;
    bool remote, has_key;
    pthread_mutex_t lock;
    line_t *spare[CONNECTIONS];
    int spare_count;
    int holds[HOLDS_MAX], hold_count;
};

// --- Lines
// ----------------------------------------------------------------------------------------

// Bytes that move are progress, and so is waiting for a service that is away; to hang is to move
// none while it is there.
static bool should_stop(void *arg) {
    line_t *line = arg;
    uint64_t moved = line->blob ? blob_moved(line->blob) : 0;
    if (moved != line->moved || (line->blob && blob_away(line->blob)))
        child_moved(line->child);
    line->moved = moved;
    child_stop_t stop = child_stop(line->child);
    return stop == CHILD_CANCEL || (stop == CHILD_RELEASE && !line->to_the_end);
}

static err_code_t line_new(child_files_t *files, line_t **out, err_t *err) {
    line_t *line = mem_zero(1, sizeof *line);
    line->child = files->child;
    const blob_options_t options = {
        .endpoint = child_conf(files->child)->blobs, .stop = should_stop, .arg = line};
    err_code_t code = blob_open(&options, &line->blob, err);
    if (code)
        free(line);
    else
        *out = line;
    return code;
}

static void line_free(line_t *line) {
    blob_close(&line->blob);
    free(line);
}

static err_code_t take_line(child_files_t *files, bool to_the_end, line_t **line, err_t *err) {
    const char *key = child_conf(files->child)->client_key;
    err_code_t code = ERR_OK;
    pthread_mutex_lock(&files->lock);
    if (!files->has_key && key[0])
        code = bus_keys_connect(key, err);
    files->has_key = code == ERR_OK;
    *line = files->spare_count > 0 ? files->spare[--files->spare_count] : NULL;
    pthread_mutex_unlock(&files->lock);
    if (code == ERR_OK && !*line)
        code = line_new(files, line, err);
    if (code == ERR_OK)
        (*line)->to_the_end = to_the_end;
    return code;
}

static void give_line(child_files_t *files, line_t *line) {
    pthread_mutex_lock(&files->lock);
    bool keep = files->spare_count < CONNECTIONS;
    if (keep)
        files->spare[files->spare_count++] = line;
    pthread_mutex_unlock(&files->lock);
    if (!keep)
        line_free(line);
}

// --- Life
// -----------------------------------------------------------------------------------------

child_files_t *child_files_new(child_t *child, const char *folder) {
    const conf_t *conf = child_conf(child);
    child_files_t *files = mem_zero(1, sizeof *files);
    files->child = child;
    files->remote = strncmp(conf->blobs, "tcp://", 6) == 0;
    pthread_mutex_init(&files->lock, NULL);
    err_t err;
    if (!files->remote)
        return files;
    child_hold(files, folder);
    if (blob_trim(conf->files, (uint64_t)conf->cache_mb << 20, &err) != ERR_OK)
        log_warn("copies of the stack's files are not trimmed: %s", err.message);
    return files;
}

void child_files_destroy(child_files_t **self) {
    child_files_t *files = *self;
    if (!files)
        return;
    bool keys = files->has_key;
    for (int i = 0; i < files->spare_count; i++)
        line_free(files->spare[i]);
    for (int i = 0; i < files->hold_count; i++)
        close(files->holds[i]);
    pthread_mutex_destroy(&files->lock);
    free(files);
    if (keys)
        bus_keys_end();
    *self = NULL;
}

// --- Coming
// ---------------------------------------------------------------------------------------

void child_hold(child_files_t *files, const char *path) {
    int fd = blob_hold(child_conf(files->child)->files, path);
    pthread_mutex_lock(&files->lock);
    bool keep = fd >= 0 && files->hold_count < HOLDS_MAX;
    if (keep)
        files->holds[files->hold_count++] = fd;
    pthread_mutex_unlock(&files->lock);
    if (fd >= 0 && !keep)
        close(fd);
}

err_code_t child_fetch_file(child_t *child, const char *path, const char *digest, err_t *err) {
    child_files_t *files = child_files(child);
    line_t *line;
    if (!files->remote)
        return ERR_OK;
    err_code_t code = take_line(files, false, &line, err);
    if (code)
        return code;
    code = blob_fetch_file(line->blob, child_conf(child)->files, path, digest, err);
    give_line(files, line);
    return code;
}

err_code_t child_fetch_folder(child_t *child, const char *path, const char *root,
                              const char *digest, err_t *err) {
    child_files_t *files = child_files(child);
    line_t *line;
    if (!files->remote || !digest || !digest[0])
        return ERR_OK;
    char *folder = fs_join(child_conf(child)->files, path);
    err_code_t code = fs_mkdirs(folder, err);
    child_hold(files, path);
    if (code == ERR_OK)
        code = take_line(files, false, &line, err);
    if (code == ERR_OK) {
        code = blob_fetch_folder(line->blob, path, root, digest, folder, err);
        give_line(files, line);
    }
    free(folder);
    return code;
}

err_code_t child_fetch_upload(child_t *child, const char *digest, char **path, err_t *err) {
    child_files_t *files = child_files(child);
    line_t *line;
    *path = NULL;
    if (files->remote) {
        err_code_t code = take_line(files, false, &line, err);
        if (code)
            return code;
        code = blob_fetch_upload(line->blob, child_conf(child)->files, digest, err);
        give_line(files, line);
        if (code)
            return code;
    }
    *path = blob_path(child_conf(child)->files, digest);
    if (access(*path, F_OK) == 0)
        return ERR_OK;
    err_code_t code = err_set_errno(err, "the stack does not have the upload's %s", digest);
    free(*path);
    *path = NULL;
    return code;
}

// --- Going
// ----------------------------------------------------------------------------------------

err_code_t child_publish_file(child_t *child, const char *path, const char *digest, err_t *err) {
    child_files_t *files = child_files(child);
    line_t *line;
    if (!files->remote)
        return ERR_OK;
    err_code_t code = take_line(files, true, &line, err);
    if (code)
        return code;
    code = blob_publish_file(line->blob, child_conf(child)->files, path, digest, err);
    give_line(files, line);
    return code;
}

err_code_t child_publish_folder(child_t *child, const char *path, const char *root, err_t *err) {
    child_files_t *files = child_files(child);
    line_t *line;
    if (!files->remote)
        return ERR_OK;
    err_code_t code = take_line(files, true, &line, err);
    if (code)
        return code;
    code = blob_publish_folder(line->blob, child_conf(child)->files, path, root, err);
    give_line(files, line);
    return code;
}

void child_remove(child_t *child, const char *path) {
    child_files_t *files = child_files(child);
    err_t err;
    line_t *line = NULL;
    if (fs_remove_below(child_conf(child)->files, path, &err) != ERR_OK)
        log_debug("%s stays: %s", path, err.message);
    if (!files->remote || take_line(files, false, &line, &err) != ERR_OK)
        return;
    if (blob_remove(line->blob, path, &err) != ERR_OK)
        log_debug("%s stays with the stack: %s", path, err.message);
    give_line(files, line);
}
