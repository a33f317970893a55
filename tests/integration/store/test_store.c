// Does the store keep its promises with a real Redis: every call answered once and in order, what a
// broken connection left unknown said to be so, and up again by itself?
#include "rig.h"

#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// --- Calls ---------------------------------------------------------------------------------------

static void answers_come_in_order(void **state) {
    (void)state;
    for (size_t i = 0; i < STORE_PIPELINE_MAX; i++)
        assert_int_equal(rig_call(ADD, "n", "1", i), ERR_OK);
    assert_int_equal(rig_call(ADD, "n", "1", 0), ERR_FULL);
    assert_int_equal(store_stats(rig.store).in_flight, STORE_PIPELINE_MAX);
    rig_run_until_answered(STORE_PIPELINE_MAX);
    assert_false(rig.disorder);
    assert_int_equal(rig.good, STORE_PIPELINE_MAX);
    assert_int_equal(rig.last, STORE_PIPELINE_MAX);
    assert_int_equal(rig_stored_number("n"), STORE_PIPELINE_MAX);
    assert_int_equal(store_stats(rig.store).in_flight_bytes, 0);
}

static void on_chain(void *arg, const store_reply_t *reply, const err_t *err) {
    (void)arg;
    assert_null(err);
    rig.last = store_integer(reply);
    store_bytes_t key = rig_bytes_of("chain"), one = rig_bytes_of("1");
    if (rig.last == 100)
        bus_loop_stop(rig.loop);
    else
        assert_int_equal(store_call(rig.store, ADD, &key, 1, &one, 1, on_chain, NULL, NULL),
                         ERR_OK);
}

static void callbacks_may_call_again(void **state) {
    (void)state;
    store_bytes_t key = rig_bytes_of("chain"), one = rig_bytes_of("1");
    store_call(rig.store, ADD, &key, 1, &one, 1, on_chain, NULL, NULL);
    assert_true(rig_run(PATIENCE_MS));
    assert_int_equal(rig.last, 100);
}

static void on_nest(void *arg, const store_reply_t *reply, const err_t *err) {
    (void)arg;
    assert_null(err);
    assert_int_equal(store_kind(reply), STORE_LIST);
    assert_int_equal(store_count(reply), 3);
    assert_int_equal(store_kind(store_item(reply, 0)), STORE_INTEGER);
    assert_int_equal(store_integer(store_item(reply, 0)), 1);
    const store_reply_t *inner = store_item(reply, 1);
    assert_int_equal(store_count(inner), 2);
    assert_string_equal(store_bytes(store_item(inner, 0)).data, "two");
    assert_int_equal(store_kind(store_item(inner, 1)), STORE_NIL);
    assert_null(store_bytes(store_item(inner, 1)).data);
    assert_int_equal(store_kind(store_item(reply, 2)), STORE_ERROR);
    assert_int_equal(store_count(store_item(reply, 0)), 0);
    bus_loop_stop(rig.loop);
}

static void replies_of_every_kind(void **state) {
    (void)state;
    store_call(rig.store, NEST, NULL, 0, NULL, 0, on_nest, NULL, NULL);
    assert_true(rig_run(PATIENCE_MS));
    assert_int_equal(rig_ask(ECHO, "k", "-9223372036854775808"), ERR_OK);
    assert_int_equal(rig.last, INT64_MIN);
    assert_int_equal(rig_ask(ECHO, "k", "12 monkeys"), ERR_OK);
    assert_int_equal(rig.last, 0);
    assert_int_equal(rig_ask(ECHO, "k", ""), ERR_OK);
    assert_string_equal(rig.text, "");
}

static void a_word_of_zero_bytes_and_one_of_a_megabyte(void **state) {
    (void)state;
    size_t size = 1 << 20;
    char *big = mem_alloc(size);
    memset(big, 0, size);
    store_bytes_t words[3] = {rig_bytes_of("SET"), rig_bytes_of("big"), {big, size}};
    store_bytes_t length[2] = {rig_bytes_of("STRLEN"), rig_bytes_of("big")};
    assert_int_equal(store_command(rig.store, words, 3, rig_on_answer, (void *)0, NULL), ERR_OK);
    free(big); // it was copied
    assert_int_equal(store_command(rig.store, length, 2, rig_on_answer, (void *)1, NULL), ERR_OK);
    rig_run_until_answered(2);
    assert_int_equal(rig.last, size);
    assert_false(rig.disorder);
}

