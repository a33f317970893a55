// From texts to pointers: a hash table that grows. Keys are copied, values are the caller's.
#ifndef INKLING_BASE_MAP_H
#define INKLING_BASE_MAP_H

#include <stddef.h>

typedef struct map map_t;

map_t *map_new(void);
void map_destroy(map_t **map); // allows NULL; values are left alone

void *map_get(const map_t *map, const char *key); // NULL: none
// Puts value (not NULL) in place of what was there, which is returned.
void *map_put(map_t *map, const char *key, void *value);
void *map_remove(map_t *map, const char *key); // what was there, or NULL
size_t map_count(const map_t *map);

// Each value once, newest first as long as nothing is removed:
//   size_t at = 0; while ((value = map_next(map, &at)) != NULL) …
// The current entry may be removed meanwhile; nothing else may change.
void *map_next(const map_t *map, size_t *at);

#endif
