// Where a stack keeps its sockets.
#include "base/fs.h"
#include "conf/conf.h"
#include "digest/digest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define SOCKET_NAME_ROOM 40 // "/dispatcher-standby.sock" and the like

// Whether endpoints below the path can stand in a list of endpoints, in a log and in a terminal.
static bool can_be_listed(const char *path) {
    for (const unsigned char *c = (const unsigned char *)path; *c; c++)
        if (*c <= ' ' || *c == ',' || *c == 0x7f)
            return false;
    return true;
}

char *conf_run_folder(const char *home) {
    size_t limit = sizeof(((struct sockaddr_un *)0)->sun_path) - 1;
    if (strlen(home) + strlen("/run") + SOCKET_NAME_ROOM <= limit && can_be_listed(home))
        return fs_join(home, "run");
    char hex[DIGEST_HEX_SIZE];
    digest_bytes(home, strlen(home), hex);
    hex[16] = 0;
    return mem_format("/tmp/inkling-%ld-%s", (long)getuid(), hex);
}

static char *endpoint(const char *home, const char *name, const char *suffix) {
    char *run = conf_run_folder(home);
    char *text = mem_format("ipc://%s/%s.%s", run, name, suffix);
    free(run);
    return text;
}

char *conf_endpoint(const char *home, const char *name) {
    return endpoint(home, name, "sock");
}

char *conf_control_endpoint(const char *home, const char *name) {
    return endpoint(home, name, "ctl");
}

err_code_t conf_make_home(const char *home, err_t *err) {
    err_code_t code = fs_mkdirs(home, err);
    char *run = conf_run_folder(home);
    struct stat info;
    if (code == ERR_OK)
        code = fs_mkdirs(run, err);
    if (code == ERR_OK && (lstat(run, &info) != 0 || !S_ISDIR(info.st_mode) ||
                           info.st_uid != getuid() || (info.st_mode & 077) != 0)) {
        err_set(err, ERR_CONFLICT, "the socket folder %s is not a private folder of this user",
                run);
        err_remedy(err, "remove it, make it private (chmod 700), or use another home");
        code = ERR_CONFLICT;
    }
    free(run);
    return code;
}
