#include "nn/nn.h"

#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

void nn_wait_passively(char **argv) {
    if (getenv("OMP_WAIT_POLICY") || getenv("GOMP_SPINCOUNT"))
        return;
    char path[PATH_MAX];
    ssize_t size = readlink("/proc/self/exe", path, sizeof path - 1);
    if (size <= 0 || setenv("OMP_WAIT_POLICY", "passive", 1) != 0)
        return;
    path[size] = 0;
    execv(path, argv);
}
