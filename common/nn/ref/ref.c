#include "nn/ref/ref_impl.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    void (*forward)(ref_t *ref, ref_layer_t *layer, const ref_pass_t *pass);
    void (*backward)(ref_t *ref, ref_layer_t *layer, const ref_pass_t *pass,
                     const ref_real_t *behind, ref_real_t *before);
} kind_t;

// The heads are not here: head.c makes loss and probabilities from the last dense layer's logits.
static const kind_t kinds[] = {
    [NN_CONV] = {ref_conv_forward, ref_conv_backward},
    [NN_BATCH_NORM] = {ref_batch_norm_forward, ref_batch_norm_backward},
    [NN_RELU] = {ref_relu_forward, ref_relu_backward},
    [NN_MAX_POOL] = {ref_max_pool_forward, ref_max_pool_backward},
    [NN_DROPOUT] = {ref_dropout_forward, ref_dropout_backward},
    [NN_FLATTEN] = {ref_flatten_forward, ref_flatten_backward},
    [NN_DENSE] = {ref_dense_forward, ref_dense_backward},
};

// --- Making and ending

static err_code_t resolve(nn_plan_t *plan, const char *stored, err_t *err) {
    (void)stored; // there is but one way
    if (strcmp(plan->precision, "bf16") == 0) {
        err_set(err, ERR_UNSUPPORTED, "the backend ref has no precision bf16");
        return err_remedy(err, "use precision fp32 or auto");
    }
    snprintf(plan->precision, sizeof plan->precision, "fp32");
    snprintf(plan->isa, sizeof plan->isa, "generic");
    plan->threads = 1;
    return ERR_OK;
}

static int64_t parameter_count(const nn_plan_t *plan) {
    int64_t count = 0;
    for (int i = 0; i < plan->tensor_count; i++) {
        count += plan->tensors[i].count;
    }
    return count;
}

// Numbers of one image: its input and each layer's output; *largest of them.
static int64_t activation_count(const nn_plan_t *plan, int64_t *largest) {
    nn_shape_t input = {plan->spec.height, plan->spec.width, plan->spec.channels};
    int64_t count = ref_volume(input);
    *largest = count;
    for (int i = 0; i < plan->spec.layer_count - 1; i++) {
        int64_t volume = ref_volume(plan->shapes[i]);
        count += volume;
        *largest = volume > *largest ? volume : *largest;
    }
    return count;
}

static uint64_t memory(const nn_plan_t *plan) {
    int64_t largest;
    int64_t activations = activation_count(plan, &largest);
    if (plan->training) {
        activations += 2 * largest;
    }
    int64_t parts = plan->training ? NN_GRADIENT + 1 : 1;
    return sizeof(ref_t) + (uint64_t)(plan->max_batch * activations) * sizeof(ref_real_t) +
           (uint64_t)(parts * parameter_count(plan)) * sizeof(float);
}

static void destroy(void *self) {
    ref_t *ref = self;
    for (int i = 0; i < ref->layer_count; i++) {
        free(ref->layers[i].output);
        free(ref->layers[i].moments.mean);
    }
    for (int part = ref->borrows; part < REF_PARTS; part++) {
        free(ref->parts[part]);
    }
    free(ref->input);
    free(ref->gradient[0]);
    free(ref->gradient[1]);
    free(ref);
}

static bool make_layer(ref_t *ref, int index) {
    const nn_plan_t *plan = ref->plan;
    ref_layer_t *layer = &ref->layers[index];
    layer->spec = &plan->spec.layers[index];
    layer->index = index;
    layer->in = index > 0 ? plan->shapes[index - 1]
                          : (nn_shape_t){plan->spec.height, plan->spec.width, plan->spec.channels};
    layer->out = plan->shapes[index];
    while (layer->tensor < plan->tensor_count && plan->tensors[layer->tensor].layer < index) {
        layer->tensor++;
    }
    layer->output =
        calloc((size_t)(plan->max_batch * ref_volume(layer->out)), sizeof *layer->output);
    if (layer->spec->kind != NN_BATCH_NORM) {
        return layer->output;
    }
    size_t channels = (size_t)layer->in.channels;
    ref_moments_t *moments = &layer->moments;
    moments->mean = calloc(6 * channels, sizeof(double));
    if (moments->mean) {
        moments->beta = moments->mean + 4 * channels;
        moments->gamma = moments->mean + 5 * channels;
        moments->variance = moments->mean + channels;
        moments->mean_sum = moments->mean + 2 * channels;
        moments->second_sum = moments->mean + 3 * channels;
    }
    return layer->output && moments->mean;
}

