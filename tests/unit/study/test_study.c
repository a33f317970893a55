// Is a study that is replayed from its log, at any point, the study that wrote it?
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "study/study.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static err_t err;

static void good(err_code_t code) {
    if (code)
        fail_msg("%s: %s; %s", err_name(code), err.message, err.remedy);
}

static study_t *make(const char *about) {
    study_t *study = NULL;
    json_t *json = json_loads(about, 0, NULL);
    assert_non_null(json);
    good(study_new(json, &study, &err));
    json_decref(json);
    return study;
}

#define ABOUT                                                                                      \
    "{\"space\":[\"lr=log:1e-5..1e-2\",\"dropout=0..0.5=0.2\",\"batch=int:8..64\","                \
    "\"opt={adam,sgd}\",\"momentum=0.5..0.99 if opt=sgd\"],\"seed\":7,\"prune\":\"asha\","         \
    "\"last\":9}"

// What is decided goes to the log, as a text, and back, as in Redis.
static void save(study_t *study, json_t *log) {
    size_t count;
    const json_t *const *entries = study_unsaved(study, &count);
    for (size_t i = 0; i < count; i++) {
        char *text = json_dumps(entries[i], JSON_REAL_PRECISION(17));
        json_array_append_new(log, json_loads(text, 0, NULL));
        free(text);
    }
    study_save(study, count);
}

static study_t *replay_into(study_t *study, const json_t *log) {
    size_t i;
    json_t *entry;
    json_array_foreach((json_t *)(uintptr_t)log, i, entry) {
        good(study_replay(study, entry, &err));
    }
    assert_int_equal(study_saved(study), json_array_size(log));
    return study;
}

static study_t *replayed(const json_t *log) {
    return replay_into(make(ABOUT), log);
}

static double objective(const study_t *study, uint64_t number, uint64_t step) {
    const study_trial_t *trial = study_trial(study, number);
    double lr = log10(trial->point[0]) + 3.3, dropout = trial->point[1] - 0.25;
    return lr * lr + 4 * dropout * dropout + 0.02 * fabs(trial->point[2] - 24) +
           (trial->point[3] > 0 ? 0.1 : 0) + 1.0 / (double)step;
}

static void same(study_t *a, study_t *b) {
    assert_int_equal(study_count(a), study_count(b));
    assert_int_equal(study_running(a), study_running(b));
    for (uint64_t i = 1; i <= study_count(a); i++) {
        const study_trial_t *x = study_trial(a, i), *y = study_trial(b, i);
        assert_int_equal(x->state, y->state);
        assert_memory_equal(x->point, y->point, (size_t)study_space(a)->count * sizeof *x->point);
        assert_int_equal(x->report_count, y->report_count);
        assert_true(x->value == y->value && x->variance == y->variance);
        assert_string_equal(x->key, y->key);
        json_t *given = study_trial_params(a, x), *other = study_trial_params(b, y);
        assert_true(json_equal(given, other));
        json_decref(given);
        json_decref(other);
        assert_int_equal(x->stop_step, y->stop_step);
        assert_int_equal(x->stop_rank, y->stop_rank);
        assert_int_equal(x->stop_of, y->stop_of);
    }
}

// One step of a study on which three workers are busy; ends come in an order of their own.
static void act(study_t *study, int turn) {
    uint64_t trial, running[64];
    size_t count = 0;
    bool stop;
    for (uint64_t i = 1; i <= study_count(study); i++)
        if (study_trial(study, i)->state == STUDY_RUNNING)
            running[count++] = i;
    if (count < 3) {
        good(study_ask(study, "", &trial, &err));
        return;
    }
    trial = running[(size_t)turn * 7 % count];
    uint64_t step = study_trial(study, trial)->report_count + 1;
    if (turn % 23 == 22) {
        good(study_fail(study, trial, "diverged", &err));
    } else if (turn % 19 == 18) {
        good(study_forget(study, trial, "its worker was lost", &err));
    } else if (step <= 9) {
        good(study_report(study, trial, step, objective(study, trial, step), &stop, &err));
        if (stop)
            good(study_prune(study, trial, &err));
    } else {
        good(study_tell(study, trial, objective(study, trial, 10), &err));
    }
}

