#include "base/fs.h"
#include "digest/digest.h"
#include "sec/sec.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define PASSWORD_BYTES 32
#define PASSWORD_LIMIT 1024

// All that the dispatcher's scripts and its connection do, and nothing that would harm others'
// data, settings or connections.
static const char rights[] = "~* &* -@all +@read +@write +@scripting +@connection -@dangerous "
                             "+info +time +config|get +client|id +client|kill";

static err_code_t make_password(const char *path, err_t *err) {
    unsigned char random[PASSWORD_BYTES];
    char text[2 * PASSWORD_BYTES + 2];
    if (getrandom(random, sizeof random, 0) != sizeof random)
        return err_set_errno(err, "no random numbers for a password");
    for (size_t i = 0; i < PASSWORD_BYTES; i++)
        snprintf(text + 2 * i, 4, "%02x\n", random[i]);
    err_code_t code = fs_write_secret(path, text, sizeof text - 1, err);
    explicit_bzero(random, sizeof random);
    explicit_bzero(text, sizeof text);
    return code;
}

static err_code_t write_acl(const char *path, const char *password, err_t *err) {
    char hash[DIGEST_HEX_SIZE];
    digest_bytes(password, strlen(password), hash);
    // The default user cannot log in, but keeps its rights: with them Redis 7.0 replays the
    // transactions of its append-only file at a start, and leaves out those that it may not.
    char *text = mem_format("user default off resetpass ~* &* +@all\nuser inkling on #%s %s\n",
                            hash, rights);
    err_code_t code = fs_write(path, text, strlen(text), err);
    free(text);
    return code;
}

err_code_t sec_redis_init(const char *folder, const char *acl_file, bool *made, err_t *err) {
    void *bytes = NULL;
    size_t size = 0;
    char *path = fs_join(folder, "redis.password");
    *made = false;
    err_code_t code = fs_mkdirs(folder, err);
    if (code == ERR_OK)
        code = fs_read(path, PASSWORD_LIMIT, &bytes, &size, err);
    if (code == ERR_NOT_FOUND) {
        *made = true;
        code = make_password(path, err);
        if (code == ERR_OK)
            code = fs_read(path, PASSWORD_LIMIT, &bytes, &size, err);
    }
    char *password = bytes;
    if (code == ERR_OK) {
        password[strcspn(password, "\r\n")] = 0;
        code = password[0] ? write_acl(acl_file, password, err)
                           : err_set(err, ERR_CORRUPT, "%s is empty", path);
    }
    if (code == ERR_CORRUPT)
        err_remedy(err, "remove it, and restart Redis with the new ACL file");
    if (bytes)
        explicit_bzero(bytes, size);
    free(bytes);
    free(path);
    return code;
}
