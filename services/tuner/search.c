#include "search_impl.h"

#include "base/clock.h"
#include "base/fs.h"
#include "digest/digest.h"
#include "trials/trials.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define LOOK_MS 250

// --- Telling people
// -------------------------------------------------------------------------------

static void tell_trial(search_t *search, uint64_t number, const char *job) {
    const study_trial_t *trial = study_trial(search->study, number);
    json_t *params = study_trial_params(search->study, trial);
    json_t *data = json_pack("{s:I, s:s}", "trial", (json_int_t)number, "state",
                             study_state_text(trial->state));
    json_object_update(data, params);
    if (trial->state == STUDY_DONE || trial->state == STUDY_PRUNED)
        json_object_set_new(data, search->plan.body.objective, json_real(trial->value));
    if (trial->reason[0])
        json_object_set_new(data, "reason", json_string(trial->reason));
    json_object_set_new(data, "why", json_string(tune_kind_text(trial->why.kind)));
    json_object_set_new(data, "job", json_string(job));
    json_decref(params);
    child_event(search->child, "trial", data);
}

static void tell_progress(search_t *search) {
    char text[128] = "";
    uint64_t best;
    size_t ended = study_count(search->study) - study_running(search->study);
    if (study_best(search->study, &best, NULL) == ERR_OK)
        snprintf(text, sizeof text, "best %s %.5g (trial %llu), %zu running",
                 search->plan.body.objective, study_trial(search->study, best)->value,
                 (unsigned long long)best, search->running);
    child_progress(search->child, ++search->counter, (double)ended,
                   (double)study_limit(search->study), text);
}

// --- Trials
// ---------------------------------------------------------------------------------------

static err_code_t save(search_t *search, err_t *err) {
    err_code_t code = journal_save(search->child, search->name, search->study, err);
    search->outdated = code == ERR_STALE;
    return code;
}

static err_code_t check(search_t *search, err_t *err) {
    err_code_t code = journal_check(search->child, search->name, search->study, err);
    search->outdated = code == ERR_STALE;
    return code;
}

static err_code_t train(search_t *search, uint64_t number, err_t *err) {
    const study_trial_t *trial = study_trial(search->study, number);
    json_t *params = study_trial_params(search->study, trial);
    json_t *body = trials_training(search->plan.about, params);
    if (search->running == search->room) {
        search->room = search->room ? 2 * search->room : 8;
        search->trainings = mem_grow(search->trainings, search->room * sizeof(training_t));
    }
    training_t *training = &search->trainings[search->running];
    bool known = json_object_get(trial->note, "job") != NULL;
    err_code_t code = training_submit(search->child, search->name, number, body, training, err);
    json_decref(params);
    json_decref(body);
    if (code)
        return code;
    search->running++;
    if (known)
        return ERR_OK;
    code = study_note(search->study, number, json_pack("{s:s}", "job", training->job), err);
    if (code == ERR_OK)
        code = save(search, err);
    if (code == ERR_OK)
        tell_trial(search, number, training->job);
    return code;
}

static bool out_of_time(const search_t *search) {
    uint64_t budget_s = search->plan.body.budget_s;
    return budget_s && time(NULL) - search->begun_ms / 1000 >= (int64_t)budget_s;
}

// True while more trials are wanted; else the study says why not.
static bool wants_more(search_t *search) {
    study_t *study = search->study;
    if (study_stopped(study) || study_count(study) >= study_limit(study))
        return false;
    if (out_of_time(search))
        study_stop(study, "its time is over", NULL);
    else if (search->plan.body.tolerance > 0 && study_should_stop(study))
        study_stop(study, "less than the tolerance is left to gain", NULL);
    return !study_stopped(study);
}

