// SHA-256, as text of 64 hexadecimal digits: names and checks stored things. (OpenSSL's libcrypto.)
#ifndef INKLING_DIGEST_DIGEST_H
#define INKLING_DIGEST_DIGEST_H

#include "base/err.h"

#include <stdint.h>

#define DIGEST_HEX_SIZE 65 // 64 digits and a NUL

typedef struct digest digest_t;

digest_t *digest_new(void);
void digest_add(digest_t *digest, const void *bytes, size_t size);
// Writes the hex form and frees *self.
void digest_end(digest_t **self, char hex[DIGEST_HEX_SIZE]);
void digest_destroy(digest_t **self);

void digest_bytes(const void *bytes, size_t size, char hex[DIGEST_HEX_SIZE]);
// Reads the file through; *size (may be NULL) is the bytes read.
err_code_t digest_file(const char *path, char hex[DIGEST_HEX_SIZE], uint64_t *size, err_t *err);

#endif
