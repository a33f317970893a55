// The bare engine: how many images a second does this machine predict from pixels in memory, one
// at a time and many? What a server can at most reach, and what its other threads cost.
//
//   engine [--width W] [--size S] [--threads N] [--seconds T] [--json]
//
// The model is the paper's kind (`--width` filters in the first block, S×S×1 images), weights and
// pixels are noise. Every way gets the same time, and all its answers must be the same bits. Beside
// the rate stands the processor time of an image, which other programs on the machine disturb less.
#include "nn/nn.h"

#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { POOL = 64, THREADS_MAX = 64, BATCH_MAX = 16, CALLS_MAX = 1 << 20, WARM = 2 };

typedef struct {
    int width, size, threads;
    double seconds;
    bool json;
} given_t;

typedef struct {
    given_t given;
    nn_t *nn;
    uint8_t *pixels;
    float expected[POOL][2];
} bench_t;

// One thread's part of a measurement.
typedef struct {
    bench_t *bench;
    nn_t *nn;
    nn_workspace_t *workspace;
    int batch;
    pthread_barrier_t *start;
    double end_s; // when it stopped
    long images;
    float *took_us; // of the calls, up to CALLS_MAX
    int calls;
    bool failed;
} runner_t;

typedef struct {
    const char *name;
    int threads, batch, parallel; // of a call; calls at once
} way_t;

typedef struct {
    double rate, p50_us, p99_us, cpu_us; // cpu_us: of all threads, per image
} outcome_t;

