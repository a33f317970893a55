#include "json_impl.h"
#include "model/tensors.h"

#include "base/fs.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static tensor_t to_tensor(const nn_tensor_t *from, const float *data) {
    tensor_t tensor = {.rank = from->rank, .count = from->count, .data = data};
    memcpy(tensor.name, from->name, strnlen(from->name, sizeof from->name - 1));
    memcpy(tensor.dims, from->dims, sizeof tensor.dims);
    return tensor;
}

err_code_t model_weights_write(const char *path, const nn_tensor_t *tensors, int count,
                               const float *const *data, char sha256[DIGEST_HEX_SIZE], err_t *err) {
    static const char *const metadata[] = {"format", "pt", NULL}; // the canonical form is PyTorch's
    tensor_t *list = mem_zero((size_t)count + 1, sizeof *list);
    for (int i = 0; i < count; i++)
        list[i] = to_tensor(&tensors[i], data[i]);
    err_code_t code = tensors_write(path, list, count, metadata, sha256, err);
    free(list);
    return code;
}

static err_code_t check_numbers(const nn_tensor_t *tensors, int count, const float *const *data,
                                err_t *err) {
    for (int t = 0; t < count; t++)
        for (int64_t i = 0; i < tensors[t].count; i++)
            if (!isfinite(data[t][i]) || (tensors[t].role == NN_VARIANCE && data[t][i] < 0))
                return err_set(err, ERR_INVALID, "tensor %s: element %lld is %g", tensors[t].name,
                               (long long)i, (double)data[t][i]);
    return ERR_OK;
}

static err_code_t write_weights(const char *folder, const model_info_t *info, int which,
                                const float *const *data, json_file_t *file, err_t *err) {
    nn_tensor_t *tensors = mem_zero(NN_TENSORS_MAX, sizeof *tensors);
    int count = nn_spec_tensors(&info->spec, tensors);
    char *path = fs_join(folder, json_file_names[which]);
    struct stat stat_;
    err_code_t code = check_numbers(tensors, count, data, err);
    if (code == ERR_OK)
        code = model_weights_write(path, tensors, count, data, file->sha256, err);
    if (code == ERR_OK && stat(path, &stat_) != 0)
        code = err_set_errno(err, "cannot read %s", path);
    if (code == ERR_OK) {
        file->bytes = (uint64_t)stat_.st_size;
        file->present = true;
    }
    free(path);
    free(tensors);
    return code;
}

static err_code_t write_curves(const char *folder, const json_t *curves, json_file_t *file,
                               err_t *err) {
    char *path = fs_join(folder, MODEL_CURVES);
    char *text = json_dumps(curves, JSON_INDENT(1) | JSON_ENCODE_ANY);
    ERR_ASSERT(text);
    file->bytes = strlen(text);
    file->present = true;
    digest_bytes(text, strlen(text), file->sha256);
    err_code_t code = fs_write(path, text, strlen(text), err);
    free(text);
    free(path);
    return code;
}

static err_code_t check_info(const model_info_t *info, err_t *err) {
    ERR_ASSERT(info->name && info->class_count == info->spec.classes);
    if (!info->name[0] || strlen(info->name) > MODEL_NAME_MAX)
        return err_set(err, ERR_INVALID, "'%.80s' cannot name a model", info->name);
    err_code_t code = nn_spec_check(&info->spec, err);
    if (code == ERR_OK)
        code = prep_recipe_check(&info->recipe, err);
    if (code)
        return code;
    if (info->spec.height != info->recipe.size || info->spec.width != info->recipe.size ||
        info->spec.channels != info->recipe.channels)
        return err_set(err, ERR_INVALID,
                       "the network takes %dx%dx%d pixels, its recipe gives %dx%dx%d",
                       info->spec.height, info->spec.width, info->spec.channels, info->recipe.size,
                       info->recipe.size, info->recipe.channels);
    return ERR_OK;
}

err_code_t model_write(const char *folder, model_info_t *info, const float *const *best,
                       const float *const *last, char digest[DIGEST_HEX_SIZE], err_t *err) {
    json_file_t files[JSON_FILES] = {{.present = false}};
    err_code_t code = check_info(info, err);
    if (code == ERR_OK)
        code = write_weights(folder, info, 0, best, &files[0], err);
    if (code == ERR_OK && last)
        code = write_weights(folder, info, 1, last, &files[1], err);
    if (code == ERR_OK && info->curves)
        code = write_curves(folder, info->curves, &files[2], err);
    if (code)
        return code;
    memcpy(info->weights_sha256, files[0].sha256, DIGEST_HEX_SIZE);
    memcpy(info->last_sha256, files[1].sha256, DIGEST_HEX_SIZE);
    prep_recipe_hash(&info->recipe, info->recipe_hash);
    return json_write(folder, info, files, digest, err);
}

err_code_t model_describe(const char *folder, json_t *about, char digest[DIGEST_HEX_SIZE],
                          err_t *err) {
    json_file_t files[JSON_FILES];
    model_info_t info;
    err_code_t code = json_read(folder, &info, files, digest, err);
    if (code)
        return code;
    json_decref(info.about);
    info.about = json_incref(about);
    code = json_write(folder, &info, files, digest, err);
    model_info_release(&info);
    return code;
}
