// A listing: which files a folder has, by path, size, time and content, and which of them could not
// be read. It is what an upload of a folder leaves with the stack beside the files' bytes
// (blob/blob.h): who has the listing can work on the folder as if it were there. One JSON document
// per line:
//
//   {"schema":1,"folder":"/home/ann/pictures","folders":["comics","photos"]}
//   {"path":"comics/1.jpg","bytes":1234,"mtime_ns":"1700000000000000000","sha256":"…"}
//   {"path":"comics/2.jpg","reason":"not a regular file"}
//   {"path":"comics/3.jpg","bytes":5,"mtime_ns":"17…","reason":"cannot read it: Permission denied"}
//   {"path":"photos/more/1.jpg","bytes":1234,"mtime_ns":"17…","sha256":"…","again":true}
//
// folders: those directly in it, also empty ones; a path's first part is one of them, unless it is
// that of a file directly in the folder. Lines come in byte order of raw paths. Text is escaped as
// by shard_name_escape, for names of files are any bytes. Keys that are not known are left alone.
#ifndef INKLING_LISTING_LISTING_H
#define INKLING_LISTING_LISTING_H

#include "base/buf.h"
#include "base/err.h"
#include "digest/digest.h"

#include <stdbool.h>
#include <stdint.h>

#define LISTING_SCHEMA    1
#define LISTING_DEPTH_MAX 64 // folders below the one that is listed
#define LISTING_BYTES_MAX (1u << 30)

typedef struct {
    char *path; // raw bytes, relative to the folder
    uint64_t bytes;
    int64_t mtime_ns;
    char digest[DIGEST_HEX_SIZE]; // "": not known (yet)
    bool again;                   // links lead to its folder twice: it is listed elsewhere too
    char *reason;                 // why it cannot be had, or NULL
} listing_file_t;

typedef struct {
    char *folder;   // as it was named where it is, raw bytes
    char **folders; // raw names, in byte order
    size_t folder_count;
    listing_file_t *files;
    size_t count;
} listing_t;

// ---- what is there ----

// All that is below the folder, at any depth up to LISTING_DEPTH_MAX: names that begin with a dot
// are left out, symbolic links are followed. Each folder is entered once within a folder of the
// first level, so that an image may be below two classes by links. Who wants every folder once
// leaves out what is `again`; the folder itself counts as entered for that. What is no regular
// file, or cannot be looked at, has a reason and neither size nor time. Digests are not read here.
// ERR_NOT_FOUND, ERR_INVALID, ERR_IO: the folder itself cannot be listed.
err_code_t listing_scan(const char *folder, listing_t *listing, err_t *err);

// The same in two steps, for who wants some of the folders only: what is directly in the folder,
// and then once all that is below count of its folders.
err_code_t listing_scan_top(const char *folder, listing_t *listing, err_t *err);
void listing_scan_below(listing_t *listing, char *const *folders, size_t count);

// True if it is one of listing->folders.
bool listing_has_folder(const listing_t *listing, const char *name);
void listing_release(listing_t *listing); // allows one that is all zeros

// ---- as text ----

// Appends the text. Entries without digest must have a reason. ERR_TOO_LARGE: out is full.
err_code_t listing_write(const listing_t *listing, buf_t *out, err_t *err);
// ERR_CORRUPT names the line: also for paths that are absolute, leave the folder, have a part that
// begins with a dot, come twice or out of order; ERR_UNSUPPORTED: of a newer release;
// ERR_TOO_LARGE: more than LISTING_BYTES_MAX. On failure nothing is left to be released.
err_code_t listing_read(const void *text, size_t size, listing_t *listing, err_t *err);

#endif
