// inkling-ingest: serves jobs of kind ingest.
#include "worker/worker.h"

#include <stddef.h>

int main(int argc, char **argv) {
    static const char *const kinds[] = {"ingest", NULL};
    static const worker_spec_t spec = {.program = "ingest",
                                       .about = "Makes data sets of folders of images.",
                                       .kinds = kinds,
                                       .child = "inkling-ingest-decoder"};
    return worker_main(argc, argv, &spec);
}
