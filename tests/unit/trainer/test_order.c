// Is what a step sees (order, augmentation, learning rate) a pure function of seed and place, and
// evenly distributed?
#include "trainer/augment.h"
#include "trainer/sampler.h"
#include "trainer/schedule.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

// ---- order ----

static void expect_permutation(const uint32_t *order, uint32_t count) {
    uint8_t *seen = calloc(count + 1, 1);
    for (uint32_t i = 0; i < count; i++) {
        assert_true(order[i] < count);
        assert_int_equal(seen[order[i]]++, 0);
    }
    free(seen);
}

static void test_permutation(void **state) {
    (void)state;
    static const uint32_t counts[] = {0, 1, 2, 3, 31, 32, 33, 1000, 70001};
    uint32_t *order = malloc(70001 * sizeof *order);
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        for (uint64_t seed = 0; seed < 3; seed++) {
            sampler_order(seed << 40 | seed, (uint32_t)seed, counts[i], order);
            expect_permutation(order, counts[i]);
        }
    free(order);
}

// A model trained by one version of the program must come out of the next one, too.
static void test_order_is_pinned(void **state) {
    (void)state;
    // from an implementation of the same in Python
    static const uint32_t first[] = {9, 0, 7, 8, 6, 3, 2, 4, 1, 5};
    static const uint32_t second[] = {2, 3, 0, 6, 4, 1, 5, 8, 9, 7};
    static const uint32_t chosen[] = {14, 21, 24, 60, 89};
    uint32_t order[10];
    sampler_order(7, 0, 10, order);
    assert_memory_equal(order, first, sizeof first);
    sampler_order(7, 1, 10, order);
    assert_memory_equal(order, second, sizeof second);
    sampler_estimate(7, 100, 5, order);
    assert_memory_equal(order, chosen, sizeof chosen);
}

// Every image comes to every place alike, as chi-square tells.
static void test_order_is_even(void **state) {
    (void)state;
    enum { COUNT = 10, EPOCHS = 20000 };
    int seen[COUNT][COUNT] = {{0}};
    uint32_t order[COUNT];
    for (uint32_t epoch = 0; epoch < EPOCHS; epoch++) {
        sampler_order(1, epoch, COUNT, order);
        for (int i = 0; i < COUNT; i++)
            seen[i][order[i]]++;
    }
    double chi = 0, wanted = (double)EPOCHS / COUNT;
    for (int i = 0; i < COUNT; i++)
        for (int k = 0; k < COUNT; k++)
            chi += (seen[i][k] - wanted) * (seen[i][k] - wanted) / wanted;
    assert_true(chi > 40 && chi < 150); // 81 degrees of freedom: 81 ± 5 · 12.7
}

static void test_estimate(void **state) {
    (void)state;
    enum { COUNT = 50, WANTED = 10, SEEDS = 10000 };
    int seen[COUNT] = {0};
    uint32_t chosen[COUNT];
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        sampler_estimate(seed, COUNT, WANTED, chosen);
        for (int i = 0; i < WANTED; i++) {
            assert_true(chosen[i] < COUNT && (i == 0 || chosen[i] > chosen[i - 1]));
            seen[chosen[i]]++;
        }
    }
    for (int i = 0; i < COUNT; i++) // 2000 ± 5 · 40
        assert_true(abs(seen[i] - SEEDS * WANTED / COUNT) < 200);
    sampler_estimate(3, COUNT, COUNT, chosen);
    for (uint32_t i = 0; i < COUNT; i++)
        assert_int_equal(chosen[i], i);
}

// No two uses of one seed, and no two seeds, share a key.
static void test_keys(void **state) {
    (void)state;
    uint64_t keys[64];
    size_t count = 0;
    for (uint64_t seed = 0; seed < 16; seed++)
        for (int use = SAMPLER_ORDER; use <= SAMPLER_AUGMENT; use++)
            keys[count++] = sampler_key(seed, (sampler_use_t)use);
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < i; k++)
            assert_true(keys[i] != keys[k]);
}

// ---- augmentation ----

static int inside(int value, int size) {
    return value < 0 ? 0 : value > size - 1 ? size - 1 : value;
}