static bool make_buffers(ref_t *ref) {
    const nn_plan_t *plan = ref->plan;
    int64_t largest;
    activation_count(plan, &largest);
    ERR_ASSERT(largest > 0 && plan->tensor_count > 0);
    for (int i = 0; i < plan->tensor_count; i++) {
        ref->offsets[i + 1] = ref->offsets[i] + plan->tensors[i].count;
    }
    bool made = true;
    for (int part = 0; part < (plan->training ? REF_PARTS : 1); part++) {
        ref->parts[part] = calloc((size_t)parameter_count(plan), sizeof(float));
        made = made && ref->parts[part];
    }
    for (int i = 0; i < 2 && plan->training; i++) {
        ref->gradient[i] = calloc((size_t)(plan->max_batch * largest), sizeof(ref_real_t));
        made = made && ref->gradient[i];
    }
    nn_shape_t input = {plan->spec.height, plan->spec.width, plan->spec.channels};
    ref->input = calloc((size_t)(plan->max_batch * ref_volume(input)), sizeof(ref_real_t));
    return made && ref->input;
}

static err_code_t create(const nn_plan_t *plan, void **self, err_t *err) {
    ref_t *ref = calloc(1, sizeof *ref);
    bool made = ref != NULL;
    if (ref) {
        ref->plan = plan;
        made = make_buffers(ref);
        ref->layer_count = plan->spec.layer_count - 1;
        for (int i = 0; i < ref->layer_count && made; i++) {
            made = make_layer(ref, i);
        }
    }
    if (!made) {
        if (ref) {
            destroy(ref);
        }
        err_set(err, ERR_NO_MEMORY, "no memory for a model that needs about %llu MiB",
                (unsigned long long)(memory(plan) >> 20));
        return err_remedy(err, "use a smaller batch or model");
    }
    *self = ref;
    return ERR_OK;
}

// --- State

static err_code_t get(void *self, nn_part_t part, int tensor, float *data, err_t *err) {
    (void)err;
    const ref_t *ref = self;
    memcpy(data, ref->parts[part] + ref->offsets[tensor],
           (size_t)ref->plan->tensors[tensor].count * sizeof *data);
    return ERR_OK;
}

static err_code_t set(void *self, nn_part_t part, int tensor, const float *data, err_t *err) {
    (void)err;
    ref_t *ref = self;
    ref->estimated = false;
    memcpy(ref->parts[part] + ref->offsets[tensor], data,
           (size_t)ref->plan->tensors[tensor].count * sizeof *data);
    return ERR_OK;
}

// --- Passes

static void load_pixels(ref_t *ref, const uint8_t *pixels, int64_t n) {
    int channels = ref->plan->spec.channels;
    int64_t area = (int64_t)ref->plan->spec.height * ref->plan->spec.width;
    for (int c = 0; c < channels; c++) {
        for (int64_t i = 0; i < area; i++) {
            double pixel = pixels[i * channels + c];
            ref->input[(n * channels + c) * area + i] =
                (ref_real_t)((pixel - (double)ref->plan->mean[c]) / 255);
        }
    }
}

static void load_input(ref_t *ref, const char *input, int64_t n) {
    int channels = ref->plan->spec.channels;
    int64_t area = (int64_t)ref->plan->spec.height * ref->plan->spec.width;
    for (int c = 0; c < channels; c++) {
        for (int64_t i = 0; i < area; i++) {
            float value;
            memcpy(&value, input + (size_t)(i * channels + c) * sizeof value, sizeof value);
            ref->input[(n * channels + c) * area + i] = (ref_real_t)value;
        }
    }
}

static void load(ref_t *ref, const uint8_t *pixels, int count) {
    int64_t image = (int64_t)ref->plan->spec.height * ref->plan->spec.width;
    for (int64_t n = 0; n < count; n++) {
        load_pixels(ref, pixels + n * image * ref->plan->spec.channels, n);
    }
}

// From what was loaded; *logits are the last layer's.
static err_code_t run(ref_t *ref, const ref_pass_t *pass, const ref_real_t **logits, err_t *err) {
    err_code_t code = ERR_OK;
    for (int i = 0; i < ref->layer_count && !code; i++) {
        ref_layer_t *layer = &ref->layers[i];
        if (layer->spec->kind == NN_BATCH_NORM) {
            code = ref_batch_norm_moments(ref, layer, pass, err);
        }
        kinds[layer->spec->kind].forward(ref, layer, pass);
    }
    *logits = ref->layers[ref->layer_count - 1].output;
    return code;
}