static void change(study_t *study, const char *a, const char *b) {
    const char *const texts[] = {a, b};
    good(study_change(study, texts, b ? 2 : 1, &err));
}

static void change_at(study_t *study, int turn) {
    if (turn == 150)
        change(study, "lr=log:1e-4..2e-3", "opt={lion,adam,sgd}");
    if (turn == 301)
        change(study, "decay=log:1e-6..1e-2=1e-4", "dropout=0.1..0.4=0.2");
    if (turn == 448)
        change(study, "momentum=0..0.99=0.9", "opt={adam,lion}");
}

static void run_and_replay(bool changes) {
    study_t *study = make(ABOUT);
    json_t *log = json_array();
    for (int turn = 0; turn < 700; turn++) {
        if (changes)
            change_at(study, turn);
        save(study, log);
        if (turn % 16 == 0) { // killed here: another one goes on
            study_t *next = replayed(log);
            same(study, next);
            act(next, turn);
            act(study, turn);
            same(study, next);
            study_free(&next);
        } else {
            act(study, turn);
        }
        save(study, log);
    }
    size_t pruned = 0, done = 0;
    for (uint64_t i = 1; i <= study_count(study); i++) {
        pruned += study_trial(study, i)->state == STUDY_PRUNED;
        done += study_trial(study, i)->state == STUDY_DONE;
    }
    assert_true(pruned > 0 && done > 5);
    json_decref(log);
    study_free(&study);
}

static void a_replay_decides_as_the_first_did(void **state) {
    (void)state;
    run_and_replay(false);
}

static double cpu_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

// A log of an earlier release has no models: the same comes of it, only later.
static void models_in_the_log_save_time_alone(void **state) {
    (void)state;
    study_t *study = make(ABOUT);
    json_t *log = json_array(), *bare;
    uint64_t trial, numbers[2];
    size_t at, models = 0;
    json_t *entry;
    double took[2];
    for (int i = 0; i < 90; i++) {
        if (i == 40)
            change(study, "lr=log:1e-4..2e-3", NULL);
        good(study_ask(study, "", &trial, &err));
        if (i % 11 == 10)
            good(study_fail(study, trial, "diverged", &err));
        else
            good(study_tell(study, trial, objective(study, trial, 10), &err));
    }
    save(study, log);
    bare = json_deep_copy(log);
    json_array_foreach(bare, at, entry) models += json_object_del(entry, "model") == 0;
    assert_in_range(models, 30, 60); // one for each fit, not for each trial
    study_t *again[2] = {replayed(log), replayed(bare)};
    for (int k = 0; k < 2; k++) {
        took[k] = cpu_ms();
        good(study_ask(again[k], "", &numbers[k], &err));
        took[k] = cpu_ms() - took[k];
    }
    same(again[0], again[1]);
    if (took[0] * 4 > took[1])
        fail_msg("%g ms with models, %g without", took[0], took[1]);
    good(study_ask(study, "", &trial, &err));
    same(study, again[0]);
    for (int k = 0; k < 2; k++)
        study_free(&again[k]);
    json_decref(log);
    json_decref(bare);
    study_free(&study);
}

static void so_does_that_of_a_study_whose_space_changed(void **state) {
    (void)state;
    run_and_replay(true);
}

