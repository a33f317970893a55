#include "gateway/workers.h"

#include "base/clock.h"
#include "gateway/engine.h"
#include "gateway/queue.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

#define THREADS_MAX 64

struct workers {
    mailbox_t *mailbox;
    prep_limits_t limits;
    pthread_mutex_t lock; // of the queues and of stop
    pthread_cond_t may_decode, may_compute;
    decode_queue_t decode;
    image_list_t compute;
    bool stop;
    pthread_t threads[THREADS_MAX + 1]; // the last started one computes
    int thread_count;
};

static void post(workers_t *workers, image_t *image, image_state_t state) {
    free(image->decoded);
    image->decoded = NULL;
    image->state = state;
    mailbox_post(workers->mailbox, &image->mail);
}

static void post_expired(workers_t *workers, image_list_t *expired) {
    for (image_t *image; (image = image_list_pop(expired)) != NULL;)
        post(workers, image, image_is_cancelled(image) ? IMAGE_CANCELLED : IMAGE_EXPIRED);
}

static void post_refused(workers_t *workers, image_t *image, const err_t *err) {
    image->err = mem_alloc(sizeof *image->err);
    *image->err = *err;
    post(workers, image, IMAGE_REFUSED);
}

// --- Decoding
// -------------------------------------------------------------------------------------

// False: it is a large one and has to wait for room.
static bool may_decode_now(workers_t *workers, image_t *image) {
    prep_info_t info;
    if (image->area || prep_probe(image->bytes, image->size, &info, NULL) != ERR_OK)
        return true; // its turn has come; or decoding will say what is wrong with it
    uint64_t area = (uint64_t)info.width * (uint64_t)info.height;
    if (area <= QUEUE_LARGE_PIXELS || area > workers->limits.pixels)
        return true;
    pthread_mutex_lock(&workers->lock);
    bool now = decode_queue_large(&workers->decode, image, area);
    pthread_mutex_unlock(&workers->lock);
    return now;
}

static err_code_t decode(const workers_t *workers, image_t *image, err_t *err) {
    const prep_recipe_t *recipe = engine_recipe(image->engine);
    prep_limits_t limits = workers->limits;
    if (image->deadline_ms) {
        int64_t left = image->deadline_ms - clock_mono_ms();
        limits.time_ms = left < 1 ? 1 : left < limits.time_ms ? (int)left : limits.time_ms;
    }
    image->pixels = image->decoded = malloc(prep_recipe_bytes(recipe));
    if (!image->decoded)
        return err_set(err, ERR_NO_MEMORY, "no memory for %zu bytes of pixels",
                       prep_recipe_bytes(recipe));
    return prep_image(image->bytes, image->size, recipe, &limits, image->decoded, err);
}

static void decoded(workers_t *workers, image_t *image, err_code_t code, const err_t *err) {
    bool late = image->deadline_ms && clock_mono_ms() >= image->deadline_ms;
    pthread_mutex_lock(&workers->lock);
    decode_queue_done(&workers->decode, image);
    if (workers->decode.large.first)
        pthread_cond_signal(&workers->may_decode);
    if (code == ERR_OK) {
        image->entered_us = clock_mono_us();
        image_list_push(&workers->compute, image);
        pthread_cond_signal(&workers->may_compute);
    }
    pthread_mutex_unlock(&workers->lock);
    if (code == ERR_TIMEOUT && late)
        post(workers, image, IMAGE_EXPIRED);
    else if (code)
        post_refused(workers, image, err);
}

static void decode_one(workers_t *workers, image_t *image) {
    err_t err;
    if (!may_decode_now(workers, image))
        return;
    int64_t begun_us = clock_mono_us();
    image->queue_us += begun_us - image->entered_us;
    err_code_t code = decode(workers, image, &err);
    image->decode_us = clock_mono_us() - begun_us;
    decoded(workers, image, code, &err);
}

static void *decode_thread(void *arg) {
    workers_t *workers = arg;
    pthread_mutex_lock(&workers->lock);
    while (!workers->stop) {
        image_list_t expired = {0};
        image_t *image = decode_queue_take(&workers->decode, clock_mono_ms(), &expired);
        if (!image && !expired.first) {
            pthread_cond_wait(&workers->may_decode, &workers->lock);
            continue;
        }
        pthread_mutex_unlock(&workers->lock);
        post_expired(workers, &expired);
        if (image)
            decode_one(workers, image);
        pthread_mutex_lock(&workers->lock);
    }
    pthread_mutex_unlock(&workers->lock);
    return NULL;
}

// --- Computing
// ------------------------------------------------------------------------------------

