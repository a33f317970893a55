#include "study_view_impl.h"

#include "base/clock.h"

#include <math.h>
#include <string.h>

#define PAUSE_MS   200
#define POINTS_MAX 200000 // of all curves; at most PROTO_CURVE_MAX of each
#define MODEL_MS   120000 // for an answer that needs the model

// --- Questions

static err_code_t ask(cli_t *cli, proto_type_t type, const void *message, proto_type_t reply_type,
                      void *reply, int64_t patience_ms, err_t *err) {
    client_t *client = NULL;
    int64_t end_ms = clock_mono_ms() + patience_ms;
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
    return code;
}

err_code_t view_ask(cli_t *cli, proto_type_t type, const void *message, proto_type_t reply_type,
                    void *reply, err_t *err) {
    return ask(cli, type, message, reply_type, reply, cli_patience_ms(cli), err);
}

// --- The whole of it

static err_code_t fetch_trials(cli_t *cli, const char *study, bool everything, json_t **document,
                               err_t *err) {
    proto_study_show_t question = {
        .study = study, .limit = PROTO_TRIALS_MAX, .curves = everything ? PROTO_CURVE_MAX : 0};
    proto_study_view_t view;
    do {
        proto_arena_reset(cli->arena);
        err_code_t code = view_ask(cli, PROTO_study_show, &question, PROTO_study_view, &view, err);
        if (code)
            return code;
        json_t *part = proto_to_json(PROTO_study_view, &view);
        if (*document) {
            json_array_extend(json_object_get(*document, "trials"),
                              json_object_get(part, "trials"));
            json_decref(part);
        } else {
            *document = part;
        }
        question.after += view.trials.count;
    } while (view.trials.count > 0 && question.after < view.count);
    return ERR_OK;
}

// By now the service is known to be there. One that has just read a large study fits its model
// first; it goes on with that when a question has become too old, and the next is answered soon.
static err_code_t fetch_model(cli_t *cli, const char *study, bool everything, json_t *document,
                              err_t *err) {
    static const char *const keys[] = {"settled", "importance", "rests", "noise", "slices"};
    const proto_study_show_t question = {
        .study = study, .model = true, .slices = everything ? PROTO_SLICE_MAX : 0};
    proto_study_view_t view;
    proto_arena_reset(cli->arena);
    err_code_t code = ask(cli, PROTO_study_show, &question, PROTO_study_view, &view, MODEL_MS, err);
    if (code)
        return code;
    json_t *part = proto_to_json(PROTO_study_view, &view);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        json_t *value = json_object_get(part, keys[i]);
        if (value)
            json_object_set(document, keys[i], value);
    }
    json_decref(part);
    return ERR_OK;
}

err_code_t view_fetch(cli_t *cli, const char *study, bool everything, json_t **document,
                      err_t *err) {
    json_t *whole = NULL;
    err_code_t code = fetch_trials(cli, study, everything, &whole, err);
    if (code == ERR_OK)
        code = fetch_model(cli, study, everything, whole, err);
    if (code) {
        json_decref(whole);
        return code;
    }
    *document = whole;
    return ERR_OK;
}

// --- Members

const char *view_text(const json_t *object, const char *key) {
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

json_int_t view_whole(const json_t *object, const char *key) {
    return json_integer_value(json_object_get(object, key));
}

json_t *view_counts(const json_t *study) {
    static const char *const states[] = {"done", "pruned", "failed", "running", "forgotten"};
    json_t *counts = json_object(), *trial;
    size_t i;
    for (i = 0; i < sizeof states / sizeof *states; i++)
        json_object_set_new(counts, states[i], json_integer(0));
    json_array_foreach(json_object_get(study, "trials"), i, trial) {
        json_t *count = json_object_get(counts, view_text(trial, "state"));
        json_integer_set(count, json_integer_value(count) + 1);
    }
    return counts;
}

double view_left(const json_t *study, json_int_t *number) {
    const json_t *trials = json_object_get(study, "trials");
    for (size_t i = json_array_size(trials); i > 0; i--) {
        const json_t *trial = json_array_get(trials, i - 1);
        const json_t *left = json_object_get(json_object_get(trial, "why"), "left");
        if (!json_is_number(left))
            continue;
        if (number)
            *number = view_whole(trial, "trial");
        return json_number_value(left);
    }
    return NAN;
}

// As it is now.
static const json_t *space_of(const json_t *study) {
    return json_object_get(study, "space");
}

// The length of the name that a definition begins with, *text from there on.
static size_t name_size(const char **text) {
    *text += strspn(*text, " \t");
    return strcspn(*text, "= \t");
}

json_t *view_names(const json_t *study) {
    size_t i;
    json_t *definition, *names = json_array();
    json_array_foreach((json_t *)(uintptr_t)space_of(study), i, definition) {
        const char *text = json_string_value(definition);
        if (text) {
            size_t size = name_size(&text);
            json_array_append_new(names, json_stringn(text, size));
        }
    }
    return names;
}

const char *view_definition(const json_t *study, const char *name) {
    size_t i;
    json_t *definition;
    json_array_foreach((json_t *)(uintptr_t)space_of(study), i, definition) {
        const char *text = json_string_value(definition);
        if (!text)
            continue;
        size_t size = name_size(&text);
        if (size == strlen(name) && strncmp(text, name, size) == 0)
            return text + size + strspn(text + size, "= \t");
    }
    return NULL;
}
