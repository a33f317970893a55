// For libFuzzer, which brings its own corpus: seeds are not needed, setting up is.
#include "fuzz.h"

void fuzz_seed(const void *bytes, size_t size) {
    (void)bytes, (void)size;
}

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc, (void)argv;
    fuzz_seeds();
    return 0;
}
