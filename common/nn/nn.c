#include "nn/nn.h"

#include "base/philox.h"
#include "nn/backend_impl.h"
#include "nn/cores_impl.h"
#include "nn/device_impl.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define THREADS_MAX 1024
#define INIT_STREAM 0x1417u // third word of the counter of initial weights
#define SAMPLES     64      // that nn_predict gives to the backend at once

struct nn {
    nn_plan_t plan;
    const nn_backend_t *backend;
    void *self;
    bool estimated; // statistics of nn_bn_estimate are in use
    bool sealed;    // only holds the weights for others
    bool shares;    // has them from another
    char choices[NN_CHOICES_SIZE];
};

// --- Making a handle

static err_code_t check_options(const nn_options_t *options, err_t *err) {
    if (options->max_batch < 1 || options->max_batch > NN_BATCH_MAX) {
        return err_set(err, ERR_INVALID, "max_batch is %d, not within 1 to %d", options->max_batch,
                       NN_BATCH_MAX);
    }
    if (options->threads < 0 || options->threads > THREADS_MAX) {
        return err_set(err, ERR_INVALID, "threads is %d, not within 0 to %d", options->threads,
                       THREADS_MAX);
    }
    const char *precision = options->precision;
    if (!precision || (strcmp(precision, "auto") != 0 && strcmp(precision, "fp32") != 0 &&
                       strcmp(precision, "bf16") != 0)) {
        return err_set(err, ERR_INVALID, "precision is \"%s\", not auto, fp32 or bf16",
                       precision ? precision : "(null)");
    }
    for (int c = 0; c < NN_CHANNELS_MAX; c++) {
        if (!isfinite(options->mean[c])) {
            return err_set(err, ERR_INVALID, "mean[%d] is not a finite number", c);
        }
    }
    if (options->choices && strnlen(options->choices, NN_CHOICES_SIZE) == (size_t)NN_CHOICES_SIZE) {
        return err_set(err, ERR_INVALID, "choices is longer than %d bytes", NN_CHOICES_SIZE - 1);
    }
    const char *cap = getenv("INKLING_ISA");
    nn_isa_t isa;
    if (cap && !nn_isa_parse(cap, &isa)) {
        err_set(err, ERR_USAGE, "INKLING_ISA is \"%.32s\"", cap);
        return err_remedy(err, "use generic, avx2, avx512 or amx, or unset it");
    }
    return ERR_OK;
}

// NULL with an error if there is none of that name.
static const nn_backend_t *pick_backend(const nn_options_t *options, err_t *err) {
    const char *name = options->backend ? options->backend : "(null)";
    const nn_backend_t *backend = NULL;
    char stored[32];
    if (strcmp(name, "auto") == 0 && device_must_be_gpu()) {
        name = "cuda";
    }
    if (strcmp(name, "auto") == 0 &&
        nn_choice(options->choices, "backend", stored, sizeof stored)) {
        backend = nn_backend_find(stored);
    }
    if (!backend) {
        backend = nn_backend_find(name);
    }
    if (!backend && !nn_backend_why(name, err)) {
        err_set(err, ERR_UNSUPPORTED, "this build has no engine backend \"%.32s\"", name);
        char names[128] = "auto";
        for (int i = 0; nn_backend_name(i); i++) {
            size_t used = strlen(names);
            snprintf(names + used, sizeof names - used, ", %s", nn_backend_name(i));
        }
        err_remedy(err, "use one of: %s", names);
    }
    return backend;
}

static int settle_threads(const nn_options_t *options) {
    if (options->threads > 0) {
        return options->threads;
    }
    int cores = cores_usable();
    cores = cores < THREADS_MAX ? cores : THREADS_MAX;
    char stored[16];
    int wanted = nn_choice(options->choices, "threads", stored, sizeof stored) ? atoi(stored) : 0;
    return wanted > 0 && wanted < cores ? wanted : cores;
}

