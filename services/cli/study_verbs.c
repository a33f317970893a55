// study list, show, best, stop, continue, export, rm.
#include "cli_impl.h"

#include "base/clock.h"
#include "base/fs.h"
#include "table_impl.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SHOWN_MAX 30         // trials that a table for people has
#define FILE_MAX  (1u << 30) // bytes of an export
#define PAUSE_MS  200

// --- Questions

static err_code_t hint(err_code_t code, err_t *err) {
    if (code == ERR_NOT_FOUND && !err->remedy[0])
        err_remedy(err, "`inkling study list` lists them");
    return code;
}

// As cli_ask, of the service that decides.
static err_code_t ask(cli_t *cli, proto_type_t type, const void *message, proto_type_t reply_type,
                      void *reply, err_t *err) {
    client_t *client = NULL;
    int64_t end_ms = clock_mono_ms() + cli_patience_ms(cli);
    err_code_t code = cli_connect(cli, cli->conf.studies, "the studies service", &client, err);
    while (code == ERR_OK) {
        int64_t left_ms = end_ms - clock_mono_ms();
        code = client_request(client, type, message, NULL, 0, reply_type, reply, cli->arena,
                              left_ms > PAUSE_MS ? left_ms : PAUSE_MS, cli_interrupt_flag(), err);
        if (code != ERR_UNAVAILABLE || clock_mono_ms() + PAUSE_MS > end_ms)
            break;
        clock_sleep_ms(PAUSE_MS);
        code = ERR_OK;
    }
    client_destroy(&client);
    return hint(code, err);
}

static const char *text_of(const json_t *object, const char *key) {
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

static json_int_t whole_of(const json_t *object, const char *key) {
    return json_integer_value(json_object_get(object, key));
}

// The whole study as study.view has it, with all trials.
static err_code_t fetch(cli_t *cli, json_t **document, err_t *err) {
    proto_study_show_t question = {
        .study = cli->call.arguments[0], .limit = PROTO_TRIALS_MAX, .model = true};
    proto_study_view_t view;
    json_t *whole = NULL;
    err_code_t code = ERR_OK;
    do {
        proto_arena_reset(cli->arena);
        code = ask(cli, PROTO_study_show, &question, PROTO_study_view, &view, err);
        if (code)
            break;
        json_t *part = proto_to_json(PROTO_study_view, &view);
        if (whole) {
            json_array_extend(json_object_get(whole, "trials"), json_object_get(part, "trials"));
            json_decref(part);
        } else {
            whole = part;
        }
        question.after += view.trials.count;
        question.model = false;
    } while (view.trials.count > 0 && question.after < view.count);
    if (code) {
        json_decref(whole);
        return code;
    }
    *document = whole;
    return ERR_OK;
}

// --- list

err_code_t verb_study_list(cli_t *cli, int *exit_code, err_t *err) {
    (void)exit_code;
    const proto_study_list_t question = {0};
    proto_studies_t answer;
    err_code_t code = cli_ask(cli, PROTO_study_list, &question, PROTO_studies, &answer, err);
    if (code)
        return code;
    json_t *list = json_array();
    table_t *table = table_new("study|>entries|created");
    for (size_t i = 0; i < answer.studies.count; i++) {
        const proto_study_info_t *info = &answer.studies.items[i];
        char when[32];
        say_when(info->created_ms, when);
        table_cell(table, SAY_BOLD, "%s", info->study);
        table_cell(table, SAY_PLAIN, "%llu", (unsigned long long)info->entries);
        table_cell(table, SAY_DIM, "%s", when);
        json_t *document = proto_to_json(PROTO_study_info, info);
        json_object_del(document, "about"); // lists have none
        json_array_append_new(list, document);
    }
    if (say_is_json())
        say_json(json_incref(list));
    else
        table_print(&table,
                    "There are no studies: PROTOCOL.md, \"Studies\", says how to make one.");
    json_decref(list);
    table_free(&table);
    return ERR_OK;
}

// --- show and best

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
        const char *state = text_of(trial, "state"), *reason = text_of(trial, "reason");
        bool is_best = whole_of(trial, "trial") == best;
        table_cell(table, SAY_BOLD, "%lld", (long long)whole_of(trial, "trial"));
        table_cell(table, SAY_GOOD, "%s", is_best ? "*" : "");
        table_cell(table, style_of(state), "%s", state);
        put_value(table, is_best ? SAY_GOOD : SAY_PLAIN, json_object_get(trial, "value"));
        put_pairs(table, SAY_PLAIN, json_object_get(trial, "params"));
        table_cell(table, SAY_DIM, "%s",
                   *reason ? reason : text_of(json_object_get(trial, "why"), "kind"));
    }
    table_print(&table, NULL);
    if (first > 0)
        printf("\nThe newest %d of %zu: `inkling study export` has all of them.\n", SHOWN_MAX,
               count);
}

