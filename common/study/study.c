#include "study_impl.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// --- Making
// ---------------------------------------------------------------------------------------

static err_code_t bad(err_t *err, const char *key, const char *remedy) {
    err_set(err, ERR_USAGE, "the study's %s is missing or wrong", key);
    return err_remedy(err, "%s", remedy);
}

// The index of the word, or of the first if there is none; -1: another one.
static int word_of(const json_t *about, const char *key, const char *const *words, int count) {
    const json_t *json = json_object_get(about, key);
    const char *word = json_string_value(json);
    if (!json)
        return 0;
    for (int i = 0; word && i < count; i++)
        if (strcmp(word, words[i]) == 0)
            return i;
    return -1;
}

static bool number_of(const json_t *about, const char *key, double fallback, double min, double max,
                      double *value) {
    const json_t *json = json_object_get(about, key);
    *value = json ? json_number_value(json) : fallback;
    return (!json || json_is_number(json)) && *value >= min && *value <= max;
}

static err_code_t read_config(study_t *study, err_t *err) {
    static const char *const ways[] = {"minimise", "maximise"};
    static const char *const strategies[] = {"model", "sobol", "random"};
    const json_t *about = study->about;
    double seed, start, limit, schema;
    int way = word_of(about, "direction", ways, 2);
    int strategy = word_of(about, "strategy", strategies, 3);
    if (!number_of(about, "schema", STUDY_SCHEMA, STUDY_SCHEMA, STUDY_SCHEMA, &schema))
        return bad(err, "schema", "use the release that made the study");
    if (way < 0)
        return bad(err, "direction", "use minimise or maximise");
    if (strategy < 0)
        return bad(err, "strategy", "use model, sobol or random");
    if (!number_of(about, "seed", 0, 0, 9007199254740992.0, &seed))
        return bad(err, "seed", "give a whole number from 0 to 2^53");
    if (!number_of(about, "start", 0, 0, STUDY_TRIALS_MAX, &start))
        return bad(
            err, "start",
            "give a whole number: the trials before there is a model, 0 for as many as needed");
    if (!number_of(about, "trials", 0, 0, STUDY_TRIALS_MAX, &limit))
        return bad(err, "trials", "give a whole number, at most 10000, or 0 for no end");
    const json_t *warm = json_object_get(about, "warm_start");
    if (warm && json_string_length(warm) == 0)
        return bad(err, "warm_start", "give the name of an earlier study");
    study->config = (tune_config_t){.strategy = (tune_strategy_t)strategy,
                                    .seed = (uint64_t)seed,
                                    .maximise = way == 1,
                                    .noiseless = json_is_true(json_object_get(about, "noiseless")),
                                    .start = (int)start};
    study->limit = (uint64_t)limit;
    if (!number_of(about, "tolerance", 0, 0, 1e300, &study->config.tolerance))
        return bad(err, "tolerance", "give a number from 0 on");
    return ERR_OK;
}

static err_code_t read_prune(study_t *study, err_t *err) {
    static const char *const rules[] = {"none", "asha", "median"};
    const json_t *about = study->about;
    int rule = word_of(about, "prune", rules, 3);
    double first, last, eta;
    if (rule < 0)
        return bad(err, "prune", "use none, asha or median");
    if (!number_of(about, "first", 1, 1, STUDY_STEPS_MAX, &first))
        return bad(err, "first", "give a whole number from 1 to 1000000");
    if (!number_of(about, "last", 0, 0, STUDY_STEPS_MAX, &last))
        return bad(err, "last", "give a whole number from 1 to 1000000");
    if (!number_of(about, "eta", 3, 2, 16, &eta))
        return bad(err, "eta", "give a whole number from 2 to 16");
    if (rule == 0)
        return ERR_OK;
    const tune_prune_config_t config = {.rule = rule == 1 ? TUNE_PRUNE_ASHA : TUNE_PRUNE_MEDIAN,
                                        .eta = (int)eta,
                                        .first = (int)first,
                                        .last = (int)last,
                                        .maximise = study->config.maximise};
    if (config.last == 0)
        return bad(err, "last", "give the last step that trials report: prune needs it");
    return tune_prune_new(&config, &study->prune, err);
}

