#include "nn/cuda/cuda_impl.h"

#include <string.h>

enum { ALIGNMENT = 64 }; // floats: a tensor starts on a cache line, its half copy too

// How many layers of the list the chain that starts at `first` takes, and what they are.
static int read_chain(const nn_spec_t *spec, int first, stage_t *stage) {
    static const nn_kind_t order[] = {NN_BATCH_NORM, NN_RELU, NN_MAX_POOL, NN_DROPOUT};
    chain_t *chain = &stage->chain;
    bool *has[] = {&chain->norm, &chain->relu, &chain->pool, &chain->drop};
    int at = first;
    for (int i = 0; i < 4; i++) {
        const nn_layer_t *layer = &spec->layers[at];
        if (layer->kind != order[i]) {
            continue;
        }
        *has[i] = true;
        if (layer->kind == NN_BATCH_NORM) {
            chain->epsilon = layer->epsilon;
            chain->momentum = layer->momentum;
        } else if (layer->kind == NN_DROPOUT) {
            chain->drop_layer = at;
            chain->drop_threshold = nn_dropout_threshold(layer->rate);
            chain->drop_scale = (float)(1 / (1 - (double)layer->rate));
        }
        at++;
    }
    return at - first;
}

// One stage from layer `first` on; returns how many layers it takes.
static int read_stage(const nn_spec_t *spec, int first, stage_t *stage) {
    stage->layer = first;
    stage->bias = spec->layers[first].bias;
    switch (spec->layers[first].kind) {
    case NN_CONV:
        stage->kind = STAGE_CONV;
        return 1;
    case NN_FLATTEN:
        stage->kind = STAGE_FLATTEN;
        return 1;
    case NN_DENSE:
        stage->kind = STAGE_DENSE;
        return 1;
    default:
        stage->kind = STAGE_CHAIN;
        return read_chain(spec, first, stage);
    }
}

static void fill_values(const cuda_t *cuda, values_t *values, nn_shape_t shape, bool flat) {
    values->shape = shape;
    values->flat = flat;
    values->bf16 = cuda->bf16 && !flat;
    values->stored = (int)cuda_round_up(shape.channels, KERNEL_VECTOR);
    values->sample = (int64_t)shape.height * shape.width * values->stored;
}

static void fill_chain(const values_t *from, const values_t *to, chain_t *chain) {
    chain->bf16 = from->bf16;
    chain->height = from->shape.height;
    chain->width = from->shape.width;
    chain->out_height = to->shape.height;
    chain->out_width = to->shape.width;
    chain->channels = from->shape.channels;
    chain->stored = from->stored;
}

// Where the stage's tensors lie, one behind the other.
static void place_tensors(cuda_t *cuda, stage_t *stage) {
    const nn_plan_t *plan = cuda->plan;
    const values_t *from = &cuda->values[stage->index];
    stage->slice = cuda->trained;
    for (int i = stage->tensor; i < plan->tensor_count && plan->tensors[i].layer == stage->layer;
         i++) {
        const nn_tensor_t *tensor = &plan->tensors[i];
        place_t *place = &cuda->places[i];
        *place = (place_t){.offset = cuda->trained, .stage = stage->index};
        place->stored = (int)cuda_round_up(tensor->dims[0], KERNEL_VECTOR);
        int64_t count = place->stored;
        if (tensor->role == NN_WEIGHT && stage->kind == STAGE_CONV) {
            place->outs = (int)tensor->dims[0];
            place->ins = (int)tensor->dims[1];
            place->area = (int)(tensor->dims[2] * tensor->dims[3]);
            place->stored_ins = from->stored;
            count = (int64_t)place->stored * place->area * place->stored_ins;
        } else if (tensor->role == NN_WEIGHT) {
            count = tensor->count;
        }
        cuda->trained += tensor->trained ? cuda_round_up(count, ALIGNMENT) : 0;
    }
    stage->slice_count = cuda->trained - stage->slice;
}

static int first_tensor(const nn_plan_t *plan, int layer) {
    int tensor = 0;
    while (tensor < plan->tensor_count && plan->tensors[tensor].layer < layer) {
        tensor++;
    }
    return tensor;
}

static void lay_out_input(cuda_t *cuda) {
    const nn_spec_t *spec = &cuda->plan->spec;
    size_t batch = (size_t)cuda->plan->max_batch;
    size_t image = (size_t)spec->height * (size_t)spec->width * (size_t)spec->channels;
    cuda->labels_at = (size_t)cuda_round_up(sizeof(step_args_t), 256);
    cuda->weights_at = cuda->labels_at + (size_t)cuda_round_up((int64_t)(batch * 4), 256);
    cuda->pixels_at = cuda->weights_at + (size_t)cuda_round_up((int64_t)(batch * 4), 256);
    // Only prediction is given floats.
    cuda->input_size = cuda->pixels_at + batch * image * sizeof(float);
}

void cuda_plan(cuda_t *cuda, const nn_plan_t *plan) {
    const nn_spec_t *spec = &plan->spec;
    cuda->plan = plan;
    cuda->bf16 = strcmp(plan->precision, "bf16") == 0;
    bool flat = false, parameters = false;
    nn_shape_t shape = {spec->height, spec->width, spec->channels};
    fill_values(cuda, &cuda->values[0], shape, false);
    for (int at = 0; at < spec->layer_count - 1;) {
        stage_t *stage = &cuda->stages[cuda->stage_count];
        stage->index = cuda->stage_count++;
        stage->tensor = first_tensor(plan, at);
        at += read_stage(spec, at, stage);
        flat = flat || stage->kind == STAGE_FLATTEN;
        fill_values(cuda, &cuda->values[stage->index + 1], plan->shapes[at - 1], flat);
        fill_chain(&cuda->values[stage->index], &cuda->values[stage->index + 1], &stage->chain);
        stage->passes = parameters;
        bool owns = stage->kind == STAGE_CONV || stage->kind == STAGE_DENSE || stage->chain.norm;
        if (owns) {
            place_tensors(cuda, stage);
        }
        parameters = parameters || owns;
    }
    lay_out_input(cuda);
}
