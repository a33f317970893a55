// A worker of kind "play". PLAY_CHILD names another child program.
#include "worker/worker.h"

#include <stdlib.h>

int main(int argc, char **argv) {
    const char *child = getenv("PLAY_CHILD");
    const char *const kinds[] = {"play", "other", NULL};
    const worker_spec_t spec = {.program = "play",
                                .about = "plays parts in tests",
                                .kinds = kinds,
                                .child = child ? child : "worker_play_child"};
    return worker_main(argc, argv, &spec);
}