err_code_t study_new(const json_t *about, study_t **out, err_t *err) {
    study_t *study = mem_zero(1, sizeof *study);
    study->about = json_deep_copy(about);
    study->notes = json_object();
    err_code_t code = space_read(json_object_get(about, "space"), &study->space, err);
    if (code == ERR_OK)
        code = read_config(study, err);
    if (code == ERR_OK)
        code = read_prune(study, err);
    if (code) {
        study_free(&study);
        return code;
    }
    study->tune = tune_new(&study->space, &study->config);
    *out = study;
    return ERR_OK;
}

static err_code_t check_whole(const json_t *about, err_t *err) {
    static const char *const keys[] = {"seed", "start", "trials", "first", "last", "eta"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        double value = json_number_value(json_object_get(about, keys[i]));
        if (value != floor(value))
            return bad(err, keys[i], "give a whole number");
    }
    return ERR_OK;
}

// Trials are stopped from step `first` on and before step `last`.
static err_code_t check_steps(const json_t *about, err_t *err) {
    double first, last;
    number_of(about, "first", 1, 1, STUDY_STEPS_MAX, &first);
    number_of(about, "last", 0, 0, STUDY_STEPS_MAX, &last);
    if (first < last)
        return ERR_OK;
    err_set(err, ERR_USAGE,
            "the study's first, %.0f, is not below its last, %.0f: nothing is pruned", first, last);
    return err_remedy(err, "give a first below last, or prune none");
}

err_code_t study_check(const json_t *about, err_t *err) {
    study_t *study = NULL;
    err_code_t code = study_new(about, &study, err);
    if (code == ERR_OK)
        code = check_whole(about, err);
    if (code == ERR_OK && study->prune)
        code = check_steps(about, err);
    study_free(&study);
    return code;
}

void study_free(study_t **self) {
    study_t *study = *self;
    if (!study)
        return;
    for (size_t i = 0; i < study->count; i++) {
        free(study->trials[i].reports);
        json_decref(study->trials[i].note);
        json_decref(study->trials[i].params);
    }
    for (size_t i = 0; i < study->unsaved_count; i++)
        json_decref(study->unsaved[i]);
    free(study->unsaved);
    free(study->trials);
    tune_free(&study->tune);
    tune_prune_free(&study->prune);
    json_decref(study->about);
    json_decref(study->notes);
    free(study);
    *self = NULL;
}

// --- What entries do
// ------------------------------------------------------------------------------

study_trial_t *study_find(study_t *study, uint64_t trial) {
    return trial >= 1 && trial <= study->count ? &study->trials[trial - 1] : NULL;
}

// replay: the optimiser has yet to be told; otherwise it has just said so itself.
err_code_t apply_asked(study_t *study, uint64_t number, const double *point, const tune_why_t *why,
                       const char *key, bool replay, err_t *err) {
    if (number != study->count + 1)
        return err_set(err, ERR_CORRUPT, "trial %llu comes after %zu", (unsigned long long)number,
                       study->count);
    err_code_t code = replay ? tune_asked(study->tune, number, point, why, err) : ERR_OK;
    if (code)
        return code;
    if (study->count == study->room) {
        study->room = study->room ? 2 * study->room : 32;
        study->trials = mem_grow(study->trials, study->room * sizeof *study->trials);
    }
    study_trial_t *trial = &study->trials[study->count++];
    *trial = (study_trial_t){.number = number, .why = *why, .note = json_object()};
    memcpy(trial->point, point, (size_t)study->space.count * sizeof *point);
    snprintf(trial->key, sizeof trial->key, "%s", key);
    study->running++;
    return ERR_OK;
}

