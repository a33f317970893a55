#include "trainer/checkpoint.h"

#include "model/tensors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STATE_KEY "state"

void checkpoint_release(checkpoint_t *checkpoint) {
    state_release(&checkpoint->state);
    weights_release(&checkpoint->params);
    weights_release(&checkpoint->m);
    weights_release(&checkpoint->v);
    weights_release(&checkpoint->best);
}

// The four groups of arrays and the letters before their tensors' names.
static const char letters[] = "pmvb";

static weights_t **group_of(checkpoint_t *checkpoint, int group) {
    weights_t **groups[] = {&checkpoint->params, &checkpoint->m, &checkpoint->v, &checkpoint->best};
    return groups[group];
}

static const weights_t *group_in(const checkpoint_t *checkpoint, int group) {
    const weights_t *groups[] = {checkpoint->params, checkpoint->m, checkpoint->v,
                                 checkpoint->best};
    return groups[group];
}

static bool is_moment(int group) {
    return group == 1 || group == 2;
}

static void name_tensor(int group, const nn_tensor_t *from, char name[TENSORS_NAME_MAX + 1]) {
    snprintf(name, TENSORS_NAME_MAX + 1, "%c.%s", letters[group], from->name);
}

// ---- writing ----

uint64_t checkpoint_bytes(const checkpoint_t *checkpoint, const nn_tensor_t *tensors, int count) {
    uint64_t bytes = 65536;
    for (int g = 0; g < 4; g++)
        for (int i = 0; group_in(checkpoint, g) && i < count; i++)
            if (weights_at(group_in(checkpoint, g), i))
                bytes += (uint64_t)tensors[i].count * sizeof(float);
    return bytes;
}

static int list_tensors(const checkpoint_t *checkpoint, const nn_tensor_t *tensors, int count,
                        tensor_t *list) {
    int listed = 0;
    for (int g = 0; g < 4; g++)
        for (int i = 0; group_in(checkpoint, g) && i < count; i++) {
            const float *data = weights_at(group_in(checkpoint, g), i);
            if (!data)
                continue;
            tensor_t *tensor = &list[listed++];
            *tensor = (tensor_t){.rank = tensors[i].rank, .count = tensors[i].count, .data = data};
            memcpy(tensor->dims, tensors[i].dims, sizeof tensor->dims);
            name_tensor(g, &tensors[i], tensor->name);
        }
    return listed;
}

err_code_t checkpoint_write(const char *path, const checkpoint_t *checkpoint,
                            const nn_tensor_t *tensors, int count, char sha256[DIGEST_HEX_SIZE],
                            err_t *err) {
    json_t *json = state_json(&checkpoint->state);
    char *text = json_dumps(json, JSON_COMPACT);
    json_decref(json);
    ERR_ASSERT(text);
    const char *const metadata[] = {STATE_KEY, text, NULL};
    tensor_t *list = mem_zero(4 * (size_t)count + 1, sizeof *list);
    int listed = list_tensors(checkpoint, tensors, count, list);
    err_code_t code = tensors_write(path, list, listed, metadata, sha256, err);
    free(list);
    free(text);
    return code;
}

// ---- reading ----

static err_code_t damaged(const char *path, const char *what, const char *name, err_t *err) {
    return err_set(err, ERR_CORRUPT, "%s is damaged: %s%s", path, what, name);
}

static err_code_t take_state(const tensors_t *file, const char *path, state_t *state, err_t *err) {
    const char *text = tensors_metadata(file, STATE_KEY);
    json_t *json = text ? json_loads(text, JSON_REJECT_DUPLICATES, NULL) : NULL;
    err_code_t code = json ? state_parse(json, state, err) : ERR_CORRUPT;
    json_decref(json);
    return code ? damaged(path, "it has no state of a training", "", err) : ERR_OK;
}

static bool has_shape(const tensor_t *found, const nn_tensor_t *wanted) {
    bool same = found && found->rank == wanted->rank && found->count == wanted->count;
    for (int i = 0; same && i < wanted->rank; i++)
        same = found->dims[i] == wanted->dims[i];
    return same;
}

static err_code_t take_group(const tensors_t *file, const char *path, const nn_tensor_t *tensors,
                             int count, int group, weights_t **out, err_t *err) {
    weights_t *weights = weights_new(tensors, count, is_moment(group));
    if (!weights)
        return err_set(err, ERR_NO_MEMORY, "no memory for the tensors of %s", path);
    *out = weights;
    for (int i = 0; i < count; i++) {
        char name[TENSORS_NAME_MAX + 1];
        float *to = weights_at(weights, i);
        name_tensor(group, &tensors[i], name);
        const tensor_t *found = to ? tensors_find(file, name) : NULL;
        if (to && !has_shape(found, &tensors[i]))
            return damaged(path, "no right tensor ", name, err);
        if (to)
            memcpy(to, found->data, (size_t)found->count * sizeof *to);
    }
    return ERR_OK;
}

static err_code_t take_all(const tensors_t *file, const char *path, const nn_tensor_t *tensors,
                           int count, checkpoint_t *checkpoint, err_t *err) {
    err_code_t code = take_state(file, path, &checkpoint->state, err);
    if (code || !checkpoint->state.begun || checkpoint->state.done)
        return code;
    int groups = checkpoint->state.best >= 0 ? 4 : 3;
    for (int g = 0; g < groups && code == ERR_OK; g++)
        code = take_group(file, path, tensors, count, g, group_of(checkpoint, g), err);
    return code;
}

err_code_t checkpoint_read_state(const char *path, const char *sha256, state_t *state, err_t *err) {
    tensors_t *file;
    state_init(state);
    err_code_t code = tensors_open(path, sha256, &file, err);
    if (code == ERR_OK)
        code = take_state(file, path, state, err);
    tensors_close(&file);
    return code;
}

err_code_t checkpoint_read(const char *path, const char *sha256, const nn_tensor_t *tensors,
                           int count, checkpoint_t *checkpoint, err_t *err) {
    tensors_t *file;
    *checkpoint = (checkpoint_t){.params = NULL};
    state_init(&checkpoint->state);
    err_code_t code = tensors_open(path, sha256, &file, err);
    if (code == ERR_OK)
        code = take_all(file, path, tensors, count, checkpoint, err);
    tensors_close(&file);
    if (code)
        checkpoint_release(checkpoint);
    return code;
}
