#include "engine.h"
#include "train_impl.h"

#include "base/fs.h"
#include "trainer/memory.h"
#include "trainer/sampler.h"

#include <stdlib.h>
#include <string.h>

// ---- what is asked for ----

// Equal for equal jobs, however their bodies were packed.
static err_code_t digest_body(const proto_train_t *body, char digest[DIGEST_HEX_SIZE], err_t *err) {
    buf_t packed;
    buf_init(&packed, 2 * PROTO_BODY_MAX);
    err_code_t code = proto_encode(PROTO_train, body, &packed, err);
    if (code == ERR_OK)
        digest_bytes(packed.data ? packed.data : "", packed.size, digest);
    buf_release(&packed);
    return code;
}

static err_code_t read_body(train_t *train, err_t *err) {
    const child_job_t *job = train->job;
    proto_train_t *body = &train->body;
    err_code_t code = proto_decode(PROTO_train, job->body.data, job->body.size,
                                   child_arena(train->child), body, err);
    if (code == ERR_OK)
        code = options_read(body, &train->options, err);
    if (code == ERR_OK)
        code = digest_body(body, train->job_digest, err);
    if (code)
        return code;
    train->model_name = body->model && body->model[0] ? body->model : body->dataset;
    if (train->model_name[0] == '.' || strchr(train->model_name, '/')) {
        err_set(err, ERR_INVALID, "'%s' cannot name a model", train->model_name);
        return err_remedy(err, "use letters, digits, '.', '_' and '-'");
    }
    return ERR_OK;
}

static err_code_t find_dataset(train_t *train, err_t *err) {
    state_t *state = &train->at.state;
    uint64_t version =
        state->dataset_version ? state->dataset_version : train->body.dataset_version;
    err_code_t code = lookup_dataset(train->child, train->job, train->body.dataset, version,
                                     &train->dataset, err);
    if (code)
        return code;
    const shard_dataset_t *shards = train->dataset.shards;
    int64_t images = shard_count(shards, SHARD_TRAIN);
    state->dataset_version = train->dataset.version;
    if (images < 1 || images > SAMPLER_IMAGES_MAX || shard_count(shards, SHARD_VAL) < 1)
        return err_set(
            err, ERR_INVALID, "data set %s has %lld images for training and %lld for validation",
            train->body.dataset, (long long)images, (long long)shard_count(shards, SHARD_VAL));
    train->images = (uint32_t)images;
    if ((int64_t)train->options.batch > images)
        train->options.batch = (int)images;
    uint64_t batch = (uint64_t)train->options.batch;
    train->steps = (train->images + batch - 1) / batch;
    return ERR_OK;
}

static err_code_t make_spec(train_t *train, err_t *err) {
    const shard_info_t *info = shard_info(train->dataset.shards);
    const proto_train_t *body = &train->body;
    const nn_vgg_t vgg = {.height = info->height,
                          .width = info->width,
                          .channels = info->channels,
                          .classes = info->class_count,
                          .width_first = (int)body->width,
                          .blocks = (int)body->depth,
                          .dense = (int)body->dense,
                          .dropout = (float)body->dropout};
    err_code_t code = nn_spec_vgg(&vgg, &train->spec, err);
    if (code)
        return code;
    train->tensors = mem_zero(NN_TENSORS_MAX, sizeof *train->tensors);
    train->tensor_count = nn_spec_tensors(&train->spec, train->tensors);
    return ERR_OK;
}

// ---- the engine ----

static nn_options_t engine_options(const train_t *train) {
    int world = train->job->world, share = (train->options.batch + world - 1) / world;
    nn_options_t options = {.backend = train->body.backend,
                            .precision = train->body.precision,
                            .max_batch = share > INFERENCE_BATCH ? share : INFERENCE_BATCH,
                            .training = true,
                            .seed = train->options.seed};
    memcpy(options.mean, train->dataset.recipe.mean, sizeof options.mean);
    return options;
}