err_code_t apply_report(study_t *study, study_trial_t *trial, uint64_t step, double value,
                        const bool *logged, bool *stop, err_t *err) {
    if (step < 1 || step > STUDY_STEPS_MAX)
        return err_set(err, ERR_INVALID, "there is no step %llu", (unsigned long long)step);
    err_code_t code = ERR_OK;
    *stop = trial->stop;
    if (study->prune && tune_prune_looks(study->prune, (int)step))
        code = tune_prune_report(study->prune, trial->number, (int)step, value, stop, err);
    if (code)
        return code;
    bool decided = *stop;
    if (logged)
        decided = *logged;
    else if (*stop && !trial->stop)
        decided = !guess_may_win(study, trial, step, value);
    if (study->prune && decided != *stop)
        tune_prune_overrule(study->prune, trial->number, (int)step, decided);
    *stop = decided;
    if (*stop && !trial->stop) {
        trial->stop_step = step;
        tune_prune_standing(study->prune, trial->number, (int)step, &trial->stop_rank,
                            &trial->stop_of);
    }
    trial->stop = *stop;
    trial->reports = mem_grow(trial->reports, (trial->report_count + 1) * sizeof *trial->reports);
    trial->reports[trial->report_count++] = (study_report_t){step, value};
    return ERR_OK;
}

static void end(study_t *study, study_trial_t *trial, study_state_t state) {
    trial->state = state;
    study->running--;
}

err_code_t apply_tell(study_t *study, study_trial_t *trial, double value, err_t *err) {
    err_code_t code = tune_tell(study->tune, trial->number, value, 0, err);
    if (code == ERR_OK) {
        trial->value = value;
        end(study, trial, STUDY_DONE);
        study->done++;
        guess_again(study);
    }
    return code;
}

err_code_t apply_prune(study_t *study, study_trial_t *trial, double value, double variance,
                       err_t *err) {
    if (!(variance > 0)) // a guess is never exact
        variance = guess_doubt(value);
    err_code_t code = tune_tell(study->tune, trial->number, value, variance, err);
    if (code == ERR_OK) {
        trial->value = value;
        trial->variance = variance;
        end(study, trial, STUDY_PRUNED);
    }
    return code;
}

err_code_t apply_end(study_t *study, study_trial_t *trial, study_state_t state, const char *reason,
                     err_t *err) {
    err_code_t code = state == STUDY_FAILED ? tune_fail(study->tune, trial->number, err)
                                            : tune_forget(study->tune, trial->number, err);
    if (code == ERR_OK) {
        snprintf(trial->reason, sizeof trial->reason, "%s", reason);
        end(study, trial, state);
    }
    return code;
}

void apply_note(study_t *study, study_trial_t *trial, const json_t *note) {
    json_object_update(trial ? trial->note : study->notes, (json_t *)(uintptr_t)note);
}

void apply_stop(study_t *study, const char *reason) {
    snprintf(study->stopped, sizeof study->stopped, "%s", reason);
}

// --- Decisions
// ------------------------------------------------------------------------------------

static const study_trial_t *by_key(const study_t *study, const char *key) {
    for (size_t i = study->count; key && key[0] && i > 0; i--)
        if (strcmp(study->trials[i - 1].key, key) == 0)
            return &study->trials[i - 1];
    return NULL;
}

err_code_t study_ask(study_t *study, const char *key, uint64_t *number, err_t *err) {
    const study_trial_t *known = by_key(study, key);
    double point[TUNE_PARAMETERS_MAX];
    tune_why_t why;
    if (known) {
        *number = known->number;
        return ERR_OK;
    }
    if (key && strlen(key) >= STUDY_KEY_SIZE)
        return err_set(err, ERR_INVALID, "the key has more than %d bytes", STUDY_KEY_SIZE - 1);
    if (study_wants_earlier(study)) {
        err_set(err, ERR_CONFLICT, "the study is not made yet: study %s, to begin with, is missing",
                study_warm_start(study));
        return err_remedy(err, "make it once more, in the same way");
    }
    if (study->stopped[0])
        return err_set(err, ERR_CONFLICT, "the study is stopped: %s", study->stopped);
    if ((study->limit && study->count >= study->limit) || study->count >= STUDY_TRIALS_MAX)
        return err_set(err, ERR_CONFLICT, "the study has its %zu trials", study->count);
    *number = study->count + 1;
    err_code_t code = tune_ask(study->tune, *number, point, &why, err);
    if (code)
        return code;
    if (why.kind == TUNE_EXHAUSTED)
        return err_set(err, ERR_NOT_FOUND, "every point of the space has been tried");
    code = apply_asked(study, *number, point, &why, key ? key : "", false, err);
    ERR_ASSERT(code == ERR_OK);
    json_t *entry = json_pack("{s:s, s:I, s:o, s:s, s:o}", "do", "ask", "trial",
                              (json_int_t)*number, "params", study_params(&study->space, point),
                              "key", key ? key : "", "why", study_why(&why));
    json_t *model = model_fresh(study);
    if (model)
        json_object_set_new(entry, "model", model);
    entry_put(study, entry);
    return ERR_OK;
}