static err_code_t begin_trials(search_t *search, err_t *err) {
    err_code_t code = ERR_OK;
    while (code == ERR_OK && search->running < search->plan.body.parallel && wants_more(search)) {
        uint64_t number;
        code = study_ask(search->study, "", &number, err);
        if (code == ERR_NOT_FOUND) { // the space is exhausted
            code = study_stop(search->study, "every point of the space has been tried", err);
            break;
        }
        if (code == ERR_OK)
            code = save(search, err);
        if (code == ERR_OK)
            code = train(search, number, err);
    }
    return code ? code : save(search, err);
}

// --- What comes of them
// ---------------------------------------------------------------------------

static err_code_t tell_end(search_t *search, const training_t *training, err_t *err) {
    study_t *study = search->study;
    if (study_trial(study, training->trial)->stop)
        return study_prune(study, training->trial, err);
    switch (training->end) {
    case TRAINING_SUCCEEDED:
        if (!isfinite(training->value))
            return study_forget(study, training->trial, "its result tells no value", err);
        study_note(study, training->trial,
                   json_pack("{s:I}", "version", (json_int_t)training->version), NULL);
        return study_tell(study, training->trial, training->value, err);
    case TRAINING_CANCELLED: // by a person, who may have had any reason
        return study_forget(study, training->trial, training->reason, err);
    default:
        return study_fail(study, training->trial, training->reason, err);
    }
}

// Once it is to stop nothing more counts, also if it has come to its end meanwhile: what becomes of
// a trial must not depend on who was faster.
static err_code_t stop_training(search_t *search, training_t *training, err_t *err) {
    if (training->cancelled)
        return ERR_OK;
    training->cancelled = true;
    return training_cancel(search->child, training, "the search stops this trial early", err);
}

static err_code_t report(search_t *search, const training_t *training, err_t *err) {
    bool stop;
    err_code_t code =
        study_report(search->study, training->trial, training->epoch, training->value, &stop, err);
    return code ? code : save(search, err);
}

static err_code_t look(search_t *search, training_t *training, err_t *err) {
    err_code_t code;
    do {
        code = training_look(search->child, &search->plan, training, err);
        bool stops = study_trial(search->study, training->trial)->stop;
        if (code == ERR_OK && training->fresh && !stops)
            code = report(search, training, err);
        if (code == ERR_OK && study_trial(search->study, training->trial)->stop)
            code = stop_training(search, training, err);
    } while (code == ERR_OK && training->fresh);
    if (code == ERR_OK && training->end != TRAINING_RUNS) {
        code = tell_end(search, training, err);
        if (code == ERR_OK)
            code = save(search, err);
        if (code == ERR_OK)
            tell_trial(search, training->trial, training->job);
    }
    return code;
}

static err_code_t look_at_all(search_t *search, err_t *err) {
    err_code_t code = ERR_OK;
    size_t kept = 0;
    for (size_t i = 0; i < search->running && code == ERR_OK; i++) {
        training_t *training = &search->trainings[i];
        code = look(search, training, err);
        if (code == ERR_OK && training->end == TRAINING_RUNS)
            search->trainings[kept++] = *training;
    }
    if (code == ERR_OK)
        search->running = kept;
    return code;
}

// Deaths of this process between two of these count against the job; what it knows is in the log.
static err_code_t checkpoint(search_t *search, err_t *err) {
    uint64_t ended = study_count(search->study) - study_running(search->study);
    if (ended == search->checkpointed)
        return ERR_OK;
    char text[96], digest[DIGEST_HEX_SIZE];
    int size = snprintf(text, sizeof text, "{\"study\":\"%s\",\"ended\":%llu}\n", search->name,
                        (unsigned long long)ended);
    char *path = mem_format("%s/ended-%llu.json", search->job->folder, (unsigned long long)ended);
    digest_bytes(text, (size_t)size, digest);
    err_code_t code = fs_write(path, text, (size_t)size, err);
    if (code == ERR_OK)
        code = child_checkpoint(search->child, path + strlen(search->job->files) + 1, digest, ended,
                                NULL, err);
    if (code == ERR_OK)
        search->checkpointed = ended;
    free(path);
    return code;
}

