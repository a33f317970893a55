// inkling-studies: suggests what to try next, for functions that run elsewhere.
#include "studies/studies.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

// OpenBLAS reads its number of threads, and sets memory aside for each, before main() begins: a
// service that computes on one thread begins anew without the others.
static void be_single_threaded(char **argv) {
    const char *threads = getenv("OPENBLAS_NUM_THREADS");
    if (threads && threads[0])
        return;
    setenv("OPENBLAS_NUM_THREADS", "1", 1);
    execv("/proc/self/exe", argv);
    perror("inkling-studies: cannot begin anew with one thread"); // then with all of them
}

int main(int argc, char **argv) {
    be_single_threaded(argv);
    return service_main(argc, argv, &studies_ops, NULL);
}