static err_code_t find(study_t *study, uint64_t number, study_trial_t **trial, err_t *err) {
    *trial = study_find(study, number);
    return *trial ? ERR_OK
                  : err_set(err, ERR_NOT_FOUND, "the study has no trial %llu",
                            (unsigned long long)number);
}

static err_code_t ended(const study_trial_t *trial, err_t *err) {
    return err_set(err, ERR_CONFLICT, "trial %llu has ended already: it is %s",
                   (unsigned long long)trial->number, study_state_text(trial->state));
}

static json_t *entry_of(const char *word, const study_trial_t *trial) {
    return json_pack("{s:s, s:I}", "do", word, "trial", (json_int_t)trial->number);
}

static json_t *with_reason(json_t *entry, const char *reason) {
    char text[STUDY_TEXT_SIZE];
    snprintf(text, sizeof text, "%s", reason);
    json_t *json = json_string(text);
    json_object_set_new(entry, "reason", json ? json : json_string("(no text)"));
    return entry;
}

err_code_t study_tell(study_t *study, uint64_t number, double value, err_t *err) {
    study_trial_t *trial;
    err_code_t code = find(study, number, &trial, err);
    if (code)
        return code;
    if (!isfinite(value))
        return study_fail(study, number, "the value is not finite", err);
    if (trial->state == STUDY_DONE && trial->value == value)
        return ERR_OK;
    if (trial->state != STUDY_RUNNING)
        return ended(trial, err);
    code = apply_tell(study, trial, value, err);
    if (code == ERR_OK) {
        json_t *entry = entry_of("tell", trial);
        json_object_set_new(entry, "value", json_real(value));
        entry_put(study, entry);
    }
    return code;
}

static err_code_t end_without_value(study_t *study, uint64_t number, study_state_t state,
                                    const char *word, const char *reason, err_t *err) {
    study_trial_t *trial;
    err_code_t code = find(study, number, &trial, err);
    if (code || trial->state == state)
        return code;
    if (trial->state != STUDY_RUNNING)
        return ended(trial, err);
    code = apply_end(study, trial, state, reason, err);
    if (code == ERR_OK)
        entry_put(study, with_reason(entry_of(word, trial), reason));
    return code;
}

err_code_t study_fail(study_t *study, uint64_t number, const char *reason, err_t *err) {
    return end_without_value(study, number, STUDY_FAILED, "fail", reason, err);
}

err_code_t study_forget(study_t *study, uint64_t number, const char *reason, err_t *err) {
    return end_without_value(study, number, STUDY_FORGOTTEN, "forget", reason, err);
}

err_code_t study_report(study_t *study, uint64_t number, uint64_t step, double value, bool *stop,
                        err_t *err) {
    study_trial_t *trial;
    err_code_t code = find(study, number, &trial, err);
    if (code)
        return code;
    for (size_t i = 0; i < trial->report_count; i++)
        if (trial->reports[i].step == step) { // said before: the first one counts
            *stop = trial->stop;
            return ERR_OK;
        }
    if (trial->state != STUDY_RUNNING)
        return ended(trial, err);
    code = apply_report(study, trial, step, value, NULL, stop, err);
    if (code == ERR_OK) {
        json_t *entry = entry_of("report", trial);
        json_object_set_new(entry, "step", json_integer((json_int_t)step));
        json_object_set_new(entry, "value", entry_real(value));
        json_object_set_new(entry, "stop", json_boolean(*stop));
        entry_put(study, entry);
    }
    return code;
}