// --- All of it
// ------------------------------------------------------------------------------------

// The first attempt's clock counts, so that a search that is taken up again has no more time.
static err_code_t take_begin(search_t *search, err_t *err) {
    const json_t *begun = json_object_get(study_notes(search->study), "begun_ms");
    search->begun_ms =
        json_is_integer(begun) ? json_integer_value(begun) : (int64_t)time(NULL) * 1000;
    err_code_t code =
        study_note(search->study, 0,
                   json_pack("{s:I, s:s, s:I}", "begun_ms", (json_int_t)search->begun_ms, "job",
                             search->job->id, "attempt", (json_int_t)search->job->token),
                   err);
    if (code == ERR_OK)
        code = save(search, err);
    search->announced = code == ERR_OK;
    return code;
}

// Trials that an earlier attempt began; those that it asked for and had not queued yet are queued
// now.
static err_code_t take_up(search_t *search, err_t *err) {
    err_code_t code = ERR_OK;
    for (uint64_t number = 1; number <= study_count(search->study) && code == ERR_OK; number++)
        if (study_trial(search->study, number)->state == STUDY_RUNNING)
            code = train(search, number, err);
    return code;
}

static void end_all(const search_t *search, const char *reason) {
    for (size_t i = 0; i < search->running; i++)
        training_cancel(search->child, &search->trainings[i], reason, NULL);
}

static err_code_t run_trials(search_t *search, err_t *err) {
    for (;;) {
        err_code_t code = begin_trials(search, err);
        if (code == ERR_OK)
            code = look_at_all(search, err);
        if (code == ERR_OK)
            code = checkpoint(search, err);
        if (code)
            return code;
        child_forget_replies(search->child);
        tell_progress(search);
        if (search->running == 0 && !wants_more(search)) {
            code = save(search, err);
            return code ? code : check(search, err);
        }
        child_stop_t stop = child_stop(search->child);
        if (stop != CHILD_GO)
            return err_set(err, ERR_CANCELLED, "stopped");
        clock_sleep_ms(LOOK_MS);
    }
}

// The log is another one than this attempt knows: somebody has changed or stopped the study, and
// what was decided since is void; or another attempt has announced itself, and this one is over.
static bool is_ours(const search_t *search) {
    const json_t *attempt = json_object_get(study_notes(search->study), "attempt");
    return (uint64_t)json_integer_value(attempt) == search->job->token;
}

static err_code_t run_from_log(search_t *search, err_t *err) {
    study_free(&search->study);
    search->running = 0;
    search->outdated = false;
    err_code_t code =
        journal_open(search->child, search->name, search->plan.about, &search->study, err);
    search->outdated = code == ERR_STALE;
    if (code == ERR_OK && search->announced && !is_ours(search))
        code = err_set(err, ERR_STALE, "another attempt writes to study %s", search->name);
    if (code == ERR_OK && !search->announced)
        code = take_begin(search, err);
    if (code == ERR_OK)
        code = take_up(search, err);
    return code ? code : run_trials(search, err);
}

err_code_t search_run(child_t *child, const child_job_t *job, child_result_t *result, err_t *err) {
    search_t search = {.child = child, .job = job};
    snprintf(search.name, sizeof search.name, "job-%s", job->id);
    err_code_t code = plan_read(child, job, &search.plan, err);
    if (code == ERR_OK)
        code = run_from_log(&search, err);
    while (search.outdated)
        code = run_from_log(&search, err);
    if (code == ERR_OK)
        code = winner_register(&search, result, err);
    if (code == ERR_OK)
        result->result = winner_result(&search);
    bool over = code == ERR_CANCELLED ? child_stop(child) == CHILD_CANCEL
                                      : code && code != ERR_STALE && !err_retryable(code);
    if (over)
        end_all(&search, "its search has ended");
    study_free(&search.study);
    plan_release(&search.plan);
    free(search.trainings);
    return code;
}
