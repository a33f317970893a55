// Files of keys: lines "name = value", comments from # on.
#ifndef INKLING_SEC_FILE_IMPL_H
#define INKLING_SEC_FILE_IMPL_H

#include "sec/sec.h"

#include <stdbool.h>

typedef struct {
    char kind[16], name[SEC_NAME_MAX + 1];
    char public_key[SEC_KEY_SIZE], secret_key[SEC_KEY_SIZE], server[SEC_KEY_SIZE];
} key_file_t;

// Reads a file of that kind ("server", "client", "guest"): every field that the kind has is there
// and is a key, and a secret is that of its public key. A file with a secret must be private.
err_code_t key_file_read(const char *path, const char *kind, key_file_t *file, err_t *err);
// Writes the fields of file->kind. ERR_CONFLICT when the path is taken.
err_code_t key_file_write(const char *path, const key_file_t *file, err_t *err);
// 1 … SEC_NAME_MAX of [A-Za-z0-9._-], not beginning with a dot.
err_code_t key_check_name(const char *name, err_t *err);

#endif
