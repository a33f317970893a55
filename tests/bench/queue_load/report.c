#include "report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

// --- Percentiles ---------------------------------------------------------------------------------

static int by_value(const void *a, const void *b) {
    int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;
    return (left > right) - (left < right);
}

static int64_t moment(const load_job_t *job, size_t offset) {
    int64_t value;
    memcpy(&value, (const char *)job + offset, sizeof value);
    return value;
}

spread_t spread_of(const load_job_t *jobs, size_t first, size_t count, size_t from, size_t to) {
    int64_t *values = mem_zero(count, sizeof *values);
    spread_t spread = {0};
    for (size_t i = first; i < first + count; i++)
        if (moment(&jobs[i], from) && moment(&jobs[i], to))
            values[spread.samples++] = moment(&jobs[i], to) - moment(&jobs[i], from);
    qsort(values, spread.samples, sizeof *values, by_value);
    if (spread.samples) {
        size_t middle = spread.samples / 2, late = spread.samples * 99 / 100;
        spread.p50 = (double)values[middle] / 1000;
        spread.p99 = (double)values[late] / 1000;
        spread.max = (double)values[spread.samples - 1] / 1000;
    }
    free(values);
    return spread;
}

// --- JSON ----------------------------------------------------------------------------------------

static double rounded(double value) {
    char text[32]; // four digits are more than the noise allows
    snprintf(text, sizeof text, "%.4g", value);
    return strtod(text, NULL);
}

static json_t *spread_json(const spread_t *spread) {
    return json_pack("{s:f, s:f, s:f, s:I}", "p50", rounded(spread->p50), "p99",
                     rounded(spread->p99), "max", rounded(spread->max), "samples",
                     (json_int_t)spread->samples);
}

static void cpu_name(char *name, size_t size) {
    char line[256];
    FILE *file = fopen("/proc/cpuinfo", "r");
    snprintf(name, size, "unknown");
    while (file && fgets(line, sizeof line, file))
        if (strncmp(line, "model name", 10) == 0 && strchr(line, ':')) {
            snprintf(name, size, "%.*s", (int)strcspn(strchr(line, ':') + 2, "\n"),
                     strchr(line, ':') + 2);
            break;
        }
    if (file)
        fclose(file);
}

json_t *report_json(const report_t *r, json_t *peers) {
    char cpu[160], date[32];
    time_t now = time(NULL);
    struct tm utc;
    cpu_name(cpu, sizeof cpu);
    strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &utc));
    json_t *document = json_pack(
        "{s:I, s:f, s:f, s:o, s:o, s:o, s:o, s:o, s:f, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "jobs",
        (json_int_t)r->jobs, "jobs_per_second", rounded(r->jobs_per_second), "submit_per_second",
        rounded(r->submit_per_second), "dispatch_ms", spread_json(&r->dispatch_idle),
        "dispatch_half_load_ms", spread_json(&r->dispatch_half), "dispatch_full_load_ms",
        spread_json(&r->dispatch_full), "submit_ms", spread_json(&r->ack_idle),
        "submit_full_load_ms", spread_json(&r->ack_full), "half_load_per_second",
        rounded(r->half_per_second), "lost", (json_int_t)r->checked.lost, "doubled",
        (json_int_t)r->checked.doubled, "listed", (json_int_t)r->checked.listed, "sampled",
        (json_int_t)r->checked.sampled, "attempts_again", (json_int_t)r->checked.again, "resent",
        (json_int_t)r->counts.resent, "stale", (json_int_t)r->counts.stale);
    json_object_update_new(
        document,
        json_pack("{s:I, s:I, s:I, s:{s:i, s:i}, s:{s:f, s:f, s:f}, s:s, s:I, s:s, s:s}", "clients",
                  (json_int_t)r->clients, "workers", (json_int_t)r->workers, "slots",
                  (json_int_t)r->slots, "kills", "dispatcher", r->dispatcher_kills, "redis",
                  r->redis_kills, "cpu_seconds", "dispatcher", rounded(r->dispatcher_s), "redis",
                  rounded(r->redis_s), "load", rounded(r->load_s), "cpu", cpu, "cores",
                  (json_int_t)sysconf(_SC_NPROCESSORS_ONLN), "redis_fsync", "always", "date",
                  date));
    if (r->checked.first[0])
        json_object_set_new(document, "wrong", json_string(r->checked.first));
    if (peers)
        json_object_set_new(document, "peers", peers);
    return document;
}

// --- Text ----------------------------------------------------------------------------------------

static void spread_text(const char *what, const spread_t *spread) {
    if (spread->samples)
        printf("  %-44s p50 %8.2f ms   p99 %8.2f ms\n", what, spread->p50, spread->p99);
}

static double number(const json_t *object, const char *key) {
    return json_number_value(json_object_get(object, key));
}

void report_text(const report_t *r, const json_t *peers) {
    printf("queue: %zu jobs, %zu clients, %zu workers of %zu slots, Redis at fsync always\n",
           r->jobs, r->clients, r->workers, r->slots);
    printf("  %-44s %12.0f jobs/s\n", "submitted and finished", r->jobs_per_second);
    printf("  %-44s %12.0f jobs/s\n", "submits acknowledged meanwhile", r->submit_per_second);
    spread_text("dispatch, one job at a time", &r->dispatch_idle);
    spread_text("dispatch, at half of that rate", &r->dispatch_half);
    spread_text("submit acknowledged, one at a time", &r->ack_idle);
    printf("  processor time: dispatcher %.2f s, Redis %.2f s, this load %.2f s\n", r->dispatcher_s,
           r->redis_s, r->load_s);
    if (r->dispatcher_kills || r->redis_kills)
        printf(
            "  killed: dispatcher %d times, Redis %d times; %zu attempts repeated, %llu messages "
            "sent again\n",
            r->dispatcher_kills, r->redis_kills, r->checked.again,
            (unsigned long long)r->counts.resent);
    printf("  lost %zu, doubled %zu (%zu listed, %zu looked at one by one)\n", r->checked.lost,
           r->checked.doubled, r->checked.listed, r->checked.sampled);
    if (r->checked.first[0])
        printf("  WRONG: %s\n", r->checked.first);
    const char *name;
    const json_t *peer;
    json_object_foreach((json_t *)(uintptr_t)peers, name, peer) {
        const json_t *dispatch = json_object_get(peer, "dispatch_ms");
        printf("  %-10s %8.0f enqueued/s %8.0f finished/s   dispatch p50 %.2f ms   p99 %.2f ms\n",
               name, number(peer, "submit_per_second"), number(peer, "jobs_per_second"),
               number(dispatch, "p50"), number(dispatch, "p99"));
    }
}
