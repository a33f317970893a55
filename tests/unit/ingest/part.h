// Parts of a test that need a process of their own: the test's program, started again.
#ifndef TEST_INGEST_PART_H
#define TEST_INGEST_PART_H

#include "tree.h"

typedef struct {
    const char *name;
    int (*play)(const tree_t *tree); // the process's exit status
} part_t;

// Starts the program with the part's name and the tree's root as its arguments, and waits for its
// end; the wait status.
int part_start(const char *name, const tree_t *tree);
// What main does with these arguments, and returns.
int part_play(const part_t *parts, size_t count, const char *name, char *root);

#endif
