#include "lookup.h"

#include "base/fs.h"
#include "training/options.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

void lookup_dataset_release(lookup_dataset_t *dataset) {
    shard_close(&dataset->shards);
}

void lookup_model_release(lookup_model_t *model) {
    model_close(&model->model);
}

static err_code_t open_shards(const char *folder, const proto_dataset_info_t *info,
                              lookup_dataset_t *dataset, err_t *err) {
    err_code_t code = shard_open(folder, &dataset->shards, err);
    if (code)
        return code;
    if (info->digest && info->digest[0] &&
        strcmp(info->digest, shard_digest(dataset->shards)) != 0) {
        err_set(err, ERR_CORRUPT, "%s/%s is not the one that was registered", folder,
                SHARD_MANIFEST);
        return err_remedy(err, "ingest the data set again");
    }
    return prep_recipe_parse(shard_info(dataset->shards)->recipe, &dataset->recipe, err);
}

err_code_t lookup_dataset(child_t *child, const child_job_t *job, const char *name,
                          uint64_t version, lookup_dataset_t *dataset, err_t *err) {
    const proto_dataset_show_t show = {.name = name, .version = version};
    proto_dataset_t found;
    err_code_t code = child_ask(child, PROTO_dataset_show, &show, PROTO_dataset, &found, err);
    if (code)
        return code;
    char *folder = fs_join(job->files, found.dataset->path);
    dataset->version = found.dataset->version;
    code =
        child_fetch_folder(child, found.dataset->path, SHARD_MANIFEST, found.dataset->digest, err);
    if (code == ERR_OK)
        code = open_shards(folder, found.dataset, dataset, err);
    if (code) {
        err_context(err, "data set %s@%" PRIu64, name, dataset->version);
        lookup_dataset_release(dataset);
    }
    free(folder);
    return code;
}

err_code_t lookup_model(child_t *child, const child_job_t *job, const char *reference,
                        uint64_t fixed, lookup_model_t *model, err_t *err) {
    proto_model_show_t show = {.name = model->name};
    proto_model_t found;
    err_code_t code = options_reference(reference, model->name, &show.version, err);
    if (fixed)
        show.version = fixed;
    if (code == ERR_OK)
        code = child_ask(child, PROTO_model_show, &show, PROTO_model, &found, err);
    if (code)
        return code;
    const proto_model_info_t *info = found.model;
    char *folder = fs_join(job->files, info->path);
    model->version = info->version;
    code = child_fetch_folder(child, info->path, MODEL_FILE, info->digest, err);
    if (code == ERR_OK)
        code = model_open(folder, info->digest && info->digest[0] ? info->digest : NULL,
                          &model->model, err);
    if (code)
        err_context(err, "model %s@%" PRIu64, model->name, model->version);
    free(folder);
    return code;
}