static void a_change_leaves_trials_what_they_were_given(void **state) {
    (void)state;
    static const char *const asked = "{\"a\":\"x\",\"b\":0.25}";
    static const char *const texts[] = {"a={y,z}", "c=int:1..3=2"}, *const wrong[] = {"b=0..0.5",
                                                                                      "d=0..1"};
    study_t *study = make("{\"space\":[\"a={x,y}=x\",\"b=0..1=0.25\"]}");
    json_t *wanted = json_loads(asked, 0, NULL), *params;
    uint64_t first, second;
    size_t count;
    good(study_ask(study, "", &first, &err));
    assert_int_equal(study_change(study, wrong, 2, &err), ERR_USAGE);
    assert_non_null(strstr(err.message, "d is new"));
    study_unsaved(study, &count);
    assert_int_equal(count, 1); // nothing of it counts
    assert_int_equal(study_space(study)->count, 2);
    good(study_change(study, texts, 2, &err));
    good(study_change(study, texts, 2, &err)); // said twice
    const json_t *const *entries = study_unsaved(study, &count);
    assert_int_equal(count, 2);
    assert_int_equal(json_array_size(json_object_get(entries[1], "space")), 3);
    params = study_trial_params(study, study_trial(study, first));
    assert_true(json_equal(params, wanted));
    json_decref(params);
    good(study_ask(study, "", &second, &err));
    params = study_trial_params(study, study_trial(study, second));
    assert_true(json_is_integer(json_object_get(params, "c")));
    assert_string_not_equal(json_string_value(json_object_get(params, "a")), "x");
    json_decref(params);
    good(study_tell(study, first, 1, &err));
    json_decref(wanted);
    study_free(&study);
}

static study_t *earlier_study(const char *about, int trials, double scale) {
    study_t *study = make(about);
    uint64_t trial;
    for (int i = 0; i < trials; i++) {
        good(study_ask(study, "", &trial, &err));
        if (i % 9 == 8)
            good(study_fail(study, trial, "diverged", &err));
        else
            good(study_tell(study, trial, scale * objective(study, trial, 10), &err));
    }
    return study;
}

#define WARM                                                                                       \
    "{\"space\":[\"lr=log:1e-4..1e-1\",\"dropout=0..0.4=0.2\",\"batch=int:8..64\","                \
    "\"opt={sgd,lion,adam}\",\"momentum=0.5..0.99 if opt=sgd\",\"decay=0..1=0.5\"],\"seed\":8,"    \
    "\"warm_start\":\"before\"}"

// Other ranges, words in another order, one more parameter, another scale of the values.
static void a_study_begins_with_an_earlier_one(void **state) {
    (void)state;
    study_t *before = earlier_study(ABOUT, 30, 7), *study = make(WARM);
    uint64_t trial, other;
    size_t count;
    assert_true(study_wants_earlier(study));
    assert_int_equal(study_ask(study, "", &trial, &err), ERR_CONFLICT);
    assert_non_null(strstr(err.message, "before"));
    good(study_begin_with(study, "before", before, &err));
    assert_int_equal(study_begin_with(study, "before", before, &err), ERR_CONFLICT);
    study_free(&before); // nothing depends on it any more
    const json_t *const *entries = study_unsaved(study, &count);
    assert_int_equal(count, 1);
    assert_int_equal(json_array_size(json_object_get(entries[0], "points")), 30);
    json_t *log = json_array();
    for (int i = 0; i < 25; i++) {
        if (i == 12)
            change(study, "lr=log:1e-4..1e-2", "decay=0.1..1=0.5");
        save(study, log);
        study_t *next = replay_into(make(WARM), log);
        good(study_ask(study, "", &trial, &err));
        good(study_ask(next, "", &other, &err));
        same(study, next);
        study_free(&next);
        const study_trial_t *asked = study_trial(study, trial);
        if (i < 3)
            assert_int_equal(asked->why.kind, i == 0 ? TUNE_DEFAULT : TUNE_EARLIER);
        good(tune_space_contains(study_space(study), asked->point, &err));
        good(study_tell(study, trial, asked->point[4] + objective(study, trial, 10), &err));
    }
    json_decref(log);
    char more[26][24];
    const char *texts[26];
    for (int i = 0; i < 26; i++) {
        snprintf(more[i], sizeof more[i], "more%d=0..1=0.5", i % 100);
        texts[i] = more[i];
    }
    assert_int_equal(study_change(study, texts, 26, &err), ERR_USAGE);
    assert_non_null(strstr(err.message, "one too many"));
    good(study_change(study, texts, 25, &err));
    good(study_ask(study, "", &trial, &err));
    study_free(&study);
}

