// Does every image that is pushed come back, once, as what it is: with the bits that it has alone,
// whatever it is computed beside and in whatever form it came; expired, cancelled or refused if
// that is so; and in order where there is but one lane?
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/philox.h"
#include "gateway/engine.h"
#include "gateway/workers.h"
#include "model/model.h"
#include "prep/prep.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ENGINES = 3, IMAGES = 600, KINDS = 10, SIDE = 24, CLASSES = 3 };
#define PATIENCE_MS 60000

typedef struct {
    bus_loop_t *loop;
    mailbox_t *mailbox;
    workers_t *workers;
    int back;
    int order[IMAGES];
} scene_t;

typedef struct {
    image_t image;
    scene_t *scene;
    int number, times_back;
    float row[CLASSES];
} entry_t;

static char folder[64];
static engine_t *engines[ENGINES];
static uint8_t pixels[KINDS][SIDE * SIDE];
static float inputs[KINDS][SIDE * SIDE];
static char *files[KINDS]; // PNG of the very size: decoding gives pixels
static size_t file_sizes[KINDS];
static float expected[ENGINES][KINDS][CLASSES];

// --- Models and images

// The second has a team: it is large enough for that.
static nn_vgg_t shape_of(int which) {
    return (nn_vgg_t){SIDE, SIDE, 1, CLASSES, which == 1 ? 96 : 8, 2, 32, 0.2f};
}

static void write_model(int which, const char *path) {
    model_info_t info = {.name = mem_dup("m"), .class_count = CLASSES};
    nn_vgg_t shape = shape_of(which);
    nn_options_t options = {
        .backend = "auto", .precision = "auto", .threads = 1, .max_batch = 1, .mean = {100}};
    float *data[NN_TENSORS_MAX];
    char digest[DIGEST_HEX_SIZE];
    nn_t *nn;
    err_t err;
    assert_int_equal(nn_spec_vgg(&shape, &info.spec, &err), ERR_OK);
    assert_int_equal(nn_new(&info.spec, &options, &nn, &err), ERR_OK);
    assert_int_equal(nn_init(nn, 20 + (uint64_t)which, &err), ERR_OK);
    int count = nn_tensor_count(nn);
    for (int i = 0; i < count; i++) {
        data[i] = mem_alloc((size_t)nn_tensors(nn)[i].count * sizeof *data[i]);
        assert_int_equal(nn_get(nn, NN_PARAM, i, data[i], &err), ERR_OK);
    }
    info.recipe = PREP_RECIPE_DEFAULT;
    info.recipe.size = SIDE;
    info.recipe.channels = 1;
    info.recipe.mean_subtract = true;
    info.recipe.mean[0] = 100;
    info.classes = mem_zero(CLASSES, sizeof *info.classes);
    for (int i = 0; i < CLASSES; i++)
        info.classes[i] = mem_format("class %d", i);
    if (fs_mkdirs(path, &err) ||
        model_write(path, &info, (const float *const *)data, NULL, digest, &err))
        fail_msg("%s", err.message);
    for (int i = 0; i < KINDS; i++)
        assert_int_equal(nn_predict(nn, pixels[i], 1, expected[which][i], &err), ERR_OK);
    for (int i = 0; i < count; i++)
        free(data[i]);
    nn_destroy(&nn);
    model_info_release(&info);
}

static void make_images(void) {
    for (uint32_t k = 0; k < KINDS; k++) {
        for (uint32_t i = 0; i < SIDE * SIDE; i++) {
            pixels[k][i] = (uint8_t)philox(3, i, k, 0, 0).v[0];
            inputs[k][i] = (float)((pixels[k][i] - 100.0) / 255);
        }
        char *path = mem_format("%s/%u.png", folder, k);
        void *text = NULL;
        err_t err;
        if (prep_write_png(path, pixels[k], SIDE, SIDE, 1, &err) ||
            fs_read(path, 1 << 20, &text, &file_sizes[k], &err))
            fail_msg("%s", err.message);
        files[k] = text;
        free(path);
    }
}

static int open_all(void **state) {
    (void)state;
    strcpy(folder, "/tmp/inkling-workers-XXXXXX");
    assert_non_null(mkdtemp(folder));
    assert_int_equal(prep_init(NULL), ERR_OK);
    make_images();
    for (int which = 0; which < ENGINES; which++) {
        err_t err;
        char *path = mem_format("%s/%d", folder, which);
        write_model(which, path);
        if (engine_open(path, "", 3, &engines[which], &err) || engine_build(engines[which], &err) ||
            engine_warm(engines[which], &err))
            fail_msg("%s", err.message);
        free(path);
    }
    return 0;
}

static int close_all(void **state) {
    (void)state;
    for (int i = 0; i < ENGINES; i++)
        engine_destroy(&engines[i]);
    for (int i = 0; i < KINDS; i++)
        free(files[i]);
    prep_shutdown();
    return fs_remove_all(folder, NULL);
}

// --- A loop with workers

static void on_back(void *arg) {
    entry_t *entry = arg;
    entry->scene->order[entry->scene->back++] = entry->number;
    entry->times_back++;
}

