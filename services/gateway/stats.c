#include "gateway/stats.h"

static const metric_info_t infos[] = {
#define X(type, field, name, labels, help) METRIC_INFO(stats_t, type, field, name, labels, help)
    GATEWAY_METRICS(X)
#undef X
#define X(code, name, text, retry)                                                                 \
    {METRIC_COUNTER, offsetof(stats_t, errors[ERR_##code]), "inkling_gateway_errors_total",        \
     "code=\"" name "\"", "Requests and single images that were answered with an error."},
        ERR_CODES(X)
#undef X
};

void stats_error(stats_t *stats, err_code_t code) {
    metric_add(&stats->errors[code], 1);
}

void stats_render(const stats_t *stats, buf_t *out) {
    metric_render(infos, sizeof infos / sizeof *infos, stats, out);
}
