// Did you mean …? The name among many that a mistyped word is closest to.
#ifndef INKLING_BASE_NEAREST_H
#define INKLING_BASE_NEAREST_H

#include <stdbool.h>
#include <stddef.h>

// The name at index, counted from 0; NULL behind the last.
typedef const char *(*nearest_fn)(void *arg, size_t index);

// Copies the name to best; false when none is near enough to be meant (Levenshtein's distance of at
// most a third of the word and 1).
bool nearest(const char *word, nearest_fn next, void *arg, char best[64]);

#endif