static void open_scene(scene_t *scene, int threads, int64_t delay_us) {
    err_t err;
    workers_options_t options = {
        .threads = threads, .batch_delay_us = delay_us, .limits = {1 << 20, 1 << 20, PATIENCE_MS}};
    *scene = (scene_t){.loop = bus_loop_new()};
    assert_int_equal(mailbox_new(scene->loop, &scene->mailbox, &err), ERR_OK);
    assert_int_equal(workers_new(scene->mailbox, &options, &scene->workers, &err), ERR_OK);
}

static void close_scene(scene_t *scene) {
    workers_destroy(&scene->workers);
    mailbox_destroy(&scene->mailbox);
    bus_loop_destroy(&scene->loop);
}

typedef struct {
    scene_t *scene;
    int back;
    int64_t end_ms;
} wait_t;

static void look(void *arg) {
    wait_t *wait = arg;
    if (wait->scene->back >= wait->back || clock_mono_ms() > wait->end_ms)
        bus_loop_stop(wait->scene->loop);
}

static void await(scene_t *scene, int back) {
    wait_t wait = {scene, back, clock_mono_ms() + PATIENCE_MS};
    int timer = bus_loop_timer(scene->loop, 0, 1, look, &wait);
    bus_loop_run(scene->loop);
    bus_loop_timer_cancel(scene->loop, timer);
    assert_int_equal(scene->back, back);
}

static entry_t *entries_new(scene_t *scene, int count) {
    entry_t *entries = mem_zero((size_t)count, sizeof *entries);
    for (int i = 0; i < count; i++) {
        entries[i].scene = scene;
        entries[i].number = i;
        entries[i].image = (image_t){.mail = {.read = on_back, .arg = &entries[i]},
                                     .engine = engines[0],
                                     .pixels = pixels[i % KINDS],
                                     .probabilities = entries[i].row};
    }
    return entries;
}

static void push(scene_t *scene, entry_t *entries, int count) {
    image_t *images[IMAGES];
    for (int i = 0; i < count; i++)
        images[i] = &entries[i].image;
    workers_push(scene->workers, images, (size_t)count);
}

static void assert_right(const entry_t *entry, int engine, int kind) {
    assert_int_equal(entry->times_back, 1);
    assert_int_equal(entry->image.state, IMAGE_CLASSIFIED);
    const float *row = expected[engine][kind];
    assert_memory_equal(entry->row, row, sizeof entry->row);
    int best = row[1] > row[0] ? 1 : 0;
    assert_int_equal(entry->image.label, row[2] > row[best] ? 2 : best);
    assert_null(entry->image.decoded);
}

// --- Tests

static void images_come_back_with_their_own_bits(void **state) {
    (void)state;
    static const int64_t delays_us[] = {0, 2000};
    for (int threads = 1; threads <= 3; threads++) {
        scene_t scene;
        open_scene(&scene, threads, delays_us[threads % 2]);
        entry_t *entries = entries_new(&scene, IMAGES);
        int done = 0;
        for (uint32_t step = 0; done < IMAGES; step++) {
            philox_t random = philox(9, step, (uint32_t)threads, 0, 0);
            int count = 1 + (int)philox_below(random.v[0], 20);
            count = count < IMAGES - done ? count : IMAGES - done;
            for (int i = done; i < done + count; i++) {
                image_t *image = &entries[i].image;
                image->engine = engines[i % ENGINES];
                image->priority = (uint8_t)(i % 4);
                if (i % 7 == 3) {
                    image->pixels = NULL;
                    image->input = inputs[i % KINDS];
                } else if (i % 7 == 5) {
                    image->pixels = NULL;
                    image->bytes = files[i % KINDS];
                    image->size = file_sizes[i % KINDS];
                }
            }
            push(&scene, entries + done, count);
            done += count;
            if (random.v[1] % 8 == 0)
                await(&scene, done); // then the next one is alone
        }
        await(&scene, IMAGES);
        for (int i = 0; i < IMAGES; i++)
            assert_right(&entries[i], i % ENGINES, i % KINDS);
        workers_depth_t depth = workers_depth(scene.workers);
        assert_int_equal(depth.to_decode + depth.to_compute, 0);
        close_scene(&scene);
        free(entries);
    }
}

// A lone image of the large model is a team's, and has the same bits.
static void a_lone_image_has_its_bits(void **state) {
    (void)state;
    scene_t scene;
    open_scene(&scene, 3, 0);
    assert_true(engine_has_team(engines[1]) && !engine_has_team(engines[0]));
    entry_t *entries = entries_new(&scene, KINDS);
    for (int i = 0; i < KINDS; i++) {
        entries[i].image.engine = engines[1];
        push(&scene, &entries[i], 1);
        await(&scene, i + 1);
        assert_right(&entries[i], 1, i);
    }
    close_scene(&scene);
    free(entries);
}

