// Does the order of images hold: by priority, first come first served, nobody starved, no batch of
// two models, nothing computed past its deadline, batches that fill for as long as they may, large
// images within their room, and a budget that is given back?
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/philox.h"
#include "gateway/queue.h"

#include <stdio.h>
#include <string.h>

static const int engine_a, engine_b;

static image_t *image(image_t *images, int i, const void *engine, int64_t deadline_ms) {
    images[i] = (image_t){.engine = engine, .deadline_ms = deadline_ms, .entered_us = i};
    return &images[i];
}

#define MS  1000 // µs
#define END INT64_MAX

static size_t four(const void *engine) {
    (void)engine;
    return 4;
}

static void list_keeps_order(void **state) {
    (void)state;
    image_t images[3];
    image_list_t list = {0};
    assert_null(image_list_pop(&list));
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 3; i++)
            image_list_push(&list, image(images, i, NULL, 0));
        assert_int_equal(list.count, 3);
        for (int i = 0; i < 3; i++)
            assert_ptr_equal(image_list_pop(&list), &images[i]);
        assert_null(image_list_pop(&list));
        assert_int_equal(list.count, 0);
    }
}

// Takes all and says which they were: "0 3 1 ".
static const char *order_of(image_line_t *line, const image_t *images, int64_t now_us) {
    static char text[256];
    image_list_t expired = {0};
    size_t length = 0;
    for (image_t *next; (next = image_line_take(line, now_us, &expired)) != NULL;)
        length +=
            (size_t)snprintf(text + length, sizeof text - length, "%d ", (int)(next - images));
    text[length] = 0;
    assert_int_equal(line->count, 0);
    return text;
}

static void priorities_are_kept_and_age(void **state) {
    (void)state;
    static const uint8_t priorities[] = {3, 2, 0, 1, 3, 1, 200};
    image_t images[7];
    image_line_t line = {0};
    for (int i = 0; i < 7; i++) {
        image(images, i, NULL, 0)->priority = priorities[i];
        image_line_push(&line, &images[i]);
    }
    assert_string_equal(order_of(&line, images, 0), "3 5 1 2 0 4 6 "); // 0 is 2, 200 is 3
    // One of priority 3 is overtaken by those that come within two steps of aging, and no others.
    static const int64_t came_us[] = {0, 2 * QUEUE_AGING_US - 1, 2 * QUEUE_AGING_US + 1,
                                      QUEUE_AGING_US - 1, QUEUE_AGING_US + 1};
    static const uint8_t whose[] = {3, 1, 1, 2, 2};
    for (int i = 0; i < 5; i++) {
        image(images, i, NULL, 0)->priority = whose[i];
        images[i].entered_us = came_us[i];
        image_line_push(&line, &images[i]);
    }
    assert_string_equal(order_of(&line, images, 0), "1 3 0 2 4 ");
}

// Whatever comes, an image waits for no more than was there before it and two steps of aging bring.
static void nobody_starves(void **state) {
    (void)state;
    image_t low = {.priority = 3, .entered_us = 0};
    static image_t urgent[64];
    image_line_t line = {0};
    image_list_t expired = {0};
    image_line_push(&line, &low);
    int64_t now_us = 0;
    int round = 0;
    for (; round < 64; round++, now_us += QUEUE_AGING_US / 16) { // one comes, one is taken
        urgent[round] = (image_t){.priority = 1, .entered_us = now_us};
        image_line_push(&line, &urgent[round]);
        if (image_line_take(&line, now_us, &expired) == &low)
            break;
    }
    assert_int_equal(round, 33);
}

static void expired_images_are_not_decoded(void **state) {
    (void)state;
    image_t images[4];
    decode_queue_t queue = {0};
    image_list_t expired = {0};
    image_line_push(&queue.images, image(images, 0, NULL, 100));
    image_line_push(&queue.images, image(images, 1, NULL, 101));
    image_line_push(&queue.images, image(images, 2, NULL, 50));
    image_line_push(&queue.images, image(images, 3, NULL, 0));
    assert_ptr_equal(decode_queue_take(&queue, 100 * MS, &expired), &images[1]);
    assert_ptr_equal(image_list_pop(&expired), &images[0]);
    assert_null(image_list_pop(&expired));
    assert_ptr_equal(decode_queue_take(&queue, INT64_MAX, &expired), &images[3]);
    assert_ptr_equal(image_list_pop(&expired), &images[2]);
}

