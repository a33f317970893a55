#include "images.h"

#include "base/fs.h"
#include "base/philox.h"
#include "shard/index.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

// style 0: soft; otherwise stripes of style + 1 pixels.
static void draw(int style, uint32_t n, int size, uint8_t *pixels) {
    philox_t random = philox(17, n, (uint32_t)style, 0, 0);
    double x0 = (0.3 + 0.4 * (double)philox_float(random.v[0])) * size;
    double y0 = (0.3 + 0.4 * (double)philox_float(random.v[1])) * size;
    double angle = 6.28 * (double)philox_float(random.v[2]);
    for (int y = 0; y < size; y++)
        for (int x = 0; x < size; x++) {
            double far = hypot(x - x0, y - y0) / size;
            double along = x * cos(angle) + y * sin(angle);
            double value = 200 * exp(-3 * far);
            if (style > 0 && far < 0.5)
                value = fmod(fabs(along), 2 * (style + 1)) < style + 1 ? 230 : 25;
            uint32_t noise = philox(18, (uint32_t)(y * size + x), n, (uint32_t)style, 0).v[0];
            pixels[y * size + x] = (uint8_t)fmin(255, value + (double)(noise >> 27));
        }
}

void images_draw(bool comic, uint32_t n, int size, uint8_t *pixels) {
    draw(comic, n, size, pixels);
}

static void add_image(shard_writer_t *writer, const shard_info_t *info, shard_split_t split, int i,
                      shard_entry_t *entry) {
    int label = i % info->class_count;
    bool soft = strcmp(info->classes[label], "faces") == 0;
    uint8_t *pixels = mem_alloc((size_t)info->height * (size_t)info->width);
    uint8_t digest[SHARD_DIGEST_BYTES] = {(uint8_t)split, (uint8_t)i, (uint8_t)(i >> 8)};
    draw(soft ? 0 : 1 + label, (uint32_t)(10000 * split + i), info->height, pixels);
    *entry = (shard_entry_t){
        .path = mem_format("%s/%d-%d, \"x\".png", info->classes[label], (int)split, i),
        .bytes = 10,
        .has_digest = true,
        .label = label,
        .group = mem_format("%d-%d", (int)split, i),
        .outcome = SHARD_KEPT,
        .split = split,
        .row = i};
    memcpy(entry->digest, digest, sizeof digest);
    assert_int_equal(shard_writer_add(writer, split, pixels, label, digest, NULL), ERR_OK);
    free(pixels);
}

static shard_info_t make_info(const char *const *classes, int class_count, int size) {
    prep_recipe_t recipe = PREP_RECIPE_DEFAULT;
    char text[PREP_RECIPE_TEXT_MAX];
    recipe.size = size;
    recipe.mean_subtract = true;
    recipe.mean[0] = 90.5f;
    prep_recipe_write(&recipe, text);
    shard_info_t info = {.name = mem_dup("toy"),
                         .source = mem_dup("/nowhere"),
                         .group_by = mem_dup("none"),
                         .recipe = mem_dup(text),
                         .height = size,
                         .width = size,
                         .channels = 1,
                         .class_count = class_count,
                         .classes = mem_zero((size_t)class_count, sizeof(char *))};
    prep_recipe_hash(&recipe, info.recipe_hash);
    for (int i = 0; i < class_count; i++)
        info.classes[i] = mem_dup(classes[i]);
    for (int s = 0; s < SHARD_SPLIT_COUNT; s++)
        info.class_images[s] = mem_zero((size_t)class_count, sizeof(int64_t));
    return info;
}

static int by_path(const void *a, const void *b) {
    return strcmp(((const shard_entry_t *)a)->path, ((const shard_entry_t *)b)->path);
}

void images_write(const char *folder, const char *const *classes, int class_count, int size,
                  const int per_split[SHARD_SPLIT_COUNT], char digest[DIGEST_HEX_SIZE]) {
    err_t err;
    shard_writer_t *writer;
    shard_info_t info = make_info(classes, class_count, size);
    shard_index_t index = {NULL, 0};
    for (int s = 0; s < SHARD_SPLIT_COUNT; s++)
        index.count += per_split[s];
    index.entries = mem_zero((size_t)index.count, sizeof *index.entries);
    shard_entry_t *next = index.entries;
    assert_int_equal(fs_mkdirs(folder, NULL), ERR_OK);
    assert_int_equal(shard_writer_open(folder, &info, &writer, NULL), ERR_OK);
    for (int s = 0; s < SHARD_SPLIT_COUNT; s++)
        for (int i = 0; i < per_split[s]; i++)
            add_image(writer, &info, (shard_split_t)s, i, next++);
    qsort(index.entries, (size_t)index.count, sizeof *index.entries, by_path);
    assert_int_equal(shard_index_write(folder, info.classes, &index, NULL), ERR_OK);
    if (shard_writer_finish(&writer, digest, &err))
        fail_msg("%s", err.message);
    shard_index_release(&index);
    shard_info_release(&info);
}
