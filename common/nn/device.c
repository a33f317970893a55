#include "nn/backend_impl.h"
#include "nn/device_impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GPU     "cuda"
#define VISIBLE "CUDA_VISIBLE_DEVICES" // a list; CUDA counts within it

enum { NAME_SIZE = 128, INDEX_DIGITS = 4 };

static enum { DEVICE_ANY, DEVICE_CPU, DEVICE_GPU } wanted;

bool device_may_be_gpu(void) {
    return wanted != DEVICE_CPU;
}

bool device_must_be_gpu(void) {
    return wanted == DEVICE_GPU;
}

// The index of "cuda:N"; −1 for "cuda", −2 for what is neither.
static int gpu_index(const char *word) {
    size_t length = strlen(GPU);
    if (strncmp(word, GPU, length) != 0) {
        return -2;
    }
    if (!word[length]) {
        return -1;
    }
    const char *digits = word + length + 1;
    size_t count = strspn(digits, "0123456789");
    bool whole = word[length] == ':' && count > 0 && count <= INDEX_DIGITS && !digits[count];
    return whole ? atoi(digits) : -2;
}

// Entry `index` of what this process may see, or the index itself where nothing limits it. False if
// there is no such entry.
static bool visible_name(int index, char name[NAME_SIZE]) {
    const char *at = getenv(VISIBLE);
    if (!at) {
        snprintf(name, NAME_SIZE, "%d", index);
        return true;
    }
    for (; index > 0 && at; index--) {
        at = strchr(at, ',');
        at = at ? at + 1 : NULL;
    }
    size_t length = at ? strcspn(at, ",") : 0;
    if (length == 0 || length >= NAME_SIZE) {
        return false;
    }
    memcpy(name, at, length);
    name[length] = 0;
    return true;
}

static err_code_t use_gpu(int index, err_t *err) {
    char name[NAME_SIZE];
    if (index >= 0 && !visible_name(index, name)) {
        err_set(err, ERR_UNSUPPORTED, "device cuda:%d: " VISIBLE " is \"%.128s\"", index,
                getenv(VISIBLE));
        return err_remedy(err, "the devices are counted from 0 within that list");
    }
    if (index >= 0 && setenv(VISIBLE, name, 1)) { // before the driver is first asked
        return err_set_errno(err, VISIBLE);
    }
    wanted = DEVICE_GPU;
    if (nn_backend_find(GPU)) {
        return ERR_OK;
    }
    if (!nn_backend_why(GPU, err)) {
        err_set(err, ERR_UNSUPPORTED, "this build has no backend for a GPU");
    }
    return err_context(err, "device %s%s%s", GPU, index >= 0 ? ":" : "", index >= 0 ? name : "");
}

err_code_t nn_device(const char *word, err_t *err) {
    if (strcmp(word, "auto") == 0) {
        wanted = DEVICE_ANY;
        return ERR_OK;
    }
    if (strcmp(word, "cpu") == 0) {
        wanted = DEVICE_CPU;
        return ERR_OK;
    }
    int index = gpu_index(word);
    if (index < -1) {
        err_set(err, ERR_USAGE, "device is \"%.32s\"", word);
        return err_remedy(err, "use auto, cpu, cuda or cuda:N");
    }
    return use_gpu(index, err);
}