static void what_an_earlier_study_cannot_be_is_named(void **state) {
    static const char *const abouts[][2] = {
        {"{\"space\":[\"lr=0..1\"],\"warm_start\":\"x\"}", "dropout is gone"},
        {"{\"space\":[\"lr={a,b}\",\"dropout=0..1\",\"batch=1..2\",\"opt={a,b}\",\"momentum=0..1\"]"
         "}",
         "lr: a number cannot become words"},
        {"{\"space\":[\"lr=0..1\",\"dropout=0..1\",\"batch=1..2\",\"opt={a,b}\",\"momentum=0..1="
         "0\","
         "\"more=0..1\"]}",
         "more is new"}};
    (void)state;
    study_t *before = earlier_study(ABOUT, 9, 1), *none = earlier_study(ABOUT, 0, 1);
    size_t count;
    for (size_t i = 0; i < sizeof abouts / sizeof *abouts; i++) {
        study_t *study = make(abouts[i][0]);
        assert_int_equal(study_begin_with(study, "x", before, &err), ERR_USAGE);
        if (!strstr(err.message, abouts[i][1]) || !strstr(err.message, "study x"))
            fail_msg("%s", err.message);
        study_unsaved(study, &count);
        assert_int_equal(count, 0);
        study_free(&study);
    }
    study_t *study = make(WARM);
    assert_int_equal(study_begin_with(study, "none", none, &err), ERR_INVALID);
    assert_non_null(strstr(err.message, "study none has no trial"));
    study_free(&study);
    study_free(&before);
    study_free(&none);
}

// Half of what is copied is the best, and an entry fits into a message.
static void long_studies_are_copied_in_part(void **state) {
    (void)state;
    study_t *before =
        earlier_study("{\"space\":[\"lr=log:1e-5..1e-2\",\"dropout=0..0.5\",\"batch=8..64\","
                      "\"opt={a,b}\"],\"strategy\":\"random\"}",
                      700, 1);
    study_t *study =
        make("{\"space\":[\"lr=log:1e-5..1e-2\",\"dropout=0..0.5\",\"batch=8..64\",\"opt={a,b}\"],"
             "\"direction\":\"maximise\"}");
    uint64_t best;
    size_t count, i;
    good(study_best(before, &best, &err));
    good(study_begin_with(study, "long", before, &err));
    const json_t *values = json_object_get(study_unsaved(study, &count)[0], "values");
    assert_int_equal(json_array_size(values), TUNE_EARLIER_MAX);
    assert_true(-json_number_value(json_array_get(values, 0)) == study_trial(before, best)->value);
    for (i = 0; i < TUNE_EARLIER_MAX / 2; i++)
        assert_true(json_is_real(json_array_get(values, i)));
    assert_true(json_is_null(json_array_get(values, TUNE_EARLIER_MAX - 1)));
    study_free(&before);
    study_free(&study);
}

static void fractions_are_no_whole_numbers(void **state) {
    static const char *const keys[] = {"trials", "seed", "start", "first", "last", "eta"};
    (void)state;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        for (int rule = 0; rule < 2; rule++) {
            json_t *about = json_pack("{s:[s], s:s, s:i}", "space", "lr=0..1", "prune",
                                      rule ? "asha" : "none", "last", 9);
            json_object_set_new(about, keys[i], json_real(2.5));
            assert_int_equal(study_check(about, &err), ERR_USAGE);
            if (!strstr(err.message, keys[i]) || !strstr(err.remedy, "whole number"))
                fail_msg("%s: %s; %s", keys[i], err.message, err.remedy);
            json_object_set_new(about, keys[i], json_real(3.0));
            good(study_check(about, &err));
            json_decref(about);
        }
}

// They are in the logs of earlier releases.
static void what_was_taken_once_is_read(void **state) {
    (void)state;
    study_t *study = make("{\"space\":[\"lr=0..1\"],\"trials\":2.5,\"seed\":1.5}");
    assert_int_equal(study_limit(study), 2);
    study_free(&study);
    study = make("{\"space\":[\"lr=0..1\"],\"prune\":\"median\",\"first\":9,\"last\":4}");
    study_free(&study);
}