static double read_s(clockid_t clock) {
    struct timespec time;
    clock_gettime(clock, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static double now_s(void) {
    return read_s(CLOCK_MONOTONIC);
}

// KiB of anonymous memory.
static long rss_anon(void) {
    char line[256];
    long kib = 0;
    FILE *file = fopen("/proc/self/status", "re");
    while (file && fgets(line, sizeof line, file)) {
        if (sscanf(line, "RssAnon: %ld", &kib) == 1) {
            break;
        }
    }
    if (file) {
        fclose(file);
    }
    return kib;
}

static void die(const err_t *err) {
    fprintf(stderr, "%s\n", err->message);
    exit(1);
}

static void make_model(bench_t *bench, nn_spec_t *spec) {
    err_t err = {0};
    nn_vgg_t vgg = {bench->given.size, bench->given.size, 1, 2, bench->given.width, 4, 256, 0.2f};
    nn_options_t options = {
        .backend = "auto", .precision = "auto", .threads = bench->given.threads, .max_batch = 1};
    if (nn_spec_vgg(&vgg, spec, &err) || nn_new(spec, &options, &bench->nn, &err) ||
        nn_init(bench->nn, 1, &err)) {
        die(&err);
    }
}

static void runner_open(bench_t *bench, const way_t *way, runner_t *runner) {
    err_t err = {0};
    *runner = (runner_t){.bench = bench, .batch = way->batch};
    if (nn_workspace_new(&runner->workspace, &err) ||
        nn_share(bench->nn, way->threads, way->batch, &runner->nn, &err)) {
        die(&err);
    }
}

static void runner_close(runner_t *runner) {
    nn_destroy(&runner->nn);
    nn_workspace_destroy(&runner->workspace);
    free(runner->took_us);
}

// Predicts images [first, first + batch) of the pool and checks them.
static void predict(runner_t *runner, int first) {
    bench_t *bench = runner->bench;
    size_t image = (size_t)bench->given.size * (size_t)bench->given.size;
    nn_sample_t samples[BATCH_MAX] = {{0}};
    float got[BATCH_MAX][2];
    err_t err = {0};
    for (int i = 0; i < runner->batch; i++) {
        samples[i] = (nn_sample_t){.pixels = bench->pixels + (size_t)((first + i) % POOL) * image,
                                   .probabilities = got[i]};
    }
    if (nn_predict_samples(runner->nn, runner->workspace, samples, runner->batch, &err)) {
        die(&err);
    }
    for (int i = 0; i < runner->batch; i++) {
        const float *expected = bench->expected[(first + i) % POOL];
        runner->failed = runner->failed || memcmp(got[i], expected, sizeof got[i]) != 0;
    }
}

static void *run(void *arg) {
    runner_t *runner = arg;
    runner->took_us = malloc(CALLS_MAX * sizeof *runner->took_us);
    for (int i = 0; i < WARM; i++) {
        predict(runner, i);
    }
    pthread_barrier_wait(runner->start);
    double begun = now_s(), end = begun + runner->bench->given.seconds;
    while (begun < end) {
        predict(runner, (int)(runner->images % POOL));
        double now = now_s();
        if (runner->took_us && runner->calls < CALLS_MAX) {
            runner->took_us[runner->calls++] = (float)((now - begun) * 1e6);
        }
        runner->images += runner->batch;
        begun = now;
    }
    runner->end_s = begun;
    return NULL;
}

static int by_size(const void *a, const void *b) {
    float one = *(const float *)a, two = *(const float *)b;
    return (one > two) - (one < two);
}

static outcome_t measure(bench_t *bench, const way_t *way) {
    static runner_t runners[THREADS_MAX];
    pthread_t threads[THREADS_MAX];
    pthread_barrier_t start;
    pthread_barrier_init(&start, NULL, (unsigned)way->parallel + 1);
    for (int i = 0; i < way->parallel; i++) {
        runner_open(bench, way, &runners[i]);
        runners[i].start = &start;
        if (pthread_create(&threads[i], NULL, run, &runners[i])) {
            fprintf(stderr, "no thread\n");
            exit(1);
        }
    }
    pthread_barrier_wait(&start);
    double begun = now_s(), last = begun, cpu_s = read_s(CLOCK_PROCESS_CPUTIME_ID);
    long images = 0;
    for (int i = 0; i < way->parallel; i++) {
        pthread_join(threads[i], NULL);
        images += runners[i].images;
        last = runners[i].end_s > last ? runners[i].end_s : last;
        if (runners[i].failed) {
            fprintf(stderr, "%s: other bits than an image alone\n", way->name);
            exit(1);
        }
    }
    cpu_s = read_s(CLOCK_PROCESS_CPUTIME_ID) - cpu_s;
    qsort(runners[0].took_us, (size_t)runners[0].calls, sizeof(float), by_size);
    outcome_t outcome = {.rate = (double)images / (last - begun),
                         .cpu_us = 1e6 * cpu_s / (double)images,
                         .p50_us = (double)runners[0].took_us[runners[0].calls / 2],
                         .p99_us = (double)runners[0].took_us[runners[0].calls * 99LL / 100]};
    for (int i = 0; i < way->parallel; i++) {
        runner_close(&runners[i]);
    }
    pthread_barrier_destroy(&start);
    return outcome;
}

// The pool's answers, each image alone.
static void expect(bench_t *bench) {
    runner_t runner;
    way_t way = {"alone", 1, 1, 1};
    runner_open(bench, &way, &runner);
    size_t image = (size_t)bench->given.size * (size_t)bench->given.size;
    err_t err = {0};
    for (int i = 0; i < POOL; i++) {
        nn_sample_t sample = {.pixels = bench->pixels + (size_t)i * image,
                              .probabilities = bench->expected[i]};
        if (nn_predict_samples(runner.nn, runner.workspace, &sample, 1, &err)) {
            die(&err);
        }
    }
    runner_close(&runner);
}

static void compare(bench_t *bench) {
    int threads = bench->given.threads;
    const way_t ways[] = {
        {"alone", 1, 1, 1},
        {"team", threads, 1, 1},
        {"team 16", threads, 16, 1},
        {"side by side", 1, 1, threads},
        {"side by side 2", 1, 2, threads},
        {"side by side 4", 1, 4, threads},
        {"side by side 8", 1, 8, threads},
        {"side by side 16", 1, 16, threads},
    };
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        outcome_t o = measure(bench, &ways[i]);
        if (bench->given.json) {
            printf("%s{\"way\": \"%s\", \"images_per_second\": %.1f, \"call_p50_us\": %.1f, "
                   "\"call_p99_us\": %.1f, \"cpu_us_per_image\": %.1f}",
                   i ? ", " : "", ways[i].name, o.rate, o.p50_us, o.p99_us, o.cpu_us);
        } else {
            printf("%-16s %9.1f images/s, %8.1f us of processor each; a call: p50 %9.1f us, "
                   "p99 %9.1f us\n",
                   ways[i].name, o.rate, o.cpu_us, o.p50_us, o.p99_us);
        }
    }
}

// What weights and a further thread take, and how long the model takes to its first answer.
static void weigh(bench_t *bench) {
    nn_spec_t spec;
    long before = rss_anon();
    double begun = now_s();
    make_model(bench, &spec);
    double built = now_s();
    expect(bench); // the weights are packed with the first sharing
    malloc_trim(0);
    long with = rss_anon();
    runner_t runner;
    runner_open(bench, &(way_t){"", 1, 8, 1}, &runner);
    runner.batch = 1;
    predict(&runner, 0);
    long one = rss_anon();
    runner.batch = 8;
    predict(&runner, 0);
    double parameters = 0;
    for (int i = 0; i < nn_tensor_count(bench->nn); i++) {
        parameters += (double)nn_tensors(bench->nn)[i].count;
    }
    if (bench->given.json) {
        printf("{\"choices\": \"%s\", \"parameters_kib\": %.0f, \"model_kib\": %ld, "
               "\"thread_kib\": %ld, \"thread_8_kib\": %ld, \"made_ms\": %.1f, \"ways\": [",
               nn_choices(bench->nn), parameters * 4 / 1024, with - before, one - with,
               rss_anon() - with, (built - begun) * 1e3);
    } else {
        printf("%s\n%.0f KiB of parameters: %ld KiB of memory, a thread %ld KiB more for one image "
               "at a time, %ld for eight\n",
               nn_choices(bench->nn), parameters * 4 / 1024, with - before, one - with,
               rss_anon() - with);
    }
    runner_close(&runner);
}

static given_t arguments(int argc, char **argv) {
    given_t given = {.width = 64, .size = 96, .seconds = 2};
    for (int i = 1; i < argc; i++) {
        bool value = i + 1 < argc;
        if (strcmp(argv[i], "--json") == 0) {
            given.json = true;
        } else if (value && strcmp(argv[i], "--width") == 0) {
            given.width = atoi(argv[++i]);
        } else if (value && strcmp(argv[i], "--size") == 0) {
            given.size = atoi(argv[++i]);
        } else if (value && strcmp(argv[i], "--threads") == 0) {
            given.threads = atoi(argv[++i]);
        } else if (value && strcmp(argv[i], "--seconds") == 0) {
            given.seconds = atof(argv[++i]);
        } else {
            fprintf(stderr, "engine [--width W] [--size S] [--threads N] [--seconds T] [--json]\n");
            exit(2);
        }
    }
    given.threads = given.threads > 0 ? given.threads : nn_cores();
    given.threads = given.threads < THREADS_MAX ? given.threads : THREADS_MAX;
    return given;
}

int main(int argc, char **argv) {
    nn_wait_passively(argv);
    bench_t *bench = mem_zero(1, sizeof *bench);
    bench->given = arguments(argc, argv);
    size_t bytes = (size_t)POOL * (size_t)bench->given.size * (size_t)bench->given.size;
    bench->pixels = malloc(bytes);
    if (!bench->pixels) {
        fprintf(stderr, "no memory for %zu bytes of pixels\n", bytes);
        return 1;
    }
    srand(1);
    for (size_t i = 0; i < bytes; i++) {
        bench->pixels[i] = (uint8_t)rand();
    }
    weigh(bench);
    compare(bench);
    if (bench->given.json) {
        printf("]}\n");
    }
    nn_destroy(&bench->nn);
    free(bench->pixels);
    free(bench);
    return 0;
}