static void cancelled_images_are_not_computed(void **state) {
    (void)state;
    image_t images[3], *batch[4];
    atomic_bool cancelled = false;
    decode_queue_t queue = {0};
    compute_queue_t compute = {.batch_max = four, .lanes = 1};
    image_list_t expired = {0};
    int64_t until;
    for (int i = 0; i < 3; i++) {
        image(images, i, &engine_a, 0)->cancelled = i == 1 ? NULL : &cancelled;
        if (i < 2)
            image_line_push(&queue.images, &images[i]);
        else
            compute_queue_push(&compute, &images[i]);
    }
    assert_false(image_is_cancelled(&images[0]));
    atomic_store(&cancelled, true);
    assert_true(image_is_cancelled(&images[0]) && !image_is_cancelled(&images[1]));
    assert_ptr_equal(decode_queue_take(&queue, 0, &expired), &images[1]);
    assert_int_equal(compute_queue_take(&compute, 0, batch, &expired, &until), 0);
    assert_ptr_equal(image_list_pop(&expired), &images[0]);
    assert_ptr_equal(image_list_pop(&expired), &images[2]);
    assert_int_equal(compute.count, 0);
    compute_queue_empty(&compute, &expired);
    assert_null(expired.first);
}

static void decoding_leaves_cores_to_computing(void **state) {
    (void)state;
    for (size_t cores = 1; cores <= 8; cores++) {
        for (size_t computing = 0; computing <= cores; computing++) {
            size_t decoding = 0;
            while (decode_may_start(cores, computing, decoding))
                decoding++;
            assert_int_equal(decoding, computing < cores ? cores - computing : 1);
        }
    }
    assert_false(decode_may_start(4, 9, 1));
}

static void large_images_share_their_room(void **state) {
    (void)state;
    enum { COUNT = 5 };
    static const uint64_t areas[COUNT] = {40u << 20, 20u << 20, 30u << 20, 90u << 20, 5u << 20};
    image_t images[COUNT];
    decode_queue_t queue = {0};
    image_list_t expired = {0};
    bool now[COUNT];
    for (int i = 0; i < COUNT; i++)
        image_line_push(&queue.images, image(images, i, NULL, i == 4 ? 1000 : 0));
    for (int i = 0; i < COUNT; i++) { // as many threads take one each and look at it
        image_t *taken = decode_queue_take(&queue, 0, &expired);
        assert_ptr_equal(taken, &images[i]);
        now[i] = decode_queue_large(&queue, taken, areas[i]);
    }
    // 40 + 20 fit; 30 does not; those behind it keep their place, however small.
    assert_true(now[0] && now[1] && !now[2] && !now[3] && !now[4]);
    assert_null(decode_queue_take(&queue, 0, &expired));
    decode_queue_done(&queue, &images[0]);
    assert_ptr_equal(decode_queue_take(&queue, 0, &expired), &images[2]);
    assert_null(decode_queue_take(&queue, 0, &expired));
    decode_queue_done(&queue, &images[1]);
    assert_null(decode_queue_take(&queue, 0, &expired)); // 90 needs to be alone
    decode_queue_done(&queue, &images[2]);
    assert_ptr_equal(decode_queue_take(&queue, 0, &expired), &images[3]);
    assert_null(decode_queue_take(&queue, 0, &expired)); // and is
    // Small images go on meanwhile.
    image_t small = {0};
    image_line_push(&queue.images, &small);
    assert_ptr_equal(decode_queue_take(&queue, 0, &expired), &small);
    decode_queue_done(&queue, &small);
    assert_null(expired.first);
    assert_null(decode_queue_take(&queue, 1000 * MS, &expired));
    assert_ptr_equal(image_list_pop(&expired), &images[4]); // expired while it waited for room
    decode_queue_done(&queue, &images[3]);
    assert_int_equal(queue.large_busy, 0);
}