static err_code_t make_plan(const nn_spec_t *spec, const nn_options_t *options, nn_plan_t *plan,
                            const nn_backend_t **backend, err_t *err) {
    err_code_t code = check_options(options, err);
    if (!code) {
        code = nn_spec_check(spec, err);
    }
    if (code) {
        return code;
    }
    *backend = pick_backend(options, err);
    if (!*backend) {
        return ERR_UNSUPPORTED;
    }
    *plan = (nn_plan_t){.spec = *spec,
                        .max_batch = options->max_batch,
                        .threads = settle_threads(options),
                        .training = options->training,
                        .seed = options->seed,
                        .exact = true};
    nn_spec_shapes(spec, plan->shapes);
    plan->tensor_count = nn_spec_tensors(spec, plan->tensors);
    memcpy(plan->mean, options->mean, sizeof plan->mean);
    snprintf(plan->precision, sizeof plan->precision, "%s", options->precision);
    snprintf(plan->isa, sizeof plan->isa, "%s", nn_isa());
    return (*backend)->resolve(plan, options->choices, err);
}

static void write_choices(nn_t *nn, const char *stored) {
    const nn_plan_t *plan = &nn->plan;
    int chunk = plan->max_batch < NN_ESTIMATE_CHUNK ? plan->max_batch : NN_ESTIMATE_CHUNK;
    snprintf(nn->choices, sizeof nn->choices,
             "backend=%s isa=%s precision=%s threads=%d chunk=%d%s%s", nn->backend->name, plan->isa,
             plan->precision, plan->threads, chunk, plan->more[0] ? " " : "", plan->more);
    if (stored && strcmp(stored, nn->choices) != 0) {
        nn->plan.exact = false;
    }
}

err_code_t nn_new(const nn_spec_t *spec, const nn_options_t *options, nn_t **nn, err_t *err) {
    *nn = NULL;
    nn_t *made = calloc(1, sizeof *made);
    if (!made) {
        return err_set(err, ERR_NO_MEMORY, "no memory for an engine handle");
    }
    err_code_t code = make_plan(spec, options, &made->plan, &made->backend, err);
    if (!code) {
        write_choices(made, options->choices);
        code = made->backend->create(&made->plan, &made->self, err);
    }
    if (code) {
        nn_destroy(&made);
        return code;
    }
    *nn = made;
    return ERR_OK;
}

void nn_destroy(nn_t **nn) {
    if (*nn) {
        if ((*nn)->self) {
            (*nn)->backend->destroy((*nn)->self);
        }
        free(*nn);
        *nn = NULL;
    }
}

int nn_cores(void) {
    return cores_usable();
}

uint64_t nn_memory_estimate(const nn_spec_t *spec, const nn_options_t *options) {
    const nn_backend_t *backend = NULL;
    nn_plan_t *plan = mem_zero(1, sizeof *plan);
    uint64_t bytes = make_plan(spec, options, plan, &backend, NULL) ? 0 : backend->memory(plan);
    free(plan);
    return bytes;
}

bool nn_choice(const char *stored, const char *key, char *value, size_t size) {
    size_t length = strlen(key);
    for (const char *at = stored; at; at = strchr(at, ' ')) {
        at += strspn(at, " ");
        if (strncmp(at, key, length) == 0 && at[length] == '=') {
            at += length + 1;
            size_t found = strcspn(at, " ");
            if (found < size) {
                memcpy(value, at, found);
                value[found] = 0;
            }
            return found < size;
        }
    }
    return false;
}

const char *nn_choices(const nn_t *nn) {
    return nn->choices;
}

bool nn_exact(const nn_t *nn) {
    return nn->plan.exact;
}

const nn_spec_t *nn_spec(const nn_t *nn) {
    return &nn->plan.spec;
}

// --- State

int nn_tensor_count(const nn_t *nn) {
    return nn->plan.tensor_count;
}

const nn_tensor_t *nn_tensors(const nn_t *nn) {
    return nn->plan.tensors;
}

static const char *const part_words[] = {
    [NN_PARAM] = "parameter",   [NN_ADAM_M] = "first moment", [NN_ADAM_V] = "second moment",
    [NN_GRADIENT] = "gradient", [NN_ESTIMATE] = "estimate",
};

