// What bench gateway has found, for people and as JSON.
#include "bench_impl.h"
#include "table_impl.h"

#include <stdlib.h>

#define BEHIND_NS 1000000 // the generator's own delay that is said: 1 ms in one of 100 requests

static const struct {
    const char *name;
    double quantile;
} points[] = {{"p50", 0.5},     {"p90", 0.9},       {"p99", 0.99},
              {"p99.9", 0.999}, {"p99.99", 0.9999}, {"max", 1}};

static double per_second(const load_result_t *result, uint64_t count) {
    return result->seconds > 0 ? (double)count / result->seconds : 0;
}

static bool is_behind(const load_result_t *result) {
    return hist_quantile(&result->lag, 0.99) > BEHIND_NS;
}

// --- JSON

static json_t *count_json(uint64_t count) {
    return json_integer((json_int_t)count);
}

static json_t *hist_json(const hist_t *hist) {
    json_t *object = json_object();
    if (hist->count == 0)
        return object;
    json_object_set_new(object, "mean", json_real(hist_mean(hist) / 1e6));
    for (size_t i = 0; i < sizeof points / sizeof *points; i++)
        json_object_set_new(object, points[i].name,
                            json_real((double)hist_quantile(hist, points[i].quantile) / 1e6));
    return object;
}

static json_t *errors_json(const load_result_t *result) {
    json_t *list = json_array();
    for (size_t i = 0; i < result->kind_count; i++) {
        const load_kind_t *kind = &result->kinds[i];
        json_array_append_new(
            list, json_pack("{s:o, s:I, s:I, s:o}", "kind", say_json_text(kind->name), "count",
                            (json_int_t)kind->count, "measured", (json_int_t)kind->measured,
                            "message", say_json_text(kind->message)));
    }
    return list;
}

static json_t *versions_json(const bench_t *bench) {
    json_t *list = json_array();
    size_t count;
    const bench_version_t *versions = bench_versions(bench->judge, &count);
    for (size_t i = 0; i < count; i++)
        json_array_append_new(list, json_pack("{s:o, s:I, s:I}", "model",
                                              say_json_text(versions[i].model), "version",
                                              (json_int_t)versions[i].version, "images",
                                              (json_int_t)versions[i].images));
    return list;
}

static json_t *requests_json(const load_result_t *result) {
    json_t *object = json_object();
    json_object_set_new(object, "offered", count_json(result->offered));
    json_object_set_new(object, "answered", count_json(result->answered));
    json_object_set_new(object, "failed", count_json(result->failed));
    json_object_set_new(object, "unfinished", count_json(result->open));
    json_object_set_new(object, "in_time", count_json(result->in_time));
    json_object_set_new(object, "failed_before", count_json(result->warmup_failed));
    json_object_set_new(object, "answers_too_late", count_json(result->late));
    return object;
}

static json_t *load_json(const bench_t *bench) {
    const load_plan_t *plan = &bench->plan;
    json_t *object = json_object();
    if (plan->rate > 0) {
        json_object_set_new(object, "rate", json_real(plan->rate));
        json_object_set_new(object, "arrivals",
                            json_string(plan->poisson ? "poisson" : "constant"));
    } else {
        json_object_set_new(object, "concurrency", count_json(plan->concurrency));
    }
    json_object_set_new(object, "connections", count_json(bench->connections));
    json_object_set_new(object, "images", count_json(bench->images));
    json_object_set_new(object, "endpoint", say_json_text(bench->endpoint));
    return object;
}

static json_t *report_json(const bench_t *bench, const load_result_t *result) {
    json_t *object = json_object();
    json_object_set_new(object, "load", load_json(bench));
    json_object_set_new(object, "seconds", json_real(result->seconds));
    json_object_set_new(object, "requests", requests_json(result));
    json_object_set_new(object, "offered_per_second",
                        json_real(per_second(result, result->offered)));
    json_object_set_new(object, "answered_per_second",
                        json_real(per_second(result, result->answered)));
    json_object_set_new(object, "images_per_second", json_real(per_second(result, result->images)));
    json_object_set_new(object, "latency_ms", hist_json(&result->latency));
    if (bench->plan.rate > 0) {
        json_object_set_new(object, "lag_ms", hist_json(&result->lag));
        json_object_set_new(object, "departure_ms", hist_json(&result->departure));
        json_object_set_new(object, "on_schedule", json_boolean(!is_behind(result)));
    }
    json_object_set_new(object, "errors", errors_json(result));
    json_object_set_new(object, "versions", versions_json(bench));
    json_object_set_new(object, "checked", json_boolean(call_flag(&bench->cli->call, "check")));
    json_object_set_new(object, "reconnects", count_json(result->reconnects));
    return object;
}

