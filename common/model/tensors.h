// Files of named float32 tensors, in the safetensors format of Hugging Face, so that Python reads
// them with safetensors.torch.load_file. Written by hand, and read as if they came from an enemy.
//
//   0      u64 little-endian: H, bytes of the header, a multiple of 8
//   8      JSON object, padded with spaces to H:
//            {"__metadata__":{"key":"text", …},
//             "name":{"dtype":"F32","shape":[…],"data_offsets":[begin,end]}, …}
//   8 + H  the data; the tensors' ranges follow each other without gap and fill it
#ifndef INKLING_MODEL_TENSORS_H
#define INKLING_MODEL_TENSORS_H

#include "base/err.h"
#include "digest/digest.h"

#include <stdint.h>

#define TENSORS_MAX        4096
#define TENSORS_NAME_MAX   63
#define TENSORS_RANK_MAX   4
#define TENSORS_HEADER_MAX (32u << 20)

typedef struct {
    char name[TENSORS_NAME_MAX + 1];
    int rank; // 1 … TENSORS_RANK_MAX
    int64_t dims[TENSORS_RANK_MAX];
    int64_t count;     // product of dims, ≥ 1
    const float *data; // count numbers; of tensors_t when read
} tensor_t;

// Data follows in the order of tensors. metadata: pairs of key and text, ended by a NULL key, or
// NULL; all text is UTF-8. sha256: of the file. Atomic, synced.
err_code_t tensors_write(const char *path, const tensor_t *tensors, int count,
                         const char *const *metadata, char sha256[DIGEST_HEX_SIZE], err_t *err);

typedef struct tensors tensors_t;

// Maps the file. sha256: what it must be, or NULL. ERR_NOT_FOUND; ERR_CORRUPT names the file and
// what is wrong. The numbers may still be anything, NaN too. Read-only afterwards: any number of
// threads may use it.
err_code_t tensors_open(const char *path, const char *sha256, tensors_t **tensors, err_t *err);
void tensors_close(tensors_t **tensors); // allows *tensors == NULL

int tensors_count(const tensors_t *tensors);
const tensor_t *tensors_at(const tensors_t *tensors, int index); // in the order of their data
const tensor_t *tensors_find(const tensors_t *tensors, const char *name); // NULL: none
const char *tensors_metadata(const tensors_t *tensors, const char *key);  // NULL: none

#endif
