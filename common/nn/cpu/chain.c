// Chains: batch-norm, ReLU, max-pool and dropout as one pass forward and two back. The kernels do
// the work; here is who does which part, and what becomes of the sums.
#include "nn/cpu/cpu_impl.h"
#include "nn/cpu/parallel.h"

#include <math.h>
#include <string.h>

typedef struct {
    const cpu_t *cpu;
    const kernels_t *kernels;
    chain_t chain;
    int blocks, groups; // parts of a sample by blocks of channels
    int count;
    size_t element; // bytes
} run_t;

static run_t describe(const cpu_t *cpu, const stage_t *stage, int count) {
    const values_t *in = &cpu->values[stage->index], *out = &cpu->values[stage->index + 1];
    const links_t *links = &stage->links;
    run_t run = {
        .cpu = cpu, .kernels = cpu_kernels(cpu, in), .count = count, .element = cpu_element(in)};
    run.blocks = in->stored / run.kernels->lanes;
    run.groups = count < 4 * cpu->plan->threads ? run.blocks : 1;
    run.chain = (chain_t){.height = in->shape.height,
                          .width = in->shape.width,
                          .out_height = out->shape.height,
                          .out_width = out->shape.width,
                          .channels = in->shape.channels,
                          .padded = in->stored,
                          .blocked = in->layout != LAYOUT_LAST,
                          .pool = links->pool,
                          .x = in->data,
                          .y = out->data,
                          .scale = links->scale,
                          .shift = links->shift,
                          .mean = links->mean,
                          .factor = links->factor,
                          .beta_mean = links->beta_mean,
                          .gamma_mean = links->gamma_mean,
                          .floor = links->relu ? 0.0f : -INFINITY,
                          .keep_scale = 1};
    return run;
}

// --- Loops over samples and parts of them

static part_t part_of(const run_t *run, int64_t item, int rows) {
    int sample = (int)(item / run->groups), group = (int)(item % run->groups);
    return (part_t){sample, 0, rows, (int)((int64_t)run->blocks * group / run->groups),
                    (int)((int64_t)run->blocks * (group + 1) / run->groups)};
}

static double *sums_of(const run_t *run, int sample) {
    return run->cpu->sums + (int64_t)sample * 2 * run->chain.padded;
}

static void moments_part(void *arg, int64_t item, int thread) {
    (void)thread;
    const run_t *run = arg;
    part_t part = part_of(run, item, run->chain.height);
    double *sums = sums_of(run, part.sample);
    run->kernels->moments(&run->chain, part, run->cpu->pivot, sums, sums + run->chain.padded);
}

static void sums_part(void *arg, int64_t item, int thread) {
    (void)thread;
    const run_t *run = arg;
    part_t part = part_of(run, item, run->chain.out_height);
    double *sums = sums_of(run, part.sample);
    run->kernels->sums(&run->chain, part, sums, sums + run->chain.padded);
}

static part_t row_of(const run_t *run, int64_t item) {
    int row = (int)(item % run->chain.out_height);
    return (part_t){(int)(item / run->chain.out_height), row, row + 1, 0, run->blocks};
}

static void forward_part(void *arg, int64_t item, int thread) {
    const run_t *run = arg;
    part_t part = row_of(run, item);
    const uint8_t *keep = NULL;
    if (run->chain.drop) {
        int64_t row = (int64_t)run->chain.out_width * run->chain.channels;
        keep = run->kernels->keep(&run->chain, part.sample, part.row_from * row, row,
                                  run->cpu->keep + thread * run->cpu->keep_size);
    }
    run->kernels->forward(&run->chain, part, keep);
}

static void backward_part(void *arg, int64_t item, int thread) {
    (void)thread;
    const run_t *run = arg;
    run->kernels->backward(&run->chain, row_of(run, item));
}

// Adds the samples' sums in their order; the result is in the first sample's.
static void add_samples(const run_t *run) {
    double *total = sums_of(run, 0);
    if (run->count == 0) {
        memset(total, 0, 2 * (size_t)run->chain.padded * sizeof *total);
    }
    for (int n = 1; n < run->count; n++) {
        const double *sums = sums_of(run, n);
        for (int c = 0; c < 2 * run->chain.padded; c++) {
            total[c] += sums[c];
        }
    }
}

