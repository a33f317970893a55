#include "nn/backend_impl.h"

#include <string.h>

// Best first.
static const nn_backend_t *const backends[] = {
#ifdef INKLING_NN_CPU
    &nn_backend_cpu,
#endif
    &nn_backend_ref,
};

const char *nn_backend_name(int index) {
    int count = (int)(sizeof backends / sizeof backends[0]);
    return index >= 0 && index < count ? backends[index]->name : NULL;
}

const nn_backend_t *nn_backend_find(const char *name) {
    if (strcmp(name, "auto") == 0) {
        return backends[0];
    }
    for (size_t i = 0; i < sizeof backends / sizeof backends[0]; i++) {
        if (strcmp(backends[i]->name, name) == 0) {
            return backends[i];
        }
    }
    return NULL;
}