// Beside the engine: a snapshot with moments, the best weights, candidates for them, buffers.
static uint64_t own_memory(const train_t *train) {
    uint64_t numbers = 0, image = shard_image_bytes(train->dataset.shards);
    for (int i = 0; i < train->tensor_count; i++)
        numbers += (uint64_t)train->tensors[i].count;
    return 6 * numbers * sizeof(float) + 4ull * train->images +
           image * ((uint64_t)train->options.batch + TRAIN_ESTIMATE_IMAGES);
}

// False where an earlier attempt computed otherwise: then this one's results differ in rounding.
static void check_exact(train_t *train) {
    state_t *state = &train->at.state;
    int world = train->job->world;
    if (!state->choices[0])
        return;
    if (state->replicas != world)
        child_log(train->child, "warn",
                  "%d replicas go on with what %d began: the result differs in rounding", world,
                  state->replicas);
    else if (strcmp(state->choices, nn_choices(train->nn)) != 0)
        child_log(train->child, "warn",
                  "this worker computes with '%s', not as the job began, with '%s': the result "
                  "differs in rounding",
                  nn_choices(train->nn), state->choices);
    else
        return;
    state->exact = false;
}

static err_code_t make_engine(train_t *train, err_t *err) {
    char choices[NN_CHOICES_SIZE];
    nn_options_t options = engine_options(train);
    state_t *state = &train->at.state;
    err_code_t code = ranks_agree(train, &options, choices, err);
    uint64_t engine = code ? 0 : nn_memory_estimate(&train->spec, &options);
    if (engine)
        code = memory_check(engine + own_memory(train), err);
    if (code == ERR_OK)
        code = nn_new(&train->spec, &options, &train->nn, err);
    if (code == ERR_OK)
        code = mirror_same(train->mirror, "engine", nn_choices(train->nn), err);
    if (code)
        return code;
    check_exact(train);
    snprintf(state->choices, sizeof state->choices, "%s", nn_choices(train->nn));
    state->replicas = train->job->world;
    child_log(train->child, "info", "%u images, %d classes, %s", train->images, train->spec.classes,
              nn_choices(train->nn));
    return ERR_OK;
}

// ---- buffers ----

static void take_estimate_images(train_t *train) {
    const shard_dataset_t *shards = train->dataset.shards;
    size_t bytes = shard_image_bytes(shards);
    uint32_t *chosen = mem_zero(train->estimate_count, sizeof *chosen);
    sampler_estimate(train->options.seed, train->images, train->estimate_count, chosen);
    for (uint32_t i = 0; i < train->estimate_count; i++)
        memcpy(train->estimate + i * bytes, shard_pixels(shards, SHARD_TRAIN, chosen[i]), bytes);
    free(chosen);
}

static void weigh_classes(train_t *train) {
    const shard_info_t *info = shard_info(train->dataset.shards);
    train->class_weights = mem_zero((size_t)info->class_count, sizeof *train->class_weights);
    options_class_weights(info->class_images[SHARD_TRAIN], info->class_count, train->class_weights);
}

static err_code_t make_buffers(train_t *train, err_t *err) {
    size_t bytes = shard_image_bytes(train->dataset.shards), batch = (size_t)train->options.batch;
    batch = (batch + (size_t)train->job->world - 1) / (size_t)train->job->world;
    train->estimate_count =
        train->images < TRAIN_ESTIMATE_IMAGES ? train->images : TRAIN_ESTIMATE_IMAGES;
    train->order = malloc((size_t)train->images * sizeof *train->order);
    train->order_epoch = -1;
    train->pixels = malloc(batch * bytes);
    train->labels = mem_zero(batch, sizeof *train->labels);
    train->weights = mem_zero(batch, sizeof *train->weights);
    if (train->options.estimate_bn)
        train->estimate = malloc(train->estimate_count * bytes);
    if (!train->order || !train->pixels || (train->options.estimate_bn && !train->estimate))
        return err_set(err, ERR_NO_MEMORY, "no memory for a batch of %zu images", batch);
    if (train->estimate)
        take_estimate_images(train);
    if (train->options.weigh_classes)
        weigh_classes(train);
    return ERR_OK;
}

// ---- checkpoints ----