// Of handles that share weights.
static err_code_t check_shared(const nn_t *nn, bool predicts, err_t *err) {
    if (nn->sealed || (nn->shares && !predicts)) {
        err_set(err, ERR_INVALID, "the handle %s",
                nn->sealed ? "only holds weights that others share" : "shares another's weights");
        return err_remedy(err, "a handle from nn_share predicts; for all else make one that is not "
                               "shared");
    }
    return ERR_OK;
}

static err_code_t check_part(const nn_t *nn, nn_part_t part, int index, const void *data,
                             err_t *err) {
    if ((unsigned)part > NN_ESTIMATE) {
        return err_set(err, ERR_INVALID, "part is %d, which is none", (int)part);
    }
    if (index < 0 || index >= nn->plan.tensor_count) {
        return err_set(err, ERR_INVALID, "index is %d, not within the %d tensors", index,
                       nn->plan.tensor_count);
    }
    if (!data) {
        return err_set(err, ERR_INVALID, "data is NULL");
    }
    if (check_shared(nn, false, err)) {
        return ERR_INVALID;
    }
    if (part == NN_PARAM) {
        return ERR_OK;
    }
    const nn_tensor_t *tensor = &nn->plan.tensors[index];
    if (!nn->plan.training) {
        return err_set(err, ERR_INVALID, "part %s: the handle was not made for training",
                       part_words[part]);
    }
    if (tensor->trained == (part == NN_ESTIMATE)) {
        return err_set(err, ERR_INVALID, "tensor %s has no %s", tensor->name, part_words[part]);
    }
    return ERR_OK;
}

err_code_t nn_get(nn_t *nn, nn_part_t part, int index, float *data, err_t *err) {
    if (check_part(nn, part, index, data, err)) {
        return ERR_INVALID;
    }
    if (part == NN_ESTIMATE && !nn->estimated) {
        return err_set(err, ERR_INVALID, "part estimate: no nn_bn_estimate is in use");
    }
    return nn->backend->get(nn->self, part, index, data, err);
}

// Numbers from files: not finite, or a negative variance, would surface much later as NaN.
static err_code_t check_values(const nn_tensor_t *tensor, nn_part_t part, const float *data,
                               err_t *err) {
    bool square = part == NN_ADAM_V || tensor->role == NN_VARIANCE;
    for (int64_t i = 0; i < tensor->count; i++) {
        if (!isfinite(data[i]) || (square && data[i] < 0)) {
            return err_set(err, ERR_INVALID, "tensor %s (%s): element %lld is %g", tensor->name,
                           part_words[part], (long long)i, (double)data[i]);
        }
    }
    return ERR_OK;
}

err_code_t nn_set(nn_t *nn, nn_part_t part, int index, const float *data, err_t *err) {
    if (check_part(nn, part, index, data, err)) {
        return ERR_INVALID;
    }
    if (part == NN_GRADIENT || part == NN_ESTIMATE) {
        return err_set(err, ERR_INVALID, "part %s is read only", part_words[part]);
    }
    if (check_values(&nn->plan.tensors[index], part, data, err)) {
        return ERR_INVALID;
    }
    nn->estimated = false;
    return nn->backend->set(nn->self, part, index, data, err);
}

static void fill_initial(const nn_tensor_t *tensor, int index, uint64_t seed, float *data) {
    if (tensor->role != NN_WEIGHT) {
        float value = tensor->role == NN_GAMMA || tensor->role == NN_VARIANCE ? 1.0f : 0.0f;
        for (int64_t i = 0; i < tensor->count; i++) {
            data[i] = value;
        }
        return;
    }
    float limit = (float)sqrt(6.0 / ((double)tensor->fan_in + tensor->fan_out));
    for (int64_t i = 0; i < tensor->count; i++) {
        philox_t random = philox(seed, (uint32_t)(i / 4), 0, INIT_STREAM, (uint32_t)index);
        data[i] = limit * (2.0f * philox_float(random.v[i % 4]) - 1.0f);
    }
}

