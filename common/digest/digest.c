#include "digest/digest.h"
#include "base/fs.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>

#define READ_AT_ONCE 65536

struct digest {
    EVP_MD_CTX *context;
};

digest_t *digest_new(void) {
    digest_t *digest = mem_zero(1, sizeof *digest);
    digest->context = EVP_MD_CTX_new();
    ERR_ASSERT(digest->context && EVP_DigestInit_ex(digest->context, EVP_sha256(), NULL) == 1);
    return digest;
}

void digest_add(digest_t *digest, const void *bytes, size_t size) {
    ERR_ASSERT(EVP_DigestUpdate(digest->context, bytes, size) == 1);
}

void digest_end(digest_t **self, char hex[DIGEST_HEX_SIZE]) {
    unsigned char raw[EVP_MAX_MD_SIZE];
    unsigned int size = 0;
    ERR_ASSERT(EVP_DigestFinal_ex((*self)->context, raw, &size) == 1 && size == 32);
    for (unsigned int i = 0; i < size; i++)
        snprintf(hex + 2 * i, 3, "%02x", raw[i]);
    digest_destroy(self);
}

void digest_destroy(digest_t **self) {
    if (!*self)
        return;
    EVP_MD_CTX_free((*self)->context);
    free(*self);
    *self = NULL;
}

void digest_bytes(const void *bytes, size_t size, char hex[DIGEST_HEX_SIZE]) {
    digest_t *digest = digest_new();
    digest_add(digest, bytes, size);
    digest_end(&digest, hex);
}

err_code_t digest_file(const char *path, char hex[DIGEST_HEX_SIZE], uint64_t *size, err_t *err) {
    FILE *file = NULL;
    size_t expected;
    err_code_t code = fs_open_regular(path, &file, &expected, err);
    if (code)
        return code;
    digest_t *digest = digest_new();
    char chunk[READ_AT_ONCE];
    uint64_t total = 0;
    size_t got;
    while ((got = fread(chunk, 1, sizeof chunk, file)) > 0) {
        digest_add(digest, chunk, got);
        total += got;
    }
    code = ferror(file) ? err_set_errno(err, "cannot read %s", path) : ERR_OK;
    fclose(file);
    if (code)
        digest_destroy(&digest);
    else
        digest_end(&digest, hex);
    if (size)
        *size = total;
    return code;
}
