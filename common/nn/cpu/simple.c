// What needs no oneDNN and no fusing: the input, flatten, dense layers, Adam.
#include "nn/cpu/cpu_impl.h"
#include "nn/cpu/parallel.h"

#include <math.h>
#include <string.h>

// --- One number of an activation

static uint16_t to_bf16(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return (uint16_t)(value != value ? bits >> 16 | 0x40
                                     : (bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static void put(const values_t *values, void *data, int64_t at, float value) {
    if (values->bf16) {
        ((uint16_t *)data)[at] = to_bf16(value);
    } else {
        ((float *)data)[at] = value;
    }
}

static float take(const values_t *values, const void *data, int64_t at) {
    if (!values->bf16) {
        return ((const float *)data)[at];
    }
    uint32_t bits = (uint32_t)((const uint16_t *)data)[at] << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

// Elements between neighbouring pixels, and where channel c begins, within a sample.
static int64_t pixel_step(const values_t *values) {
    return values->layout == LAYOUT_PLANES       ? 1
           : values->layout == LAYOUT_LAST       ? values->stored
           : values->layout == LAYOUT_BLOCKED_16 ? 16
                                                 : 8;
}

static int64_t channel_start(const values_t *values, int64_t c) {
    int64_t area = (int64_t)values->shape.height * values->shape.width;
    switch (values->layout) {
    case LAYOUT_PLANES:
        return c * area;
    case LAYOUT_LAST:
        return c;
    default: {
        int64_t block = pixel_step(values);
        return c / block * block * area + c % block;
    }
    }
}

// --- Input

typedef struct {
    const cpu_t *cpu;
    const uint8_t *pixels;      // or
    const nn_sample_t *samples; // these
    void *to;
} load_t;

static void load_pixels(const cpu_t *cpu, const uint8_t *from, int64_t n, void *to) {
    const values_t *values = &cpu->values[0];
    int channels = values->shape.channels;
    int64_t area = (int64_t)values->shape.height * values->shape.width, step = pixel_step(values);
    for (int c = 0; c < channels; c++) {
        const float *table = cpu->table + (ptrdiff_t)256 * c;
        int64_t at = n * values->sample + channel_start(values, c);
        for (int64_t i = 0; i < area; i++) {
            put(values, to, at + i * step, table[from[i * channels + c]]);
        }
    }
}

static void load_input(const cpu_t *cpu, const char *from, int64_t n, void *to) {
    const values_t *values = &cpu->values[0];
    int channels = values->shape.channels;
    int64_t area = (int64_t)values->shape.height * values->shape.width, step = pixel_step(values);
    for (int c = 0; c < channels; c++) {
        int64_t at = n * values->sample + channel_start(values, c);
        for (int64_t i = 0; i < area; i++) {
            float value;
            memcpy(&value, from + (size_t)(i * channels + c) * sizeof value, sizeof value);
            put(values, to, at + i * step, value);
        }
    }
}

static void load_sample(void *arg, int64_t n, int thread) {
    (void)thread;
    const load_t *load = arg;
    const values_t *values = &load->cpu->values[0];
    int64_t image = (int64_t)values->shape.height * values->shape.width * values->shape.channels;
    if (load->pixels || load->samples[n].pixels) {
        load_pixels(load->cpu, load->pixels ? load->pixels + n * image : load->samples[n].pixels, n,
                    load->to);
    } else {
        load_input(load->cpu, load->samples[n].input, n, load->to);
    }
}

// The channels that are only stored: prediction may have left other numbers there.
static void clear_rest(const values_t *values, int count, void *to) {
    if (values->stored > values->shape.channels) {
        memset(to, 0, (size_t)(count * values->sample) * cpu_element(values));
    }
}

void cpu_load(const cpu_t *cpu, const uint8_t *pixels, int count, void *to) {
    clear_rest(&cpu->values[0], count, to);
    load_t load = {.cpu = cpu, .pixels = pixels, .to = to};
    parallel_for(cpu->plan->threads, count, load_sample, &load);
}

void cpu_load_samples(const cpu_t *cpu, const nn_sample_t *samples, int count, void *to) {
    clear_rest(&cpu->values[0], count, to);
    load_t load = {.cpu = cpu, .samples = samples, .to = to};
    parallel_for(cpu->plan->threads, count, load_sample, &load);
}

// --- Flatten

typedef struct {
    const values_t *in, *out;
    void *from;
    float *to;
} flatten_t;

static void flatten_sample(void *arg, int64_t n, int thread) {
    (void)thread;
    const flatten_t *f = arg;
    int64_t area = (int64_t)f->in->shape.height * f->in->shape.width, step = pixel_step(f->in);
    float *to = f->to + n * f->out->sample;
    for (int64_t c = 0; c < f->in->shape.channels; c++) {
        int64_t at = n * f->in->sample + channel_start(f->in, c);
        for (int64_t i = 0; i < area; i++) {
            *to++ = take(f->in, f->from, at + i * step);
        }
    }
    int64_t rest = f->out->stored - f->out->shape.channels;
    memset(to, 0, (size_t)rest * sizeof *to);
}

static void unflatten_sample(void *arg, int64_t n, int thread) {
    (void)thread;
    const flatten_t *f = arg;
    int64_t area = (int64_t)f->in->shape.height * f->in->shape.width, step = pixel_step(f->in);
    const float *gradient = f->to + n * f->out->sample;
    for (int64_t c = 0; c < f->in->shape.channels; c++) {
        int64_t at = n * f->in->sample + channel_start(f->in, c);
        for (int64_t i = 0; i < area; i++) {
            put(f->in, f->from, at + i * step, *gradient++);
        }
    }
}

void cpu_flatten(const cpu_t *cpu, const stage_t *stage, int count, void *from, float *to) {
    flatten_t flatten = {&cpu->values[stage->index], &cpu->values[stage->index + 1], from, to};
    parallel_for(cpu->plan->threads, count, flatten_sample, &flatten);
}

void cpu_unflatten(const cpu_t *cpu, const stage_t *stage, int count) {
    const values_t *in = &cpu->values[stage->index], *out = &cpu->values[stage->index + 1];
    flatten_t flatten = {in, out, in->data, out->data};
    parallel_for(cpu->plan->threads, count, unflatten_sample, &flatten);
}

// --- Dense

enum {
    OUTPUTS = 16, // of a part
    COLUMNS = 64, // a multiple of all lanes
};

typedef struct {
    const cpu_t *cpu;
    const float *x, *w, *bias;
    float *y, *gradient;
    int64_t depth, y_row;
    int count, outputs;
} dense_t;

static dense_t describe(const cpu_t *cpu, const stage_t *stage, int count) {
    const values_t *in = &cpu->values[stage->index], *out = &cpu->values[stage->index + 1];
    const float *w = cpu_part(cpu, stage, NN_PARAM);
    return (dense_t){.cpu = cpu,
                     .x = in->data,
                     .w = w,
                     .bias = stage->bias ? w + stage->second : NULL,
                     .y = out->data,
                     .gradient = cpu->plan->training ? cpu_part(cpu, stage, NN_GRADIENT) : NULL,
                     .depth = in->stored,
                     .y_row = out->stored,
                     .count = count,
                     .outputs = out->shape.channels};
}

static int parts(int64_t total, int part) {
    return (int)((total + part - 1) / part);
}

static void dense_part(void *arg, int64_t item, int thread) {
    (void)thread;
    const dense_t *d = arg;
    int from = (int)item * OUTPUTS;
    int to = from + OUTPUTS < d->outputs ? from + OUTPUTS : d->outputs;
    d->cpu->flat->dense(d->x, d->w, d->bias, d->y, d->depth, d->count, from, to, d->y_row);
}

void cpu_dense(const cpu_t *cpu, const stage_t *stage, int count, const float *from, float *to) {
    dense_t dense = describe(cpu, stage, count);
    dense.x = from;
    dense.y = to;
    if (dense.y_row > dense.outputs) {
        memset(to, 0, (size_t)(count * dense.y_row) * sizeof *to);
    }
    parallel_for(cpu->plan->threads, parts(dense.outputs, OUTPUTS), dense_part, &dense);
}

// ∂w[o][k] = Σ_n ∂y[n][o] · x[n][k].
static void weight_part(void *arg, int64_t item, int thread) {
    (void)thread;
    const dense_t *d = arg;
    int64_t from = item * OUTPUTS;
    int rows = (int)(d->outputs - from < OUTPUTS ? d->outputs - from : OUTPUTS);
    d->cpu->flat->product(&(product_t){.a = d->y + from,
                                       .b = d->x,
                                       .c = d->gradient + from * d->depth,
                                       .a_row = 1,
                                       .a_step = d->y_row,
                                       .b_row = d->depth,
                                       .c_row = d->depth,
                                       .rows = rows,
                                       .depth = d->count,
                                       .columns = d->depth});
}

// ∂x[n][k] = Σ_o ∂y[n][o] · w[o][k], over x.
static void data_part(void *arg, int64_t item, int thread) {
    (void)thread;
    const dense_t *d = arg;
    int64_t from = item * COLUMNS;
    d->cpu->flat->product(
        &(product_t){.a = d->y,
                     .b = d->w + from,
                     .c = (float *)d->x + from,
                     .a_row = d->y_row,
                     .a_step = 1,
                     .b_row = d->depth,
                     .c_row = d->depth,
                     .rows = d->count,
                     .depth = d->outputs,
                     .columns = d->depth - from < COLUMNS ? d->depth - from : COLUMNS});
}

void cpu_dense_back(const cpu_t *cpu, const stage_t *stage, int count) {
    dense_t dense = describe(cpu, stage, count);
    parallel_for(cpu->plan->threads, parts(dense.outputs, OUTPUTS), weight_part, &dense);
    if (stage->bias) {
        float *bias = dense.gradient + stage->second;
        for (int o = 0; o < dense.outputs; o++) {
            double sum = 0;
            for (int64_t n = 0; n < count; n++) {
                sum += (double)dense.y[n * dense.y_row + o];
            }
            bias[o] = (float)sum;
        }
    }
    if (stage->passes) {
        parallel_for(cpu->plan->threads, parts(dense.depth, COLUMNS), data_part, &dense);
    }
}

// --- Adam

enum { ADAM_PART = 1 << 14 };

typedef struct {
    const cpu_t *cpu;
    adam_rates_t rates;
} update_t;

static void adam_part(void *arg, int64_t item, int thread) {
    (void)thread;
    const update_t *update = arg;
    const cpu_t *cpu = update->cpu;
    int64_t from = item * ADAM_PART, rest = cpu->part_count - from;
    cpu->flat->adam(&update->rates, cpu->parts[NN_PARAM] + from, cpu->parts[NN_ADAM_M] + from,
                    cpu->parts[NN_ADAM_V] + from, cpu->parts[NN_GRADIENT] + from,
                    rest < ADAM_PART ? rest : ADAM_PART);
}

void cpu_adam(const cpu_t *cpu, const nn_adam_t *adam, uint64_t step) {
    double beta1 = (double)adam->beta1, beta2 = (double)adam->beta2, t = (double)step + 1;
    update_t update = {
        .cpu = cpu,
        .rates = {.rate = (float)((double)adam->lr * sqrt(1 - pow(beta2, t)) / (1 - pow(beta1, t))),
                  .beta1 = adam->beta1,
                  .beta2 = adam->beta2,
                  .rest1 = (float)(1 - beta1),
                  .rest2 = (float)(1 - beta2),
                  .epsilon = adam->epsilon}};
    parallel_for(cpu->plan->threads, parts(cpu->part_count, ADAM_PART), adam_part, &update);
}