static void print_importance(const json_t *importance) {
    const char *name;
    json_t *shares;
    table_t *table = table_new("parameter|>importance|>with interactions");
    json_object_foreach((json_t *)(uintptr_t)importance, name, shares) {
        double main = json_number_value(json_object_get(shares, "main"));
        double total = json_number_value(json_object_get(shares, "total"));
        table_cell(table, SAY_BOLD, "%s", name);
        table_cell(table, SAY_PLAIN, "%.0f %%", 100 * fmax(main, 0));
        table_cell(table, SAY_PLAIN, "%.0f %%", 100 * fmax(total, 0));
    }
    table_print(&table, NULL);
    puts("");
}

static void print_study(const json_t *study) {
    const json_t *about = json_object_get(study, "about");
    const json_t *trials = json_object_get(study, "trials");
    json_int_t best = whole_of(study, "best");
    const char *stopped = text_of(study, "stopped");
    char when[32], value[32] = "";
    say_when((uint64_t)whole_of(study, "created_ms"), when);
    table_t *table = table_new("");
    table_pair(table, "study", "%s", text_of(study, "study"));
    table_pair(table, "created", "%s", when);
    table_value(table, "space", json_object_get(about, "space"));
    table_pair(table, "trials", "%lld, %lld running", (long long)whole_of(study, "count"),
               (long long)whole_of(study, "running"));
    if (best > 0) {
        const json_t *trial = json_array_get(trials, (size_t)best - 1);
        say_number(json_number_value(json_object_get(trial, "value")), value);
        table_pair(table, "best", "%s, trial %lld", value, (long long)best);
    }
    if (*stopped)
        table_pair(table, "stopped", "%s", stopped);
    else if (json_is_true(json_object_get(study, "settled")))
        table_pair(table, "settled", "the model sees nothing left to gain");
    table_print(&table, NULL);
    puts("");
    if (json_object_size(json_object_get(study, "importance")) > 0)
        print_importance(json_object_get(study, "importance"));
    if (json_array_size(trials) > 0)
        print_trials(trials, best);
}

err_code_t verb_study_show(cli_t *cli, int *exit_code, err_t *err) {
    (void)exit_code;
    json_t *study = NULL;
    err_code_t code = fetch(cli, &study, err);
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
    err_code_t code = ask(cli, PROTO_study_best, &question, PROTO_study_trial, &answer, err);
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

// --- stop, continue, rm

static void said(const char *key, const char *study, const char *sentence) {
    if (say_is_json())
        say_json(json_pack("{s:b, s:s}", "ok", true, key, study));
    else
        printf("study %s %s\n", study, sentence);
}

err_code_t verb_study_stop(cli_t *cli, int *exit_code, err_t *err) {
    (void)exit_code;
    const char *study = cli->call.arguments[0], *reason = call_text(&cli->call, "reason");
    const proto_study_stop_t question = {.study = study,
                                         .reason = reason ? reason : "by `inkling study stop`"};
    proto_ok_t answer;
    err_code_t code = ask(cli, PROTO_study_stop, &question, PROTO_ok, &answer, err);
    if (code == ERR_OK)
        said("stopped", study, "gives out no more trials");
    return code;
}

err_code_t verb_study_continue(cli_t *cli, int *exit_code, err_t *err) {
    (void)exit_code;
    const char *study = cli->call.arguments[0];
    const proto_study_continue_t question = {.study = study};
    proto_ok_t answer;
    err_code_t code = ask(cli, PROTO_study_continue, &question, PROTO_ok, &answer, err);
    if (code == ERR_OK)
        said("continued", study, "gives out trials again");
    return code;
}

err_code_t verb_study_rm(cli_t *cli, int *exit_code, err_t *err) {
    (void)exit_code;
    const char *study = cli->call.arguments[0];
    const proto_study_rm_t question = {.study = study};
    proto_ok_t answer;
    err_code_t code = cli_ask(cli, PROTO_study_rm, &question, PROTO_ok, &answer, err);
    if (code == ERR_OK)
        said("removed", study, "is removed");
    return hint(code, err);
}

// --- export

static void put_quoted(buf_t *out, const char *text) {
    if (!text[strcspn(text, ",\"\r\n")]) {
        buf_puts(out, text);
        return;
    }
    buf_puts(out, "\"");
    for (; *text; text++)
        buf_printf(out, *text == '"' ? "\"\"" : "%c", *text);
    buf_puts(out, "\"");
}

// The shortest text that is read back as the same number.
static void put_real(buf_t *out, double value) {
    char text[40];
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtod(text, NULL) == value)
            break;
    }
    buf_puts(out, text);
}