static void batches_are_of_one_engine(void **state) {
    (void)state;
    image_t images[9], *batch[4];
    compute_queue_t queue = {.batch_max = four, .lanes = 1};
    image_list_t expired = {0};
    int64_t until;
    static const char order[] = "abaabbaaa"; // 2 is expired
    for (int i = 0; i < 9; i++)
        compute_queue_push(
            &queue, image(images, i, order[i] == 'a' ? &engine_a : &engine_b, i == 2 ? 10 : 0));
    assert_int_equal(compute_queue_take(&queue, 10 * MS, batch, &expired, &until), 4);
    assert_ptr_equal(batch[0], &images[0]);
    assert_ptr_equal(batch[1], &images[3]);
    assert_ptr_equal(batch[3], &images[7]);
    assert_ptr_equal(image_list_pop(&expired), &images[2]);
    assert_null(expired.first);
    assert_int_equal(compute_queue_take(&queue, 10 * MS, batch, &expired, &until), 3);
    assert_ptr_equal(batch[0], &images[1]);
    assert_ptr_equal(batch[2], &images[5]);
    assert_int_equal(queue.count, 1);
    assert_int_equal(compute_queue_take(&queue, 10 * MS, batch, &expired, &until), 1);
    assert_ptr_equal(batch[0], &images[8]);
    assert_int_equal(compute_queue_take(&queue, 10 * MS, batch, &expired, &until), 0);
    assert_true(until == END);
    assert_int_equal(queue.group_count + queue.count, 0);
    compute_queue_empty(&queue, &expired);
}

// Lanes share what waits; the urgent ones of another engine go first.
static void lanes_share_and_heads_go_first(void **state) {
    (void)state;
    image_t images[8], *batch[4];
    compute_queue_t queue = {.batch_max = four, .lanes = 3};
    image_list_t expired = {0};
    int64_t until;
    for (int i = 0; i < 7; i++)
        compute_queue_push(&queue, image(images, i, &engine_a, 0));
    image(images, 7, &engine_b, 0)->priority = 1;
    compute_queue_push(&queue, &images[7]);
    assert_int_equal(compute_queue_take(&queue, 0, batch, &expired, &until), 1);
    assert_ptr_equal(batch[0], &images[7]);
    static const size_t shares[] = {3, 2, 1, 1, 0}; // of 7, 4, 2, 1
    for (int i = 0; i < 5; i++)
        assert_int_equal(compute_queue_take(&queue, 0, batch, &expired, &until), shares[i]);
    compute_queue_empty(&queue, &expired);
    assert_null(expired.first);
}

// With a delay an incomplete batch waits, but neither a full one nor another engine's.
static void batches_fill_for_as_long_as_they_may(void **state) {
    (void)state;
    image_t images[9], *batch[4];
    compute_queue_t queue = {.batch_max = four, .lanes = 2, .delay_us = 500};
    image_list_t expired = {0};
    int64_t until;
    for (int i = 0; i < 3; i++)
        compute_queue_push(&queue, image(images, i, &engine_a, 0)); // came at 0, 1, 2 µs
    assert_int_equal(compute_queue_take(&queue, 10, batch, &expired, &until), 0);
    assert_true(until == 500);
    assert_int_equal(compute_queue_take(&queue, 499, batch, &expired, &until), 0);
    image(images, 3, &engine_b, 0)->entered_us = 100;
    compute_queue_push(&queue, &images[3]);
    compute_queue_push(&queue, image(images, 4, &engine_a, 0));
    assert_int_equal(compute_queue_take(&queue, 499, batch, &expired, &until), 4); // full
    assert_ptr_equal(batch[3], &images[4]);
    assert_int_equal(compute_queue_take(&queue, 599, batch, &expired, &until), 0);
    assert_true(until == 600);
    assert_int_equal(compute_queue_take(&queue, 600, batch, &expired, &until), 1); // its time is up
    assert_ptr_equal(batch[0], &images[3]);
    image(images, 5, &engine_b, 0);
    compute_queue_push(&queue, &images[5]);
    compute_queue_empty(&queue, &expired);
    assert_ptr_equal(image_list_pop(&expired), &images[5]);
}