static err_code_t forward(ref_t *ref, const uint8_t *pixels, const ref_pass_t *pass,
                          const ref_real_t **logits, err_t *err) {
    load(ref, pixels, pass->count);
    return run(ref, pass, logits, err);
}

static err_code_t backward(ref_t *ref, const ref_pass_t *pass, err_t *err) {
    const nn_plan_t *plan = ref->plan;
    nn_buckets_t buckets;
    nn_buckets_begin(&buckets, pass->replicas, ref->parts[NN_GRADIENT],
                     ref->offsets[plan->tensor_count]);
    err_code_t code = ERR_OK;
    for (int i = ref->layer_count - 1; i >= 0 && !code; i--) {
        ref_layer_t *layer = &ref->layers[i];
        if (layer->spec->kind == NN_BATCH_NORM) {
            code = ref_batch_norm_sums(ref, layer, pass, ref->gradient[0], err);
        }
        kinds[layer->spec->kind].backward(ref, layer, pass, ref->gradient[0],
                                          i > 0 ? ref->gradient[1] : NULL);
        if (!code) { // of the first layers, which have no parameters, nothing is left
            code = nn_buckets_ready(&buckets, i > 0 ? ref->offsets[layer->tensor] : 0, err);
        }
        ref_real_t *before = ref->gradient[1];
        ref->gradient[1] = ref->gradient[0];
        ref->gradient[0] = before;
    }
    return code;
}

static void update(ref_t *ref, int tensor, const nn_adam_t *adam, uint64_t step) {
    int64_t at = ref->offsets[tensor];
    float *param = ref->parts[NN_PARAM] + at, *m = ref->parts[NN_ADAM_M] + at;
    float *v = ref->parts[NN_ADAM_V] + at, *gradient = ref->parts[NN_GRADIENT] + at;
    double beta1 = (double)adam->beta1, beta2 = (double)adam->beta2, t = (double)step + 1;
    double rate = (double)adam->lr * sqrt(1 - pow(beta2, t)) / (1 - pow(beta1, t));
    for (int64_t i = 0; i < ref->plan->tensors[tensor].count; i++) {
        double g = (double)gradient[i];
        double m_new = beta1 * (double)m[i] + (1 - beta1) * g;
        double v_new = beta2 * (double)v[i] + (1 - beta2) * g * g;
        m[i] = (float)m_new;
        v[i] = (float)v_new;
        param[i] = (float)((double)param[i] - rate * m_new / (sqrt(v_new) + (double)adam->epsilon));
    }
}

static err_code_t move_statistics(ref_t *ref, const ref_pass_t *pass, err_t *err) {
    nn_moments_t moments[NN_LAYERS_MAX];
    ref_layer_t *layers[NN_LAYERS_MAX];
    int count = 0;
    for (int i = 0; i < ref->layer_count; i++) {
        ref_layer_t *layer = &ref->layers[i];
        if (layer->spec->kind == NN_BATCH_NORM) {
            layers[count] = layer;
            moments[count++] =
                (nn_moments_t){layer->moments.mean, layer->moments.variance, layer->in.channels};
        }
    }
    err_code_t code = ERR_OK;
    if (pass->replicas && !nn_syncs(pass->replicas)) {
        code = nn_averages_of_all(pass->replicas, (double)pass->count / pass->total, moments, count,
                                  err);
    }
    for (int i = 0; i < count && !code; i++) {
        ref_batch_norm_move(ref, layers[i]);
    }
    return code;
}

static err_code_t step_once(void *self, const nn_batch_t *batch, uint64_t step,
                            const nn_adam_t *adam, const nn_replicas_t *replicas,
                            nn_result_t *result, err_t *err) {
    ref_t *ref = self;
    ref->estimated = false;
    ref_pass_t pass = {.mode = REF_TRAIN,
                       .count = batch->count,
                       .position = batch->position,
                       .step = step,
                       .total = batch->batch_total,
                       .replicas = replicas};
    const ref_real_t *logits;
    err_code_t code = forward(ref, batch->pixels, &pass, &logits, err);
    if (!code) {
        ref_head_loss(&ref->plan->spec, logits, batch, ref->gradient[0], result);
        code = backward(ref, &pass, err);
    }
    for (int i = 0; i < ref->plan->tensor_count && !code; i++) {
        if (ref->plan->tensors[i].trained) {
            update(ref, i, adam, step);
        }
    }
    return code ? code : move_statistics(ref, &pass, err);
}