// Parameters of as many and as long words as there may be.
static char *wordy_about(int parameters, const char *more) {
    char words[TUNE_CHOICES_MAX * TUNE_NAME_SIZE + 1], text[2 * sizeof words + 64];
    json_t *about = json_loads(more, 0, NULL), *space = json_array();
    for (int i = 0; i < TUNE_CHOICES_MAX; i++)
        snprintf(words + (size_t)i * TUNE_NAME_SIZE, TUNE_NAME_SIZE + 1, "%c%046d|", 'a' + i, i);
    words[sizeof words - 2] = 0; // the last bar
    for (int i = 0; i < parameters; i++) {
        int size = snprintf(text, sizeof text, "p%d={%s}", i, words);
        for (int at = 0; at < size; at++)
            text[at] = text[at] == '|' ? ',' : text[at];
        if (i > 0)
            snprintf(text + size, sizeof text - (size_t)size, " if p0=%s", words);
        json_array_append_new(space, json_string(text));
    }
    json_object_set_new(about, "space", space);
    char *made = json_dumps(about, 0);
    json_decref(about);
    return made;
}

// A space that nearly fills an entry leaves room for a few points, or for none.
static void wide_spaces_leave_few_points(void **state) {
    (void)state;
    for (int parameters = 28; parameters <= TUNE_PARAMETERS_MAX; parameters++) {
        char *about = wordy_about(parameters, "{\"strategy\":\"random\"}"),
             *later = wordy_about(parameters, "{\"warm_start\":\"wide\"}");
        study_t *before = make(about), *study = make(later);
        uint64_t trial;
        size_t count;
        for (int i = 0; i < 12; i++) {
            good(study_ask(before, "", &trial, &err));
            good(study_tell(before, trial, i, &err));
        }
        err_code_t code = study_begin_with(study, "wide", before, &err);
        const json_t *const *entries = study_unsaved(study, &count);
        if (code == ERR_OK) {
            size_t points = json_array_size(json_object_get(entries[0], "points"));
            assert_in_range(points, 1, 7);
            assert_true(parameters < TUNE_PARAMETERS_MAX);
        } else {
            assert_int_equal(code, ERR_INVALID);
            assert_non_null(strstr(err.message, "study wide: its space leaves no room"));
            assert_int_equal(count, 0);
            assert_true(parameters > 29);
        }
        study_free(&study);
        study_free(&before);
        free(later);
        free(about);
    }
}

static void what_is_said_twice_counts_once(void **state) {
    (void)state;
    study_t *study = make(ABOUT);
    uint64_t first, second;
    bool stop;
    size_t count;
    good(study_ask(study, "mine", &first, &err));
    good(study_ask(study, "mine", &second, &err));
    assert_int_equal(first, second);
    good(study_ask(study, "", &second, &err));
    assert_int_not_equal(first, second);
    good(study_report(study, first, 1, 0.5, &stop, &err));
    good(study_report(study, first, 1, 0.7, &stop, &err));
    assert_true(study_trial(study, first)->reports[0].value == 0.5);
    good(study_tell(study, first, 0.25, &err));
    good(study_tell(study, first, 0.25, &err));
    assert_int_equal(study_tell(study, first, 0.5, &err), ERR_CONFLICT);
    assert_int_equal(study_fail(study, first, "no", &err), ERR_CONFLICT);
    assert_int_equal(study_tell(study, 99, 1, &err), ERR_NOT_FOUND);
    good(study_tell(study, second, NAN, &err)); // a failure
    assert_int_equal(study_trial(study, second)->state, STUDY_FAILED);
    study_unsaved(study, &count);
    assert_int_equal(count, 5);
    uint64_t best;
    good(study_best(study, &best, &err));
    assert_int_equal(best, first);
    study_free(&study);
}

// Trials whose values in epoch 1 are these and whose ends lie on a line.
static study_t *on_a_line(double begin, double slope) {
    study_t *study = make("{\"space\":[\"x=0..1\"],\"prune\":\"asha\",\"last\":9}");
    for (int i = 0; i < 8; i++) {
        uint64_t trial;
        bool stop;
        double value = 0.2 + 0.1 * i;
        good(study_ask(study, "", &trial, &err));
        good(study_report(study, trial, 1, value, &stop, &err));
        if (!stop)
            good(study_tell(study, trial, begin + slope * value, &err));
        else
            good(study_prune(study, trial, &err));
    }
    return study;
}