// Every image comes out once; of one engine in the order they went in; the head is always served.
static void random_batches_lose_nothing(void **state) {
    (void)state;
    enum { COUNT = 2000 };
    static image_t images[COUNT];
    static bool seen[COUNT];
    static const int engines[3];
    image_t *batch[4];
    compute_queue_t queue = {.batch_max = four, .lanes = 1};
    image_list_t expired = {0};
    int64_t until;
    int pushed = 0, taken = 0, head = 0, last[3] = {-1, -1, -1};
    for (uint32_t step = 0; taken < COUNT; step++) {
        philox_t random = philox(7, step, 0, 0, 0);
        for (uint32_t i = philox_below(random.v[0], 8); i > 0 && pushed < COUNT; i--) {
            uint32_t kind = philox_below(philox(8, (uint32_t)pushed, 0, 0, 0).v[0], 3);
            compute_queue_push(&queue, image(images, pushed++, &engines[kind], 0));
        }
        size_t count = compute_queue_take(&queue, 0, batch, &expired, &until);
        assert_true(count <= 4 && (count > 0) == (taken < pushed));
        assert_true(count == 0 || batch[0] == &images[head]);
        for (size_t i = 0; i < count; i++) {
            int index = (int)(batch[i] - images),
                kind = (int)((const int *)batch[i]->engine - engines);
            assert_ptr_equal(batch[i]->engine, batch[0]->engine);
            assert_false(seen[index]);
            assert_true(index > last[kind]);
            seen[index] = true;
            last[kind] = index;
        }
        while (head < COUNT && seen[head])
            head++;
        taken += (int)count;
        assert_int_equal(queue.count, pushed - taken);
    }
    compute_queue_empty(&queue, &expired);
}

static void budget_is_kept(void **state) {
    (void)state;
    err_t err;
    budget_t budget = {.bytes_max = 1000, .images_max = 10, .requests_max = 2};
    assert_int_equal(budget_take(&budget, 1, 1001, &err), ERR_TOO_LARGE);
    assert_int_equal(budget_take(&budget, 11, 1, &err), ERR_TOO_LARGE);
    assert_non_null(strstr(err.message, "10 images"));
    assert_int_equal(budget_take(&budget, 1, UINT64_MAX, &err), ERR_TOO_LARGE);
    assert_int_equal(budget_take(&budget, 9, 600, &err), ERR_OK);
    assert_int_equal(budget_take(&budget, 2, 1, &err), ERR_FULL);
    assert_int_equal(budget_take(&budget, 1, 401, &err), ERR_FULL);
    assert_true(err.remedy[0] != 0);
    assert_int_equal(budget_take(&budget, 1, 300, &err), ERR_OK);
    assert_int_equal(budget_take(&budget, 0, 0, &err), ERR_FULL); // requests
    assert_int_equal(budget_grow(&budget, 0, 101, &err), ERR_FULL);
    assert_int_equal(budget_grow(&budget, 0, 100, &err), ERR_OK);
    budget_give(&budget, 9, 700);
    budget_give(&budget, 1, 300);
    assert_int_equal(budget.bytes + budget.images + budget.requests, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(list_keeps_order),
        cmocka_unit_test(priorities_are_kept_and_age),
        cmocka_unit_test(nobody_starves),
        cmocka_unit_test(expired_images_are_not_decoded),
        cmocka_unit_test(cancelled_images_are_not_computed),
        cmocka_unit_test(decoding_leaves_cores_to_computing),
        cmocka_unit_test(large_images_share_their_room),
        cmocka_unit_test(batches_are_of_one_engine),
        cmocka_unit_test(lanes_share_and_heads_go_first),
        cmocka_unit_test(batches_fill_for_as_long_as_they_may),
        cmocka_unit_test(random_batches_lose_nothing),
        cmocka_unit_test(budget_is_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