// In the writer's thread.
static err_code_t record(void *context, const char *path, const char *sha256, const state_t *state,
                         const proto_checkpoint_t *previous, err_t *err) {
    const train_t *train = context;
    json_t *info = json_pack("{s:i, s:s, s:i, s:I, s:I}", "epochs", state->epochs, "choices",
                             state->choices, "replicas", state->replicas, "dataset_version",
                             (json_int_t)state->dataset_version, "init_version",
                             (json_int_t)state->init_version);
    if (previous)
        json_object_set_new(info, "previous",
                            json_pack("{s:s, s:s, s:I}", "path", previous->path, "digest",
                                      previous->digest, "step", (json_int_t)previous->step));
    err_code_t code = child_checkpoint(train->child, path, sha256, state->step, info, err);
    json_decref(info);
    return code;
}

static void remove_file(void *context, const char *path) {
    const train_t *train = context;
    child_remove(train->child, path);
}

static void warn(void *context, const char *text) {
    const train_t *train = context;
    child_log(train->child, "warn", "%s", text);
}

// What was settled is recorded before the first step, so that later attempts settle it alike.
static void start_writer(train_t *train) {
    const conf_t *conf = child_conf(train->child);
    if (!train_leads(train))
        return;
    train->writer_options =
        (writer_options_t){.record = record,
                           .remove = remove_file,
                           .warn = warn,
                           .context = train,
                           .files = train->job->files,
                           .folder = train->job->folder,
                           .reserve_bytes = (uint64_t)conf->disk_reserve_mb << 20,
                           .tensors = train->tensors,
                           .tensor_count = train->tensor_count};
    train->writer = writer_new(&train->writer_options, train->used.path ? &train->used : NULL);
    if (train->used.path)
        return;
    checkpoint_t first = {.params = NULL};
    state_copy(&train->at.state, &first.state);
    first.state.begun = false;
    writer_put(train->writer, &first);
}

// ---- the job ----

static void train_release(train_t *train) {
    writer_destroy(&train->writer);
    mirror_destroy(&train->mirror);
    json_decref(train->report);
    nn_destroy(&train->nn);
    checkpoint_release(&train->at);
    weights_release(&train->last);
    lookup_dataset_release(&train->dataset);
    free(train->tensors);
    free(train->order);
    free(train->pixels);
    free(train->labels);
    free(train->weights);
    free(train->class_weights);
    free(train->estimate);
}

static err_code_t prepare(train_t *train, err_t *err) {
    err_code_t code = make_spec(train, err);
    if (code == ERR_OK)
        code = make_engine(train, err);
    if (code == ERR_OK)
        code = make_buffers(train, err);
    if (code == ERR_OK && train_leads(train))
        code = resume_engine(train, err);
    return code ? code : ranks_join(train, err);
}

// Rank 0 looks where to begin, the others are told. *done: there is nothing to do any more.
static err_code_t begin(train_t *train, child_result_t *result, bool *done, err_t *err) {
    err_code_t code = ERR_OK;
    *done = false;
    if (train_leads(train)) {
        code = resume_find(train, err);
        if (code)
            return code;
        resume_clean(train);
        *done = finish_is_done(train, result);
        if (!*done)
            code = find_dataset(train, err);
        return code ? code : ranks_follow(train, done, err);
    }
    code = ranks_follow(train, done, err);
    return code || *done ? code : find_dataset(train, err);
}

static err_code_t do_job(train_t *train, child_result_t *result, err_t *err) {
    bool done;
    ranks_open(train);
    err_code_t code = begin(train, result, &done, err);
    if (code || done)
        return code;
    code = prepare(train, err);
    if (code)
        return code;
    start_writer(train);
    code = epoch_run_all(train, err);
    if (code == ERR_OK)
        code = ranks_compare(train, err);
    if (code || !train_leads(train))
        return code;
    mirror_destroy(&train->mirror); // the others may go
    return finish_model(train, result, err);
}

err_code_t train_run(child_t *child, const child_job_t *job, child_result_t *result, err_t *err) {
    train_t *train = mem_zero(1, sizeof *train);
    train->child = train->pace.child = child;
    train->job = job;
    state_init(&train->at.state);
    err_code_t code = read_body(train, err);
    if (code == ERR_OK)
        code = do_job(train, result, err);
    if (code)
        code = ranks_fail(train, code, err);
    train_release(train);
    free(train);
    return code;
}