// --- For people

static void put_hist(table_t *table, const char *name, const hist_t *hist) {
    buf_t text;
    buf_init(&text, 1024);
    for (size_t i = 0; i < sizeof points / sizeof *points; i++)
        buf_printf(&text, "%s%s %.3g", i ? "   " : "", points[i].name,
                   (double)hist_quantile(hist, points[i].quantile) / 1e6);
    table_pair(table, name, "%s   (ms)", text.data);
    buf_release(&text);
}

static void put_errors(table_t *table, const load_result_t *result) {
    for (size_t i = 0; i < result->kind_count; i++) {
        const load_kind_t *kind = &result->kinds[i];
        char before[64] = "";
        if (kind->count > kind->measured)
            snprintf(before, sizeof before, " (%llu of them not of the measured requests)",
                     (unsigned long long)(kind->count - kind->measured));
        table_pair(table, i ? "" : "errors", "%llu × %s%s%s%s", (unsigned long long)kind->count,
                   kind->name, before, kind->message[0] ? ": " : "", kind->message);
    }
}

static void put_versions(table_t *table, const bench_t *bench) {
    size_t count;
    const bench_version_t *versions = bench_versions(bench->judge, &count);
    for (size_t i = 0; i < count; i++)
        table_pair(table, i ? "" : "answered by", "%s@%llu   %llu images", versions[i].model,
                   (unsigned long long)versions[i].version, (unsigned long long)versions[i].images);
}

static void put_requests(table_t *table, const bench_t *bench, const load_result_t *result) {
    table_pair(table, "requests", "%llu in %.1f s: %llu answered, %llu failed",
               (unsigned long long)result->offered, result->seconds,
               (unsigned long long)result->answered, (unsigned long long)result->failed);
    if (bench->plan.rate > 0)
        table_pair(table, "rate", "%.1f/s offered, %.1f/s answered",
                   per_second(result, result->offered), per_second(result, result->answered));
    else
        table_pair(table, "rate", "%.1f/s answered, %zu at once",
                   per_second(result, result->answered), bench->plan.concurrency);
    table_pair(table, "throughput", "%.1f images/s", per_second(result, result->images));
    if (bench->plan.deadline_ms)
        table_pair(table, "in time", "%llu within %lld ms", (unsigned long long)result->in_time,
                   (long long)bench->plan.deadline_ms);
}

static void print_report(const bench_t *bench, const load_result_t *result) {
    table_t *table = table_new("");
    put_requests(table, bench, result);
    if (result->latency.count)
        put_hist(table, "latency", &result->latency);
    put_versions(table, bench);
    put_errors(table, result);
    if (result->reconnects)
        table_pair(table, "reconnects", "%llu", (unsigned long long)result->reconnects);
    table_print(&table, NULL);
}

// With --json on stderr, too: figures of a late generator are not the gateway's.
static void tell_behind(const load_result_t *result) {
    err_t told;
    err_set(&told, ERR_FULL,
            "the load was late: one of 100 requests left more than %.1f ms after its time because "
            "the generator had no processor",
            (double)hist_quantile(&result->lag, 0.99) / 1e6);
    err_remedy(&told, "latencies count from the times that were wanted, so they have this in them; "
                      "give a lower --rate, or let it run on another host");
    say_warning(&told);
}

void bench_report(const bench_t *bench, const load_result_t *result) {
    if (bench->plan.rate > 0 && is_behind(result))
        tell_behind(result);
    if (say_is_json())
        say_json(report_json(bench, result));
    else
        print_report(bench, result);
}