// Chunks go round among the replicas.
static err_code_t collect(ref_t *ref, const uint8_t *pixels, int64_t count,
                          const nn_replicas_t *replicas, err_t *err) {
    const nn_plan_t *plan = ref->plan;
    int chunk = plan->max_batch < NN_ESTIMATE_CHUNK ? plan->max_batch : NN_ESTIMATE_CHUNK;
    int64_t image = (int64_t)plan->spec.height * plan->spec.width * plan->spec.channels;
    err_code_t code = ERR_OK;
    for (int64_t done = 0; done < count && !code; done += chunk) {
        int now = count - done < chunk ? (int)(count - done) : chunk;
        if (replicas && done / chunk % replicas->world != replicas->rank) {
            continue;
        }
        const ref_real_t *logits;
        code = forward(ref, pixels + done * image,
                       &(ref_pass_t){.mode = REF_ESTIMATE, .count = now}, &logits, err);
        for (int i = 0; i < ref->layer_count; i++) {
            if (ref->layers[i].spec->kind == NN_BATCH_NORM) {
                ref_batch_norm_collect(&ref->layers[i], now);
            }
        }
    }
    return code;
}

static err_code_t bn_estimate(void *self, const uint8_t *pixels, int64_t count,
                              const nn_replicas_t *replicas, err_t *err) {
    ref_t *ref = self;
    for (int i = 0; i < ref->layer_count; i++) {
        if (ref->layers[i].spec->kind == NN_BATCH_NORM) {
            ref_batch_norm_clear(&ref->layers[i]);
        }
    }
    err_code_t code = collect(ref, pixels, count, replicas, err);
    for (int i = 0; i < ref->layer_count && !code; i++) {
        ref_layer_t *layer = &ref->layers[i];
        if (layer->spec->kind == NN_BATCH_NORM && replicas) {
            code = replicas->sums(replicas->arg, layer->moments.mean_sum,
                                  2 * (size_t)layer->in.channels, err);
        }
        if (layer->spec->kind == NN_BATCH_NORM && !code) {
            ref_batch_norm_settle(ref, layer, count);
        }
    }
    ref->estimated = !code;
    return code;
}

static void use_moving(void *self) {
    ((ref_t *)self)->estimated = false;
}

// Its activations are its own, not the workspace's: layer by layer, to be read.
static err_code_t predict(void *self, nn_workspace_t *workspace, const nn_sample_t *samples,
                          int count, err_t *err) {
    (void)workspace;
    ref_t *ref = self;
    for (int n = 0; n < count; n++) {
        if (samples[n].pixels) {
            load_pixels(ref, samples[n].pixels, n);
        } else {
            load_input(ref, samples[n].input, n);
        }
    }
    const ref_real_t *logits;
    err_code_t code = run(ref, &(ref_pass_t){.mode = REF_PREDICT, .count = count}, &logits, err);
    int64_t units = ref_volume(ref->layers[ref->layer_count - 1].out);
    for (int64_t n = 0; n < count && !code; n++) {
        ref_head_probabilities(&ref->plan->spec, logits + n * units, 1, samples[n].probabilities);
    }
    return code;
}

// --- Sharing

static err_code_t seal(void *self, err_t *err) {
    (void)self; // its parameters are as it computes with them
    (void)err;
    return ERR_OK;
}

static err_code_t share(void *self, const nn_plan_t *plan, void **shared, err_t *err) {
    err_code_t code = create(plan, shared, err);
    if (!code) {
        ref_t *ref = *shared;
        free(ref->parts[NN_PARAM]);
        ref->parts[NN_PARAM] = ((ref_t *)self)->parts[NN_PARAM];
        ref->borrows = true;
    }
    return code;
}

const nn_backend_t nn_backend_ref = {
    .name = "ref",
    .resolve = resolve,
    .create = create,
    .destroy = destroy,
    .memory = memory,
    .get = get,
    .set = set,
    .step = step_once,
    .bn_estimate = bn_estimate,
    .use_moving = use_moving,
    .predict = predict,
    .seal = seal,
    .share = share,
};