static void bytes_in_flight_are_bounded(void **state) {
    (void)state;
    size_t size = 1 << 20, accepted = 0;
    char *big = mem_zero(1, STORE_BYTES_MAX + 1);
    store_bytes_t words[3] = {rig_bytes_of("SET"), rig_bytes_of("big"), {big, size}};
    err_t err;
    while (store_command(rig.store, words, 3, rig_on_answer, (void *)accepted, &err) == ERR_OK)
        accepted++;
    assert_int_equal(err.code, ERR_FULL);
    assert_int_equal(accepted, STORE_BYTES_MAX / size - 1);
    words[2].size = STORE_BYTES_MAX + 1;
    assert_int_equal(store_command(rig.store, words, 3, rig_on_answer, NULL, NULL), ERR_TOO_LARGE);
    free(big);
    rig_run_until_answered(accepted);
    assert_int_equal(rig.good, accepted);
    assert_false(rig.disorder);
}

// --- Errors of scripts ---------------------------------------------------------------------------

static void scripts_name_their_errors(void **state) {
    (void)state;
    assert_int_equal(rig_ask(CODES, "k", "STALE the lease was lost"), ERR_STALE);
    assert_string_equal(rig.err.message, "the lease was lost");
    assert_int_equal(rig_ask(CODES, "k", "NOT_FOUND no job 17"), ERR_NOT_FOUND);
    assert_int_equal(rig_ask(CODES, "k", "FULL queue"), ERR_FULL);
    assert_int_equal(rig_ask(CODES, "k", "UNHEARD of"), ERR_INTERNAL);
    assert_non_null(strstr(rig.err.message, "codes"));
    assert_non_null(strstr(rig.err.message, "UNHEARD of"));
    assert_int_equal(rig_ask(CODES, "k", "OK not"), ERR_INTERNAL);
    assert_int_equal(rig_ask(BROKEN, "k", ""), ERR_INTERNAL);
    assert_non_null(strstr(rig.err.message, "script broken failed"));
    store_bytes_t words[2] = {rig_bytes_of("INCR"), rig_bytes_of("k")};
    assert_int_equal(rig_ask(FILL, "k", "no number"), ERR_OK);
    store_command(rig.store, words, 2, rig_on_answer, (void *)rig.next, NULL);
    rig_run_until_answered(rig.answered + 1);
    assert_int_equal(rig.err.code, ERR_INTERNAL);
    assert_non_null(strstr(rig.err.message, "command INCR failed"));
    assert_int_equal(rig.downs, 0);
}

static void flushed_scripts_come_back(void **state) {
    (void)state;
    for (int round = 0; round < 3; round++) {
        assert_true(redis_do(&rig.redis, "SCRIPT FLUSH", NULL, 0));
        size_t before = rig.answered;
        for (size_t i = 0; i < 1000; i++)
            assert_int_equal(rig_call(i % 2 ? ADD : ECHO, "n", "1", before + i), ERR_OK);
        rig_run_until_answered(before + 1000);
    }
    assert_int_equal(rig.good, 3000);
    assert_false(rig.disorder);
    assert_int_equal(rig_stored_number("n"), 1500);
    assert_int_equal(rig.ups, 1);
    assert_int_equal(rig.downs, 0);
}

static void a_full_server_says_so(void **state) {
    (void)state;
    char *big = mem_alloc(65537);
    memset(big, 'x', 65536);
    big[65536] = 0;
    char key[32];
    err_code_t code = ERR_OK;
    for (int i = 0; i < 1000 && code == ERR_OK; i++) {
        snprintf(key, sizeof key, "fill:%d", i);
        code = rig_ask(FILL, key, big);
    }
    free(big);
    assert_int_equal(code, ERR_FULL);
    assert_non_null(strstr(rig.err.message, "fill"));
    assert_true(rig.err.remedy[0]);
    assert_int_equal(rig_ask(BACKWARD, "fill:0", ""), ERR_OK); // allow-oom
    assert_int_equal(rig_ask(ECHO, "k", "still here"), ERR_OK);
    assert_int_equal(rig.downs, 0);
}

// --- Lost servers --------------------------------------------------------------------------------

static void a_killed_server(void **state) {
    (void)state;
    for (int round = 1; round <= 3; round++) {
        size_t before = rig.answered, good = rig.good, unknown = rig.unknown;
        int64_t stored = rig_stored_number("n");
        for (size_t i = 0; i < 4000; i++)
            assert_int_equal(rig_call(ADD, "n", "1", before + i), ERR_OK);
        rig_run_until_answered(before + 1 + (size_t)(rand() % 500));
        redis_kill(&rig.redis);
        rig_run_until_down(round);
        assert_int_equal(rig.answered, before + 4000); // each once, before down()
        assert_false(rig.disorder);
        assert_int_equal(rig.why.code, ERR_UNAVAILABLE);
        assert_int_equal(rig_call(ADD, "n", "1", 0), ERR_UNAVAILABLE);
        good = rig.good - good;
        unknown = rig.unknown - unknown;
        assert_int_equal(good + unknown, 4000);
        err_t err;
        assert_int_equal(redis_restart(&rig.redis, &err), ERR_OK);
        int64_t started = clock_mono_ms();
        rig_run_until_up(round + 1);
        assert_in_range(clock_mono_ms() - started, 0, 2000);
        stored = rig_stored_number("n") - stored;
        assert_in_range(stored, good, 4000); // nothing acknowledged is lost
    }
}