static double numbers(const run_t *run) {
    return (double)run->count * run->chain.height * run->chain.width;
}

// --- Batch-norm

// The first value of each channel: sums of differences to it do not cancel.
static void find_pivot(const run_t *run) {
    int lanes = run->kernels->lanes;
    int64_t block =
        run->chain.blocked ? (int64_t)run->chain.height * run->chain.width * lanes : lanes;
    for (int i = 0; i < run->blocks; i++) {
        run->kernels->widen((const char *)run->chain.x + (size_t)(i * block) * run->element,
                            run->cpu->pivot + (int64_t)i * lanes, lanes);
    }
}

static const float *gamma_of(const cpu_t *cpu, const stage_t *stage) {
    return cpu_part(cpu, stage, NN_PARAM);
}

static float epsilon_of(const cpu_t *cpu, const stage_t *stage) {
    return cpu->plan->spec.layers[stage->links.norm.layer].epsilon;
}

static void own_moments(const cpu_t *cpu, stage_t *stage, run_t *run) {
    norm_t *norm = &stage->links.norm;
    if (run->count == 0) {
        memset(norm->mean, 0, (size_t)run->chain.padded * sizeof *norm->mean);
        memset(norm->variance, 0, (size_t)run->chain.padded * sizeof *norm->variance);
        return;
    }
    find_pivot(run);
    parallel_for(cpu->plan->threads, (int64_t)run->count * run->groups, moments_part, run);
    add_samples(run);
    const double *sums = sums_of(run, 0);
    for (int c = 0; c < run->chain.channels; c++) {
        double off = sums[c] / numbers(run);
        double variance = sums[run->chain.padded + c] / numbers(run) - off * off;
        norm->mean[c] = (double)cpu->pivot[c] + off;
        norm->variance[c] = variance < 0 ? 0 : variance; // NaN stays
    }
}

static err_code_t batch_moments(const cpu_t *cpu, stage_t *stage, run_t *run, const pass_t *pass,
                                err_t *err) {
    norm_t *norm = &stage->links.norm;
    own_moments(cpu, stage, run);
    if (!nn_syncs(pass->replicas)) {
        return ERR_OK;
    }
    return nn_moments_of_all(pass->replicas, (double)pass->count / pass->total,
                             (nn_moments_t){norm->mean, norm->variance, run->chain.channels}, err);
}

static void set_scale(links_t *links, int c, double scale, double shift) {
    links->scale[c] = (float)scale;
    links->shift[c] = (float)shift;
}

static void plain_scale(const run_t *run, links_t *links) {
    for (int c = 0; c < run->chain.channels; c++) {
        set_scale(links, c, 1, 0);
    }
}

err_code_t cpu_chain(const cpu_t *cpu, stage_t *stage, const pass_t *pass, err_t *err) {
    links_t *links = &stage->links;
    run_t run = describe(cpu, stage, pass->count);
    if (links->norm.layer >= 0) {
        err_code_t code = batch_moments(cpu, stage, &run, pass, err);
        if (code) {
            return code;
        }
        const float *gamma = gamma_of(cpu, stage), *beta = gamma + stage->second;
        for (int c = 0; c < run.chain.channels; c++) {
            double scale =
                (double)gamma[c] / sqrt(links->norm.variance[c] + (double)epsilon_of(cpu, stage));
            set_scale(links, c, scale, (double)beta[c] - links->norm.mean[c] * scale);
            links->mean[c] = (float)links->norm.mean[c];
        }
    } else {
        plain_scale(&run, links);
    }
    run.chain.code = pass->drop ? links->code : NULL;
    if (pass->drop && links->drop >= 0) {
        float rate = cpu->plan->spec.layers[links->drop].rate;
        run.chain.drop = true;
        run.chain.keep_scale = (float)(1 / (1 - (double)rate));
        run.chain.threshold = nn_dropout_threshold(rate);
        run.chain.position = pass->position;
        run.chain.step = pass->step;
        run.chain.layer = (uint32_t)links->drop;
        run.chain.seed = cpu->plan->seed;
    }
    parallel_for(cpu->plan->threads, (int64_t)run.count * run.chain.out_height, forward_part, &run);
    return ERR_OK;
}

