#include "base/err.h"
#include "blob/blob.h"

#include <string.h>

bool blob_digest_valid(const char *digest) {
    return strlen(digest) == DIGEST_HEX_SIZE - 1 &&
           strspn(digest, "0123456789abcdef") == DIGEST_HEX_SIZE - 1;
}

char *blob_path(const char *files, const char digest[DIGEST_HEX_SIZE]) {
    return mem_format("%s/blobs/%.2s/%s", files, digest, digest);
}
