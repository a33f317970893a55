// manifest.json of data sets, alone and with the files it names.
#include "base/buf.h"
#include "base/fs.h"
#include "fuzz.h"
#include "shard/index.h"
#include "shard/shard.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    shard_info_t info;
    shard_dataset_t *dataset = NULL;
    err_t err;
    fuzz_file(SHARD_MANIFEST, data, size);
    if (shard_read_info(fuzz_folder(), &info, &err) == ERR_OK)
        shard_info_release(&info);
    else
        ERR_ASSERT(err.code != ERR_OK && err.message[0]);
    if (shard_open(fuzz_folder(), &dataset, &err) == ERR_OK)
        ERR_ASSERT(shard_count(dataset, SHARD_TRAIN) == 0 ||
                   shard_label(dataset, SHARD_TRAIN, 0) < shard_info(dataset)->class_count);
    shard_close(&dataset);
    return 0;
}

static void add(shard_writer_t *writer, shard_split_t split, int label) {
    uint8_t pixels[64], digest[SHARD_DIGEST_BYTES] = {1};
    memset(pixels, label, sizeof pixels);
    ERR_ASSERT(shard_writer_add(writer, split, pixels, label, digest, NULL) == ERR_OK);
}

// A whole small data set, whose other files stay; its manifest is the seed.
void fuzz_seeds(void) {
    char *classes[] = {"comics", "ph\xc3\xb6tos"}, digest[DIGEST_HEX_SIZE];
    int64_t counts[SHARD_SPLIT_COUNT][2];
    shard_info_t info = {.name = "faces",
                         .source = "/data",
                         .group_by = "stem",
                         .seed = 7,
                         .recipe = "prep 1\nsize 8\nchannels 1\nfit stretch\nmean none\n",
                         .height = 8,
                         .width = 8,
                         .channels = 1,
                         .class_count = 2,
                         .classes = classes};
    digest_bytes(info.recipe, strlen(info.recipe), info.recipe_hash);
    for (int i = 0; i < SHARD_SPLIT_COUNT; i++)
        info.class_images[i] = counts[i];
    shard_index_t index = {NULL, 0};
    shard_writer_t *writer;
    err_t err;
    if (shard_writer_open(fuzz_folder(), &info, &writer, &err) != ERR_OK)
        err_abort(__FILE__, __LINE__, err.message);
    for (int i = 0; i < 4; i++)
        add(writer, i < 2 ? SHARD_TRAIN : i == 2 ? SHARD_VAL : SHARD_TEST, i % 2);
    if (shard_index_write(fuzz_folder(), classes, &index, &err) != ERR_OK ||
        shard_writer_finish(&writer, digest, &err) != ERR_OK)
        err_abort(__FILE__, __LINE__, err.message);
    char *path = fs_join(fuzz_folder(), SHARD_MANIFEST);
    void *bytes;
    size_t size;
    ERR_ASSERT(fs_read(path, 1 << 20, &bytes, &size, &err) == ERR_OK);
    fuzz_seed(bytes, size);
    free(bytes);
    free(path);
}

void fuzz_end(void) {
    fuzz_remove_folder();
}
