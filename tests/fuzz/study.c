// Logs of studies, a JSON text a line, the first of them what the study is made with: any client
// may append to one. What is refused leaves a study that can be asked.
#include "study/study.h"
#include "fuzz.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static void check_trials(const study_t *study) {
    const tune_space_t *space = study_space(study);
    for (uint64_t n = 1; n <= study_count(study); n++) {
        const study_trial_t *trial = study_trial(study, n);
        json_t *params = study_trial_params(study, trial);
        ERR_ASSERT(json_is_object(params));
        json_decref(params);
        for (int i = 0; i < space->count; i++) {
            const tune_parameter_t *p = &space->parameters[i];
            ERR_ASSERT(isfinite(trial->point[i]));
            ERR_ASSERT(p->type != TUNE_CATEGORY ||
                       (trial->point[i] >= 0 && trial->point[i] < p->choice_count + p->retired));
        }
    }
}

// Asking takes the model, and time: only studies that are not large are asked.
static void ask(study_t *study) {
    uint64_t trial;
    err_t err;
    err_code_t code = study_ask(study, "", &trial, &err);
    ERR_ASSERT(code == ERR_OK || (err.code == code && err.message[0]));
    if (code)
        return;
    ERR_ASSERT(tune_space_contains(study_space(study), study_trial(study, trial)->point, NULL) ==
               ERR_OK);
    check_trials(study);
}

static void replay(study_t *study, char *lines) {
    err_t err;
    for (char *line; (line = strsep(&lines, "\n")) != NULL;) {
        json_t *entry = json_loads(line, 0, NULL);
        uint64_t saved = study_saved(study);
        if (!entry)
            continue;
        err_code_t code = study_replay(study, entry, &err);
        ERR_ASSERT(code == ERR_OK || (code == ERR_CORRUPT && err.message[0]));
        ERR_ASSERT(study_saved(study) == saved + (code == ERR_OK));
        json_decref(entry);
    }
    check_trials(study);
    if (study_count(study) < 20 && study_space(study)->count <= 8)
        ask(study);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *text = mem_alloc(size + 1), *rest = text;
    study_t *study = NULL;
    err_t err;
    if (size)
        memcpy(text, data, size);
    text[size] = 0;
    json_t *about = json_loads(strsep(&rest, "\n"), 0, NULL);
    if (json_is_object(about) && study_new(about, &study, &err) == ERR_OK && rest)
        replay(study, rest);
    study_free(&study);
    json_decref(about);
    free(text);
    return 0;
}

// ---- good logs ----

static void put_line(buf_t *out, const json_t *json) {
    char *text = json_dumps(json, JSON_COMPACT);
    buf_puts(out, text);
    buf_puts(out, "\n");
    free(text);
}

static void put_log(study_t *study, buf_t *out) {
    size_t count;
    const json_t *const *entries = study_unsaved(study, &count);
    for (size_t i = 0; i < count; i++)
        put_line(out, entries[i]);
    study_save(study, count);
}

static study_t *make(const char *about, buf_t *out) {
    study_t *study = NULL;
    json_t *json = json_loads(about, 0, NULL);
    ERR_ASSERT(study_new(json, &study, NULL) == ERR_OK);
    put_line(out, json);
    json_decref(json);
    return study;
}

static void run(study_t *study, int trials, buf_t *out) {
    static const char *const change[] = {"x=log:1e-3..1", "more=0..1=0.5", "kind={b,c}"};
    for (int i = 0; i < trials; i++) {
        uint64_t trial;
        bool stop;
        if (i == trials / 2)
            ERR_ASSERT(study_change(study, change, 3, NULL) == ERR_OK);
        ERR_ASSERT(study_ask(study, i % 2 ? "key" : "", &trial, NULL) == ERR_OK);
        if (i % 5 == 4)
            study_fail(study, trial, "diverged", NULL);
        else if (i % 5 == 3)
            study_report(study, trial, 1, i, &stop, NULL), study_prune(study, trial, NULL);
        else
            study_tell(study, trial, study_trial(study, trial)->point[0], NULL);
    }
    put_log(study, out);
}

#define SPACE "\"space\":[\"x=log:1e-4..1=0.1\",\"kind={a,b}\",\"n=int:1..9 if kind=b\"]"

void fuzz_seeds(void) {
    buf_t out, warm;
    buf_init(&out, 1 << 20);
    buf_init(&warm, 1 << 20);
    study_t *study = make("{" SPACE ",\"prune\":\"asha\",\"last\":3}", &out);
    study_t *next = make("{" SPACE ",\"warm_start\":\"before\"}", &warm);
    run(study, 12, &out);
    ERR_ASSERT(study_begin_with(next, "before", study, NULL) == ERR_USAGE); // `more` is too much
    study_free(&study);
    fuzz_seed(out.data, out.size);
    buf_clear(&out);
    study = make("{" SPACE ",\"direction\":\"maximise\"}", &out);
    run(study, 3, &out);
    study_free(&study);
    fuzz_seed(out.data, out.size);
    buf_clear(&out);
    study = make("{" SPACE "}", &out);
    uint64_t trial;
    for (int i = 0; i < 6; i++) {
        ERR_ASSERT(study_ask(study, "", &trial, NULL) == ERR_OK);
        study_tell(study, trial, i, NULL);
    }
    ERR_ASSERT(study_begin_with(next, "before", study, NULL) == ERR_OK);
    run(next, 6, &warm);
    fuzz_seed(warm.data, warm.size);
    study_free(&study);
    study_free(&next);
    buf_release(&out);
    buf_release(&warm);
}

void fuzz_end(void) {
}
