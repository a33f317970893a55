#include "process_impl.h"

#include <dirent.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

static double resident_bytes(void) {
    unsigned long long pages = 0;
    FILE *file = fopen("/proc/self/statm", "re"); // size resident …, in pages
    if (!file)
        return 0;
    if (fscanf(file, "%*u %llu", &pages) != 1)
        pages = 0;
    fclose(file);
    return (double)pages * (double)sysconf(_SC_PAGESIZE);
}

static int open_files(void) {
    DIR *folder = opendir("/proc/self/fd");
    int count = -3; // ".", ".." and the folder itself
    while (folder && readdir(folder))
        count++;
    if (folder)
        closedir(folder);
    return count > 0 ? count : 0;
}

static void put(buf_t *out, const char *name, const char *type, const char *help, double value) {
    buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n%s %.3f\n", name, help, name, type, name, value);
}

void process_metrics(buf_t *out) {
    struct rusage usage = {0};
    getrusage(RUSAGE_SELF, &usage);
    double cpu_s = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                   (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
    put(out, "process_cpu_seconds_total", "counter", "User and system time, without children.",
        cpu_s);
    put(out, "process_resident_memory_bytes", "gauge", "Memory in RAM.", resident_bytes());
    put(out, "process_open_fds", "gauge", "Open files and sockets.", open_files());
}