static const study_trial_t *behind(study_t *study, double value, bool *stop) {
    uint64_t trial;
    good(study_ask(study, "", &trial, &err));
    good(study_report(study, trial, 1, value, stop, &err));
    return study_trial(study, trial);
}

static void what_cannot_win_is_stopped_and_guessed(void **state) {
    (void)state;
    study_t *study = on_a_line(0.1, 0.2);
    bool stop;
    uint64_t number = behind(study, 0.9, &stop)->number;
    assert_true(stop);
    good(study_prune(study, number, &err));
    const study_trial_t *trial = study_trial(study, number);
    if (fabs(trial->value - 0.28) > 0.02 || !(trial->variance > 0 && trial->variance < 0.01))
        fail_msg("%g, variance %g", trial->value, trial->variance);
    double was = trial->value;
    for (int i = 0; i < 6; i++) { // others go lower from about there: so would it have
        uint64_t other;
        good(study_ask(study, "", &other, &err));
        good(study_report(study, other, 1, 0.85, &stop, &err));
        good(study_tell(study, other, 0.2, &err));
    }
    assert_true(study_trial(study, number)->value < was);
    study_free(&study);
}

static void what_may_yet_win_goes_on(void **state) {
    (void)state;
    study_t *study = on_a_line(0.5, -0.3); // slow starters end best
    bool stop;
    uint64_t best, number = behind(study, 1, &stop)->number;
    assert_false(stop);
    good(study_prune(study, number, &err)); // if one will have it so
    good(study_best(study, &best, &err));
    assert_true(study_trial(study, number)->value == study_trial(study, best)->value);
    study_free(&study);
}

// What a log says was decided stands, whatever this version of the rules would say.
static void a_stop_in_the_log_is_one(void **state) {
    (void)state;
    static const char *const entries[] = {
        "{\"do\":\"ask\",\"trial\":1,\"params\":{\"x\":0.5},\"why\":{\"kind\":\"start\"}}",
        "{\"do\":\"report\",\"trial\":1,\"step\":1,\"value\":0.3,\"stop\":true}",
        "{\"do\":\"report\",\"trial\":1,\"step\":3,\"value\":0.2,\"stop\":true}"};
    study_t *study = make("{\"space\":[\"x=0..1\"],\"prune\":\"asha\",\"last\":9}");
    for (size_t i = 0; i < sizeof entries / sizeof *entries; i++) {
        json_t *entry = json_loads(entries[i], 0, NULL);
        good(study_replay(study, entry, &err));
        json_decref(entry);
    }
    bool stop = false;
    good(study_report(study, 1, 4, 0.1, &stop, &err));
    assert_true(stop && study_trial(study, 1)->stop);
    study_free(&study);
}

static void an_end_without_a_value_is_corrupt(void **state) {
    (void)state;
    static const char *const ends[] = {"{\"do\":\"tell\",\"trial\":1,\"value\":null}",
                                       "{\"do\":\"prune\",\"trial\":1,\"variance\":1}"};
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        study_t *study = make("{\"space\":[\"x=0..1\"],\"prune\":\"asha\",\"last\":9}");
        json_t *entry = json_loads(ends[i], 0, NULL);
        uint64_t trial;
        size_t count;
        good(study_ask(study, "", &trial, &err));
        study_unsaved(study, &count);
        study_save(study, count);
        assert_int_equal(study_replay(study, entry, &err), ERR_CORRUPT);
        json_decref(entry);
        study_free(&study);
    }
}

static void a_guess_rests_on_the_furthest_step_and_is_never_exact(void **state) {
    (void)state;
    study_t *study = make("{\"space\":[\"x=0..1\"],\"prune\":\"asha\",\"last\":9}");
    static const double values[][2] = {{1, -50}, {3, 3}, {2, 100}};
    uint64_t trial;
    bool stop;
    good(study_ask(study, "", &trial, &err));
    for (int i = 0; i < 3; i++)
        good(study_report(study, trial, (uint64_t)values[i][0], values[i][1], &stop, &err));
    good(study_prune(study, trial, &err));
    assert_true(study_trial(study, trial)->value == 3 && study_trial(study, trial)->variance >= 1);
    study_free(&study);
}

