#include "stats_impl.h"

#include <stdio.h>

static const metric_info_t infos[] = {
#define X(...) METRIC_INFO(stats_t, __VA_ARGS__)
    STATS_METRICS(X)
#undef X
};

static const char *const names[] = {
#define X(name, sort) #name,
    SCRIPTS(X)
#undef X
};

// One row for each script that has been called.
static void render_scripts(metric_type_t type, size_t offset, size_t width, const char *name,
                           const char *help, const stats_t *stats, buf_t *out) {
    metric_info_t rows[SCRIPT_COUNT];
    char labels[SCRIPT_COUNT][48];
    size_t count = 0;
    for (size_t i = 0; i < SCRIPT_COUNT; i++) {
        if (metric_count(&stats->calls[i]) == 0)
            continue;
        snprintf(labels[count], sizeof labels[count], "script=\"%s\"", names[i]);
        rows[count] = (metric_info_t){type, offset + i * width, name, labels[count], help};
        count++;
    }
    metric_render(rows, count, stats, out);
}

void stats_render(const stats_t *stats, buf_t *out) {
    metric_render(infos, sizeof infos / sizeof *infos, stats, out);
    render_scripts(METRIC_COUNTER, offsetof(stats_t, calls), sizeof stats->calls[0],
                   "inkling_script_calls_total", "Calls of scripts.", stats, out);
    render_scripts(METRIC_COUNTER, offsetof(stats_t, items), sizeof stats->items[0],
                   "inkling_script_items_total",
                   "Transitions and questions in those calls: divided by them, the batch size.",
                   stats, out);
    render_scripts(METRIC_HISTOGRAM, offsetof(stats_t, latency), sizeof stats->latency[0],
                   "inkling_script_seconds", "From a call of a script to its reply.", stats, out);
}
