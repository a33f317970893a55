// --out: where a file of an answer goes.
#include "cli_impl.h"

#include <errno.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

// A new file takes the place of what it names by a rename: of a link it would be the link.
static err_code_t follow_link(char **path, err_t *err) {
    struct stat info;
    if (lstat(*path, &info) != 0 || !S_ISLNK(info.st_mode))
        return ERR_OK;
    char *real = realpath(*path, NULL);
    if (!real) {
        err_set_errno(err, "%s is a link, and what it names cannot be replaced", *path);
        return err_remedy(err, "remove the link, or name another file with --out");
    }
    free(*path);
    *path = real;
    return ERR_OK;
}

static err_code_t check(const char *path, err_t *err) {
    struct stat info;
    bool there = stat(path, &info) == 0;
    if ((there && S_ISDIR(info.st_mode)) || (!there && path[strlen(path) - 1] == '/')) {
        err_set(err, ERR_USAGE, "%s is a folder", path);
        return err_remedy(err, "name a file in it with --out");
    }
    if (there && !S_ISREG(info.st_mode)) {
        err_set(err, ERR_USAGE, "%s is there, and is no file", path);
        return err_remedy(err, "name another file with --out");
    }
    char *copy = mem_dup(path);
    err_code_t code = ERR_OK;
    if (access(dirname(copy), W_OK | X_OK) != 0) {
        err_set_errno(err, "cannot write %s", path);
        code = err_remedy(err, "make the folder, or name another file with --out");
    }
    free(copy);
    return code;
}

err_code_t cli_place(const char *out, char **to, err_t *err) {
    char *path = cli_absolute(out);
    err_code_t code = follow_link(&path, err);
    if (code == ERR_OK)
        code = check(path, err);
    if (code)
        free(path);
    else
        *to = path;
    return code;
}
