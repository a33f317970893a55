// A folder uploaded to the files of a stack, as a client would leave it there.
#ifndef TEST_LISTING_UPLOAD_H
#define TEST_LISTING_UPLOAD_H

#include "listing/blobs.h"

typedef struct {
    char *files; // of the stack: blobs are below it
    listing_t listing;
    char digest[DIGEST_HEX_SIZE]; // of the listing's own blob
} upload_t;

// Lists the folder, and puts the listing and all that can be read into files' blobs.
upload_t upload_make(const char *folder, const char *files);
void upload_free(upload_t *upload);
// Reads from there.
listing_blobs_t upload_blobs(upload_t *upload);
// Puts bytes there.
void upload_put(const char *files, const void *bytes, size_t size, char digest[DIGEST_HEX_SIZE]);
// Where the bytes of a file are; malloc'ed.
char *upload_path(const upload_t *upload, const char *path);

#endif
