#include "sec/sec.h"

#include "base/fs.h"
#include "file_impl.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zmq.h>

static err_code_t make_pair(sec_pair_t *pair, err_t *err) {
    if (zmq_curve_keypair(pair->public_key, pair->secret_key) == 0)
        return ERR_OK;
    err_set(err, ERR_UNSUPPORTED, "this libzmq makes no keys");
    return err_remedy(err, "use a libzmq that is built with CURVE, as Debian's is");
}

err_code_t sec_init(const char *folder, bool *made, err_t *err) {
    key_file_t file = {.kind = "server"};
    sec_pair_t pair = {0};
    char *clients = fs_join(folder, "clients"), *path = fs_join(folder, "server.key");
    *made = false;
    err_code_t code = fs_mkdirs(clients, err);
    if (code == ERR_OK && access(path, F_OK) == 0) {
        code = key_file_read(path, "server", &file, err);
    } else if (code == ERR_OK) {
        code = make_pair(&pair, err);
        memcpy(file.public_key, pair.public_key, SEC_KEY_SIZE);
        memcpy(file.secret_key, pair.secret_key, SEC_KEY_SIZE);
        if (code == ERR_OK)
            code = key_file_write(path, &file, err);
        *made = code == ERR_OK;
    }
    explicit_bzero(&file, sizeof file);
    explicit_bzero(&pair, sizeof pair);
    free(clients);
    free(path);
    return code;
}

err_code_t sec_server(const char *folder, sec_pair_t *pair, err_t *err) {
    key_file_t file;
    char *path = fs_join(folder, "server.key");
    err_code_t code = key_file_read(path, "server", &file, err);
    if (code == ERR_NOT_FOUND) {
        err_set(err, ERR_NOT_FOUND, "there are no keys in %s", folder);
        err_remedy(err, "`inkling keys init` makes them");
    }
    if (code == ERR_OK) {
        memcpy(pair->public_key, file.public_key, SEC_KEY_SIZE);
        memcpy(pair->secret_key, file.secret_key, SEC_KEY_SIZE);
    }
    explicit_bzero(&file, sizeof file);
    free(path);
    return code;
}

// The client's file first: whoever is let in has a key, and half of it lets nobody in.
static err_code_t write_both(const char *guest_path, key_file_t *file, const char *path,
                             err_t *err) {
    key_file_t guest = {.kind = "guest"};
    memcpy(guest.name, file->name, sizeof guest.name);
    memcpy(guest.public_key, file->public_key, sizeof guest.public_key);
    err_code_t code = key_file_write(path, file, err);
    if (code)
        return code;
    code = key_file_write(guest_path, &guest, err);
    if (code)
        unlink(path);
    return code;
}

err_code_t sec_client_new(const char *folder, const char *name, const char *path, err_t *err) {
    sec_pair_t server, own = {0};
    key_file_t file = {.kind = "client"};
    err_code_t code = key_check_name(name, err);
    if (code)
        return code;
    char *guest_path = mem_format("%s/clients/%s.pub", folder, name);
    code = sec_server(folder, &server, err);
    if (code == ERR_OK && access(guest_path, F_OK) == 0) {
        err_set(err, ERR_CONFLICT, "the client %s has a key already", name);
        code = err_remedy(err, "use another name, or withdraw that key: remove %s", guest_path);
    }
    if (code == ERR_OK)
        code = make_pair(&own, err);
    if (code == ERR_OK) {
        memcpy(file.name, name, strlen(name) + 1);
        memcpy(file.public_key, own.public_key, SEC_KEY_SIZE);
        memcpy(file.secret_key, own.secret_key, SEC_KEY_SIZE);
        memcpy(file.server, server.public_key, SEC_KEY_SIZE);
        code = write_both(guest_path, &file, path, err);
    }
    explicit_bzero(&server, sizeof server);
    explicit_bzero(&own, sizeof own);
    explicit_bzero(&file, sizeof file);
    free(guest_path);
    return code;
}

err_code_t sec_client(const char *path, sec_client_t *client, err_t *err) {
    key_file_t file;
    err_code_t code = key_file_read(path, "client", &file, err);
    if (code == ERR_OK) {
        memcpy(client->name, file.name, sizeof client->name);
        memcpy(client->own.public_key, file.public_key, SEC_KEY_SIZE);
        memcpy(client->own.secret_key, file.secret_key, SEC_KEY_SIZE);
        memcpy(client->server, file.server, SEC_KEY_SIZE);
    }
    explicit_bzero(&file, sizeof file);
    return code;
}

err_code_t sec_client_copy(const char *path, const char *to, err_t *err) {
    key_file_t file;
    err_code_t code = key_file_read(path, "client", &file, err);
    if (code == ERR_OK)
        code = key_file_write(to, &file, err);
    explicit_bzero(&file, sizeof file);
    return code;
}
