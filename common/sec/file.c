#include "file_impl.h"

#include "base/buf.h"
#include "base/fs.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <zmq.h>

#define FILE_LIMIT 4096

enum { HAS_NAME = 1, HAS_SECRET = 2, HAS_SERVER = 4 };

static const struct {
    const char *kind, *what, *about;
    int fields;
} kinds[] = {
    {"server", "a stack's own key",
     "The key of an Inkling stack. Whoever reads it can pass for the stack: it stays on its hosts.",
     HAS_SECRET},
    {"client", "a client's key",
     "A client's key to an Inkling stack. Whoever reads it can use the stack under this name.",
     HAS_NAME | HAS_SECRET | HAS_SERVER},
    {"guest", "the public key of a client",
     "This client may connect to the stack. Without this file it may not.", HAS_NAME},
};

#define KIND_COUNT (sizeof kinds / sizeof *kinds)

static size_t kind_of(const char *word) {
    size_t i = 0;
    while (i < KIND_COUNT && strcmp(kinds[i].kind, word) != 0)
        i++;
    return i;
}

err_code_t key_check_name(const char *name, err_t *err) {
    size_t size = strlen(name);
    if (size >= 1 && size <= SEC_NAME_MAX && name[0] != '.' &&
        strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == size)
        return ERR_OK;
    err_set(err, ERR_USAGE, "'%.100s' is no name for a client or token", name);
    return err_remedy(err, "use 1 to %d letters, digits, dots, dashes, underscores", SEC_NAME_MAX);
}

// --- Reading
// --------------------------------------------------------------------------------------

static bool is_key(const char *text) {
    unsigned char bytes[32];
    return strlen(text) == SEC_KEY_SIZE - 1 && zmq_z85_decode(bytes, text) != NULL;
}

static char *trim(char *text) {
    text += strspn(text, " \t\r");
    size_t size = strlen(text);
    while (size > 0 && strchr(" \t\r", text[size - 1]))
        text[--size] = 0;
    return text;
}

// Values too long for their field are cut, and are then no key and no name. A comment is a line of
// its own: '#' occurs in keys.
static void take(key_file_t *file, const char *name, const char *value) {
    const struct {
        const char *name;
        char *at;
        size_t size;
    } fields[] = {{"kind", file->kind, sizeof file->kind},
                  {"name", file->name, sizeof file->name},
                  {"public", file->public_key, sizeof file->public_key},
                  {"secret", file->secret_key, sizeof file->secret_key},
                  {"server", file->server, sizeof file->server}};
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        if (strcmp(fields[i].name, name) == 0 && strlen(value) < fields[i].size)
            memcpy(fields[i].at, value, strlen(value) + 1);
}

static void parse(key_file_t *file, char *text) {
    for (char *line; (line = strsep(&text, "\n")) != NULL;) {
        char *equals = strchr(line, '=');
        line = trim(line);
        if (!equals || line[0] == '#')
            continue;
        *equals = 0;
        take(file, trim(line), trim(equals + 1));
    }
}

// A secret's public key follows from it: a pair that is none was put together from two files.
static bool is_pair(const key_file_t *file) {
    char public_key[SEC_KEY_SIZE];
    return zmq_curve_public(public_key, file->secret_key) == 0 &&
           strcmp(public_key, file->public_key) == 0;
}

static err_code_t check(const char *path, const char *wanted, const key_file_t *file, err_t *err) {
    size_t kind = kind_of(file->kind);
    if (kind == KIND_COUNT) {
        err_set(err, ERR_INVALID, "%s is no file of keys", path);
        return err_remedy(err, "`inkling keys client NAME` makes a client's key");
    }
    if (strcmp(file->kind, wanted) != 0) {
        err_set(err, ERR_INVALID, "%s is %s, and %s is wanted", path, kinds[kind].what,
                kinds[kind_of(wanted)].what);
        return err_remedy(err, "`inkling keys show` tells what is where");
    }
    int fields = kinds[kind].fields;
    const char *bad = !is_key(file->public_key)                                 ? "public"
                      : (fields & HAS_SECRET) && !is_key(file->secret_key)      ? "secret"
                      : (fields & HAS_SERVER) && !is_key(file->server)          ? "server"
                      : (fields & HAS_NAME) && key_check_name(file->name, NULL) ? "name"
                                                                                : NULL;
    if (bad) {
        err_set(err, ERR_CORRUPT, "%s: '%s' is missing or damaged", path, bad);
        return err_remedy(err, "copy the file anew from where it was made");
    }
    if ((fields & HAS_SECRET) && !is_pair(file)) {
        err_set(err, ERR_CORRUPT, "%s: its secret is not that of its public key", path);
        return err_remedy(err, "copy the file anew from where it was made");
    }
    return ERR_OK;
}

static err_code_t check_private(const char *path, err_t *err) {
    struct stat info;
    if (stat(path, &info) != 0 || (info.st_mode & 077) == 0)
        return ERR_OK; // what is not there is told by reading
    err_set(err, ERR_INVALID,
            "%s holds a secret, and others than its owner may read it (mode %03o)", path,
            (unsigned)info.st_mode & 0777);
    return err_remedy(err, "chmod 600 it; if somebody may have read it, make a new key");
}

err_code_t key_file_read(const char *path, const char *kind, key_file_t *file, err_t *err) {
    void *bytes;
    size_t size;
    *file = (key_file_t){0};
    err_code_t code = fs_read(path, FILE_LIMIT, &bytes, &size, err);
    if (code)
        err_remedy(err, "`inkling keys client NAME` on the stack's host writes a client's key");
    if (code)
        return code;
    parse(file, bytes);
    explicit_bzero(bytes, size);
    free(bytes);
    code = check(path, kind, file, err);
    if (code == ERR_OK && file->secret_key[0])
        code = check_private(path, err);
    return code;
}

// --- Writing
// --------------------------------------------------------------------------------------

err_code_t key_file_write(const char *path, const key_file_t *file, err_t *err) {
    struct stat info;
    size_t kind = kind_of(file->kind);
    ERR_ASSERT(kind < KIND_COUNT);
    if (lstat(path, &info) == 0) {
        err_set(err, ERR_CONFLICT, "%s is there already", path);
        return err_remedy(err, "a key is never written over: choose another place, or remove it");
    }
    buf_t text;
    buf_init(&text, FILE_LIMIT);
    buf_printf(&text, "# %s\nkind = %s\n", kinds[kind].about, file->kind);
    if (kinds[kind].fields & HAS_NAME)
        buf_printf(&text, "name = %s\n", file->name);
    buf_printf(&text, "public = %s\n", file->public_key);
    if (kinds[kind].fields & HAS_SECRET)
        buf_printf(&text, "secret = %s\n", file->secret_key);
    if (kinds[kind].fields & HAS_SERVER)
        buf_printf(&text, "server = %s\n", file->server);
    err_code_t code = kinds[kind].fields & HAS_SECRET
                          ? fs_write_secret(path, text.data, text.size, err)
                          : fs_write(path, text.data, text.size, err);
    explicit_bzero(text.data, text.size);
    buf_release(&text);
    return code;
}
