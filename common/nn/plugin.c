#include "nn/plugin_impl.h"

#include "nn/cuda/plugin.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LIBRARY "/lib/inkling/inkling-cuda.so" // beside the folder of the program
#define DRIVER  "libcuda.so.1"

enum { PATH_SIZE = 4096 };

static struct {
    pthread_once_t once;
    const nn_backend_t *backend; // once it is loaded
    err_t err;                   // why not
} loaded = {.once = PTHREAD_ONCE_INIT};

static void no_gpu(const char *format, const char *what) {
    char text[256];
    snprintf(text, sizeof text, format, what);
    err_set(&loaded.err, ERR_UNSUPPORTED, "no GPU can be used here: %s", text);
    err_remedy(&loaded.err, "use the backend cpu");
}

static void find_path(char path[PATH_SIZE]) {
    ssize_t size = readlink("/proc/self/exe", path, PATH_SIZE - sizeof LIBRARY);
    path[size > 0 ? size : 0] = 0;
    for (int i = 0; i < 2; i++) {
        char *slash = strrchr(path, '/');
        if (slash) {
            *slash = 0;
        }
    }
    strncat(path, LIBRARY, PATH_SIZE - strlen(path) - 1);
}

static void load(void) {
    char path[PATH_SIZE];
    find_path(path);
    if (access(path, F_OK) != 0) {
        no_gpu("this build has no plugin for CUDA (%s)", path);
        return;
    }
    // Without a driver the plugin's libraries, half a gigabyte, need not be loaded.
    if (!dlopen(DRIVER, RTLD_LAZY | RTLD_LOCAL)) {
        no_gpu("%s", dlerror());
        return;
    }
    void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    const nn_plugin_t *plugin = handle ? dlsym(handle, "nn_plugin") : NULL;
    if (!plugin) {
        no_gpu("%s", dlerror());
    } else if (plugin->version != NN_PLUGIN_VERSION || plugin->plan_size != sizeof(nn_plan_t)) {
        no_gpu("%s belongs to another version of the programs", path);
    } else if (!plugin->find(&loaded.err)) {
        loaded.backend = plugin->backend;
    }
}

const nn_backend_t *plugin_get(err_t *err) {
    pthread_once(&loaded.once, load);
    if (!loaded.backend && err) {
        *err = loaded.err;
    }
    return loaded.backend;
}