static err_code_t init_tensor(nn_t *nn, uint64_t seed, int index, float *data, err_t *err) {
    const nn_tensor_t *tensor = &nn->plan.tensors[index];
    fill_initial(tensor, index, seed, data);
    err_code_t code = nn_set(nn, NN_PARAM, index, data, err);
    if (!code && nn->plan.training && tensor->trained) {
        memset(data, 0, (size_t)tensor->count * sizeof *data);
        code = nn_set(nn, NN_ADAM_M, index, data, err);
        if (!code) {
            code = nn_set(nn, NN_ADAM_V, index, data, err);
        }
    }
    return code;
}

err_code_t nn_init(nn_t *nn, uint64_t seed, err_t *err) {
    int64_t largest = 1;
    for (int i = 0; i < nn->plan.tensor_count; i++) {
        int64_t count = nn->plan.tensors[i].count;
        largest = count > largest ? count : largest;
    }
    float *data = malloc((size_t)largest * sizeof *data);
    if (!data) {
        return err_set(err, ERR_NO_MEMORY, "no memory for %lld initial weights",
                       (long long)largest);
    }
    err_code_t code = ERR_OK;
    for (int i = 0; i < nn->plan.tensor_count && !code; i++) {
        code = init_tensor(nn, seed, i, data, err);
    }
    free(data);
    return code;
}

// --- Training

static err_code_t check_count(const nn_t *nn, int count, err_t *err) {
    if (count < 1 || count > nn->plan.max_batch) {
        return err_set(err, ERR_INVALID, "count is %d, not within 1 to max_batch %d", count,
                       nn->plan.max_batch);
    }
    return ERR_OK;
}

static err_code_t check_samples(const nn_t *nn, const nn_batch_t *batch, err_t *err) {
    for (int i = 0; i < batch->count; i++) {
        if (batch->labels[i] < 0 || batch->labels[i] >= nn->plan.spec.classes) {
            return err_set(err, ERR_INVALID, "labels[%d] is %d, but there are %d classes", i,
                           (int)batch->labels[i], nn->plan.spec.classes);
        }
        if (batch->weights && !(isfinite(batch->weights[i]) && batch->weights[i] >= 0)) {
            return err_set(err, ERR_INVALID, "weights[%d] is %g, not a finite number >= 0", i,
                           (double)batch->weights[i]);
        }
    }
    return ERR_OK;
}

// A world of one is none.
static err_code_t check_replicas(const nn_replicas_t **replicas, err_t *err) {
    const nn_replicas_t *given = *replicas;
    if (given && (given->world < 1 || given->rank < 0 || given->rank >= given->world)) {
        return err_set(err, ERR_INVALID, "replicas: rank %d of %d", given->rank, given->world);
    }
    if (given && given->world > 1 && (!given->gradients || !given->sums)) {
        return err_set(err, ERR_INVALID, "replicas.%s is NULL", given->sums ? "gradients" : "sums");
    }
    *replicas = given && given->world > 1 ? given : NULL;
    return ERR_OK;
}

static err_code_t check_batch(const nn_t *nn, const nn_batch_t *batch, bool may_be_empty,
                              err_t *err) {
    if (!batch) {
        return err_set(err, ERR_INVALID, "batch is NULL");
    }
    if (may_be_empty && batch->count == 0 && batch->batch_total > 0) {
        return ERR_OK;
    }
    if (!batch->pixels || !batch->labels) {
        return err_set(err, ERR_INVALID, "%s is NULL",
                       !batch->pixels ? "batch.pixels" : "batch.labels");
    }
    if (check_count(nn, batch->count, err)) {
        return ERR_INVALID;
    }
    if ((int64_t)batch->position + batch->count > batch->batch_total) {
        return err_set(err, ERR_INVALID, "position %u and count %d do not fit in batch_total %d",
                       batch->position, batch->count, batch->batch_total);
    }
    return check_samples(nn, batch, err);
}

