#include "gateway/workers.h"

#include "base/clock.h"
#include "gateway/engine.h"
#include "gateway/queue.h"

#include <pthread.h>
#include <stdlib.h>

typedef struct {
    workers_t *workers;
    int index;
    pthread_cond_t wake;
    bool idle; // waits; whoever wakes it clears this, so that two are not woken as one
    nn_workspace_t *workspace;
} lane_t;

struct workers {
    mailbox_t *mailbox;
    prep_limits_t limits;
    pthread_mutex_t lock; // of all below, but for a lane's workspace
    pthread_cond_t may_decode;
    decode_queue_t decode;
    compute_queue_t compute;
    size_t decoding, computing; // images being decoded; cores that compute
    bool stop;
    size_t lane_count;
    lane_t lanes[ENGINE_LANES_MAX];
    pthread_t threads[2 * ENGINE_LANES_MAX];
    int thread_count;
};

// --- Back to the loop
// ---------------------------------------------------------------------------------

static void settle(image_t *image, image_state_t state) {
    free(image->decoded);
    image->decoded = NULL;
    image->pixels = image->input = NULL;
    image->state = state;
}

static void post(workers_t *workers, image_t *image, image_state_t state) {
    settle(image, state);
    mailbox_post(workers->mailbox, &image->mail);
}

static void post_expired(workers_t *workers, image_list_t *expired) {
    for (image_t *image; (image = image_list_pop(expired)) != NULL;)
        post(workers, image, image_is_cancelled(image) ? IMAGE_CANCELLED : IMAGE_EXPIRED);
}

static void give_reason(image_t *image, const err_t *err) {
    image->err = mem_alloc(sizeof *image->err);
    *image->err = *err;
}

// --- Waking
// -------------------------------------------------------------------------------------------

// Who is to be woken, chosen while the lock is held and woken when it is free: a thread that is
// woken before runs into the lock and has to wait again.
typedef struct {
    lane_t *lanes[ENGINE_LANES_MAX];
    size_t lane_count;
    bool decoder;
} wakes_t;

// The first idle one: the fewer threads take turns, the warmer their caches.
static void wake_lane(workers_t *workers, wakes_t *wakes) {
    for (size_t i = 0; i < workers->lane_count; i++) {
        lane_t *lane = &workers->lanes[i];
        if (lane->idle) {
            lane->idle = false;
            wakes->lanes[wakes->lane_count++] = lane;
            return;
        }
    }
}

static bool may_decode(const workers_t *workers) {
    return decode_may_start(workers->lane_count, workers->computing, workers->decoding);
}

static bool decoder_wanted(const workers_t *workers) {
    return may_decode(workers) && (workers->decode.images.count > 0 || workers->decode.large.first);
}

static void unlock(workers_t *workers, const wakes_t *wakes) {
    pthread_mutex_unlock(&workers->lock);
    for (size_t i = 0; i < wakes->lane_count; i++)
        pthread_cond_signal(&wakes->lanes[i]->wake);
    if (wakes->decoder)
        pthread_cond_signal(&workers->may_decode);
}

// --- Decoding
// -------------------------------------------------------------------------------------

// False: it is a large one and has to wait for room.
static bool has_room(workers_t *workers, image_t *image) {
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
    wakes_t wakes = {.lane_count = 0};
    pthread_mutex_lock(&workers->lock);
    decode_queue_done(&workers->decode, image);
    if (code == ERR_OK) {
        image->entered_us = clock_mono_us();
        compute_queue_push(&workers->compute, image);
        wake_lane(workers, &wakes);
    }
    unlock(workers, &wakes);
    if (code == ERR_TIMEOUT && late) {
        post(workers, image, IMAGE_EXPIRED);
    } else if (code) {
        give_reason(image, err);
        post(workers, image, IMAGE_REFUSED);
    }
}

