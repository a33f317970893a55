#include "listing/blobs.h"
#include "base/fs.h"
#include "listing_impl.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define UPLOAD_AGAIN                                                                               \
    "give the `inkling` command again where the folder is: it uploads what is missing"

typedef struct {
    const char *digest;
    uint64_t bytes;
    size_t limit;
    bool sized; // there must be exactly so many bytes
} wanted_t;

// Only what is not what its name says is damaged, and goes. A wrong size may be the listing's
// fault.
static err_code_t not_wanted(const char *path, const wanted_t *wanted, err_t *err) {
    char digest[DIGEST_HEX_SIZE];
    if (digest_file(path, digest, NULL, NULL) == ERR_OK && strcmp(digest, wanted->digest) == 0)
        return err_set(err, ERR_CORRUPT, "the stack's %s has another size than %llu bytes",
                       wanted->digest, (unsigned long long)wanted->bytes);
    unlink(path);
    return err_set(err, ERR_CORRUPT, "the stack's copy, %s, is damaged", wanted->digest);
}

static bool is_wanted(const void *found, size_t size, const wanted_t *wanted) {
    char digest[DIGEST_HEX_SIZE];
    digest_bytes(found, size, digest);
    return strcmp(digest, wanted->digest) == 0 && (!wanted->sized || size == wanted->bytes);
}

static err_code_t read_copy(const char *path, const wanted_t *wanted, void **found, size_t *size,
                            err_t *err) {
    err_code_t code = fs_read(path, wanted->limit, found, size, err);
    if (code)
        return code == ERR_INVALID || (code == ERR_TOO_LARGE && wanted->sized)
                   ? not_wanted(path, wanted, err)
                   : code;
    if (is_wanted(*found, *size, wanted))
        return ERR_OK;
    free(*found);
    *found = NULL;
    return not_wanted(path, wanted, err);
}

static err_code_t read_wanted(const listing_blobs_t *blobs, const wanted_t *wanted, void **found,
                              size_t *size, err_t *err) {
    char *path = NULL;
    *found = NULL;
    err_code_t code = blobs->locate(blobs->context, wanted->digest, wanted->bytes, &path, err);
    if (code == ERR_OK)
        code = read_copy(path, wanted, found, size, err);
    if (code == ERR_NOT_FOUND || code == ERR_CORRUPT)
        err_remedy(err, UPLOAD_AGAIN);
    free(path);
    return code;
}

err_code_t listing_blobs_read(const listing_blobs_t *blobs, const char *digest, uint64_t bytes,
                              void **found, err_t *err) {
    const wanted_t wanted = {digest, bytes, (size_t)bytes, true};
    size_t size;
    return read_wanted(blobs, &wanted, found, &size, err);
}

err_code_t listing_blobs_open(const listing_blobs_t *blobs, const char *digest, listing_t *listing,
                              err_t *err) {
    const wanted_t wanted = {digest, 0, LISTING_BYTES_MAX, false};
    void *text = NULL;
    size_t size;
    memset(listing, 0, sizeof *listing);
    if (!listing_is_digest(digest)) {
        err_set(err, ERR_INVALID, "upload: '%.100s' is no digest", digest);
        return err_remedy(err, "write SHA-256 as 64 hexadecimal digits, small ones");
    }
    err_code_t code = read_wanted(blobs, &wanted, &text, &size, err);
    if (code == ERR_OK)
        code = listing_read(text, size, listing, err);
    if (code)
        err_context(err, "the upload's listing");
    free(text);
    return code;
}
