// inkling-tuner: serves jobs of kind tune.
#include "worker/worker.h"

#include <stddef.h>

int main(int argc, char **argv) {
    static const char *const kinds[] = {"tune", NULL};
    static const worker_spec_t spec = {.program = "tuner",
                                       .about = "Looks for the parameters of a training.",
                                       .kinds = kinds,
                                       .child = "inkling-tuner-study"};
    return worker_main(argc, argv, &spec);
}
