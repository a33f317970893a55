#include "folder_impl.h"

#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

// A folder's time stamp is coarse: while it is so young, another file may come under the same one.
#define SETTLED_S 1
#define AGAIN_MS  100 // until then it is read again, but not more often

void folder_init(folder_t *folder, const char *parent, const char *name) {
    *folder = (folder_t){.path = fs_join(parent, name), .read_ms = -AGAIN_MS};
}

void folder_release(folder_t *folder) {
    free(folder->path);
    folder->path = NULL;
}

bool folder_due(folder_t *folder, bool anew) {
    struct stat info = {0};
    int64_t now = clock_mono_ms();
    stat(folder->path, &info);
    bool same = info.st_mtim.tv_sec == folder->changed.tv_sec &&
                info.st_mtim.tv_nsec == folder->changed.tv_nsec;
    if (!anew && same && (folder->settled || now - folder->read_ms < AGAIN_MS))
        return false;
    folder->changed = info.st_mtim;
    folder->settled = time(NULL) - info.st_mtim.tv_sec > SETTLED_S;
    folder->read_ms = now;
    return true;
}

// What is known of it stays as it was.
static bool fails(folder_t *folder, int cause) {
    folder->settled = false;
    if (!folder->failed)
        log_warn("cannot read %s: %s; what was read before holds", folder->path, strerror(cause));
    folder->failed = true;
    return false;
}

bool folder_each(folder_t *folder, const char *suffix,
                 void (*fn)(void *arg, const char *path, const char *name), void *arg) {
    struct dirent *entry;
    DIR *open = opendir(folder->path);
    size_t end = strlen(suffix);
    if (!open && errno != ENOENT)
        return fails(folder, errno);
    errno = 0;
    while (open && (entry = readdir(open)) != NULL) {
        const char *name = entry->d_name;
        size_t size = strlen(name);
        if (name[0] == '.' || size <= end || strcmp(name + size - end, suffix) != 0)
            continue;
        char *path = fs_join(folder->path, name);
        fn(arg, path, name);
        free(path);
        errno = 0;
    }
    int cause = errno;
    if (open)
        closedir(open);
    if (cause)
        return fails(folder, cause);
    folder->failed = false;
    return true;
}
