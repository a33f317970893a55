#include "trainer/memory.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINE_BYTES 512

// The number behind key in a file of lines "key number …"; false if there is none.
static bool read_field(const char *path, const char *key, uint64_t *value) {
    char line[LINE_BYTES];
    size_t length = strlen(key);
    bool found = false;
    FILE *file = fopen(path, "re");
    while (file && !found && fgets(line, sizeof line, file))
        found = strncmp(line, key, length) == 0 && sscanf(line + length, " %" SCNu64, value) == 1;
    if (file)
        fclose(file);
    return found;
}

// Room below the limit of one control group (version 2), caches that can be dropped not counted.
static uint64_t group_room(const char *folder) {
    char *max = mem_format("%s/memory.max", folder);
    char *now = mem_format("%s/memory.current", folder);
    char *stat = mem_format("%s/memory.stat", folder);
    uint64_t limit, used, cache = 0, room = UINT64_MAX;
    if (read_field(max, "", &limit) && read_field(now, "", &used)) {
        read_field(stat, "inactive_file ", &cache);
        used = used > cache ? used - cache : 0;
        room = limit > used ? limit - used : 0;
    }
    free(max);
    free(now);
    free(stat);
    return room;
}

// The group of this process in version 2's tree, "/a/b"; "" if there is none.
static void read_group(const char *proc, char group[LINE_BYTES]) {
    char *path = mem_format("%s/self/cgroup", proc), line[LINE_BYTES];
    FILE *file = fopen(path, "re");
    group[0] = 0;
    while (file && fgets(line, sizeof line, file))
        if (strncmp(line, "0::/", 4) == 0) {
            line[strcspn(line, "\n")] = 0;
            memcpy(group, line + 3, strlen(line + 3) + 1);
        }
    if (file)
        fclose(file);
    free(path);
}

uint64_t memory_available_at(const char *proc, const char *cgroup) {
    char *info = mem_format("%s/meminfo", proc), group[LINE_BYTES];
    uint64_t kib, room = UINT64_MAX;
    if (read_field(info, "MemAvailable:", &kib))
        room = kib * 1024;
    free(info);
    read_group(proc, group);
    for (;;) {
        char *folder = mem_format("%s%s", cgroup, group);
        uint64_t here = group_room(folder);
        room = here < room ? here : room;
        free(folder);
        char *slash = strrchr(group, '/');
        if (!slash)
            break;
        *slash = 0;
    }
    return room == UINT64_MAX ? 0 : room > 0 ? room : 1;
}

uint64_t memory_available(void) {
    return memory_available_at("/proc", "/sys/fs/cgroup");
}

err_code_t memory_check(uint64_t needed, err_t *err) {
    uint64_t available = memory_available();
    if (available == 0 || needed <= available)
        return ERR_OK;
    err_set(err, ERR_TOO_LARGE,
            "this training needs about %" PRIu64 " MB of memory; %" PRIu64 " MB are available",
            (needed >> 20) + 1, available >> 20);
    return err_remedy(err, "use a smaller batch, width, depth or image size, or give the worker "
                           "more memory");
}
