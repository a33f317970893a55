#include "nn/nn.h"

#include "base/log.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void nn_wait_passively(char **argv) {
    if (getenv("OMP_WAIT_POLICY") || getenv("GOMP_SPINCOUNT"))
        return;
    char path[PATH_MAX];
    ssize_t size = readlink("/proc/self/exe", path, sizeof path - 1);
    if (size > 0 && setenv("OMP_WAIT_POLICY", "passive", 1) == 0) {
        path[size] = 0;
        execv(path, argv);
    }
    int problem = errno;
    unsetenv("OMP_WAIT_POLICY"); // only a program that is executed with it obeys it
    log_warn("%s cannot be executed again (%s): the engine's threads wait actively, which costs "
             "processor time; with OMP_WAIT_POLICY=passive in the environment they do not",
             argv[0], strerror(problem));
}
