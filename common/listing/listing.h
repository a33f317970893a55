// A listing: which files a folder has, by path, size, time and content, and which of them could not
// be read. It is what an upload of a folder leaves with the stack beside the files' bytes
// (blob/blob.h): who has the listing can work on the folder as if it were there. One JSON document
// per line:
//
//   {"schema":1,"folder":"/home/ann/pictures","folders":["comics","photos"]}
//   {"path":"comics/1.jpg","bytes":1234,"mtime_ns":"1700000000000000000","sha256":"…"}
//   {"path":"comics/2.jpg","reason":"cannot read it: Permission denied"}
//
// folders: those directly in it, also empty ones. Lines come in byte order of raw paths. Text is
// escaped as by shard_name_escape, for names of files are any bytes.
#ifndef INKLING_LISTING_LISTING_H
#define INKLING_LISTING_LISTING_H

#include "base/buf.h"
#include "base/err.h"
#include "digest/digest.h"

#include <stdint.h>

#define LISTING_SCHEMA    1
#define LISTING_DEPTH_MAX 64 // folders below the one that is listed
#define LISTING_BYTES_MAX (1u << 30)

typedef struct {
    char *path; // raw bytes, relative to the folder
    uint64_t bytes;
    int64_t mtime_ns;
    char digest[DIGEST_HEX_SIZE]; // "": not known (yet)
    char *reason;                 // why it cannot be had, or NULL
} listing_file_t;

typedef struct {
    char *folder;   // as it was named where it is, raw bytes
    char **folders; // raw names, in byte order
    size_t folder_count;
    listing_file_t *files;
    size_t count;
} listing_t;

// All that is below the folder, at any depth up to LISTING_DEPTH_MAX: names that begin with a dot
// are left out, symbolic links are followed, each folder is entered once within a folder of the
// first level (an image may be below two classes by links). What is no regular file, or cannot be
// looked at, has a reason. Digests are not read here. ERR_NOT_FOUND, ERR_INVALID: the folder itself
// cannot be listed.
err_code_t listing_scan(const char *folder, listing_t *listing, err_t *err);
void listing_release(listing_t *listing); // allows one that is all zeros

// Appends the text. Entries without digest must have a reason.
err_code_t listing_write(const listing_t *listing, buf_t *out, err_t *err);
// ERR_CORRUPT names the line: also for paths that are absolute, leave the folder, come twice or out
// of order; ERR_UNSUPPORTED: of a newer release.
err_code_t listing_read(const void *text, size_t size, listing_t *listing, err_t *err);

#endif