static void compute(workers_t *workers, image_t **batch, int count) {
    const uint8_t *pixels[ENGINE_BATCH_MAX];
    float *probabilities[ENGINE_BATCH_MAX];
    int labels[ENGINE_BATCH_MAX];
    err_t err;
    int64_t begun_us = clock_mono_us();
    for (int i = 0; i < count; i++) {
        pixels[i] = batch[i]->pixels;
        probabilities[i] = batch[i]->probabilities;
        batch[i]->queue_us += begun_us - batch[i]->entered_us;
    }
    // The engine's own buffers are this thread's: there is one that computes.
    engine_t *engine = (engine_t *)(uintptr_t)batch[0]->engine;
    err_code_t code = engine_classify(engine, pixels, count, probabilities, labels, &err);
    int64_t took_us = clock_mono_us() - begun_us;
    for (int i = 0; i < count; i++) {
        batch[i]->compute_us = took_us;
        if (code == ERR_OK && labels[i] >= 0) {
            batch[i]->label = labels[i];
            post(workers, batch[i], IMAGE_CLASSIFIED);
            continue;
        }
        if (code == ERR_OK)
            err_set(&err, ERR_CORRUPT, "the model's numbers overflow for this image");
        post_refused(workers, batch[i], &err);
    }
}

static void *compute_thread(void *arg) {
    workers_t *workers = arg;
    image_t *batch[ENGINE_BATCH_MAX];
    pthread_mutex_lock(&workers->lock);
    while (!workers->stop) {
        image_list_t expired = {0};
        size_t count = compute_queue_take(&workers->compute, clock_mono_ms(), ENGINE_BATCH_MAX,
                                          batch, &expired);
        if (count == 0 && !expired.first) {
            pthread_cond_wait(&workers->may_compute, &workers->lock);
            continue;
        }
        pthread_mutex_unlock(&workers->lock);
        post_expired(workers, &expired);
        if (count > 0)
            compute(workers, batch, (int)count);
        pthread_mutex_lock(&workers->lock);
    }
    pthread_mutex_unlock(&workers->lock);
    return NULL;
}

// --- From the loop
// --------------------------------------------------------------------------------

void workers_push(workers_t *workers, image_t *const *images, size_t count) {
    int64_t now_us = clock_mono_us();
    pthread_mutex_lock(&workers->lock);
    for (size_t i = 0; i < count; i++) {
        images[i]->entered_us = now_us;
        if (!images[i]->bytes) {
            image_list_push(&workers->compute, images[i]);
            pthread_cond_signal(&workers->may_compute);
        } else {
            image_list_push(&workers->decode.images, images[i]);
        }
    }
    if (count > 1)
        pthread_cond_broadcast(&workers->may_decode);
    else
        pthread_cond_signal(&workers->may_decode);
    pthread_mutex_unlock(&workers->lock);
}

workers_depth_t workers_depth(workers_t *workers) {
    pthread_mutex_lock(&workers->lock);
    workers_depth_t depth = {workers->decode.images.count + workers->decode.large.count,
                             workers->compute.count};
    pthread_mutex_unlock(&workers->lock);
    return depth;
}

// --- Life
// -----------------------------------------------------------------------------------------

static int core_count(void) {
    cpu_set_t set;
    int count = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
    return count > 0 ? count : 1;
}

static err_code_t start_thread(workers_t *workers, void *(*run)(void *), const char *name,
                               err_t *err) {
    pthread_t *thread = &workers->threads[workers->thread_count];
    int failed = pthread_create(thread, NULL, run, workers);
    if (failed)
        return err_set(err, ERR_NO_MEMORY, "cannot start a thread (error %d)", failed);
    pthread_setname_np(*thread, name);
    workers->thread_count++;
    return ERR_OK;
}

err_code_t workers_new(mailbox_t *mailbox, int threads, const prep_limits_t *limits,
                       workers_t **out, err_t *err) {
    threads = threads > 0 ? threads : core_count();
    threads = threads < THREADS_MAX ? threads : THREADS_MAX;
    workers_t *workers = mem_zero(1, sizeof *workers);
    workers->mailbox = mailbox;
    workers->limits = *limits;
    pthread_mutex_init(&workers->lock, NULL);
    pthread_cond_init(&workers->may_decode, NULL);
    pthread_cond_init(&workers->may_compute, NULL);
    err_code_t code = ERR_OK;
    for (int i = 0; i < threads && code == ERR_OK; i++)
        code = start_thread(workers, decode_thread, "decode", err);
    if (code == ERR_OK)
        code = start_thread(workers, compute_thread, "compute", err);
    if (code)
        workers_destroy(&workers);
    *out = workers;
    return code;
}

void workers_destroy(workers_t **self) {
    workers_t *workers = *self;
    if (!workers)
        return;
    pthread_mutex_lock(&workers->lock);
    workers->stop = true;
    pthread_cond_broadcast(&workers->may_decode);
    pthread_cond_broadcast(&workers->may_compute);
    pthread_mutex_unlock(&workers->lock);
    for (int i = 0; i < workers->thread_count; i++)
        pthread_join(workers->threads[i], NULL);
    post_expired(workers, &workers->decode.images);
    post_expired(workers, &workers->decode.large);
    post_expired(workers, &workers->compute);
    pthread_cond_destroy(&workers->may_decode);
    pthread_cond_destroy(&workers->may_compute);
    pthread_mutex_destroy(&workers->lock);
    free(workers);
    *self = NULL;
}
