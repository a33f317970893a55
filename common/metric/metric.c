#include "metric/metric.h"

#include <math.h>
#include <string.h>

static const double bounds[] = {METRIC_BUCKETS};

// Nothing else is published by a metric: no order is needed between one and another.
#define RELAXED memory_order_relaxed

void metric_add(metric_counter_t *counter, uint64_t count) {
    atomic_fetch_add_explicit(&counter->value, count, RELAXED);
}

uint64_t metric_count(const metric_counter_t *counter) {
    return atomic_load_explicit(&counter->value, RELAXED);
}

void metric_set(metric_gauge_t *gauge, double value) {
    atomic_store_explicit(&gauge->value, value, RELAXED);
}

void metric_observe(metric_histogram_t *histogram, double seconds) {
    if (!(seconds > 0))
        seconds = 0;
    size_t bucket = 0;
    while (bucket < METRIC_BUCKET_COUNT - 1 && seconds > bounds[bucket])
        bucket++;
    uint64_t us = seconds < 1e12 ? (uint64_t)(seconds * 1e6 + 0.5) : 1000000000000000000u;
    atomic_fetch_add_explicit(&histogram->sum_us, us, RELAXED);
    atomic_fetch_add_explicit(&histogram->buckets[bucket], 1, RELAXED);
}

// --- Text ----------------------------------------------------------------------------------------

// name{labels} or name; more: another label, or NULL.
static void put_name(buf_t *out, const metric_info_t *info, const char *suffix, const char *more) {
    buf_printf(out, "%s%s", info->name, suffix);
    if (info->labels[0] || more)
        buf_printf(out, "{%s%s%s}", info->labels, info->labels[0] && more ? "," : "",
                   more ? more : "");
}

static void put_number(buf_t *out, double value) {
    if (isnan(value))
        buf_puts(out, " NaN\n");
    else if (isinf(value))
        buf_puts(out, value > 0 ? " +Inf\n" : " -Inf\n");
    else
        buf_printf(out, " %.15g\n", value);
}

// The count is that of the buckets, so that text and +Inf agree whatever happens meanwhile.
static void put_histogram(buf_t *out, const metric_info_t *info,
                          const metric_histogram_t *histogram) {
    uint64_t total = 0;
    for (size_t i = 0; i < METRIC_BUCKET_COUNT; i++) {
        buf_t label;
        buf_init(&label, 64);
        if (i < METRIC_BUCKET_COUNT - 1)
            buf_printf(&label, "le=\"%.15g\"", bounds[i]);
        else
            buf_puts(&label, "le=\"+Inf\"");
        total += atomic_load_explicit(&histogram->buckets[i], RELAXED);
        put_name(out, info, "_bucket", label.data);
        buf_printf(out, " %llu\n", (unsigned long long)total);
        buf_release(&label);
    }
    put_name(out, info, "_sum", NULL);
    put_number(out, (double)atomic_load_explicit(&histogram->sum_us, RELAXED) / 1e6);
    put_name(out, info, "_count", NULL);
    buf_printf(out, " %llu\n", (unsigned long long)total);
}

void metric_render(const metric_info_t *infos, size_t count, const void *storage, buf_t *out) {
    static const char *const types[] = {"counter", "gauge", "histogram"};
    for (size_t i = 0; i < count; i++) {
        const metric_info_t *info = &infos[i];
        const void *field = (const char *)storage + info->offset;
        if (i == 0 || strcmp(infos[i - 1].name, info->name) != 0)
            buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", info->name, info->help, info->name,
                       types[info->type]);
        if (info->type == METRIC_HISTOGRAM) {
            put_histogram(out, info, field);
            continue;
        }
        put_name(out, info, "", NULL);
        if (info->type == METRIC_COUNTER)
            buf_printf(out, " %llu\n", (unsigned long long)metric_count(field));
        else
            put_number(out, atomic_load_explicit(&((const metric_gauge_t *)field)->value, RELAXED));
    }
}
