// study show, best.
#include "study_view_impl.h"

#include "table_impl.h"

#include <math.h>
#include <string.h>

#define SHOWN_MAX 30 // trials that a table for people has

static void put_value(table_t *table, say_style_t style, const json_t *value) {
    char text[32] = "-";
    if (json_is_number(value))
        say_number(json_number_value(value), text);
    table_cell(table, style, "%s", text);
}

static say_style_t style_of(const char *state) {
    return strcmp(state, "failed") == 0    ? SAY_BAD
           : strcmp(state, "running") == 0 ? SAY_WARN
           : strcmp(state, "done") == 0    ? SAY_GOOD
                                           : SAY_DIM;
}

static void put_pairs(table_t *table, say_style_t style, const json_t *object) {
    buf_t text;
    buf_init(&text, 1 << 16);
    say_pairs(&text, object, "");
    table_cell(table, style, "%s", text.data ? text.data : "");
    buf_release(&text);
}

static void print_trials(const json_t *trials, json_int_t best) {
    table_t *table = table_new(">trial||state|>value|parameters|why");
    size_t count = json_array_size(trials), first = count > SHOWN_MAX ? count - SHOWN_MAX : 0;
    for (size_t i = first; i < count; i++) {
        const json_t *trial = json_array_get(trials, i);
        const char *state = view_text(trial, "state"), *reason = view_text(trial, "reason");
        bool is_best = view_whole(trial, "trial") == best;
        table_cell(table, SAY_BOLD, "%lld", (long long)view_whole(trial, "trial"));
        table_cell(table, SAY_GOOD, "%s", is_best ? "*" : "");
        table_cell(table, style_of(state), "%s", state);
        put_value(table, is_best ? SAY_GOOD : SAY_PLAIN, json_object_get(trial, "value"));
        put_pairs(table, SAY_PLAIN, json_object_get(trial, "params"));
        table_cell(table, SAY_DIM, "%s",
                   *reason ? reason : view_text(json_object_get(trial, "why"), "kind"));
    }
    table_print(&table, NULL);
    if (first > 0)
        printf("\nThe newest %d of %zu: `inkling study report` and `inkling study export` have all "
               "of them.\n",
               SHOWN_MAX, count);
}

// What the model held possible when it was asked the last time.
static void put_left(table_t *table, const json_t *study) {
    json_int_t trial;
    char number[32];
    double left = view_left(study, &trial);
    const json_t *noise = json_object_get(study, "noise");
    if (!isnan(left)) {
        say_number(left, number);
        table_pair(table, "left to gain",
                   "at most %s, as the model saw it when it proposed trial %lld: the best's "
                   "expected value less the least mean - 2 sd anywhere",
                   number, (long long)trial);
    }
    if (json_is_number(noise) && json_number_value(noise) > 0) {
        say_number(json_number_value(noise), number);
        table_pair(table, "noise", "a trial repeated differs by about %s", number);
    }
}

static void print_study(const json_t *study) {
    const json_t *trials = json_object_get(study, "trials");
    json_int_t best = view_whole(study, "best");
    const char *stopped = view_text(study, "stopped");
    char when[32], value[32] = "";
    say_when((uint64_t)view_whole(study, "created_ms"), when);
    table_t *table = table_new("");
    table_pair(table, "study", "%s", view_text(study, "study"));
    table_pair(table, "created", "%s", when);
    table_value(table, "space", json_object_get(study, "space"));
    const char *begun_with = view_text(json_object_get(study, "about"), "warm_start");
    if (*begun_with)
        table_pair(table, "begun with", "%s", begun_with);
    table_pair(table, "trials", "%lld, %lld running", (long long)view_whole(study, "count"),
               (long long)view_whole(study, "running"));
    if (best > 0) {
        const json_t *trial = json_array_get(trials, (size_t)best - 1);
        say_number(json_number_value(json_object_get(trial, "value")), value);
        table_pair(table, "best", "%s, trial %lld", value, (long long)best);
    }
    put_left(table, study);
    if (*stopped)
        table_pair(table, "stopped", "%s", stopped);
    else if (json_is_true(json_object_get(study, "settled")))
        table_pair(table, "settled", "the model sees nothing left to gain");
    table_print(&table, NULL);
    puts("");
    if (json_object_size(json_object_get(study, "importance")) > 0) {
        view_print_importance(study);
        puts("");
    }
    if (json_array_size(trials) > 0)
        print_trials(trials, best);
}

err_code_t verb_study_show(cli_t *cli, int *exit_code, err_t *err) {
    (void)exit_code;
    json_t *study = NULL;
    uint64_t trial = call_number(&cli->call, "trial");
    if (trial > 0)
        return view_show_trial(cli, cli->call.arguments[0], trial, err);
    err_code_t code = view_fetch(cli, cli->call.arguments[0], false, &study, err);
    if (code)
        return code;
    if (say_is_json()) {
        say_json(study);
    } else {
        print_study(study);
        json_decref(study);
    }
    return ERR_OK;
}

err_code_t verb_study_best(cli_t *cli, int *exit_code, err_t *err) {
    (void)exit_code;
    const proto_study_best_t question = {.study = cli->call.arguments[0]};
    proto_study_trial_t answer;
    err_code_t code = view_ask(cli, PROTO_study_best, &question, PROTO_study_trial, &answer, err);
    if (code)
        return code;
    json_t *trial = proto_to_json(PROTO_study_trial, &answer);
    if (say_is_json()) {
        say_json(trial);
        return ERR_OK;
    }
    const char *name;
    json_t *value;
    table_t *table = table_new("");
    table_pair(table, "trial", "%llu", (unsigned long long)answer.trial);
    table_value(table, "value", json_object_get(trial, "value"));
    json_object_foreach(json_object_get(trial, "params"), name, value)
        table_value(table, name, value);
    table_print(&table, NULL);
    json_decref(trial);
    return ERR_OK;
}
