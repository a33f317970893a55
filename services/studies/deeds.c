#include "base/log.h"
#include "base/nearest.h"
#include "proto/json.h"
#include "studies_impl.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

// --- What a study is made with
// --------------------------------------------------------------------

static const char *const known[] = {"schema",    "space",     "direction", "seed",  "strategy",
                                    "noiseless", "tolerance", "start",     "prune", "first",
                                    "last",      "eta",       "trials",    "note",  "warm_start"};

static const char *known_name(void *arg, size_t index) {
    (void)arg;
    return index < sizeof known / sizeof *known ? known[index] : NULL;
}

static err_code_t check_key(const char *key, err_t *err) {
    char meant[64];
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(known[i], key) == 0)
            return ERR_OK;
    err_set(err, ERR_INVALID, "a study has no '%.64s'", key);
    if (nearest(key, known_name, NULL, meant))
        return err_remedy(err, "did you mean %s?", meant);
    return err_remedy(err, "your own things go into `note`");
}

err_code_t deed_check_about(const json_t *about, err_t *err) {
    const char *key;
    json_t *value;
    err_code_t code = ERR_OK;
    json_object_foreach((json_t *)(uintptr_t)about, key, value) {
        if (code == ERR_OK)
            code = check_key(key, err);
    }
    const json_t *noiseless = json_object_get(about, "noiseless");
    if (code == ERR_OK && noiseless && !json_is_boolean(noiseless)) {
        err_set(err, ERR_INVALID, "the study's noiseless is missing or wrong");
        code = err_remedy(err, "use true or false");
    }
    return code ? code : study_check(about, err);
}

// --- Answers
// --------------------------------------------------------------------------------------

// Takes the reference. What a study says of itself is no larger than the log's entries.
static proto_bytes_t map_of(json_t *json, proto_arena_t *arena) {
    proto_bytes_t map = {0};
    err_t err;
    if (proto_map_from_json(json, arena, &map, &err) != ERR_OK)
        log_error("a study: %s", err.message);
    json_decref(json);
    return map;
}

static void fill_trial(const study_t *study, uint64_t number, proto_arena_t *arena,
                       proto_study_trial_t *out) {
    const study_trial_t *trial = study_trial(study, number);
    bool valued = trial->state == STUDY_DONE || trial->state == STUDY_PRUNED;
    *out = (proto_study_trial_t){
        .trial = number,
        .state = study_state_text(trial->state),
        .params = map_of(study_trial_params(study, trial), arena),
        .why = map_of(study_why(&trial->why), arena),
        .value = valued && fabs(trial->value) <= PROTO_VALUE_MAX ? trial->value : PROTO_NO_VALUE,
        .reports = trial->report_count,
        .key = proto_arena_text(arena, trial->key[0] == '~' ? "" : trial->key),
        .reason = proto_arena_text(arena, trial->reason)};
    if (trial->stop)
        out->stopped = map_of(view_stopped(trial), arena);
}

static void answer_trial(const study_t *study, uint64_t number, request_t *request,
                         proto_arena_t *arena) {
    proto_study_trial_t *trial = proto_arena_alloc(arena, sizeof *trial);
    fill_trial(study, number, arena, trial);
    request->answer_type = PROTO_study_trial;
    request->answer = trial;
}

static void answer_ok(request_t *request) {
    static const proto_ok_t ok = {0};
    request->answer_type = PROTO_ok;
    request->answer = &ok;
}

// As map_of; of NULL none.
static proto_bytes_t map_if(json_t *json, proto_arena_t *arena) {
    return json ? map_of(json, arena) : (proto_bytes_t){0};
}

static void fill_model(study_t *study, const request_t *request, proto_arena_t *arena,
                       proto_study_view_t *view) {
    if (request->model) {
        view->importance = map_if(view_importance(study), arena);
        view->settled = study_should_stop(study);
        view->rests = tune_rests_on(study_tune(study));
        double noise = tune_noise(study_tune(study));
        if (noise >= 0 && noise <= PROTO_VALUE_MAX)
            view->noise = noise;
    }
    if (request->slices)
        view->slices = map_if(view_slices(study, request->slices), arena);
}

