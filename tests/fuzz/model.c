// model.json of models, with the files it names.
#include "model/model.h"
#include "base/fs.h"
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    model_t *model = NULL;
    err_t err;
    fuzz_file(MODEL_FILE, data, size);
    if (model_open(fuzz_folder(), NULL, &model, &err) != ERR_OK) {
        ERR_ASSERT(err.code != ERR_OK && err.message[0]);
        return 0;
    }
    const model_info_t *info = model_info(model);
    ERR_ASSERT(info->class_count == info->spec.classes && info->class_count >= 2);
    ERR_ASSERT(prep_recipe_check(&info->recipe, &err) == ERR_OK);
    for (int i = 0; i < info->class_count; i++)
        ERR_ASSERT(info->classes[i] != NULL);
    volatile float first = model_tensor(model, 0)[0];
    (void)first;
    model_close(&model);
    return 0;
}

static void fill_info(model_info_t *info, int classes) {
    const nn_vgg_t vgg = {8, 8, 1, classes, 2, 1, 4, 0.25f};
    ERR_ASSERT(nn_spec_vgg(&vgg, &info->spec, NULL) == ERR_OK);
    info->recipe = PREP_RECIPE_DEFAULT;
    info->recipe.size = 8;
    info->name = mem_dup("dots");
    info->class_count = classes;
    info->classes = mem_zero((size_t)classes, sizeof *info->classes);
    for (int i = 0; i < classes; i++)
        info->classes[i] = mem_format("caf\xc3\xa9 \"%d\"", i);
    info->about = json_pack("{s:s, s:{s:f}}", "job", "17", "test", "accuracy", 0.75);
    info->curves = json_pack("[{s:i}]", "epoch", 1);
}

// Its other files stay; its model.json is the seed.
static void seed(int classes) {
    static nn_tensor_t tensors[NN_TENSORS_MAX];
    float *data[NN_TENSORS_MAX];
    model_info_t info = {.name = NULL};
    char digest[DIGEST_HEX_SIZE], *path = fs_join(fuzz_folder(), MODEL_FILE);
    void *bytes;
    size_t size;
    err_t err;
    fill_info(&info, classes);
    int count = nn_spec_tensors(&info.spec, tensors);
    for (int i = 0; i < count; i++)
        data[i] = mem_zero((size_t)tensors[i].count, sizeof **data);
    if (model_write(fuzz_folder(), &info, (const float *const *)data, NULL, digest, &err) ||
        fs_read(path, 1 << 20, &bytes, &size, &err))
        err_abort(__FILE__, __LINE__, err.message);
    fuzz_seed(bytes, size);
    for (int i = 0; i < count; i++)
        free(data[i]);
    free(bytes);
    free(path);
    model_info_release(&info);
}

void fuzz_seeds(void) {
    seed(5);
    seed(2); // the files that stay are this one's
}

void fuzz_end(void) {
    fuzz_remove_folder();
}
