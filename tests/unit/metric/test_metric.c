// Is the text what Prometheus reads, and does nothing get lost between threads?
#include "metric/metric.h"

#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define METRICS(X)                                                                                 \
    X(COUNTER, good, "t_ends_total", "outcome=\"good\"", "Ends.")                                  \
    X(COUNTER, bad, "t_ends_total", "outcome=\"bad\"", "Ends.")                                    \
    X(GAUGE, level, "t_level", "", "Level.")                                                       \
    X(HISTOGRAM, took, "t_seconds", "", "Time.")                                                   \
    X(HISTOGRAM, slow, "t_slow_seconds", "a=\"b\"", "Time.")

typedef struct {
    METRICS(METRIC_FIELD)
} metrics_t;

static const metric_info_t infos[] = {
#define X(...) METRIC_INFO(metrics_t, __VA_ARGS__)
    METRICS(X)
#undef X
};

static char *render(const metrics_t *metrics) {
    buf_t out;
    buf_init(&out, 65536);
    metric_render(infos, sizeof infos / sizeof *infos, metrics, &out);
    assert_false(out.failed);
    return buf_take(&out);
}

static void expect(const char *text, const char *line) {
    if (!strstr(text, line))
        fail_msg("'%s' is missing in:\n%s", line, text);
}

static void text_of_each_type(void **state) {
    (void)state;
    metrics_t metrics = {0};
    metric_add(&metrics.good, 18446744073709551615u);
    metric_add(&metrics.bad, 2);
    metric_set(&metrics.level, -2.5);
    char *text = render(&metrics);
    expect(text, "# HELP t_ends_total Ends.\n# TYPE t_ends_total counter\n"
                 "t_ends_total{outcome=\"good\"} 18446744073709551615\n"
                 "t_ends_total{outcome=\"bad\"} 2\n"
                 "# HELP t_level Level.\n# TYPE t_level gauge\nt_level -2.5\n"
                 "# HELP t_seconds Time.\n# TYPE t_seconds histogram\n"
                 "t_seconds_bucket{le=\"0.0001\"} 0\n");
    expect(text, "t_slow_seconds_bucket{a=\"b\",le=\"+Inf\"} 0\n"
                 "t_slow_seconds_sum{a=\"b\"} 0\nt_slow_seconds_count{a=\"b\"} 0\n");
    free(text);
    metric_set(&metrics.level, NAN);
    text = render(&metrics);
    expect(text, "t_level NaN\n");
    free(text);
    metric_set(&metrics.level, -INFINITY);
    text = render(&metrics);
    expect(text, "t_level -Inf\n");
    free(text);
}

static void buckets_are_cumulative_and_include_their_bound(void **state) {
    (void)state;
    metrics_t metrics = {0};
    const double seconds[] = {0, -1, NAN, 0.0001, 0.00011, 0.1, 99, 101, INFINITY};
    for (size_t i = 0; i < sizeof seconds / sizeof *seconds; i++)
        metric_observe(&metrics.took, seconds[i]);
    char *text = render(&metrics);
    expect(text, "t_seconds_bucket{le=\"0.0001\"} 4\n"
                 "t_seconds_bucket{le=\"0.00025\"} 5\n");
    expect(text, "t_seconds_bucket{le=\"0.05\"} 5\nt_seconds_bucket{le=\"0.1\"} 6\n");
    expect(text, "t_seconds_bucket{le=\"100\"} 7\nt_seconds_bucket{le=\"+Inf\"} 9\n");
    expect(text, "t_seconds_count 9\n");
    free(text);
}

static void *work(void *arg) {
    metrics_t *metrics = arg;
    for (int i = 0; i < 20000; i++) {
        metric_add(&metrics->good, 1);
        metric_observe(&metrics->took, 0.5);
        metric_set(&metrics->level, i);
    }
    return NULL;
}

static void threads_lose_nothing(void **state) {
    (void)state;
    metrics_t metrics = {0};
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, work, &metrics), 0);
    free(render(&metrics));
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    char *text = render(&metrics);
    expect(text, "t_ends_total{outcome=\"good\"} 80000\n");
    expect(text, "t_level 19999\n");
    expect(text, "t_seconds_bucket{le=\"0.25\"} 0\nt_seconds_bucket{le=\"0.5\"} 80000\n");
    expect(text, "t_seconds_sum 40000\n");
    free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_of_each_type),
        cmocka_unit_test(buckets_are_cumulative_and_include_their_bound),
        cmocka_unit_test(threads_lose_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
