#include "base/nearest.h"

#include <stdio.h>
#include <string.h>

#define NEAR_MAX 32

static size_t smallest(size_t a, size_t b, size_t c) {
    size_t least = a < b ? a : b;
    return least < c ? least : c;
}

// Levenshtein's distance.
static size_t distance(const char *a, const char *b) {
    size_t row[NEAR_MAX + 1], width = strlen(b);
    for (size_t j = 0; j <= width; j++)
        row[j] = j;
    for (size_t i = 1; a[i - 1]; i++) {
        size_t corner = row[0];
        row[0] = i;
        for (size_t j = 1; j <= width; j++) {
            size_t above = row[j];
            row[j] = smallest(above + 1, row[j - 1] + 1, corner + (a[i - 1] != b[j - 1]));
            corner = above;
        }
    }
    return row[width];
}

bool nearest(const char *word, nearest_fn next, void *arg, char best[64]) {
    const char *name;
    size_t least = strlen(word) / 3 + 2; // more changes than that are a guess
    bool found = false;
    for (size_t i = 0; (name = next(arg, i)) != NULL; i++) {
        bool fits = strlen(name) <= NEAR_MAX && strlen(word) <= NEAR_MAX;
        size_t away = fits ? distance(word, name) : least;
        if (away < least && away < strlen(name)) {
            least = away;
            found = true;
            snprintf(best, 64, "%s", name);
        }
    }
    return found;
}
