#include "base/fs.h"
#include "base/log.h"
#include "ingest/ingest.h"
#include "stage_impl.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define MARK      ".tmp-"
#define YOUNG_SEC 60 // it may have no lock yet

err_code_t stage_check(const char *out, err_t *err) {
    struct stat info;
    if (lstat(out, &info) != 0)
        return ERR_OK;
    return err_set(err, ERR_CONFLICT, "%s exists already", out);
}

err_code_t stage_open(const char *out, stage_t *stage, err_t *err) {
    *stage = STAGE_NONE;
    char *folder = mem_format("%s" MARK "XXXXXX", out);
    if (!mkdtemp(folder)) {
        err_code_t code = err_set_errno(err, "cannot make the folder %s", folder);
        free(folder);
        return code;
    }
    stage->folder = folder;
    stage->lock = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (stage->lock >= 0)
        flock(stage->lock, LOCK_EX | LOCK_NB);
    return ERR_OK;
}

static void stage_close(stage_t *stage) {
    if (stage->lock >= 0)
        close(stage->lock);
    free(stage->folder);
    *stage = STAGE_NONE;
}

err_code_t stage_publish(stage_t *stage, const char *out, err_t *err) {
    err_code_t code = stage_check(out, err);
    if (!code)
        code = fs_rename(stage->folder, out, err);
    if (!code)
        stage_close(stage);
    else if (access(stage->folder, F_OK) != 0) // renamed, but the disk has not confirmed it
        fs_remove_all(out, NULL);
    return code;
}

void stage_discard(stage_t *stage) {
    err_t err;
    if (stage->folder && fs_remove_all(stage->folder, &err) != ERR_OK)
        log_warn("%s stays: %s", stage->folder, err.message);
    stage_close(stage);
}

// ---- what killed runs left ----

static bool is_abandoned(int folder) {
    struct stat info;
    return fstat(folder, &info) == 0 && info.st_mtime < time(NULL) - YOUNG_SEC &&
           flock(folder, LOCK_EX | LOCK_NB) == 0;
}

static void sweep_one(const char *path) {
    err_t err;
    int folder = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (folder < 0)
        return;
    if (is_abandoned(folder) && fs_remove_all(path, &err) != ERR_OK)
        log_warn("%s stays: %s", path, err.message);
    close(folder);
}

void ingest_sweep(const char *parent) {
    DIR *folder = opendir(parent);
    if (!folder)
        return;
    for (const struct dirent *entry; (entry = readdir(folder)) != NULL;)
        if (strstr(entry->d_name, MARK)) {
            char *path = fs_join(parent, entry->d_name);
            sweep_one(path);
            free(path);
        }
    closedir(folder);
}