static void show(book_t *book, request_t *request, proto_arena_t *arena) {
    study_t *study = book->study;
    proto_study_view_t *view = proto_arena_alloc(arena, sizeof *view);
    size_t count = study_count(study), first = request->step < count ? request->step : count;
    size_t shown = count - first < request->limit ? count - first : (size_t)request->limit;
    proto_study_trial_t *trials = proto_arena_alloc(arena, (shown + 1) * sizeof *trials);
    for (size_t i = 0; i < shown; i++) {
        fill_trial(study, first + i + 1, arena, &trials[i]);
        if (request->curves)
            trials[i].curve =
                map_of(view_curve(study_trial(study, first + i + 1), request->curves), arena);
    }
    uint64_t best = 0;
    if (study_best(study, &best, NULL) != ERR_OK)
        best = 0;
    const char *stopped = study_stopped(study);
    *view = (proto_study_view_t){
        .study = book->name,
        .about = map_of(json_incref((json_t *)(uintptr_t)study_about(study)), arena),
        .space = deed_texts(study_space_texts(study_space(study)), arena),
        .created_ms = book->created_ms,
        .count = count,
        .running = study_running(study),
        .best = best,
        .stopped = proto_arena_text(arena, stopped ? stopped : ""),
        .noise = PROTO_NO_VALUE,
        .trials = {trials, shown}};
    fill_model(study, request, arena, view);
    request->answer_type = PROTO_study_view;
    request->answer = view;
}

// --- Deeds
// ----------------------------------------------------------------------------------------

static const char *conflict_word(const study_t *study) {
    if (study_wants_earlier(study))
        return "unmade";
    return study_stopped(study) ? "stopped" : "full";
}

// The word that a program may go by stands before the sentence.
static err_code_t ask(book_t *book, request_t *request, proto_arena_t *arena, err_t *err) {
    uint64_t number;
    err_code_t code = study_ask(book->study, request->text, &number, err);
    if (code == ERR_NOT_FOUND)
        err_context(err, "exhausted");
    else if (code == ERR_CONFLICT)
        err_context(err, "%s", conflict_word(book->study));
    else if (code == ERR_OK)
        answer_trial(book->study, number, request, arena);
    return code;
}

static err_code_t report(study_t *study, request_t *request, proto_arena_t *arena, err_t *err) {
    bool stop = false;
    err_code_t code =
        study_report(study, request->trial, request->step, request->value, &stop, err);
    if (code)
        return code;
    proto_study_verdict_t *verdict = proto_arena_alloc(arena, sizeof *verdict);
    verdict->stop = stop;
    request->answer_type = PROTO_study_verdict;
    request->answer = verdict;
    return ERR_OK;
}

static err_code_t tell(study_t *study, request_t *request, err_t *err) {
    return request->value == PROTO_NO_VALUE
               ? study_fail(study, request->trial, request->text, err)
               : study_tell(study, request->trial, request->value, err);
}

static err_code_t best(study_t *study, request_t *request, proto_arena_t *arena, err_t *err) {
    uint64_t number;
    err_code_t code = study_best(study, &number, err);
    if (code == ERR_OK)
        answer_trial(study, number, request, arena);
    return code;
}

void deed_do(book_t *book, request_t *request, proto_arena_t *arena) {
    study_t *study = book->study;
    err_code_t code = ERR_OK;
    request->answer = NULL;
    request->err = (err_t){0};
    switch (request->type) {
    case PROTO_study_ask:
        code = ask(book, request, arena, &request->err);
        break;
    case PROTO_study_tell:
        code = tell(study, request, &request->err);
        break;
    case PROTO_study_report:
        code = report(study, request, arena, &request->err);
        break;
    case PROTO_study_prune:
        code = study_prune(study, request->trial, &request->err);
        break;
    case PROTO_study_best:
        code = best(study, request, arena, &request->err);
        break;
    case PROTO_study_show:
        show(book, request, arena);
        break;
    case PROTO_study_stop:
        code = study_stop(study, request->text, &request->err);
        break;
    case PROTO_study_change:
        code = deed_change(study, request, arena, &request->err);
        break;
    default:
        code = study_continue(study, &request->err);
    }
    if (code == ERR_OK && !request->answer)
        answer_ok(request);
    request->done = true;
}