// With x̂ = (x − mean)/σ and N numbers a channel:
// dγ = Σ g·x̂, dβ = Σ g, dx = γ/σ · (g − dβ/N − x̂·dγ/N).
static err_code_t norm_back(const cpu_t *cpu, stage_t *stage, run_t *run, const pass_t *pass,
                            err_t *err) {
    links_t *links = &stage->links;
    parallel_for(cpu->plan->threads, (int64_t)run->count * run->groups, sums_part, run);
    add_samples(run);
    double *beta_sum = sums_of(run, 0), *gamma_sum = beta_sum + run->chain.padded;
    const float *gamma = gamma_of(cpu, stage);
    float *gradient = cpu_part(cpu, stage, NN_GRADIENT);
    for (int c = 0; c < run->chain.channels; c++) {
        double inverse = 1 / sqrt(links->norm.variance[c] + (double)epsilon_of(cpu, stage));
        gradient[c] = (float)(gamma_sum[c] * inverse);
        gradient[stage->second + c] = (float)beta_sum[c];
    }
    double all = numbers(run);
    if (nn_syncs(pass->replicas)) { // channels that are only stored have sums of 0
        all = (double)pass->total * run->chain.height * run->chain.width;
        err_code_t code =
            pass->replicas->sums(pass->replicas->arg, beta_sum, 2 * (size_t)run->chain.padded, err);
        if (code) {
            return code;
        }
    }
    for (int c = 0; c < run->chain.channels; c++) {
        double inverse = 1 / sqrt(links->norm.variance[c] + (double)epsilon_of(cpu, stage));
        links->factor[c] = (float)((double)gamma[c] * inverse);
        links->beta_mean[c] = (float)(beta_sum[c] / all);
        links->gamma_mean[c] = (float)(gamma_sum[c] * inverse * inverse / all);
    }
    return ERR_OK;
}

err_code_t cpu_chain_back(const cpu_t *cpu, stage_t *stage, const pass_t *pass, err_t *err) {
    links_t *links = &stage->links;
    run_t run = describe(cpu, stage, pass->count);
    run.chain.code = links->code;
    if (links->drop >= 0) {
        run.chain.drop = true;
        run.chain.keep_scale = (float)(1 / (1 - (double)cpu->plan->spec.layers[links->drop].rate));
    }
    if (links->norm.layer >= 0) {
        err_code_t code = norm_back(cpu, stage, &run, pass, err);
        if (code) {
            return code;
        }
    } else {
        for (int c = 0; c < run.chain.channels; c++) {
            links->factor[c] = 1;
        }
    }
    if (stage->passes) {
        parallel_for(cpu->plan->threads, (int64_t)run.count * run.chain.out_height, backward_part,
                     &run);
    }
    return ERR_OK;
}

// --- Prediction

void cpu_norm_fixed(const cpu_t *cpu, const stage_t *stage, int c, double *scale, double *shift) {
    const norm_t *norm = &stage->links.norm;
    float *const *statistics = cpu->estimated ? norm->estimate : norm->moving;
    const float *gamma = gamma_of(cpu, stage), *beta = gamma + stage->second;
    *scale = (double)gamma[c] / sqrt((double)statistics[1][c] + (double)epsilon_of(cpu, stage));
    *shift = (double)beta[c] - (double)statistics[0][c] * *scale;
}

void cpu_chain_fold(const cpu_t *cpu, stage_t *stage) {
    links_t *links = &stage->links;
    bool norm = links->norm.layer >= 0 && !cpu_behind_conv(stage);
    for (int c = 0; c < cpu->values[stage->index].shape.channels; c++) {
        double scale = 1, shift = 0;
        if (norm) {
            cpu_norm_fixed(cpu, stage, c, &scale, &shift);
        }
        set_scale(links, c, scale, shift);
    }
}

void cpu_chain_infer(const cpu_t *cpu, const stage_t *stage, int count, void *from, void *to) {
    run_t run = describe(cpu, stage, count);
    run.chain.x = from;
    run.chain.y = to;
    if (cpu_behind_conv(stage)) {
        run.chain.floor = -INFINITY;
    }
    parallel_for(cpu->plan->threads, (int64_t)count * run.chain.out_height, forward_part, &run);
}