static void put_cell(buf_t *out, const json_t *value) {
    buf_puts(out, ",");
    if (json_is_string(value))
        put_quoted(out, json_string_value(value));
    else if (json_is_integer(value))
        buf_printf(out, "%lld", (long long)json_integer_value(value));
    else if (json_is_real(value))
        put_real(out, json_real_value(value));
}

// "lr" of "lr=log:1e-5..1e-2".
static json_t *names_of(const json_t *study) {
    size_t i;
    json_t *definition, *names = json_array();
    json_array_foreach(json_object_get(json_object_get(study, "about"), "space"), i, definition) {
        const char *text = json_string_value(definition);
        text = text ? text + strspn(text, " \t") : "";
        json_array_append_new(names, json_stringn(text, strcspn(text, "= \t")));
    }
    return names;
}

static void put_csv(buf_t *out, const json_t *study) {
    static const char *const figures[] = {"mean", "sd", "gain", "left"};
    size_t i, n;
    json_t *names = names_of(study), *trial, *name;
    buf_puts(out, "trial,state,value");
    json_array_foreach(names, n, name) put_cell(out, name);
    buf_puts(out, ",reports,kind,mean,sd,gain,left,key,reason\n");
    json_array_foreach(json_object_get(study, "trials"), i, trial) {
        const json_t *params = json_object_get(trial, "params");
        const json_t *why = json_object_get(trial, "why");
        buf_printf(out, "%lld", (long long)whole_of(trial, "trial"));
        put_cell(out, json_object_get(trial, "state"));
        put_cell(out, json_object_get(trial, "value"));
        json_array_foreach(names, n, name)
            put_cell(out, json_object_get(params, json_string_value(name)));
        put_cell(out, json_object_get(trial, "reports"));
        put_cell(out, json_object_get(why, "kind"));
        for (size_t k = 0; k < sizeof figures / sizeof *figures; k++)
            put_cell(out, json_object_get(why, figures[k]));
        put_cell(out, json_object_get(trial, "key"));
        put_cell(out, json_object_get(trial, "reason"));
        buf_puts(out, "\n");
    }
    json_decref(names);
}

static err_code_t write_out(const char *path, const buf_t *text, size_t trials, err_t *err) {
    if (!path) {
        fwrite(text->data, 1, text->size, stdout);
        return ERR_OK;
    }
    err_code_t code = fs_write(path, text->data, text->size, err);
    if (code == ERR_OK && say_is_json())
        say_json(json_pack("{s:o, s:I}", "out", say_json_text(path), "trials", (json_int_t)trials));
    else if (code == ERR_OK)
        printf("%zu trials are in %s\n", trials, path);
    return code;
}

err_code_t verb_study_export(cli_t *cli, int *exit_code, err_t *err) {
    (void)exit_code;
    const char *format = call_text(&cli->call, "format"), *path = call_text(&cli->call, "out");
    bool csv = !format || strcmp(format, "csv") == 0;
    json_t *study = NULL;
    if (!csv && strcmp(format, "json") != 0) {
        err_set(err, ERR_USAGE, "there is no format '%s'", format);
        return err_remedy(err, "--format takes one of: csv json");
    }
    err_code_t code = fetch(cli, &study, err);
    if (code)
        return code;
    if (!path && say_is_json()) { // one document, whatever the format
        say_json(study);
        return ERR_OK;
    }
    buf_t text;
    buf_init(&text, FILE_MAX);
    if (csv) {
        put_csv(&text, study);
    } else {
        char *dump = json_dumps(study, JSON_INDENT(2));
        buf_puts(&text, dump ? dump : "");
        buf_puts(&text, "\n");
        free(dump);
    }
    if (text.failed)
        code = err_set(err, ERR_TOO_LARGE, "the study has more than %u bytes", FILE_MAX);
    if (code == ERR_OK)
        code = write_out(path, &text, json_array_size(json_object_get(study, "trials")), err);
    buf_release(&text);
    json_decref(study);
    return code;
}