static void a_server_that_comes_later(void **state) {
    (void)state;
    rig_start_redis(NULL);
    redis_kill(&rig.redis);
    unlink(rig.redis.socket);
    rig_open_store(rig.redis.socket);
    rig_run_until_down(1);
    rig_run(300);
    assert_int_equal(rig.downs, 1); // the same reason is told once
    assert_non_null(strstr(rig.why.message, rig.redis.socket));
    err_t err;
    assert_int_equal(redis_restart(&rig.redis, &err), ERR_OK);
    rig_run_until_up(1);
}

static void a_halted_server(void **state) {
    (void)state;
    redis_pause(&rig.redis);
    for (size_t i = 0; i < 500; i++)
        assert_int_equal(rig_call(ADD, "n", "1", i), ERR_OK);
    int64_t started = clock_mono_ms();
    rig_run_until_down(1);
    assert_in_range(clock_mono_ms() - started, STORE_SILENCE_MS, 2 * STORE_SILENCE_MS);
    assert_int_equal(rig.unknown, 500);
    assert_non_null(strstr(rig.why.message, "does not answer"));
    rig_run(300); // a connection to the halted server waits for its first answer
    assert_int_equal(rig.ups, 1);
    redis_resume(&rig.redis);
    rig_run_until_up(2);
    // What the old connection had sent is carried out before up() or never.
    int64_t then = rig_stored_number("n");
    assert_int_equal(rig_ask(ADD, "n", "1"), ERR_OK);
    rig_run(300);
    assert_int_equal(rig_stored_number("n"), then + 1);
}

static void an_idle_server_that_halts(void **state) {
    (void)state;
    redis_pause(&rig.redis);
    rig_run_until_down(1);
    redis_resume(&rig.redis);
    rig_run_until_up(2);
}

static void a_closed_connection(void **state) {
    (void)state;
    char reply[64];
    assert_true(redis_do(&rig.redis, "CLIENT KILL TYPE normal SKIPME yes", reply, sizeof reply));
    rig_run_until_down(1);
    rig_run_until_up(2);
    assert_int_equal(rig_ask(ADD, "n", "1"), ERR_OK);
    assert_int_equal(store_stats(rig.store).connections, 2);
}

static void destroyed_with_calls_in_flight(void **state) {
    (void)state;
    redis_pause(&rig.redis);
    for (size_t i = 0; i < 100; i++)
        assert_int_equal(rig_call(ADD, "n", "1", i), ERR_OK);
    rig_run(20);
    store_destroy(&rig.store);
    assert_int_equal(rig.cancelled, 100);
    assert_false(rig.disorder);
    assert_int_equal(rig.downs, 0);
    rig_run(20); // nothing of it is left in the loop
}

static void destroyed_before_anything_was_sent(void **state) {
    (void)state;
    assert_int_equal(rig_call(ADD, "n", "1", 0), ERR_OK);
    store_destroy(&rig.store);
    assert_int_equal(rig.cancelled, 1);
    rig_run(20);
}

static int set_up_small(void **state) {
    rig_set_up_bare(state);
    rig_start_redis((const char *[]){"--maxmemory", "8mb", NULL});
    rig_open_store(rig.redis.socket);
    rig_run_until_up(1);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        WITH_REDIS(answers_come_in_order),
        WITH_REDIS(callbacks_may_call_again),
        WITH_REDIS(replies_of_every_kind),
        WITH_REDIS(a_word_of_zero_bytes_and_one_of_a_megabyte),
        WITH_REDIS(bytes_in_flight_are_bounded),
        WITH_REDIS(scripts_name_their_errors),
        WITH_REDIS(flushed_scripts_come_back),
        cmocka_unit_test_setup_teardown(a_full_server_says_so, set_up_small, rig_tear_down),
        WITH_REDIS(a_killed_server),
        WITHOUT(a_server_that_comes_later),
        WITH_REDIS(a_halted_server),
        WITH_REDIS(an_idle_server_that_halts),
        WITH_REDIS(a_closed_connection),
        WITH_REDIS(destroyed_with_calls_in_flight),
        WITH_REDIS(destroyed_before_anything_was_sent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
