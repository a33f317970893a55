// model.json: what it says, and reading and writing it.
#ifndef INKLING_MODEL_JSON_IMPL_H
#define INKLING_MODEL_JSON_IMPL_H

#include "model/model.h"

#define JSON_FILES     3
#define JSON_BYTES_MAX (32u << 20)

typedef struct {
    bool present;
    uint64_t bytes;
    char sha256[DIGEST_HEX_SIZE];
} json_file_t;

// The files beside model.json, in this order: weights, last, curves.
extern const char *const json_file_names[JSON_FILES];

// digest: of the text that was written or read.
err_code_t json_write(const char *folder, const model_info_t *info,
                      const json_file_t files[JSON_FILES], char digest[DIGEST_HEX_SIZE],
                      err_t *err);
// info is filled wholly on success and empty on failure.
err_code_t json_read(const char *folder, model_info_t *info, json_file_t files[JSON_FILES],
                     char digest[DIGEST_HEX_SIZE], err_t *err);

#endif
