// Does the engine learn? The paper's network on synthetic heads, 96×96 grey: half of them drawn as
// photos, half as comics; images that it has not seen decide.
//
//   learn BACKEND PRECISION IMAGES EPOCHS [SIZE WIDTH]
// One line of JSON: accuracy, loss, epochs, images, seconds of training alone. Status 0 if the
// accuracy is 0.98 or more.
#include "nn/nn.h"
#include "synth/synth.h"

#include "base/philox.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { TEST_IMAGES = 1000, BATCH = 32, ESTIMATED = 512, THREADS = 16 };
static const double accuracy_least = 0.98;

typedef struct {
    int size, train, count; // the first `train` images are trained with
    uint8_t *pixels;
    int32_t *labels;
    uint32_t *order;
} set_t;

typedef struct {
    const set_t *set;
    int from;
} draw_t;

static double now_s(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

// Every THREADS-th image. A head of its own each; even ones are photos.
static void *draw_some(void *arg) {
    const draw_t *draw = arg;
    const set_t *set = draw->set;
    size_t area = (size_t)set->size * (size_t)set->size;
    uint8_t *rgb = malloc(3 * area);
    for (int n = draw->from; n < set->count && rgb; n += THREADS) {
        synth_draw(7, (uint32_t)n, n % 2 ? SYNTH_COMIC : SYNTH_PHOTO, set->size, set->size, rgb);
        for (size_t i = 0; i < area; i++) {
            unsigned grey = 299u * rgb[3 * i] + 587u * rgb[3 * i + 1] + 114u * rgb[3 * i + 2];
            set->pixels[(size_t)n * area + i] = (uint8_t)(grey / 1000);
        }
        set->labels[n] = n % 2;
    }
    free(rgb);
    return NULL;
}

static bool draw_all(set_t *set) {
    size_t area = (size_t)set->size * (size_t)set->size;
    set->pixels = malloc((size_t)set->count * area);
    set->labels = calloc((size_t)set->count, sizeof *set->labels);
    set->order = calloc((size_t)set->train, sizeof *set->order);
    if (!set->pixels || !set->labels || !set->order) {
        return false;
    }
    pthread_t threads[THREADS];
    draw_t draws[THREADS];
    int started = 0;
    for (; started < THREADS; started++) {
        draws[started] = (draw_t){set, started};
        if (pthread_create(&threads[started], NULL, draw_some, &draws[started])) {
            break;
        }
    }
    for (int i = 0; i < started; i++) {
        pthread_join(threads[i], NULL);
    }
    return started == THREADS;
}

static void shuffle(const set_t *set, int epoch) {
    for (int i = 0; i < set->train; i++) {
        set->order[i] = (uint32_t)i;
    }
    for (int i = set->train - 1; i > 0; i--) {
        philox_t random = philox(11, (uint32_t)i, (uint32_t)epoch, 0, 0);
        uint32_t j = philox_below(random.v[0], (uint32_t)i + 1), kept = set->order[i];
        set->order[i] = set->order[j];
        set->order[j] = kept;
    }
}

static err_code_t run_epoch(nn_t *nn, const set_t *set, int epoch, double *loss, err_t *err) {
    const nn_adam_t adam = {.lr = 1e-4f, .beta1 = 0.9f, .beta2 = 0.999f, .epsilon = 1e-7f};
    size_t area = (size_t)set->size * (size_t)set->size;
    uint8_t *pixels = malloc(BATCH * area);
    int32_t labels[BATCH];
    int steps = set->train / BATCH;
    err_code_t code = pixels ? ERR_OK : err_set(err, ERR_NO_MEMORY, "no memory for a batch");
    shuffle(set, epoch);
    *loss = 0;
    for (int i = 0; i < steps && !code; i++) {
        for (int n = 0; n < BATCH; n++) {
            uint32_t at = set->order[i * BATCH + n];
            memcpy(pixels + (size_t)n * area, set->pixels + at * area, area);
            labels[n] = set->labels[at];
        }
        nn_batch_t batch = {
            .pixels = pixels, .labels = labels, .count = BATCH, .batch_total = BATCH};
        nn_result_t result;
        uint64_t step = (uint64_t)epoch * (uint64_t)steps + (uint64_t)i;
        code = nn_step(nn, &batch, step, &adam, NULL, &result, err);
        *loss += result.loss / (steps * BATCH);
    }
    free(pixels);
    return code;
}

static err_code_t judge(nn_t *nn, const set_t *set, double *accuracy, err_t *err) {
    size_t area = (size_t)set->size * (size_t)set->size;
    int estimated = set->train < ESTIMATED ? set->train : ESTIMATED, right = 0;
    err_code_t code = nn_bn_estimate(nn, set->pixels, estimated, NULL, err);
    for (int n = set->train; n < set->count && !code; n += BATCH) {
        int now = set->count - n < BATCH ? set->count - n : BATCH;
        float probabilities[2 * BATCH];
        code = nn_predict(nn, set->pixels + (size_t)n * area, now, probabilities, err);
        for (int i = 0; i < now && !code; i++) {
            right += (probabilities[2 * i + 1] > 0.5f) == (set->labels[n + i] == 1);
        }
    }
    *accuracy = (double)right / (set->count - set->train);
    return code;
}

static err_code_t learn(const nn_options_t *options, const nn_vgg_t *vgg, const set_t *set,
                        int epochs, double *accuracy, err_t *err) {
    nn_spec_t spec;
    nn_t *nn = NULL;
    double loss = 0, seconds = 0;
    err_code_t code = nn_spec_vgg(vgg, &spec, err);
    if (!code) {
        code = nn_new(&spec, options, &nn, err);
    }
    if (!code) {
        code = nn_init(nn, 3, err);
    }
    for (int epoch = 0; epoch < epochs && !code; epoch++) {
        double start = now_s();
        code = run_epoch(nn, set, epoch, &loss, err);
        seconds += now_s() - start;
    }
    if (!code) {
        code = judge(nn, set, accuracy, err);
    }
    if (!code) {
        printf("{\"choices\": \"%s\", \"accuracy\": %.4f, \"loss\": %.4f, \"epochs\": %d, "
               "\"images\": %d, \"seconds\": %.3f}\n",
               nn_choices(nn), *accuracy, loss, epochs, set->train, seconds);
    }
    nn_destroy(&nn);
    return code;
}

int main(int argc, char **argv) {
    nn_wait_passively(argv);
    if (argc != 5 && argc != 7) {
        fprintf(stderr, "usage: learn BACKEND PRECISION IMAGES EPOCHS [SIZE WIDTH]\n");
        return 2;
    }
    int size = argc == 7 ? atoi(argv[5]) : 96, width = argc == 7 ? atoi(argv[6]) : 64;
    set_t set = {.size = size, .train = atoi(argv[3]), .count = atoi(argv[3]) + TEST_IMAGES};
    nn_options_t options = {.backend = argv[1],
                            .precision = argv[2],
                            .max_batch = BATCH,
                            .training = true,
                            .seed = 5,
                            .mean = {127.5f}};
    nn_vgg_t vgg = {size, size, 1, 2, width, 4, 4 * width, 0.2f};
    double accuracy = 0;
    err_t err = {0};
    err_code_t code = ERR_OK;
    if (set.train < BATCH || size < SYNTH_SIDE_MIN || !draw_all(&set)) {
        code =
            err_set(&err, ERR_INVALID, "%d images of %d pixels cannot be drawn", set.train, size);
    } else {
        code = learn(&options, &vgg, &set, atoi(argv[4]), &accuracy, &err);
    }
    if (code) {
        fprintf(stderr, "learn: %s\n%s\n", err.message, err.remedy);
    }
    free(set.pixels);
    free(set.labels);
    free(set.order);
    return code ? 1 : accuracy < accuracy_least ? 3 : 0;
}
