#include "model/model.h"

#include "base/fs.h"
#include "model_impl.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

// context: path of the file.
static err_code_t damaged(err_t *err, const char *path, const char *how) {
    err_set(err, ERR_CORRUPT, "%s is damaged: %s", path, how);
    return err_remedy(err, "train the model again, or restore its folder");
}

// A file that nobody maps: its size and SHA-256 only.
static err_code_t check_file(const char *path, const json_file_t *file, err_t *err) {
    char found[DIGEST_HEX_SIZE];
    uint64_t bytes = 0;
    struct stat info;
    if (stat(path, &info) != 0 || !S_ISREG(info.st_mode) || (uint64_t)info.st_size != file->bytes)
        return damaged(err, path, "it is missing, or its size is not that of " MODEL_FILE);
    err_code_t code = digest_file(path, found, &bytes, err);
    if (code)
        return code;
    return bytes == file->bytes && strcmp(found, file->sha256) == 0
               ? ERR_OK
               : damaged(err, path, "its SHA-256 is not that of " MODEL_FILE);
}

static bool has_shape(const tensor_t *found, const nn_tensor_t *wanted) {
    bool same = found && found->rank == wanted->rank && found->count == wanted->count;
    for (int i = 0; same && i < wanted->rank; i++)
        same = found->dims[i] == wanted->dims[i];
    return same;
}

static err_code_t take_tensor(model_t *model, int index, const char *path, err_t *err) {
    const nn_tensor_t *wanted = &model->tensors[index];
    const tensor_t *found = tensors_find(model->weights, wanted->name);
    char how[160];
    if (!has_shape(found, wanted)) {
        snprintf(how, sizeof how, "tensor %s %s", wanted->name,
                 found ? "has another shape" : "is missing");
        return damaged(err, path, how);
    }
    for (int64_t i = 0; i < found->count; i++)
        if (!isfinite(found->data[i]) || (wanted->role == NN_VARIANCE && found->data[i] < 0)) {
            snprintf(how, sizeof how, "element %lld of tensor %s is %g", (long long)i, wanted->name,
                     (double)found->data[i]);
            return damaged(err, path, how);
        }
    model->data[index] = found->data;
    return ERR_OK;
}

static err_code_t take_weights(model_t *model, const char *path, const json_file_t *file,
                               err_t *err) {
    err_code_t code = tensors_open(path, file->sha256, &model->weights, err);
    if (code == ERR_NOT_FOUND)
        return damaged(err, path, "it is missing");
    if (code == ERR_CORRUPT)
        return err_remedy(err, "train the model again, or restore its folder");
    model->tensor_count = nn_spec_tensors(&model->info.spec, model->tensors);
    if (code == ERR_OK && tensors_count(model->weights) != model->tensor_count)
        code = damaged(err, path, "it has other tensors than the network");
    for (int i = 0; i < model->tensor_count && code == ERR_OK; i++)
        code = take_tensor(model, i, path, err);
    return code;
}

static err_code_t take_files(model_t *model, const char *folder,
                             const json_file_t files[JSON_FILES], err_t *err) {
    err_code_t code = ERR_OK;
    for (int i = 0; i < JSON_FILES && code == ERR_OK; i++) {
        char *path = fs_join(folder, json_file_names[i]);
        if (files[i].present)
            code = i == 0 ? take_weights(model, path, &files[i], err)
                          : check_file(path, &files[i], err);
        free(path);
    }
    memcpy(model->info.weights_sha256, files[0].sha256, DIGEST_HEX_SIZE);
    memcpy(model->info.last_sha256, files[1].sha256, DIGEST_HEX_SIZE);
    return code;
}

err_code_t model_open(const char *folder, const char *digest, model_t **out, err_t *err) {
    model_t *model = mem_zero(1, sizeof *model);
    json_file_t files[JSON_FILES];
    *out = NULL;
    err_code_t code = json_read(folder, &model->info, files, model->digest, err);
    if (code == ERR_OK && digest && strcmp(digest, model->digest) != 0) {
        char *path = fs_join(folder, MODEL_FILE);
        code = damaged(err, path, "its SHA-256 is not the one that was registered");
        free(path);
    }
    if (code == ERR_OK)
        code = take_files(model, folder, files, err);
    if (code)
        model_close(&model);
    else
        *out = model;
    return code;
}

void model_close(model_t **self) {
    model_t *model = *self;
    if (!model)
        return;
    tensors_close(&model->weights);
    model_info_release(&model->info);
    free(model);
    *self = NULL;
}

const model_info_t *model_info(const model_t *model) {
    return &model->info;
}

const char *model_digest(const model_t *model) {
    return model->digest;
}

const float *model_tensor(const model_t *model, int index) {
    ERR_ASSERT(index >= 0 && index < model->tensor_count);
    return model->data[index];
}
