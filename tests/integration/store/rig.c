#include "rig.h"

#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const store_script_t rig_scripts[] = {
    [ADD] = {"add", "#!lua\nreturn redis.call('INCRBY', KEYS[1], ARGV[1])"},
    [ECHO] = {"echo", "#!lua flags=no-writes\nreturn ARGV[1]"},
    [CODES] = {"codes", "#!lua\nreturn redis.error_reply(ARGV[1])"},
    [BROKEN] = {"broken", "#!lua\nlocal x = nil; return x.field"},
    [FILL] = {"fill", "#!lua\nreturn redis.call('SET', KEYS[1], ARGV[1])"},
    [NEST] = {"nest", "#!lua\nreturn {1, {'two', false}, {err = 'STALE inside'}}"},
    [PAIR] = {"pair", "#!lua\nredis.call('SET', KEYS[1], ARGV[1])\n"
                      "return redis.call('INCRBY', KEYS[1], 1)"},
    [BACKWARD] = {"backward", "#!lua flags=allow-oom\nreturn redis.call('DEL', KEYS[1])"},
};

rig_t rig;

static void on_up(void *arg) {
    (void)arg;
    rig.ups++;
    bus_loop_stop(rig.loop);
}

static void on_down(void *arg, const err_t *why) {
    (void)arg;
    rig.downs++;
    rig.why = *why;
    bus_loop_stop(rig.loop);
}

static void on_time(void *arg) {
    (void)arg;
    rig.timed_out = true;
    bus_loop_stop(rig.loop);
}

// Runs the loop until something stops it; false: for ms.
bool rig_run(int64_t ms) {
    rig.timed_out = false;
    int timer = bus_loop_timer(rig.loop, ms, 0, on_time, NULL);
    bus_loop_run(rig.loop);
    bus_loop_timer_cancel(rig.loop, timer);
    return !rig.timed_out;
}

void rig_run_until_up(int ups) {
    int64_t end = clock_mono_ms() + PATIENCE_MS;
    while (rig.ups < ups && clock_mono_ms() < end)
        rig_run(end - clock_mono_ms());
    assert_int_equal(rig.ups, ups);
    assert_true(store_is_up(rig.store));
}

void rig_run_until_down(int downs) {
    int64_t end = clock_mono_ms() + PATIENCE_MS;
    while (rig.downs < downs && clock_mono_ms() < end)
        rig_run(end - clock_mono_ms());
    assert_int_equal(rig.downs, downs);
    assert_false(store_is_up(rig.store));
}

void rig_run_until_answered(size_t count) {
    int64_t end = clock_mono_ms() + PATIENCE_MS;
    rig.wanted = count;
    while (rig.answered < count && clock_mono_ms() < end)
        rig_run(end - clock_mono_ms());
    assert_true(rig.answered >= count); // more may have come in the same round
}

void rig_on_answer(void *arg, const store_reply_t *reply, const err_t *err) {
    size_t number = (size_t)(uintptr_t)arg;
    assert_true((reply == NULL) != (err == NULL));
    rig.disorder |= number != rig.next;
    rig.next = number + 1;
    rig.answered++;
    if (err) {
        rig.err = *err;
        rig.unknown += err->code == ERR_UNAVAILABLE;
        rig.cancelled += err->code == ERR_CANCELLED;
    } else {
        rig.good++;
        rig.last = store_integer(reply);
        store_bytes_t bytes = store_bytes(reply);
        snprintf(rig.text, sizeof rig.text, "%.*s", (int)bytes.size,
                 bytes.data ? (const char *)bytes.data : "");
    }
    if (rig.answered == rig.wanted)
        bus_loop_stop(rig.loop);
}

store_bytes_t rig_bytes_of(const char *text) {
    return (store_bytes_t){text, strlen(text)};
}

err_code_t rig_call(size_t script, const char *key, const char *arg, size_t number) {
    store_bytes_t keys = rig_bytes_of(key), args = rig_bytes_of(arg);
    return store_call(rig.store, script, &keys, 1, &args, 1, rig_on_answer, (void *)number, NULL);
}

// One call and its answer; ERR_OK if it succeeded.
err_code_t rig_ask(size_t script, const char *key, const char *arg) {
    memset(&rig.err, 0, sizeof rig.err);
    assert_int_equal(rig_call(script, key, arg, rig.next), ERR_OK);
    rig_run_until_answered(rig.answered + 1);
    return rig.err.code;
}

int64_t rig_stored_number(const char *key) {
    char command[64], reply[64] = "";
    snprintf(command, sizeof command, "GET %s", key);
    assert_true(redis_do(&rig.redis, command, reply, sizeof reply));
    return atoll(reply);
}

void rig_open_store(const char *address) {
    static const store_events_t events = {on_up, on_down};
    err_t err;
    if (store_new(rig.loop, address, rig_scripts, SCRIPT_COUNT, &events, NULL, &rig.store, &err))
        fail_msg("%s", err.message);
}

void rig_start_redis(const char *const *extra) {
    err_t err;
    if (redis_start(&rig.redis, extra, &err))
        fail_msg("%s; %s", err.message, err.remedy);
}

int rig_set_up_bare(void **state) {
    (void)state;
    memset(&rig, 0, sizeof rig);
    rig.loop = bus_loop_new();
    return 0;
}

int rig_set_up(void **state) {
    rig_set_up_bare(state);
    rig_start_redis(NULL);
    rig_open_store(rig.redis.socket);
    rig_run_until_up(1);
    return 0;
}

int rig_tear_down(void **state) {
    (void)state;
    store_destroy(&rig.store);
    redis_stop(&rig.redis);
    bus_loop_destroy(&rig.loop);
    return 0;
}
