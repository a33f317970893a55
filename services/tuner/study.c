// inkling-tuner-study: one tune job.
#include "child/child.h"
#include "tuner/search.h"

int main(int argc, char **argv) {
    return child_main(argc, argv, search_run);
}