static err_code_t check_adam(const nn_adam_t *adam, err_t *err) {
    if (!adam) {
        return err_set(err, ERR_INVALID, "adam is NULL");
    }
    if (!(isfinite(adam->lr) && adam->lr >= 0)) {
        return err_set(err, ERR_INVALID, "lr is %g, not a finite number >= 0", (double)adam->lr);
    }
    if (!(adam->beta1 >= 0 && adam->beta1 < 1 && adam->beta2 >= 0 && adam->beta2 < 1)) {
        return err_set(err, ERR_INVALID, "beta1 %g or beta2 %g is not within [0, 1)",
                       (double)adam->beta1, (double)adam->beta2);
    }
    if (!(isfinite(adam->epsilon) && adam->epsilon > 0)) {
        return err_set(err, ERR_INVALID, "epsilon is %g, not a finite number > 0",
                       (double)adam->epsilon);
    }
    return ERR_OK;
}

// Over all ranks: a loss that is not finite on one of them is not on any.
static err_code_t add_results(const nn_replicas_t *replicas, nn_result_t *result, err_t *err) {
    double sums[2] = {result->loss, result->correct};
    err_code_t code = replicas->sums(replicas->arg, sums, 2, err);
    if (!code) {
        *result = (nn_result_t){.loss = sums[0], .correct = (int)sums[1]};
    }
    return code;
}

err_code_t nn_step(nn_t *nn, const nn_batch_t *batch, uint64_t step, const nn_adam_t *adam,
                   const nn_replicas_t *replicas, nn_result_t *result, err_t *err) {
    if (!nn->plan.training) {
        return err_set(err, ERR_INVALID, "nn_step: the handle was not made for training");
    }
    if (!result) {
        return err_set(err, ERR_INVALID, "result is NULL");
    }
    if (check_replicas(&replicas, err) || check_batch(nn, batch, replicas != NULL, err) ||
        check_adam(adam, err)) {
        return ERR_INVALID;
    }
    nn->estimated = false;
    *result = (nn_result_t){0};
    err_code_t code = nn->backend->step(nn->self, batch, step, adam, replicas, result, err);
    if (!code && replicas) {
        code = add_results(replicas, result, err);
    }
    if (!code && !isfinite(result->loss)) {
        code = err_set(err, ERR_INVALID, "the loss of step %llu is %g", (unsigned long long)step,
                       result->loss);
        err_remedy(err, "use a lower learning rate");
    }
    return code;
}

// --- Evaluation

err_code_t nn_bn_estimate(nn_t *nn, const uint8_t *pixels, int64_t count,
                          const nn_replicas_t *replicas, err_t *err) {
    if (!nn->plan.training) {
        return err_set(err, ERR_INVALID, "nn_bn_estimate: the handle was not made for training");
    }
    if (!pixels || count < 1) {
        return pixels ? err_set(err, ERR_INVALID, "count is %lld, not >= 1", (long long)count)
                      : err_set(err, ERR_INVALID, "pixels is NULL");
    }
    if (check_replicas(&replicas, err)) {
        return ERR_INVALID;
    }
    nn->estimated = false;
    err_code_t code = nn->backend->bn_estimate(nn->self, pixels, count, replicas, err);
    nn->estimated = !code;
    return code;
}

void nn_use_moving(nn_t *nn) {
    nn->estimated = false;
    nn->backend->use_moving(nn->self);
}

err_code_t nn_predict_samples(nn_t *nn, nn_workspace_t *workspace, const nn_sample_t *samples,
                              int count, err_t *err) {
    if (check_count(nn, count, err) || check_shared(nn, true, err)) {
        return ERR_INVALID;
    }
    if (nn->shares && !workspace) {
        return err_set(err, ERR_INVALID, "workspace is NULL");
    }
    for (int i = 0; i < count; i++) {
        if (!samples[i].probabilities || (!samples[i].pixels && !samples[i].input)) {
            return err_set(err, ERR_INVALID, "samples[%d] has no %s", i,
                           samples[i].probabilities ? "pixels" : "room for probabilities");
        }
    }
    return nn->backend->predict(nn->self, workspace, samples, count, err);
}

static err_code_t predict_some(nn_t *nn, const uint8_t *pixels, int count, float *probabilities,
                               err_t *err) {
    const nn_spec_t *spec = &nn->plan.spec;
    int64_t image = (int64_t)spec->height * spec->width * spec->channels;
    nn_sample_t samples[SAMPLES] = {{0}};
    for (int i = 0; i < count; i++) {
        samples[i] = (nn_sample_t){.pixels = pixels + i * image,
                                   .probabilities = probabilities + (int64_t)i * spec->classes};
    }
    return nn_predict_samples(nn, NULL, samples, count, err);
}