static void a_stopped_study_asks_no_more_until_it_goes_on(void **state) {
    (void)state;
    study_t *study = make(ABOUT);
    uint64_t trial;
    good(study_stop(study, "enough", &err));
    assert_int_equal(study_ask(study, "", &trial, &err), ERR_CONFLICT);
    assert_non_null(strstr(err.message, "enough"));
    good(study_continue(study, &err));
    good(study_ask(study, "", &trial, &err));
    study_free(&study);
}

static void finite_spaces_end(void **state) {
    (void)state;
    study_t *study = make("{\"space\":[\"a={x,y}\",\"b=int:1..2\"],\"noiseless\":true}");
    uint64_t trial;
    for (int i = 0; i < 4; i++) {
        good(study_ask(study, "", &trial, &err));
        good(study_tell(study, trial, i, &err));
    }
    assert_int_equal(study_ask(study, "", &trial, &err), ERR_NOT_FOUND);
    study_free(&study);
}

// Five trials that end with `ends`, of which values after the first step were `begins`; then a
// sixth one that is stopped there.
static double guess_of(const char *about, const double *begins, const double *ends, double begin,
                       int rank) {
    study_t *study = make(about);
    uint64_t trial;
    bool stop;
    for (int i = 0; i < 6; i++) {
        good(study_ask(study, "", &trial, &err));
        good(study_report(study, trial, 1, i < 5 ? begins[i] : begin, &stop, &err));
        assert_int_equal(stop, i == 5);
        if (i < 5)
            good(study_tell(study, trial, ends[i], &err));
        else
            good(study_prune(study, trial, &err));
    }
    const study_trial_t *last = study_trial(study, 6);
    assert_int_equal(last->stop_step, 1);
    assert_int_equal(last->stop_rank, rank);
    assert_int_equal(last->stop_of, 6);
    double value = last->value;
    study_free(&study);
    return value;
}

static void what_is_stopped_early_is_guessed_by_the_others(void **state) {
    (void)state;
#define SMALL "{\"space\":[\"x=0..1\"],\"prune\":\"asha\",\"last\":9"
    const double begins[] = {2, 3, 4, 5, 6}, ends[] = {1, 2, 3, 4, 5};
    assert_true(fabs(guess_of(SMALL "}", begins, ends, 4.5, 4) - 3.5) < 1e-3);
    double mirrored[2][5];
    for (int i = 0; i < 5; i++) {
        mirrored[0][i] = -begins[i];
        mirrored[1][i] = -ends[i];
    }
    double guess =
        guess_of(SMALL ",\"direction\":\"maximise\"}", mirrored[0], mirrored[1], -4.5, 4);
    assert_true(fabs(guess + 3.5) < 1e-3);
#undef SMALL
}

