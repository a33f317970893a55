#include "nn/cores_impl.h"

#include <limits.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int affinity(void) {
    for (int cpus = CPU_SETSIZE; cpus <= 1 << 20; cpus *= 2) { // EINVAL: the kernel's is larger
        cpu_set_t *set = CPU_ALLOC((size_t)cpus);
        size_t size = CPU_ALLOC_SIZE((size_t)cpus);
        int count = set && sched_getaffinity(0, size, set) == 0 ? CPU_COUNT_S(size, set) : 0;
        CPU_FREE(set);
        if (count > 0) {
            return count;
        }
    }
    return 1;
}

static bool read_line(const char *path, char *line, int size) {
    FILE *file = fopen(path, "re");
    bool read = file && fgets(line, size, file);
    if (file) {
        fclose(file);
    }
    line[read ? strcspn(line, "\n") : 0] = 0;
    return read;
}

// Cores that the group's cpu.max ("quota period" or "max period") grants; INT_MAX for no limit.
static int quota(const char *group) {
    char path[PATH_MAX], line[64];
    long long granted = 0, period = 0;
    int size = snprintf(path, sizeof path, "/sys/fs/cgroup%s/cpu.max", group);
    if (size >= (int)sizeof path || !read_line(path, line, sizeof line) ||
        sscanf(line, "%lld %lld", &granted, &period) != 2 || granted <= 0 || period <= 0) {
        return INT_MAX;
    }
    long long cores = (granted + period - 1) / period;
    return cores < INT_MAX ? (int)cores : INT_MAX;
}

int cores_usable(void) {
    int cores = affinity();
    char line[PATH_MAX];
    if (!read_line("/proc/self/cgroup", line, sizeof line) || strncmp(line, "0::/", 4) != 0) {
        return cores;
    }
    char *group = line + strlen("0::");
    for (;;) { // a limit of any group above holds as well
        int limit = quota(strcmp(group, "/") == 0 ? "" : group);
        cores = limit < cores ? limit : cores;
        char *slash = strrchr(group, '/');
        if (!slash || group[0] == 0) {
            return cores;
        }
        *slash = 0;
    }
}