static void what_is_not_wanted_is_not_computed(void **state) {
    (void)state;
    scene_t scene;
    atomic_bool cancelled = true, wanted = false;
    open_scene(&scene, 2, 0);
    entry_t *entries = entries_new(&scene, 6);
    entries[0].image.deadline_ms = 1;
    entries[1].image.cancelled = &cancelled;
    entries[2].image.cancelled = &wanted;
    for (int i = 3; i < 6; i++) { // to be decoded
        entries[i].image.pixels = NULL;
        entries[i].image.bytes = i == 5 ? "no image" : files[i];
        entries[i].image.size = i == 5 ? 8 : file_sizes[i];
    }
    entries[3].image.deadline_ms = 1;
    entries[4].image.cancelled = &cancelled;
    push(&scene, entries, 6);
    await(&scene, 6);
    assert_int_equal(entries[0].image.state, IMAGE_EXPIRED);
    assert_int_equal(entries[1].image.state, IMAGE_CANCELLED);
    assert_right(&entries[2], 0, 2);
    assert_int_equal(entries[3].image.state, IMAGE_EXPIRED);
    assert_int_equal(entries[4].image.state, IMAGE_CANCELLED);
    assert_int_equal(entries[5].image.state, IMAGE_REFUSED);
    assert_non_null(entries[5].image.err);
    free(entries[5].image.err);
    close_scene(&scene);
    free(entries);
}

// One lane, a line that builds up behind a slow image: the rest by priority, equals in their order.
static void one_lane_keeps_the_order(void **state) {
    (void)state;
    scene_t scene;
    open_scene(&scene, 1, 0);
    entry_t *entries = entries_new(&scene, 1 + 3 * 40);
    entries[0].image.engine = engines[1];
    for (int i = 1; i <= 3 * 40; i++)
        entries[i].image.priority = (uint8_t)(1 + i % 3);
    push(&scene, entries, 1 + 3 * 40); // under one lock: all wait before the lane looks
    await(&scene, 1 + 3 * 40);
    int last[4] = {-1, -1, -1, -1}, seen[4] = {0};
    for (int i = 0; i < scene.back; i++) {
        const entry_t *entry = &entries[scene.order[i]];
        int priority = entry->number == 0 ? 0 : entry->image.priority;
        assert_true(entry->number > last[priority]);
        last[priority] = entry->number;
        seen[priority]++;
        assert_true(priority < 2 || seen[1] == 40);
        assert_true(priority < 3 || seen[2] == 40);
    }
    close_scene(&scene);
    free(entries);
}

// What has not begun when they end comes back as expired, nothing is lost.
static void the_end_loses_nothing(void **state) {
    (void)state;
    scene_t scene;
    open_scene(&scene, 2, 0);
    entry_t *entries = entries_new(&scene, IMAGES);
    for (int i = 0; i < IMAGES; i++) {
        entries[i].image.engine = engines[1];
        if (i % 3 == 0) {
            entries[i].image.pixels = NULL;
            entries[i].image.bytes = files[i % KINDS];
            entries[i].image.size = file_sizes[i % KINDS];
        }
    }
    push(&scene, entries, IMAGES);
    close_scene(&scene);
    assert_int_equal(scene.back, IMAGES);
    for (int i = 0; i < IMAGES; i++) {
        assert_int_equal(entries[i].times_back, 1);
        if (entries[i].image.state != IMAGE_EXPIRED)
            assert_right(&entries[i], 1, i % KINDS);
    }
    assert_int_equal(entries[IMAGES - 1].image.state, IMAGE_EXPIRED);
    free(entries);
}

static void overflow_refuses_its_image_alone(void **state) {
    (void)state;
    static float huge[SIDE * SIDE];
    image_t images[3], *batch[3];
    float rows[3][CLASSES];
    nn_workspace_t *workspace;
    err_t err;
    for (int i = 0; i < SIDE * SIDE; i++)
        huge[i] = i % 2 ? FLT_MAX : -FLT_MAX;
    assert_int_equal(nn_workspace_new(&workspace, &err), ERR_OK);
    for (int i = 0; i < 3; i++) {
        images[i] = (image_t){.pixels = i == 1 ? NULL : pixels[i],
                              .input = i == 1 ? huge : NULL,
                              .probabilities = rows[i]};
        batch[i] = &images[i];
    }
    assert_int_equal(engine_classify(engines[0], 1, workspace, batch, 3, &err), ERR_OK);
    assert_memory_equal(rows[0], expected[0][0], sizeof rows[0]);
    assert_memory_equal(rows[2], expected[0][2], sizeof rows[2]);
    assert_true(images[0].label >= 0 && images[2].label >= 0);
    bool sound = true;
    for (int k = 0; k < CLASSES; k++)
        sound = sound && isfinite(rows[1][k]);
    assert_true(sound == (images[1].label >= 0));
    nn_workspace_destroy(&workspace);
}

int main(int argc, char **argv) {
    (void)argc;
    nn_wait_passively(argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(images_come_back_with_their_own_bits),
        cmocka_unit_test(a_lone_image_has_its_bits),
        cmocka_unit_test(what_is_not_wanted_is_not_computed),
        cmocka_unit_test(one_lane_keeps_the_order),
        cmocka_unit_test(the_end_loses_nothing),
        cmocka_unit_test(overflow_refuses_its_image_alone),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
