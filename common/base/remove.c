// Deleting by descriptors, so that no symbolic link, put there by whom ever, leads elsewhere.
#include "base/fs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEPTH_MAX 64

static int open_folder(int at, const char *name) {
    return openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

static bool remove_entry(int at, const char *name, int depth) {
    if (unlinkat(at, name, 0) == 0 || errno == ENOENT)
        return true;
    if (errno != EISDIR && errno != EPERM)
        return false;
    int fd = depth > 0 ? open_folder(at, name) : -1;
    DIR *folder = fd >= 0 ? fdopendir(fd) : NULL;
    if (!folder) {
        if (fd >= 0)
            close(fd);
        return errno == ENOENT;
    }
    bool good = true;
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            good = remove_entry(dirfd(folder), entry->d_name, depth - 1) && good;
    closedir(folder);
    return (unlinkat(at, name, AT_REMOVEDIR) == 0 || errno == ENOENT) && good;
}

err_code_t fs_remove_below(const char *root, const char *path, err_t *err) {
    char *copy = mem_dup(path), *rest = copy, *part = strsep(&rest, "/");
    int at = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    while (at >= 0 && rest) {
        int below = open_folder(at, part);
        close(at);
        at = below;
        part = strsep(&rest, "/");
    }
    bool good = at >= 0 ? remove_entry(at, part, DEPTH_MAX) : errno == ENOENT;
    err_code_t code = good ? ERR_OK : err_set_errno(err, "cannot remove %s/%s", root, path);
    if (at >= 0)
        close(at);
    free(copy);
    return code;
}
