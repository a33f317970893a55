#include "nn/backend_impl.h"
#include "nn/device_impl.h"
#include "nn/plugin_impl.h"

#include <string.h>

#define CUDA "cuda"

// Best first; before them comes the plugin for CUDA, where a GPU can be used.
static const nn_backend_t *const backends[] = {
#ifdef INKLING_NN_CPU
    &nn_backend_cpu,
#endif
    &nn_backend_ref,
};
enum { COUNT = sizeof backends / sizeof backends[0] };

static const nn_backend_t *at(int index) {
    const nn_backend_t *plugin = device_may_be_gpu() ? plugin_get(NULL) : NULL;
    if (plugin && index == 0) {
        return plugin;
    }
    index -= plugin != NULL;
    return index >= 0 && index < COUNT ? backends[index] : NULL;
}

const char *nn_backend_name(int index) {
    const nn_backend_t *backend = at(index);
    return backend ? backend->name : NULL;
}

const nn_backend_t *nn_backend_find(const char *name) {
    if (strcmp(name, "auto") == 0) {
        return at(0);
    }
    const nn_backend_t *backend;
    for (int i = 0; (backend = at(i)); i++) {
        if (strcmp(backend->name, name) == 0) {
            return backend;
        }
    }
    return NULL;
}

bool nn_backend_why(const char *name, err_t *err) {
    return strcmp(name, CUDA) == 0 && !plugin_get(err);
}
