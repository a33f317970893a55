// Entries stand in a dense array, in which a removal puts the last one into the hole; an index of
// their positions is probed linearly.
#include "base/map.h"

#include "base/err.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define ROOM_MIN 16
#define FREE     UINT32_MAX

typedef struct {
    char *key;
    void *value;
    uint64_t hash;
} entry_t;

struct map {
    entry_t *entries;
    uint32_t *index;    // position in entries, or FREE
    size_t room, count; // room of the index: a power of two, at most half of it used
};

static uint64_t hash_of(const char *key) {
    uint64_t hash = 0xcbf29ce484222325u; // FNV-1a
    for (; *key; key++)
        hash = (hash ^ (unsigned char)*key) * 0x100000001b3u;
    return hash ^ hash >> 32;
}

static void make_room(map_t *map, size_t room) {
    map->room = room;
    map->entries = mem_grow(map->entries, room / 2 * sizeof *map->entries);
    map->index = mem_grow(map->index, room * sizeof *map->index);
    memset(map->index, 0xff, room * sizeof *map->index);
    for (size_t i = 0; i < map->count; i++) {
        size_t at = map->entries[i].hash & (room - 1);
        while (map->index[at] != FREE)
            at = (at + 1) & (room - 1);
        map->index[at] = (uint32_t)i;
    }
}

map_t *map_new(void) {
    map_t *map = mem_zero(1, sizeof *map);
    make_room(map, ROOM_MIN);
    return map;
}

void map_destroy(map_t **self) {
    map_t *map = *self;
    if (!map)
        return;
    for (size_t i = 0; i < map->count; i++)
        free(map->entries[i].key);
    free(map->entries);
    free(map->index);
    free(map);
    *self = NULL;
}

// Where in the index the key is, or would go.
static size_t find(const map_t *map, const char *key, uint64_t hash) {
    size_t at = hash & (map->room - 1);
    for (; map->index[at] != FREE; at = (at + 1) & (map->room - 1)) {
        const entry_t *entry = &map->entries[map->index[at]];
        if (entry->hash == hash && strcmp(entry->key, key) == 0)
            break;
    }
    return at;
}

void *map_get(const map_t *map, const char *key) {
    uint32_t position = map->index[find(map, key, hash_of(key))];
    return position == FREE ? NULL : map->entries[position].value;
}

void *map_put(map_t *map, const char *key, void *value) {
    ERR_ASSERT(value);
    uint64_t hash = hash_of(key);
    size_t at = find(map, key, hash);
    if (map->index[at] != FREE) {
        entry_t *entry = &map->entries[map->index[at]];
        void *old = entry->value;
        entry->value = value;
        return old;
    }
    if (map->count == map->room / 2) {
        make_room(map, 2 * map->room);
        at = find(map, key, hash);
    }
    map->entries[map->count] = (entry_t){mem_dup(key), value, hash};
    map->index[at] = (uint32_t)map->count++;
    return NULL;
}

// Frees a place of the index and moves up what was probed past it.
static void vacate(map_t *map, size_t hole) {
    size_t mask = map->room - 1;
    for (size_t at = (hole + 1) & mask; map->index[at] != FREE; at = (at + 1) & mask) {
        size_t home = map->entries[map->index[at]].hash & mask;
        if (((at - home) & mask) < ((at - hole) & mask))
            continue; // it may not go before its home
        map->index[hole] = map->index[at];
        hole = at;
    }
    map->index[hole] = FREE;
}

void *map_remove(map_t *map, const char *key) {
    size_t at = find(map, key, hash_of(key));
    uint32_t position = map->index[at];
    if (position == FREE)
        return NULL;
    void *old = map->entries[position].value;
    vacate(map, at);
    free(map->entries[position].key);
    const entry_t *last = &map->entries[map->count - 1];
    if (position != map->count - 1) {
        map->index[find(map, last->key, last->hash)] = position;
        map->entries[position] = *last;
    }
    map->count--;
    return old;
}

size_t map_count(const map_t *map) {
    return map->count;
}

// *at: one more than the position that was given last, 0 before the first.
void *map_next(const map_t *map, size_t *at) {
    size_t below = *at == 0 ? map->count : *at - 1;
    if (below == 0) {
        *at = 1;
        return NULL;
    }
    *at = below;
    return map->entries[below - 1].value;
}
