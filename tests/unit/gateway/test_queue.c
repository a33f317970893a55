// Does the order of images hold: first come first served, no batch of two models, nothing computed
// past its deadline, large images within their room, and a budget that is given back?
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/philox.h"
#include "gateway/queue.h"

#include <string.h>

static const int engine_a, engine_b;

static image_t *image(image_t *images, int i, const void *engine, int64_t deadline_ms) {
    images[i] = (image_t){.engine = engine, .deadline_ms = deadline_ms};
    return &images[i];
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

static void expired_images_are_not_decoded(void **state) {
    (void)state;
    image_t images[4];
    decode_queue_t queue = {0};
    image_list_t expired = {0};
    image_list_push(&queue.images, image(images, 0, NULL, 100));
    image_list_push(&queue.images, image(images, 1, NULL, 101));
    image_list_push(&queue.images, image(images, 2, NULL, 50));
    image_list_push(&queue.images, image(images, 3, NULL, 0));
    assert_ptr_equal(decode_queue_take(&queue, 100, &expired), &images[1]);
    assert_ptr_equal(image_list_pop(&expired), &images[0]);
    assert_null(image_list_pop(&expired));
    assert_ptr_equal(decode_queue_take(&queue, INT64_MAX, &expired), &images[3]);
    assert_ptr_equal(image_list_pop(&expired), &images[2]);
}

static void cancelled_images_are_not_computed(void **state) {
    (void)state;
    image_t images[3], *batch[3];
    atomic_bool cancelled = false;
    decode_queue_t queue = {0};
    image_list_t compute = {0}, expired = {0};
    for (int i = 0; i < 3; i++) {
        image_list_push(i < 2 ? &queue.images : &compute, image(images, i, &engine_a, 0));
        images[i].cancelled = i == 1 ? NULL : &cancelled;
    }
    assert_false(image_is_cancelled(&images[0]));
    atomic_store(&cancelled, true);
    assert_true(image_is_cancelled(&images[0]) && !image_is_cancelled(&images[1]));
    assert_ptr_equal(decode_queue_take(&queue, 0, &expired), &images[1]);
    assert_int_equal(compute_queue_take(&compute, 0, 3, batch, &expired), 0);
    assert_ptr_equal(image_list_pop(&expired), &images[0]);
    assert_ptr_equal(image_list_pop(&expired), &images[2]);
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
        image_list_push(&queue.images, image(images, i, NULL, i == 4 ? 1000 : 0));
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
    image_list_push(&queue.images, &small);
    assert_ptr_equal(decode_queue_take(&queue, 0, &expired), &small);
    decode_queue_done(&queue, &small);
    assert_null(expired.first);
    assert_null(decode_queue_take(&queue, 1000, &expired));
    assert_ptr_equal(image_list_pop(&expired), &images[4]); // expired while it waited for room
    decode_queue_done(&queue, &images[3]);
    assert_int_equal(queue.large_busy, 0);
}

static void batches_are_of_one_engine(void **state) {
    (void)state;
    image_t images[8], *batch[4];
    image_list_t queue = {0}, expired = {0};
    static const char order[] = "abaabbba"; // 1 is expired
    for (int i = 0; i < 8; i++)
        image_list_push(&queue,
                        image(images, i, order[i] == 'a' ? &engine_a : &engine_b, i == 1 ? 10 : 0));
    assert_int_equal(compute_queue_take(&queue, 10, 3, batch, &expired), 3);
    assert_ptr_equal(batch[0], &images[0]);
    assert_ptr_equal(batch[1], &images[2]);
    assert_ptr_equal(batch[2], &images[3]);
    assert_ptr_equal(image_list_pop(&expired), &images[1]);
    assert_int_equal(compute_queue_take(&queue, 10, 4, batch, &expired), 3);
    assert_ptr_equal(batch[0], &images[4]);
    assert_ptr_equal(batch[2], &images[6]);
    assert_int_equal(queue.count, 1);
    assert_int_equal(compute_queue_take(&queue, 10, 4, batch, &expired), 1);
    assert_ptr_equal(batch[0], &images[7]);
    assert_int_equal(compute_queue_take(&queue, 10, 4, batch, &expired), 0);
    assert_null(queue.first);
    assert_null(queue.last);
}

// Every image comes out once; of one engine in the order they went in; the head is always served.
static void random_batches_lose_nothing(void **state) {
    (void)state;
    enum { COUNT = 2000, MAX = 16 };
    static image_t images[COUNT];
    static bool seen[COUNT];
    static const int engines[3];
    image_t *batch[MAX];
    image_list_t queue = {0}, expired = {0};
    int pushed = 0, taken = 0, last[3] = {-1, -1, -1};
    for (uint32_t step = 0; taken < COUNT; step++) {
        philox_t random = philox(7, step, 0, 0, 0);
        for (uint32_t i = philox_below(random.v[0], 40); i > 0 && pushed < COUNT; i--) {
            uint32_t kind = philox_below(philox(8, (uint32_t)pushed, 0, 0, 0).v[0], 3);
            image_list_push(&queue, image(images, pushed++, &engines[kind], 0));
        }
        image_t *head = queue.first;
        size_t max = 1 + philox_below(random.v[1], MAX);
        size_t count = compute_queue_take(&queue, 0, max, batch, &expired);
        assert_true(count <= max && (count > 0) == (head != NULL));
        assert_true(count == 0 || batch[0] == head);
        for (size_t i = 0; i < count; i++) {
            int index = (int)(batch[i] - images),
                kind = (int)((const int *)batch[i]->engine - engines);
            assert_ptr_equal(batch[i]->engine, batch[0]->engine);
            assert_false(seen[index]);
            assert_true(index > last[kind]);
            seen[index] = true;
            last[kind] = index;
        }
        taken += (int)count;
        assert_int_equal(queue.count, pushed - taken);
    }
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
        cmocka_unit_test(expired_images_are_not_decoded),
        cmocka_unit_test(cancelled_images_are_not_computed),
        cmocka_unit_test(large_images_share_their_room),
        cmocka_unit_test(batches_are_of_one_engine),
        cmocka_unit_test(random_batches_lose_nothing),
        cmocka_unit_test(budget_is_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
