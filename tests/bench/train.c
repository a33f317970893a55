// The engine under a stop-watch, driven line by line so that a script can let it and its peers take
// turns: tests/bench/train is that script. The model is the paper's; pixels and labels are noise.
//
//   train [--backend B] [--precision P] [--threads N] [--batch N]
// says in one JSON line what the engine chose, then answers each line of its input with seconds:
//   train N     N whole steps: forward with dropout, loss, backward, Adam
//   infer B N   N predictions of B images
//   estimate N  batch-norm statistics over N images
#include "nn/nn.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SIZE = 96, IMAGE = SIZE * SIZE, POOL = 256, LINE_SIZE = 128 };

typedef struct {
    nn_t *nn;
    int batch;
    uint64_t step;
    uint8_t *pixels; // POOL + batch images
    int32_t *labels;
    float *probabilities;
} bench_t;

static double now_s(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static err_code_t train(bench_t *bench, int steps, err_t *err) {
    const nn_adam_t adam = {.lr = 1e-4f, .beta1 = 0.9f, .beta2 = 0.999f, .epsilon = 1e-7f};
    err_code_t code = ERR_OK;
    for (int i = 0; i < steps && !code; i++, bench->step++) {
        int first = (int)(bench->step * (uint64_t)bench->batch % POOL);
        nn_batch_t batch = {.pixels = bench->pixels + (ptrdiff_t)first * IMAGE,
                            .labels = bench->labels + first,
                            .count = bench->batch,
                            .batch_total = bench->batch};
        nn_result_t result;
        code = nn_step(bench->nn, &batch, bench->step, &adam, NULL, &result, err);
    }
    return code;
}

static err_code_t infer(bench_t *bench, int count, int times, err_t *err) {
    err_code_t code = ERR_OK;
    for (int i = 0; i < times && !code; i++) {
        code = nn_predict(bench->nn, bench->pixels + (ptrdiff_t)(i % POOL) * IMAGE, count,
                          bench->probabilities, err);
    }
    return code;
}

static err_code_t obey(bench_t *bench, const char *line, err_t *err) {
    int count, times;
    if (sscanf(line, "train %d", &count) == 1 && count > 0) {
        return train(bench, count, err);
    }
    if (sscanf(line, "infer %d %d", &count, &times) == 2 && times > 0) {
        return infer(bench, count, times, err);
    }
    if (sscanf(line, "estimate %d", &count) == 1 && count > 0 && count <= POOL) {
        return nn_bn_estimate(bench->nn, bench->pixels, count, NULL, err);
    }
    return err_set(err, ERR_USAGE, "not a command: %s", line);
}

static err_code_t prepare(bench_t *bench, const nn_options_t *options, err_t *err) {
    const nn_vgg_t paper = {SIZE, SIZE, 1, 2, 64, 4, 256, 0.2f};
    nn_spec_t spec;
    err_code_t code = nn_spec_vgg(&paper, &spec, err);
    if (!code) {
        code = nn_new(&spec, options, &bench->nn, err);
    }
    if (!code) {
        code = nn_init(bench->nn, 1, err);
    }
    int images = POOL + bench->batch;
    bench->pixels = malloc((size_t)images * IMAGE);
    bench->labels = malloc((size_t)images * sizeof *bench->labels);
    bench->probabilities = malloc((size_t)images * 2 * sizeof *bench->probabilities);
    if (!bench->pixels || !bench->labels || !bench->probabilities) {
        return err_set(err, ERR_NO_MEMORY, "no memory for %d images", images);
    }
    srand(1);
    for (int i = 0; i < images * IMAGE; i++) {
        bench->pixels[i] = (uint8_t)rand();
    }
    for (int i = 0; i < images; i++) {
        bench->labels[i] = rand() & 1;
    }
    return code;
}

static err_code_t serve(bench_t *bench, err_t *err) {
    char line[LINE_SIZE];
    printf("{\"choices\": \"%s\"}\n", nn_choices(bench->nn));
    fflush(stdout);
    while (fgets(line, sizeof line, stdin)) {
        double start = now_s();
        err_code_t code = obey(bench, line, err);
        if (code) {
            return code;
        }
        printf("%.6f\n", now_s() - start);
        fflush(stdout);
    }
    return ERR_OK;
}

int main(int argc, char **argv) {
    nn_wait_passively(argv);
    bench_t bench = {.batch = 32};
    nn_options_t options = {.backend = "auto", .precision = "auto", .training = true, .seed = 1};
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--backend") == 0) {
            options.backend = argv[i + 1];
        } else if (strcmp(argv[i], "--precision") == 0) {
            options.precision = argv[i + 1];
        } else if (strcmp(argv[i], "--threads") == 0) {
            options.threads = atoi(argv[i + 1]);
        } else if (strcmp(argv[i], "--batch") == 0) {
            bench.batch = atoi(argv[i + 1]);
        }
    }
    options.max_batch = bench.batch;
    err_t err = {0};
    err_code_t code = prepare(&bench, &options, &err);
    if (!code) {
        code = serve(&bench, &err);
    }
    if (code) {
        fprintf(stderr, "%s\n", err.message);
    }
    nn_destroy(&bench.nn);
    free(bench.pixels);
    free(bench.labels);
    free(bench.probabilities);
    return code ? 1 : 0;
}
