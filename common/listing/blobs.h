// What an upload left with the stack: its listing and the bytes of its files, read by digest from
// wherever a caller has them, and checked against it.
#ifndef INKLING_LISTING_BLOBS_H
#define INKLING_LISTING_BLOBS_H

#include "listing/listing.h"

// Where the bytes of a digest are.
typedef struct {
    // Gives a local path of a file with those bytes, malloc'ed; called by any thread. bytes: how
    // many there are, 0: that is not known. ERR_NOT_FOUND: the stack does not have them.
    err_code_t (*locate)(void *context, const char *digest, uint64_t bytes, char **path,
                         err_t *err);
    void *context;
} listing_blobs_t;

// Reads the listing of that digest. ERR_INVALID: that is no digest; as listing_blobs_read and
// listing_read otherwise.
err_code_t listing_blobs_open(const listing_blobs_t *blobs, const char *digest, listing_t *listing,
                              err_t *err);

// Reads a file that has so many bytes; *found is malloc'ed, NULL on failure. What locate returns is
// returned; ERR_CORRUPT: there is something else. A copy that is damaged is removed, so that the
// next upload brings the bytes again.
err_code_t listing_blobs_read(const listing_blobs_t *blobs, const char *digest, uint64_t bytes,
                              void **found, err_t *err);

#endif