static void decode_one(workers_t *workers, image_t *image) {
    err_t err;
    if (!has_room(workers, image))
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
        image_t *image = NULL;
        if (may_decode(workers))
            image = decode_queue_take(&workers->decode, clock_mono_us(), &expired);
        if (!image && !expired.first) {
            pthread_cond_wait(&workers->may_decode, &workers->lock);
            continue;
        }
        wakes_t wakes = {.lane_count = 0};
        workers->decoding += image != NULL;
        wakes.decoder = decoder_wanted(workers); // for what is left
        unlock(workers, &wakes);
        post_expired(workers, &expired);
        if (image)
            decode_one(workers, image);
        pthread_mutex_lock(&workers->lock);
        workers->decoding -= image != NULL;
    }
    pthread_mutex_unlock(&workers->lock);
    return NULL;
}

// --- Computing
// ------------------------------------------------------------------------------------

static void compute(lane_t *lane, int place, image_t **batch, int count) {
    static const char overflow[] = "the model's numbers overflow for this image";
    mail_t *mail[ENGINE_BATCH_MAX];
    err_t err;
    int64_t begun_us = clock_mono_us();
    engine_t *engine = (engine_t *)(uintptr_t)batch[0]->engine;
    err_code_t code = engine_classify(engine, place, lane->workspace, batch, count, &err);
    int64_t took_us = clock_mono_us() - begun_us;
    for (int i = 0; i < count; i++) {
        image_t *image = batch[i];
        image->queue_us += begun_us - image->entered_us;
        image->compute_us = took_us;
        image->computed_us = begun_us + took_us;
        image->batch = count;
        bool fine = code == ERR_OK && image->label >= 0;
        if (code == ERR_OK && !fine)
            err_set(&err, ERR_CORRUPT, "%s", overflow);
        if (!fine)
            give_reason(image, &err);
        settle(image, fine ? IMAGE_CLASSIFIED : IMAGE_REFUSED);
        mail[i] = &image->mail;
    }
    mailbox_post_many(lane->workers->mailbox, mail, (size_t)count);
}

// A lone image, and nothing else to do: all cores for it. Only by the first lane, as the team's
// threads are this thread's helpers.
static bool is_alone(const workers_t *workers, const lane_t *lane, const image_t *image) {
    return lane->index == 0 && workers->compute.count == 0 && workers->computing == 0 &&
           workers->decoding == 0 && engine_has_team(image->engine);
}

static void wait_for_work(lane_t *lane, int64_t until_us) {
    struct timespec until = {until_us / 1000000, until_us % 1000000 * 1000};
    int code = 0;
    lane->idle = true;
    while (lane->idle && !lane->workers->stop && code == 0)
        code = until_us == INT64_MAX
                   ? pthread_cond_wait(&lane->wake, &lane->workers->lock)
                   : pthread_cond_timedwait(&lane->wake, &lane->workers->lock, &until);
    lane->idle = false;
}

static void *compute_thread(void *arg) {
    lane_t *lane = arg;
    workers_t *workers = lane->workers;
    image_t *batch[ENGINE_BATCH_MAX];
    pthread_mutex_lock(&workers->lock);
    while (!workers->stop) {
        image_list_t expired = {0};
        int64_t until_us;
        size_t count =
            compute_queue_take(&workers->compute, clock_mono_us(), batch, &expired, &until_us);
        if (count == 0 && !expired.first) {
            wait_for_work(lane, until_us);
            continue;
        }
        bool team = count == 1 && is_alone(workers, lane, batch[0]);
        size_t cores = count == 0 ? 0 : team ? workers->lane_count : 1;
        wakes_t wakes = {.lane_count = 0};
        workers->computing += cores;
        if (workers->compute.count > 0)
            wake_lane(workers, &wakes);
        unlock(workers, &wakes);
        post_expired(workers, &expired);
        if (count > 0)
            compute(lane, team ? ENGINE_TEAM : lane->index, batch, (int)count);
        pthread_mutex_lock(&workers->lock);
        workers->computing -= cores;
        if (workers->compute.count == 0 && decoder_wanted(workers))
            pthread_cond_signal(&workers->may_decode);
    }
    pthread_mutex_unlock(&workers->lock);
    return NULL;
}

