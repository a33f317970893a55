// Does the outbox keep order and numbers, and send the same again until it is answered?
#include "worker/outbox_impl.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void put_events(outbox_t *outbox, size_t count, size_t size) {
    char *data = calloc(1, size + 1);
    proto_report_t event = {.type = "e", .data = {data, size}};
    for (size_t i = 0; i < count; i++)
        outbox_put_event(outbox, &event);
    free(data);
}

static const proto_bytes_t some = {"body", 4};

static void test_empty(void **state) {
    (void)state;
    outbox_t outbox;
    outbox_flight_t flight;
    outbox_init(&outbox);
    assert_true(outbox_empty(&outbox));
    assert_false(outbox_take(&outbox, &flight));
    outbox_release(&outbox);
}

static void test_order(void **state) {
    (void)state;
    outbox_t outbox;
    outbox_flight_t flight;
    outbox_init(&outbox);
    put_events(&outbox, 2, 3);
    outbox_put_checkpoint(&outbox, 77, some);
    put_events(&outbox, 1, 0);
    outbox_put_finish(&outbox, some);

    assert_true(outbox_take(&outbox, &flight));
    assert_int_equal(flight.type, PROTO_job_report);
    assert_int_equal(flight.seq, 1);
    assert_int_equal(flight.event_count, 2);
    assert_int_equal(flight.events[1].data.size, 3);
    outbox_done(&outbox);

    assert_true(outbox_take(&outbox, &flight));
    assert_int_equal(flight.type, PROTO_job_checkpoint);
    assert_int_equal(flight.id, 77);
    assert_int_equal(flight.event_count, 0);
    assert_memory_equal(flight.body.data, "body", 4);
    outbox_done(&outbox);

    assert_true(outbox_take(&outbox, &flight)); // the last event goes with the end
    assert_int_equal(flight.type, PROTO_job_finish);
    assert_int_equal(flight.seq, 3);
    assert_int_equal(flight.event_count, 1);
    assert_null(flight.events[0].data.data);
    outbox_done(&outbox);
    assert_true(outbox_empty(&outbox));
    assert_int_equal(outbox.bytes, 0);
    outbox_release(&outbox);
}

static void test_flight_is_fixed(void **state) {
    (void)state;
    outbox_t outbox;
    outbox_flight_t flight;
    outbox_init(&outbox);
    put_events(&outbox, 2, 3);
    assert_true(outbox_take(&outbox, &flight));
    put_events(&outbox, 5, 3);
    outbox_put_finish(&outbox, some);
    for (int again = 0; again < 3; again++) {
        assert_true(outbox_take(&outbox, &flight));
        assert_int_equal(flight.type, PROTO_job_report);
        assert_int_equal(flight.seq, 1);
        assert_int_equal(flight.event_count, 2);
    }
    outbox_done(&outbox);
    assert_true(outbox_take(&outbox, &flight));
    assert_int_equal(flight.type, PROTO_job_finish);
    assert_int_equal(flight.seq, 3);
    assert_int_equal(flight.event_count, 5);
    outbox_release(&outbox);
}

static void test_batches_by_count_and_bytes(void **state) {
    (void)state;
    const struct {
        size_t events, size, flights;
    } cases[] = {{1, 10, 1},    {256, 10, 1},   {257, 10, 2},
                 {1000, 10, 4}, {32, 65536, 2}, {16, 65536, 1}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        outbox_t outbox;
        outbox_flight_t flight;
        size_t flights = 0, events = 0;
        outbox_init(&outbox);
        put_events(&outbox, cases[i].events, cases[i].size);
        for (; outbox_take(&outbox, &flight); outbox_done(&outbox), flights++) {
            assert_int_equal(flight.seq, events + 1);
            assert_in_range(flight.event_count, 1, OUTBOX_FLIGHT_MAX);
            events += flight.event_count;
        }
        assert_int_equal(flights, cases[i].flights);
        assert_int_equal(events, cases[i].events);
        outbox_release(&outbox);
    }
}

static void test_full(void **state) {
    (void)state;
    outbox_t outbox;
    outbox_flight_t flight;
    outbox_init(&outbox);
    put_events(&outbox, OUTBOX_EVENTS_MAX, 1);
    assert_false(outbox_full(&outbox));
    put_events(&outbox, 1, 1);
    assert_true(outbox_full(&outbox));
    outbox_take(&outbox, &flight);
    outbox_done(&outbox);
    assert_false(outbox_full(&outbox));
    put_events(&outbox, 70, 65536);
    assert_true(outbox_full(&outbox)); // by bytes
    outbox_release(&outbox);
}

static void test_replaced_end(void **state) {
    (void)state;
    outbox_t outbox;
    outbox_flight_t flight;
    outbox_init(&outbox);
    put_events(&outbox, 3, 1);
    outbox_put_finish(&outbox, some);
    assert_true(outbox_take(&outbox, &flight));
    outbox_replace_finish(&outbox, (proto_bytes_t){"other", 5});
    assert_true(outbox_take(&outbox, &flight));
    assert_int_equal(flight.type, PROTO_job_finish);
    assert_int_equal(flight.event_count, 0);
    assert_int_equal(flight.body.size, 5);
    outbox_done(&outbox);
    assert_true(outbox_empty(&outbox));
    outbox_release(&outbox);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_flight_is_fixed),
        cmocka_unit_test(test_batches_by_count_and_bytes),
        cmocka_unit_test(test_full),
        cmocka_unit_test(test_replaced_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
