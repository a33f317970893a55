// Which remote stacks a home knows, and where it keeps what belongs to them.
#include "base/fs.h"
#include "conf/conf.h"

#include <stdlib.h>
#include <string.h>

#define CURRENT_LIMIT 4096

err_code_t conf_stack_check(const char *name, err_t *err) {
    size_t size = strlen(name);
    bool reserved = strcmp(name, CONF_STACK_LOCAL) == 0 || strcmp(name, "current") == 0;
    if (size >= 1 && size <= CONF_STACK_NAME_MAX && !strchr("_-", name[0]) && !reserved &&
        strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") == size)
        return ERR_OK;
    err_set(err, ERR_USAGE, "'%.100s' is no name of a remote stack", name);
    if (reserved)
        return err_remedy(err, "this name means something else already: choose another");
    return err_remedy(err, "use 1 to %d letters, digits, dashes, underscores", CONF_STACK_NAME_MAX);
}

char *conf_stack_path(const char *home, const char *name, const char *suffix) {
    return mem_format("%s/stacks/%s%s", home, name, suffix);
}

char *conf_stack_current(const char *home) {
    void *bytes = NULL;
    size_t size;
    char *path = conf_stack_path(home, "current", "");
    err_code_t code = fs_read(path, CURRENT_LIMIT, &bytes, &size, NULL);
    free(path);
    if (code)
        return NULL;
    char *name = bytes;
    name[strcspn(name, "\r\n")] = 0;
    if (*name)
        return name;
    free(name);
    return NULL;
}
