// study show STUDY --trial N: one trial, why it was proposed, and why it was stopped.
#include "study_view_impl.h"

#include "table_impl.h"

#include <math.h>
#include <string.h>

#define SHOWN_STEPS 6 // the newest values that it reported

static bool figure(const json_t *object, const char *key, double *value) {
    const json_t *number = json_object_get(object, key);
    *value = json_number_value(number);
    return json_is_number(number);
}

// --- Why it was proposed

static const char *kind_words(const json_t *why) {
    static const struct {
        const char *kind, *words;
    } kinds[] = {{"default", "the defaults of the parameters"},
                 {"start", "spread over the space, before there was a model"},
                 {"earlier", "good in the study that this one began with"},
                 {"drawn", "drawn without the model"},
                 {"replicate", "the best again, to be surer of it"}};
    const char *kind = view_text(why, "kind");
    if (strcmp(kind, "model") == 0)
        return json_is_true(json_object_get(why, "exploring"))
                   ? "exploring, where the model knew little"
                   : "exploiting what the model knew";
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strcmp(kinds[i].kind, kind) == 0)
            return kinds[i].words;
    return kind;
}

static void put_why(table_t *table, const json_t *trial) {
    const json_t *why = json_object_get(trial, "why");
    double mean, sd, gain, left;
    char expected[32], error[32], number[32];
    table_pair(table, "proposed", "%s", kind_words(why));
    if (!figure(why, "mean", &mean) || !figure(why, "sd", &sd))
        return;
    say_number(mean, expected);
    say_number(sd, error);
    table_pair(table, "expected", "%s ± %s", expected, error);
    if (figure(why, "gain", &gain)) {
        say_number(gain, number);
        table_pair(table, "expected improvement", "%s on the best of then", number);
    }
    if (figure(why, "left", &left)) {
        say_number(left, number);
        table_pair(table, "left to gain", "at most %s anywhere, as the model saw it then", number);
    }
}

static void put_surprise(table_t *table, const json_t *trial) {
    const json_t *why = json_object_get(trial, "why");
    double mean, sd, value;
    char off[32], errors[32];
    if (strcmp(view_text(trial, "state"), "done") != 0 || !figure(trial, "value", &value) ||
        !figure(why, "mean", &mean) || !figure(why, "sd", &sd) || !(sd > 0))
        return;
    say_number(fabs(value - mean), off);
    snprintf(errors, sizeof errors, "%.1f", fabs(value - mean) / sd);
    table_pair(table, "turned out", "%s %s than expected, %s standard deviations", off,
               value < mean ? "less" : "more", errors);
}

// --- What it reported, and why it was stopped

static void put_stop(table_t *table, const json_t *about, const json_t *trial) {
    const json_t *stopped = json_object_get(trial, "stopped");
    bool median = strcmp(view_text(about, "prune"), "median") == 0;
    json_int_t eta = view_whole(about, "eta"), of = view_whole(stopped, "of");
    char rule[64];
    if (!json_is_object(stopped))
        return;
    if (median)
        snprintf(rule, sizeof rule, "who is behind half of the others is stopped");
    else
        snprintf(rule, sizeof rule, "the best 1 in %lld go on", (long long)(eta ? eta : 3));
    table_pair(table, strcmp(view_text(trial, "state"), "pruned") == 0 ? "stopped" : "was to stop",
               "at step %lld, rank %lld of the %lld that had come there: %s",
               (long long)view_whole(stopped, "step"), (long long)view_whole(stopped, "rank"),
               (long long)of, rule);
}

static void put_curve(table_t *table, const json_t *trial) {
    const json_t *values = json_object_get(json_object_get(trial, "curve"), "values");
    const json_t *steps = json_object_get(json_object_get(trial, "curve"), "steps");
    size_t count = json_array_size(values);
    buf_t text;
    if (count == 0)
        return;
    buf_init(&text, 4096);
    for (size_t i = count > SHOWN_STEPS ? count - SHOWN_STEPS : 0; i < count; i++) {
        const json_t *value = json_array_get(values, i);
        char number[32] = "-";
        if (json_is_number(value))
            say_number(json_number_value(value), number);
        buf_printf(&text, "%s%" JSON_INTEGER_FORMAT ": %s", text.size ? ", " : "",
                   json_integer_value(json_array_get(steps, i)), number);
    }
    table_pair(table, "reported", "%lld %s; %s%s", (long long)view_whole(trial, "reports"),
               view_whole(trial, "reports") == 1 ? "step" : "steps",
               count > SHOWN_STEPS ? "the last ones " : "", text.data);
    buf_release(&text);
}

// --- The trial

static void put_value(table_t *table, const json_t *trial) {
    double value;
    char number[32];
    if (!figure(trial, "value", &value))
        return;
    say_number(value, number);
    table_pair(table, "value", "%s%s", number,
               strcmp(view_text(trial, "state"), "pruned") == 0 ? ", a guess of where it was going"
                                                                : "");
}

static void print_trial(const json_t *about, const json_t *trial) {
    const char *name, *key = view_text(trial, "key"), *reason = view_text(trial, "reason");
    json_t *value;
    table_t *table = table_new("");
    table_pair(table, "trial", "%lld, %s", (long long)view_whole(trial, "trial"),
               view_text(trial, "state"));
    put_value(table, trial);
    json_object_foreach(json_object_get(trial, "params"), name, value)
        table_value(table, name, value);
    put_why(table, trial);
    put_surprise(table, trial);
    put_curve(table, trial);
    put_stop(table, about, trial);
    if (*reason)
        table_pair(table, "reason", "%s", reason);
    if (*key)
        table_pair(table, "key", "%s", key);
    table_print(&table, NULL);
}

err_code_t view_show_trial(cli_t *cli, const char *study, uint64_t number, err_t *err) {
    const proto_study_show_t question = {
        .study = study, .after = number - 1, .limit = 1, .curves = PROTO_CURVE_MAX};
    proto_study_view_t view;
    err_code_t code = view_ask(cli, PROTO_study_show, &question, PROTO_study_view, &view, err);
    if (code)
        return code;
    if (view.trials.count == 0) {
        err_set(err, ERR_NOT_FOUND, "study %s has no trial %llu", study,
                (unsigned long long)number);
        return err_remedy(err, "it has %llu", (unsigned long long)view.count);
    }
    json_t *whole = proto_to_json(PROTO_study_view, &view);
    json_t *trial = json_array_get(json_object_get(whole, "trials"), 0);
    if (say_is_json())
        say_json(json_incref(trial));
    else
        print_trial(json_object_get(whole, "about"), trial);
    json_decref(whole);
    return ERR_OK;
}
