// Files that go to the stack, by digest, only what it does not have yet; and files that come from
// it.
#ifndef INKLING_CLI_UPLOAD_IMPL_H
#define INKLING_CLI_UPLOAD_IMPL_H

#include "blob/blob.h"
#include "cli_impl.h"

// --- upload.c

typedef struct {
    size_t files; // below the folder
    uint64_t sent_files, sent_bytes;
    char listing[DIGEST_HEX_SIZE]; // digest of the listing, to be named in a job's body
} upload_done_t;

// Reads every file below the folder (classes: only those of its folders; NULL: all that is below
// it), sends what is missing, then the listing, and returns when all is safe there. A file that
// cannot be read, or is larger than image_bytes, is in the listing with the reason. Shows its
// progress. ERR_CANCELLED: Ctrl-C; what was sent by then need not be sent again.
err_code_t upload_folder(cli_t *cli, const char *folder, char *const *classes, size_t class_count,
                         upload_done_t *done, err_t *err);

// --- fetch.c

// A connection to the blobs service that ends with Ctrl-C.
err_code_t fetch_open(cli_t *cli, blob_t **blob, err_t *err);
// A file of the stack comes to a path here, whole or not at all: copied where its folder is here,
// else fetched.
err_code_t fetch_file(cli_t *cli, const char *path, const char *digest, const char *to, err_t *err);
// What the registry knows of "MODEL[@V]", the promoted version unless one is given; belongs to the
// call's arena.
err_code_t fetch_model_info(cli_t *cli, const char *reference, const proto_model_info_t **info,
                            err_t *err);
// A version of a model comes into a folder of its own, made for it, or there is no such folder.
// From here on Ctrl-C ends it with ERR_CANCELLED.
err_code_t fetch_model(cli_t *cli, const proto_model_info_t *info, const char *folder, err_t *err);

#endif