static err_code_t check_predict(const nn_t *nn, int count, err_t *err) {
    if (nn->shares) {
        return err_set(err, ERR_INVALID, "the handle has no workspace: use nn_predict_samples");
    }
    return check_count(nn, count, err);
}

err_code_t nn_predict(nn_t *nn, const uint8_t *pixels, int count, float *probabilities,
                      err_t *err) {
    if (!pixels || !probabilities) {
        return err_set(err, ERR_INVALID, "%s is NULL", pixels ? "probabilities" : "pixels");
    }
    if (check_predict(nn, count, err)) {
        return ERR_INVALID;
    }
    int64_t image = (int64_t)nn->plan.spec.height * nn->plan.spec.width * nn->plan.spec.channels;
    int classes = nn->plan.spec.classes;
    err_code_t code = ERR_OK;
    for (int done = 0; done < count && !code; done += SAMPLES) {
        int now = count - done < SAMPLES ? count - done : SAMPLES;
        code = predict_some(nn, pixels + done * image, now, probabilities + (int64_t)done * classes,
                            err);
    }
    int64_t numbers = (int64_t)count * classes;
    for (int64_t i = 0; i < numbers && !code; i++) {
        if (!isfinite(probabilities[i])) {
            code = err_set(err, ERR_INVALID,
                           "the model's weights overflow: image %lld has no "
                           "finite probability",
                           (long long)(i / classes));
        }
    }
    return code;
}

// --- Sharing

err_code_t nn_workspace_new(nn_workspace_t **workspace, err_t *err) {
    *workspace = calloc(1, sizeof **workspace);
    return *workspace ? ERR_OK : err_set(err, ERR_NO_MEMORY, "no memory for a workspace");
}

void nn_workspace_destroy(nn_workspace_t **workspace) {
    if (*workspace) {
        free((*workspace)->memory);
        free(*workspace);
        *workspace = NULL;
    }
}

uint64_t nn_workspace_bytes(const nn_workspace_t *workspace) {
    return workspace->size;
}

// The plan of nn for other threads and another batch.
static err_code_t make_shared(nn_t *nn, int threads, int max_batch, nn_t *made, err_t *err) {
    const nn_plan_t *plan = &nn->plan;
    nn_options_t options = {.backend = nn->backend->name,
                            .precision = plan->precision,
                            .threads = threads ? threads : plan->threads,
                            .max_batch = max_batch};
    memcpy(options.mean, plan->mean, sizeof options.mean);
    made->shares = true;
    return make_plan(&plan->spec, &options, &made->plan, &made->backend, err);
}

err_code_t nn_share(nn_t *nn, int threads, int max_batch, nn_t **shared, err_t *err) {
    *shared = NULL;
    if (nn->plan.training || nn->shares) {
        return err_set(err, ERR_INVALID, "nn_share: the handle %s",
                       nn->shares ? "shares another's weights" : "was made for training");
    }
    nn_t *made = calloc(1, sizeof *made);
    if (!made) {
        return err_set(err, ERR_NO_MEMORY, "no memory for an engine handle");
    }
    err_code_t code = make_shared(nn, threads, max_batch, made, err);
    if (!code && !nn->sealed) {
        code = nn->backend->seal(nn->self, err);
        nn->sealed = !code;
    }
    if (!code) {
        write_choices(made, NULL);
        code = nn->backend->share(nn->self, &made->plan, &made->self, err);
    }
    if (code) {
        nn_destroy(&made);
        return code;
    }
    *shared = made;
    return ERR_OK;
}

double nn_loss(const float *probabilities, int classes, int32_t label) {
    ERR_ASSERT(label >= 0 && label < classes);
    double p = probabilities[label];
    return -log(p < 1e-7 ? 1e-7 : p > 1 - 1e-7 ? 1 - 1e-7 : p);
}
