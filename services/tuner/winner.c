// The end of a search: the best trial's model becomes one of the job's own, and all of it a result.
#include "search_impl.h"

#include "base/fs.h"
#include "trials/trials.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ROOT         "model.json" // as model/model.h has it, which would bring the engine along
#define RESULT_BYTES 800000       // of a message that may have 1 MiB

// --- The model
// ------------------------------------------------------------------------------------

// Files of a model are written once, so both folders may share them.
static err_code_t copy_file(const char *from, const char *to, err_t *err) {
    unlink(to);
    return link(from, to) == 0 ? fs_sync_folder_of(to, err) : fs_copy(from, to, err);
}

static err_code_t copy_folder(const char *from, const char *to, err_t *err) {
    err_code_t code = fs_mkdirs(to, err);
    DIR *folder = code ? NULL : opendir(from);
    if (code == ERR_OK && !folder)
        code = err_set_errno(err, "cannot read the folder %s", from);
    for (const struct dirent *entry; code == ERR_OK && (entry = readdir(folder)) != NULL;) {
        if (entry->d_name[0] == '.')
            continue;
        char *one = fs_join(from, entry->d_name), *other = fs_join(to, entry->d_name);
        code = copy_file(one, other, err);
        free(one);
        free(other);
    }
    if (folder)
        closedir(folder);
    return code;
}

// path: of the new folder, relative to the files.
static err_code_t take_model(search_t *search, const proto_model_info_t *from, const char *path,
                             err_t *err) {
    const char *files = search->job->files;
    char *source = fs_join(files, from->path), *target = fs_join(files, path);
    err_code_t code = child_fetch_folder(search->child, from->path, ROOT, from->digest, err);
    if (code == ERR_OK)
        code = copy_folder(source, target, err);
    if (code == ERR_OK)
        code = child_publish_folder(search->child, path, ROOT, err);
    free(source);
    free(target);
    return code;
}

static err_code_t find_model(search_t *search, uint64_t trial, const proto_model_info_t **info,
                             err_t *err) {
    const json_t *note = study_trial(search->study, trial)->note;
    proto_arena_t *arena = child_arena(search->child);
    char name[PROTO_NAME_MAX + sizeof TRIALS_MODEL];
    snprintf(name, sizeof name, "%s" TRIALS_MODEL, search->plan.body.model);
    const proto_model_show_t show = {
        .name = name, .version = (uint64_t)json_integer_value(json_object_get(note, "version"))};
    proto_model_t *found = proto_arena_alloc(arena, sizeof *found);
    err_code_t code = child_ask(search->child, PROTO_model_show, &show, PROTO_model, found, err);
    *info = code ? NULL : found->model;
    return code;
}

err_code_t winner_register(search_t *search, child_result_t *result, err_t *err) {
    const child_job_t *job = search->job;
    proto_arena_t *arena = child_arena(search->child);
    const proto_model_info_t *info;
    uint64_t best;
    err_code_t code = study_best(search->study, &best, err);
    if (code) {
        err_set(err, ERR_INVALID, "none of the %zu trials ended well", study_count(search->study));
        return err_remedy(err, "`inkling job show %s` and its trials' jobs tell why", job->id);
    }
    code = find_model(search, best, &info, err);
    if (code)
        return code;
    proto_new_model_t *model = proto_arena_alloc(arena, sizeof *model);
    proto_defaults(PROTO_new_model, model);
    char *path = mem_format("models/%s/%s-%llu", search->plan.body.model, job->id,
                            (unsigned long long)job->token);
    model->name = search->plan.body.model;
    model->path = proto_arena_text(arena, path);
    model->digest = proto_arena_text(arena, info->digest);
    model->promote = search->plan.body.promote ? "always" : "first";
    model->info = info->info;
    code = take_model(search, info, path, err);
    if (code == ERR_OK)
        result->model = model;
    free(path);
    return code;
}

// --- The result
// -----------------------------------------------------------------------------------

static json_t *trial_json(const search_t *search, const study_trial_t *trial) {
    json_t *json =
        json_pack("{s:I, s:s, s:o, s:o}", "trial", (json_int_t)trial->number, "state",
                  study_state_text(trial->state), "params",
                  study_trial_params(search->study, trial), "why", study_why(&trial->why));
    bool valued = trial->state == STUDY_DONE || trial->state == STUDY_PRUNED;
    json_object_set_new(json, "value", valued ? json_real(trial->value) : json_null());
    json_object_set_new(json, "epochs", json_integer((json_int_t)trial->report_count));
    if (trial->reason[0])
        json_object_set_new(json, "reason", json_string(trial->reason));
    json_object_update_missing(json, trial->note);
    return json;
}

static json_t *importance(const search_t *search) {
    double main_[TUNE_PARAMETERS_MAX], total[TUNE_PARAMETERS_MAX];
    const tune_space_t *space = study_space(search->study);
    json_t *json = json_object();
    if (tune_importance(study_tune(search->study), main_, total, NULL) == ERR_OK)
        for (int i = 0; i < space->count; i++)
            json_object_set_new(json, space->parameters[i].name, json_real(total[i]));
    return json;
}

json_t *winner_result(search_t *search) {
    uint64_t best;
    json_t *trials = json_array();
    if (study_best(search->study, &best, NULL) != ERR_OK)
        best = 1;
    for (uint64_t i = 1; i <= study_count(search->study); i++)
        json_array_append_new(trials, trial_json(search, study_trial(search->study, i)));
    const study_trial_t *winner = study_trial(search->study, best);
    const char *stopped = study_stopped(search->study);
    json_t *result = json_pack("{s:s, s:s, s:o, s:o, s:o}", "study", search->name, "objective",
                               search->plan.body.objective, "best",
                               json_pack("{s:I, s:o, s:f, s:s}", "trial", (json_int_t)best,
                                         "params", study_trial_params(search->study, winner),
                                         "value", winner->value, "model", search->plan.body.model),
                               "importance", importance(search), "trials", trials);
    json_object_set_new(result, "ended", json_string(stopped ? stopped : "all trials were made"));
    buf_t packed;
    buf_init(&packed, PROTO_MESSAGE_MAX);
    if (proto_pack_json(result, &packed, NULL) != ERR_OK || packed.size > RESULT_BYTES)
        json_object_set_new(result, "trials", json_null()); // the study's log has them
    buf_release(&packed);
    return result;
}