// --- From the loop
// --------------------------------------------------------------------------------

void workers_push(workers_t *workers, image_t *const *images, size_t count) {
    int64_t now_us = clock_mono_us();
    wakes_t wakes = {.lane_count = 0};
    pthread_mutex_lock(&workers->lock);
    for (size_t i = 0; i < count; i++) {
        images[i]->entered_us = now_us;
        if (images[i]->bytes) {
            image_line_push(&workers->decode.images, images[i]);
            continue;
        }
        compute_queue_push(&workers->compute, images[i]);
        if (i < workers->lane_count)
            wake_lane(workers, &wakes);
    }
    wakes.decoder = decoder_wanted(workers);
    unlock(workers, &wakes);
}

size_t workers_lanes(const workers_t *workers) {
    return workers->lane_count;
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

static err_code_t start_thread(workers_t *workers, void *(*run)(void *), void *arg,
                               const char *name, err_t *err) {
    pthread_t *thread = &workers->threads[workers->thread_count];
    int failed = pthread_create(thread, NULL, run, arg);
    if (failed)
        return err_set(err, ERR_NO_MEMORY, "cannot start a thread (error %d)", failed);
    pthread_setname_np(*thread, name);
    workers->thread_count++;
    return ERR_OK;
}

static void init(workers_t *workers, const workers_options_t *options) {
    pthread_condattr_t clock;
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    workers->limits = options->limits;
    workers->lane_count = (size_t)engine_lanes(options->threads);
    workers->compute = (compute_queue_t){.batch_max = engine_batch_max,
                                         .delay_us = options->batch_delay_us,
                                         .lanes = workers->lane_count};
    pthread_mutex_init(&workers->lock, NULL);
    pthread_cond_init(&workers->may_decode, NULL);
    for (size_t i = 0; i < workers->lane_count; i++) {
        lane_t *lane = &workers->lanes[i];
        lane->workers = workers;
        lane->index = (int)i;
        pthread_cond_init(&lane->wake, &clock);
    }
    pthread_condattr_destroy(&clock);
}

err_code_t workers_new(mailbox_t *mailbox, const workers_options_t *options, workers_t **out,
                       err_t *err) {
    workers_t *workers = mem_zero(1, sizeof *workers);
    workers->mailbox = mailbox;
    init(workers, options);
    err_code_t code = ERR_OK;
    for (size_t i = 0; i < workers->lane_count && code == ERR_OK; i++) {
        lane_t *lane = &workers->lanes[i];
        code = nn_workspace_new(&lane->workspace, err);
        if (code == ERR_OK)
            code = start_thread(workers, compute_thread, lane, "compute", err);
        if (code == ERR_OK)
            code = start_thread(workers, decode_thread, workers, "decode", err);
    }
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
    for (size_t i = 0; i < workers->lane_count; i++)
        pthread_cond_signal(&workers->lanes[i].wake);
    pthread_mutex_unlock(&workers->lock);
    for (int i = 0; i < workers->thread_count; i++)
        pthread_join(workers->threads[i], NULL);
    image_list_t left = workers->decode.large;
    for (int p = 0; p < QUEUE_PRIORITIES; p++)
        post_expired(workers, &workers->decode.images.priorities[p]);
    compute_queue_empty(&workers->compute, &left);
    post_expired(workers, &left);
    for (size_t i = 0; i < workers->lane_count; i++) {
        nn_workspace_destroy(&workers->lanes[i].workspace);
        pthread_cond_destroy(&workers->lanes[i].wake);
    }
    pthread_cond_destroy(&workers->may_decode);
    pthread_mutex_destroy(&workers->lock);
    free(workers);
    *self = NULL;
}