err_code_t study_prune(study_t *study, uint64_t number, err_t *err) {
    study_trial_t *trial;
    double value, variance;
    err_code_t code = find(study, number, &trial, err);
    if (code || trial->state == STUDY_PRUNED)
        return code;
    if (trial->state != STUDY_RUNNING)
        return ended(trial, err);
    code = guess_value(study, trial, &value, &variance, err);
    if (code == ERR_OK)
        code = apply_prune(study, trial, value, variance, err);
    if (code == ERR_OK) {
        json_t *entry = entry_of("prune", trial);
        json_object_set_new(entry, "value", json_real(value));
        json_object_set_new(entry, "variance", json_real(variance));
        entry_put(study, entry);
    }
    return code;
}

err_code_t study_note(study_t *study, uint64_t number, json_t *note, err_t *err) {
    study_trial_t *trial = NULL;
    err_code_t code = number ? find(study, number, &trial, err) : ERR_OK;
    if (code == ERR_OK && !json_is_object(note))
        code = err_set(err, ERR_INVALID, "a note is an object");
    if (code == ERR_OK) {
        apply_note(study, trial, note);
        entry_put(study, json_pack("{s:s, s:I, s:O}", "do", "note", "trial", (json_int_t)number,
                                   "note", note));
    }
    json_decref(note);
    return code;
}

err_code_t study_stop(study_t *study, const char *reason, err_t *err) {
    (void)err;
    if (study->stopped[0])
        return ERR_OK;
    json_t *entry = with_reason(json_pack("{s:s}", "do", "stop"), reason[0] ? reason : "stopped");
    apply_stop(study, json_string_value(json_object_get(entry, "reason")));
    entry_put(study, entry);
    return ERR_OK;
}

err_code_t study_continue(study_t *study, err_t *err) {
    (void)err;
    if (!study->stopped[0])
        return ERR_OK;
    apply_stop(study, "");
    entry_put(study, json_pack("{s:s}", "do", "continue"));
    return ERR_OK;
}

// --- What there is
// --------------------------------------------------------------------------------

const json_t *study_about(const study_t *study) {
    return study->about;
}

const tune_space_t *study_space(const study_t *study) {
    return &study->space;
}

bool study_maximises(const study_t *study) {
    return study->config.maximise;
}

uint64_t study_limit(const study_t *study) {
    return study->limit;
}

size_t study_count(const study_t *study) {
    return study->count;
}

const study_trial_t *study_trial(const study_t *study, uint64_t number) {
    return number >= 1 && number <= study->count ? &study->trials[number - 1] : NULL;
}

size_t study_running(const study_t *study) {
    return study->running;
}

const char *study_stopped(const study_t *study) {
    return study->stopped[0] ? study->stopped : NULL;
}

const json_t *study_notes(const study_t *study) {
    return study->notes;
}

tune_t *study_tune(study_t *study) {
    return study->tune;
}

bool study_should_stop(const study_t *study) {
    return tune_should_stop(study->tune);
}

const char *study_state_text(study_state_t state) {
    static const char *const texts[] = {"running", "done", "pruned", "failed", "forgotten"};
    return texts[state];
}

err_code_t study_best(study_t *study, uint64_t *number, err_t *err) {
    const study_trial_t *best = NULL;
    double sign = study->config.maximise ? -1 : 1;
    for (size_t i = 0; i < study->count; i++) {
        const study_trial_t *trial = &study->trials[i];
        if (trial->state == STUDY_DONE && (!best || sign * trial->value < sign * best->value))
            best = trial;
    }
    if (!best) {
        err_set(err, ERR_NOT_FOUND, "no trial of the study has ended well yet");
        return err_remedy(err, "ask again when one has; `inkling study show` tells how they go");
    }
    *number = best->number;
    return ERR_OK;
}