// Pixel by pixel, in the words of the header: first flipped, then moved, the border repeated.
static void test_augment_apply(void **state) {
    (void)state;
    enum { HEIGHT = 7, WIDTH = 5, CHANNELS = 3 };
    uint8_t from[HEIGHT][WIDTH][CHANNELS], flipped[HEIGHT][WIDTH][CHANNELS];
    uint8_t to[HEIGHT][WIDTH][CHANNELS];
    for (int y = 0; y < HEIGHT; y++)
        for (int x = 0; x < WIDTH; x++)
            for (int c = 0; c < CHANNELS; c++)
                from[y][x][c] = (uint8_t)(((y * WIDTH + x) * CHANNELS + c) * 37);
    for (int flip = 0; flip < 2; flip++)
        for (int right = -6; right <= 6; right++)
            for (int down = -8; down <= 8; down++) {
                const augment_move_t move = {flip, right, down};
                augment_apply(&move, from[0][0], HEIGHT, WIDTH, CHANNELS, to[0][0]);
                for (int y = 0; y < HEIGHT; y++)
                    for (int x = 0; x < WIDTH; x++)
                        memcpy(flipped[y][x], from[y][flip ? WIDTH - 1 - x : x], CHANNELS);
                for (int y = 0; y < HEIGHT; y++)
                    for (int x = 0; x < WIDTH; x++)
                        assert_memory_equal(
                            to[y][x], flipped[inside(y - down, HEIGHT)][inside(x - right, WIDTH)],
                            CHANNELS);
            }
}

static void test_augment_draw(void **state) {
    (void)state;
    int flips = 0, rights[17] = {0};
    for (uint32_t i = 0; i < 17000; i++) {
        augment_move_t both = augment_draw(AUGMENT_FLIP | AUGMENT_SHIFT, 5, i / 32, i % 32, 24, 96);
        augment_move_t again =
            augment_draw(AUGMENT_FLIP | AUGMENT_SHIFT, 5, i / 32, i % 32, 24, 96);
        augment_move_t flip = augment_draw(AUGMENT_FLIP, 5, i / 32, i % 32, 24, 96);
        assert_true(both.flip == again.flip && both.right == again.right &&
                    both.down == again.down);
        assert_true(both.flip == flip.flip && flip.right == 0 && flip.down == 0);
        assert_true(abs(both.right) <= 8 && abs(both.down) <= 2);
        flips += both.flip;
        rights[both.right + 8]++;
    }
    assert_true(abs(flips - 8500) < 330);
    for (int i = 0; i < 17; i++)
        assert_true(abs(rights[i] - 1000) < 160);
    augment_move_t none = augment_draw(0, 5, 1, 1, 24, 96);
    assert_true(!none.flip && none.right == 0 && none.down == 0);
}

// ---- learning rate ----

static void test_schedule(void **state) {
    (void)state;
    for (uint64_t step = 0; step < 100; step++) {
        assert_true(schedule_lr(SCHEDULE_CONSTANT, 0.3, step, 100) == 0.3);
        double lr = schedule_lr(SCHEDULE_STEP, 1, step, 100);
        assert_true(lr == (step < 50 ? 1 : step < 75 ? 0.1 : 0.01));
        lr = schedule_lr(SCHEDULE_COSINE, 2, step, 100);
        assert_true(fabs(lr - (1 + cos(3.14159265358979 * (double)step / 100))) < 1e-9 && lr > 0);
        if (step > 0)
            assert_true(lr < schedule_lr(SCHEDULE_COSINE, 2, step - 1, 100));
    }
    assert_true(schedule_lr(SCHEDULE_COSINE, 1e-3, 0, 1) == 1e-3);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_permutation),   cmocka_unit_test(test_order_is_pinned),
        cmocka_unit_test(test_order_is_even), cmocka_unit_test(test_estimate),
        cmocka_unit_test(test_keys),          cmocka_unit_test(test_augment_apply),
        cmocka_unit_test(test_augment_draw),  cmocka_unit_test(test_schedule),
    };
    return cmocka_run_group_tests_name("trainer order", tests, NULL, NULL);
}
