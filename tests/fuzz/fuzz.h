// Can any bytes break a parser? One file per parser; each has the entry that libFuzzer knows, and
// good inputs to begin with. run.c feeds it seeded mutations of these, the same on every run; built
// with clang and -DINKLING_FUZZ=ON the same entries are libFuzzer programs, fuzzer_NAME.
//
// An entry aborts (ERR_ASSERT) where a parser contradicts itself, e.g. refuses what it wrote.
#ifndef INKLING_TESTS_FUZZ_FUZZ_H
#define INKLING_TESTS_FUZZ_FUZZ_H

#include "base/err.h"

#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

// Calls fuzz_seed() with each good input. Also sets the parser up; called once, first.
void fuzz_seeds(void);
void fuzz_seed(const void *bytes, size_t size);
// Removes what fuzz_seeds() made; called last. Not under libFuzzer.
void fuzz_end(void);

// A folder for parsers that read files, made on first use and removed by fuzz_remove_folder().
const char *fuzz_folder(void);
void fuzz_remove_folder(void);
// Writes it to <folder>/<name>, plainly, and returns the path.
const char *fuzz_file(const char *name, const void *bytes, size_t size);

#endif