static void bad_abouts_and_entries_are_named(void **state) {
    static const char *const abouts[][2] = {
        {"{}", "space"},
        {"{\"space\":[]}", "space"},
        {"{\"space\":[1]}", "space"},
        {"{\"space\":[\"lr=log:0..1\"]}", "lr"},
        {"{\"space\":[\"lr=0..1\"],\"direction\":\"up\"}", "direction"},
        {"{\"space\":[\"lr=0..1\"],\"strategy\":\"luck\"}", "strategy"},
        {"{\"space\":[\"lr=0..1\"],\"prune\":\"all\"}", "prune"},
        {"{\"space\":[\"lr=0..1\"],\"seed\":-1}", "seed"},
        {"{\"space\":[\"lr=0..1\"],\"trials\":1e9}", "trials"},
        {"{\"space\":[\"lr=0..1\"],\"tolerance\":-1}", "tolerance"},
        {"{\"space\":[\"lr=0..1\"],\"prune\":\"asha\"}", "last"},
        {"{\"space\":[\"lr=0..1\"],\"prune\":\"median\",\"last\":0}", "last"},
        {"{\"space\":[\"lr=0..1\"],\"prune\":\"asha\",\"last\":1}",
         "first, 1, is not below its last, 1"},
        {"{\"space\":[\"lr=0..1\"],\"prune\":\"median\",\"first\":9,\"last\":4}",
         "first, 9, is not below its last, 4"},
        {"{\"space\":[\"lr=0..1\"],\"schema\":2}", "schema"}};
    static const char *const entries[] = {
        "{}",
        "{\"do\":\"dance\"}",
        "{\"do\":\"ask\",\"trial\":2,\"params\":{\"lr\":0.5},\"why\":{\"kind\":\"start\"}}",
        "{\"do\":\"ask\",\"trial\":1,\"params\":{\"lr\":7},\"why\":{\"kind\":\"start\"}}",
        "{\"do\":\"ask\",\"trial\":1,\"params\":{\"x\":0.5},\"why\":{\"kind\":\"start\"}}",
        "{\"do\":\"ask\",\"trial\":1,\"params\":{\"lr\":0.5},\"why\":{\"kind\":\"whim\"}}",
        "{\"do\":\"tell\",\"trial\":1,\"value\":1}",
        "{\"do\":\"ask\",\"trial\":1,\"params\":{\"lr\":0.5},\"why\":{\"kind\":\"start\"},"
        "\"model\":[1]}",
        "{\"do\":\"ask\",\"trial\":1,\"params\":{\"lr\":0.5},\"why\":{\"kind\":\"start\"},"
        "\"model\":[1,1,1,1,0,1,0,1,0,0,0]}",
        "{\"do\":\"earlier\"}",
        "{\"do\":\"earlier\",\"space\":[\"lr=0..1\"],\"points\":[[0.5]],\"values\":[]}",
        "{\"do\":\"earlier\",\"space\":[\"lr=0..1\"],\"points\":[[\"a\"]],\"values\":[1]}",
        "{\"do\":\"space\"}",
        "{\"do\":\"space\",\"space\":[\"x=0..1=1\"]}",
        "{\"do\":\"space\",\"space\":[\"lr=0..1\",\"x=0..1\"]}"};
    (void)state;
    for (size_t i = 0; i < sizeof abouts / sizeof *abouts; i++) {
        json_t *json = json_loads(abouts[i][0], 0, NULL);
        assert_int_equal(study_check(json, &err), ERR_USAGE);
        if (!strstr(err.message, abouts[i][1]))
            fail_msg("%s: %s", abouts[i][0], err.message);
        json_decref(json);
    }
    for (size_t i = 0; i < sizeof entries / sizeof *entries; i++) {
        study_t *study = make("{\"space\":[\"lr=0..1\"]}");
        json_t *json = json_loads(entries[i], 0, NULL);
        if (study_replay(study, json, &err) != ERR_CORRUPT)
            fail_msg("%s", entries[i]);
        json_decref(json);
        study_free(&study);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_replay_decides_as_the_first_did),
        cmocka_unit_test(so_does_that_of_a_study_whose_space_changed),
        cmocka_unit_test(models_in_the_log_save_time_alone),
        cmocka_unit_test(a_change_leaves_trials_what_they_were_given),
        cmocka_unit_test(a_study_begins_with_an_earlier_one),
        cmocka_unit_test(what_an_earlier_study_cannot_be_is_named),
        cmocka_unit_test(long_studies_are_copied_in_part),
        cmocka_unit_test(wide_spaces_leave_few_points),
        cmocka_unit_test(what_is_said_twice_counts_once),
        cmocka_unit_test(what_cannot_win_is_stopped_and_guessed),
        cmocka_unit_test(what_may_yet_win_goes_on),
        cmocka_unit_test(a_stop_in_the_log_is_one),
        cmocka_unit_test(an_end_without_a_value_is_corrupt),
        cmocka_unit_test(a_guess_rests_on_the_furthest_step_and_is_never_exact),
        cmocka_unit_test(a_stopped_study_asks_no_more_until_it_goes_on),
        cmocka_unit_test(finite_spaces_end),
        cmocka_unit_test(what_is_stopped_early_is_guessed_by_the_others),
        cmocka_unit_test(bad_abouts_and_entries_are_named),
        cmocka_unit_test(fractions_are_no_whole_numbers),
        cmocka_unit_test(what_was_taken_once_is_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
