// Does the store keep its promises with a real Redis: every call answered once and in order, what a
// broken connection left unknown said to be so, and up again by itself?
#include "base/clock.h"
#include "store/store.h"
#include "support/redis.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#define PATIENCE_MS 20000

enum { ADD, ECHO, CODES, BROKEN, FILL, NEST, BACKWARD, SCRIPT_COUNT };
static const store_script_t scripts[] = {
    [ADD] = {"add", "#!lua\nreturn redis.call('INCRBY', KEYS[1], ARGV[1])"},
    [ECHO] = {"echo", "#!lua flags=no-writes\nreturn ARGV[1]"},
    [CODES] = {"codes", "#!lua\nreturn redis.error_reply(ARGV[1])"},
    [BROKEN] = {"broken", "#!lua\nlocal x = nil; return x.field"},
    [FILL] = {"fill", "#!lua\nreturn redis.call('SET', KEYS[1], ARGV[1])"},
    [NEST] = {"nest", "#!lua\nreturn {1, {'two', false}, {err = 'STALE inside'}}"},
    [BACKWARD] = {"backward", "#!lua flags=allow-oom\nreturn redis.call('DEL', KEYS[1])"},
};

typedef struct {
    bus_loop_t *loop;
    store_t *store;
    redis_t redis;
    int ups, downs;
    err_t why; // of the last down()
    size_t answered, good, unknown, cancelled;
    size_t next; // order of answers
    bool disorder;
    size_t wanted; // on_number stops the loop after so many answers
    int64_t sum, last;
    err_t err; // of the last answer
    bool timed_out;
    char text[256];
} bench_t;

static bench_t *bench;

// --- Helpers -------------------------------------------------------------------------------------

static void on_up(void *arg) {
    (void)arg;
    bench->ups++;
    bus_loop_stop(bench->loop);
}

static void on_down(void *arg, const err_t *why) {
    (void)arg;
    bench->downs++;
    bench->why = *why;
    bus_loop_stop(bench->loop);
}

static void on_time(void *arg) {
    (void)arg;
    bench->timed_out = true;
    bus_loop_stop(bench->loop);
}

// Runs the loop until something stops it; false: for ms.
static bool run(int64_t ms) {
    bench->timed_out = false;
    int timer = bus_loop_timer(bench->loop, ms, 0, on_time, NULL);
    bus_loop_run(bench->loop);
    bus_loop_timer_cancel(bench->loop, timer);
    return !bench->timed_out;
}

static void run_until_up(int ups) {
    int64_t end = clock_mono_ms() + PATIENCE_MS;
    while (bench->ups < ups && clock_mono_ms() < end)
        run(end - clock_mono_ms());
    assert_int_equal(bench->ups, ups);
    assert_true(store_is_up(bench->store));
}

static void run_until_down(int downs) {
    int64_t end = clock_mono_ms() + PATIENCE_MS;
    while (bench->downs < downs && clock_mono_ms() < end)
        run(end - clock_mono_ms());
    assert_int_equal(bench->downs, downs);
    assert_false(store_is_up(bench->store));
}

static void run_until_answered(size_t count) {
    int64_t end = clock_mono_ms() + PATIENCE_MS;
    bench->wanted = count;
    while (bench->answered < count && clock_mono_ms() < end)
        run(end - clock_mono_ms());
    assert_true(bench->answered >= count); // more may have come in the same round
}

static void on_answer(void *arg, const store_reply_t *reply, const err_t *err) {
    size_t number = (size_t)(uintptr_t)arg;
    assert_true((reply == NULL) != (err == NULL));
    bench->disorder |= number != bench->next;
    bench->next = number + 1;
    bench->answered++;
    if (err) {
        bench->err = *err;
        bench->unknown += err->code == ERR_UNAVAILABLE;
        bench->cancelled += err->code == ERR_CANCELLED;
    } else {
        bench->good++;
        bench->last = store_integer(reply);
        store_bytes_t bytes = store_bytes(reply);
        snprintf(bench->text, sizeof bench->text, "%.*s", (int)bytes.size,
                 bytes.data ? (const char *)bytes.data : "");
    }
    if (bench->answered == bench->wanted)
        bus_loop_stop(bench->loop);
}

static store_bytes_t bytes_of(const char *text) {
    return (store_bytes_t){text, strlen(text)};
}

static err_code_t call(size_t script, const char *key, const char *arg, size_t number) {
    store_bytes_t keys = bytes_of(key), args = bytes_of(arg);
    return store_call(bench->store, script, &keys, 1, &args, 1, on_answer, (void *)number, NULL);
}

// One call and its answer; ERR_OK if it succeeded.
static err_code_t ask(size_t script, const char *key, const char *arg) {
    memset(&bench->err, 0, sizeof bench->err);
    assert_int_equal(call(script, key, arg, bench->next), ERR_OK);
    run_until_answered(bench->answered + 1);
    return bench->err.code;
}

static int64_t stored_number(const char *key) {
    char command[64], reply[64] = "";
    snprintf(command, sizeof command, "GET %s", key);
    assert_true(redis_do(&bench->redis, command, reply, sizeof reply));
    return atoll(reply);
}

static void open_store(const char *address) {
    static const store_events_t events = {on_up, on_down};
    err_t err;
    if (store_new(bench->loop, address, scripts, SCRIPT_COUNT, &events, NULL, &bench->store, &err))
        fail_msg("%s", err.message);
}

static void start_redis(const char *const *extra) {
    err_t err;
    if (redis_start(&bench->redis, extra, &err))
        fail_msg("%s; %s", err.message, err.remedy);
}

static int set_up_bare(void **state) {
    (void)state;
    bench = mem_zero(1, sizeof *bench);
    bench->loop = bus_loop_new();
    return 0;
}

static int set_up(void **state) {
    set_up_bare(state);
    start_redis(NULL);
    open_store(bench->redis.socket);
    run_until_up(1);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    store_destroy(&bench->store);
    redis_stop(&bench->redis);
    bus_loop_destroy(&bench->loop);
    free(bench);
    return 0;
}

// --- Calls ---------------------------------------------------------------------------------------

static void answers_come_in_order(void **state) {
    (void)state;
    for (size_t i = 0; i < STORE_PIPELINE_MAX; i++)
        assert_int_equal(call(ADD, "n", "1", i), ERR_OK);
    assert_int_equal(call(ADD, "n", "1", 0), ERR_FULL);
    assert_int_equal(store_stats(bench->store).in_flight, STORE_PIPELINE_MAX);
    run_until_answered(STORE_PIPELINE_MAX);
    assert_false(bench->disorder);
    assert_int_equal(bench->good, STORE_PIPELINE_MAX);
    assert_int_equal(bench->last, STORE_PIPELINE_MAX);
    assert_int_equal(stored_number("n"), STORE_PIPELINE_MAX);
    assert_int_equal(store_stats(bench->store).in_flight_bytes, 0);
}

static void on_chain(void *arg, const store_reply_t *reply, const err_t *err) {
    (void)arg;
    assert_null(err);
    bench->last = store_integer(reply);
    store_bytes_t key = bytes_of("chain"), one = bytes_of("1");
    if (bench->last == 100)
        bus_loop_stop(bench->loop);
    else
        assert_int_equal(store_call(bench->store, ADD, &key, 1, &one, 1, on_chain, NULL, NULL),
                         ERR_OK);
}

static void callbacks_may_call_again(void **state) {
    (void)state;
    store_bytes_t key = bytes_of("chain"), one = bytes_of("1");
    store_call(bench->store, ADD, &key, 1, &one, 1, on_chain, NULL, NULL);
    assert_true(run(PATIENCE_MS));
    assert_int_equal(bench->last, 100);
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
    bus_loop_stop(bench->loop);
}

static void replies_of_every_kind(void **state) {
    (void)state;
    store_call(bench->store, NEST, NULL, 0, NULL, 0, on_nest, NULL, NULL);
    assert_true(run(PATIENCE_MS));
    assert_int_equal(ask(ECHO, "k", "-9223372036854775808"), ERR_OK);
    assert_int_equal(bench->last, INT64_MIN);
    assert_int_equal(ask(ECHO, "k", "12 monkeys"), ERR_OK);
    assert_int_equal(bench->last, 0);
    assert_int_equal(ask(ECHO, "k", ""), ERR_OK);
    assert_string_equal(bench->text, "");
}

static void a_word_of_zero_bytes_and_one_of_a_megabyte(void **state) {
    (void)state;
    size_t size = 1 << 20;
    char *big = mem_alloc(size);
    memset(big, 0, size);
    store_bytes_t words[3] = {bytes_of("SET"), bytes_of("big"), {big, size}};
    store_bytes_t length[2] = {bytes_of("STRLEN"), bytes_of("big")};
    assert_int_equal(store_command(bench->store, words, 3, on_answer, (void *)0, NULL), ERR_OK);
    free(big); // it was copied
    assert_int_equal(store_command(bench->store, length, 2, on_answer, (void *)1, NULL), ERR_OK);
    run_until_answered(2);
    assert_int_equal(bench->last, size);
    assert_false(bench->disorder);
}

static void bytes_in_flight_are_bounded(void **state) {
    (void)state;
    size_t size = 1 << 20, accepted = 0;
    char *big = mem_zero(1, STORE_BYTES_MAX + 1);
    store_bytes_t words[3] = {bytes_of("SET"), bytes_of("big"), {big, size}};
    err_t err;
    while (store_command(bench->store, words, 3, on_answer, (void *)accepted, &err) == ERR_OK)
        accepted++;
    assert_int_equal(err.code, ERR_FULL);
    assert_int_equal(accepted, STORE_BYTES_MAX / size - 1);
    words[2].size = STORE_BYTES_MAX + 1;
    assert_int_equal(store_command(bench->store, words, 3, on_answer, NULL, NULL), ERR_TOO_LARGE);
    free(big);
    run_until_answered(accepted);
    assert_int_equal(bench->good, accepted);
    assert_false(bench->disorder);
}

// --- Errors of scripts ---------------------------------------------------------------------------

static void scripts_name_their_errors(void **state) {
    (void)state;
    assert_int_equal(ask(CODES, "k", "STALE the lease was lost"), ERR_STALE);
    assert_string_equal(bench->err.message, "the lease was lost");
    assert_int_equal(ask(CODES, "k", "NOT_FOUND no job 17"), ERR_NOT_FOUND);
    assert_int_equal(ask(CODES, "k", "FULL queue"), ERR_FULL);
    assert_int_equal(ask(CODES, "k", "UNHEARD of"), ERR_INTERNAL);
    assert_non_null(strstr(bench->err.message, "codes"));
    assert_non_null(strstr(bench->err.message, "UNHEARD of"));
    assert_int_equal(ask(CODES, "k", "OK not"), ERR_INTERNAL);
    assert_int_equal(ask(BROKEN, "k", ""), ERR_INTERNAL);
    assert_non_null(strstr(bench->err.message, "script broken failed"));
    store_bytes_t words[2] = {bytes_of("INCR"), bytes_of("k")};
    assert_int_equal(ask(FILL, "k", "no number"), ERR_OK);
    store_command(bench->store, words, 2, on_answer, (void *)bench->next, NULL);
    run_until_answered(bench->answered + 1);
    assert_int_equal(bench->err.code, ERR_INTERNAL);
    assert_non_null(strstr(bench->err.message, "command INCR failed"));
    assert_int_equal(bench->downs, 0);
}

static void flushed_scripts_come_back(void **state) {
    (void)state;
    for (int round = 0; round < 3; round++) {
        assert_true(redis_do(&bench->redis, "SCRIPT FLUSH", NULL, 0));
        size_t before = bench->answered;
        for (size_t i = 0; i < 1000; i++)
            assert_int_equal(call(i % 2 ? ADD : ECHO, "n", "1", before + i), ERR_OK);
        run_until_answered(before + 1000);
    }
    assert_int_equal(bench->good, 3000);
    assert_false(bench->disorder);
    assert_int_equal(stored_number("n"), 1500);
    assert_int_equal(bench->ups, 1);
    assert_int_equal(bench->downs, 0);
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
        code = ask(FILL, key, big);
    }
    free(big);
    assert_int_equal(code, ERR_FULL);
    assert_non_null(strstr(bench->err.message, "fill"));
    assert_true(bench->err.remedy[0]);
    assert_int_equal(ask(BACKWARD, "fill:0", ""), ERR_OK); // allow-oom
    assert_int_equal(ask(ECHO, "k", "still here"), ERR_OK);
    assert_int_equal(bench->downs, 0);
}

// --- Lost servers --------------------------------------------------------------------------------

static void a_killed_server(void **state) {
    (void)state;
    for (int round = 1; round <= 3; round++) {
        size_t before = bench->answered, good = bench->good, unknown = bench->unknown;
        int64_t stored = stored_number("n");
        for (size_t i = 0; i < 4000; i++)
            assert_int_equal(call(ADD, "n", "1", before + i), ERR_OK);
        run_until_answered(before + 1 + (size_t)(rand() % 500));
        redis_kill(&bench->redis);
        run_until_down(round);
        assert_int_equal(bench->answered, before + 4000); // each once, before down()
        assert_false(bench->disorder);
        assert_int_equal(bench->why.code, ERR_UNAVAILABLE);
        assert_int_equal(call(ADD, "n", "1", 0), ERR_UNAVAILABLE);
        good = bench->good - good;
        unknown = bench->unknown - unknown;
        assert_int_equal(good + unknown, 4000);
        err_t err;
        assert_int_equal(redis_restart(&bench->redis, &err), ERR_OK);
        int64_t started = clock_mono_ms();
        run_until_up(round + 1);
        assert_in_range(clock_mono_ms() - started, 0, 2000);
        stored = stored_number("n") - stored;
        assert_in_range(stored, good, 4000); // nothing acknowledged is lost
    }
}

static void a_server_that_comes_later(void **state) {
    (void)state;
    start_redis(NULL);
    redis_kill(&bench->redis);
    unlink(bench->redis.socket);
    open_store(bench->redis.socket);
    run_until_down(1);
    run(300);
    assert_int_equal(bench->downs, 1); // the same reason is told once
    assert_non_null(strstr(bench->why.message, bench->redis.socket));
    err_t err;
    assert_int_equal(redis_restart(&bench->redis, &err), ERR_OK);
    run_until_up(1);
}

static void a_halted_server(void **state) {
    (void)state;
    redis_pause(&bench->redis);
    for (size_t i = 0; i < 500; i++)
        assert_int_equal(call(ADD, "n", "1", i), ERR_OK);
    int64_t started = clock_mono_ms();
    run_until_down(1);
    assert_in_range(clock_mono_ms() - started, STORE_SILENCE_MS, 2 * STORE_SILENCE_MS);
    assert_int_equal(bench->unknown, 500);
    assert_non_null(strstr(bench->why.message, "does not answer"));
    run(300); // a connection to the halted server waits for its first answer
    assert_int_equal(bench->ups, 1);
    redis_resume(&bench->redis);
    run_until_up(2);
    // What the old connection had sent is carried out before up() or never.
    int64_t then = stored_number("n");
    assert_int_equal(ask(ADD, "n", "1"), ERR_OK);
    run(300);
    assert_int_equal(stored_number("n"), then + 1);
}

static void an_idle_server_that_halts(void **state) {
    (void)state;
    redis_pause(&bench->redis);
    run_until_down(1);
    redis_resume(&bench->redis);
    run_until_up(2);
}

static void a_closed_connection(void **state) {
    (void)state;
    char reply[64];
    assert_true(redis_do(&bench->redis, "CLIENT KILL TYPE normal SKIPME yes", reply, sizeof reply));
    run_until_down(1);
    run_until_up(2);
    assert_int_equal(ask(ADD, "n", "1"), ERR_OK);
    assert_int_equal(store_stats(bench->store).connections, 2);
}

static void destroyed_with_calls_in_flight(void **state) {
    (void)state;
    redis_pause(&bench->redis);
    for (size_t i = 0; i < 100; i++)
        assert_int_equal(call(ADD, "n", "1", i), ERR_OK);
    run(20);
    store_destroy(&bench->store);
    assert_int_equal(bench->cancelled, 100);
    assert_false(bench->disorder);
    assert_int_equal(bench->downs, 0);
    run(20); // nothing of it is left in the loop
}

static void destroyed_before_anything_was_sent(void **state) {
    (void)state;
    assert_int_equal(call(ADD, "n", "1", 0), ERR_OK);
    store_destroy(&bench->store);
    assert_int_equal(bench->cancelled, 1);
    run(20);
}

// --- Wrong servers -------------------------------------------------------------------------------

static void refused(const char *const *extra, err_code_t code, const char *culprit,
                    const char *remedy) {
    start_redis(extra);
    open_store(bench->redis.socket);
    run_until_down(1);
    assert_int_equal(bench->why.code, code);
    if (!strstr(bench->why.message, culprit) || !strstr(bench->why.remedy, remedy))
        fail_msg("%s; %s", bench->why.message, bench->why.remedy);
    run(100);
    assert_int_equal(bench->ups, 0);
    store_destroy(&bench->store);
    redis_stop(&bench->redis);
    bench->downs = 0;
}

static void wrong_settings(void **state) {
    (void)state;
    refused((const char *[]){"--appendonly", "no", NULL}, ERR_INVALID, "appendonly no",
            "CONFIG SET appendonly yes");
    refused((const char *[]){"--appendfsync", "everysec", NULL}, ERR_INVALID,
            "appendfsync everysec", "CONFIG SET appendfsync always");
    refused((const char *[]){"--maxmemory-policy", "allkeys-lru", NULL}, ERR_INVALID,
            "maxmemory-policy allkeys-lru", "CONFIG SET maxmemory-policy noeviction");
    refused((const char *[]){"--replicaof", "127.0.0.1 1", NULL}, ERR_UNSUPPORTED, "replica",
            "master");
    refused((const char *[]){"--cluster-enabled", "yes", NULL}, ERR_UNSUPPORTED, "cluster",
            "cluster-enabled no");
    refused((const char *[]){"--requirepass", "secret", NULL}, ERR_UNAVAILABLE, "NOAUTH",
            "without a password");
}

static void settings_put_right(void **state) {
    (void)state;
    start_redis((const char *[]){"--appendfsync", "everysec", NULL});
    open_store(bench->redis.socket);
    run_until_down(1);
    assert_true(redis_do(&bench->redis, "CONFIG SET appendfsync always", NULL, 0));
    run_until_up(1);
}

static void wrong_addresses(void **state) {
    (void)state;
    static const store_events_t events = {on_up, on_down};
    char long_path[200] = "/";
    memset(long_path + 1, 'x', 150);
    const char *const wrong[] = {"",
                                 "localhost",
                                 "localhost:",
                                 ":6379",
                                 "localhost:70000",
                                 "localhost:0",
                                 "localhost:6379x",
                                 long_path};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        err_t err = {0};
        assert_int_equal(
            store_new(bench->loop, wrong[i], NULL, 0, &events, NULL, &bench->store, &err),
            ERR_USAGE);
        assert_true(err.remedy[0]);
        assert_null(bench->store);
    }
    open_store("127.0.0.1:1"); // nobody listens there
    run_until_down(1);
    assert_int_equal(bench->why.code, ERR_UNAVAILABLE);
}

// --- A hostile server ----------------------------------------------------------------------------

#define GOOD_INFO                                                                                  \
    "$80\r\nredis_version:7.0.15\r\nrun_id:abcdef\r\nrole:master\r\nloading:0\r\n"                 \
    "cluster_enabled:0\r\n\r\n"
#define GOOD_CONFIG                                                                                \
    "*6\r\n$10\r\nappendonly\r\n$3\r\nyes\r\n$11\r\nappendfsync\r\n$6\r\nalways\r\n"               \
    "$16\r\nmaxmemory-policy\r\n$10\r\nnoeviction\r\n"

typedef struct {
    const char *bytes;
    size_t size;
    const char *why; // a part of the reason; NULL: none, for it is waited for the rest
} garbage_t;
#define GARBAGE(text, why)                                                                         \
    { text, sizeof(text) - 1, why }
static const garbage_t garbage[] = {
    GARBAGE("HTTP/1.1 400 Bad Request\r\n\r\n", "breaks the protocol"),
    GARBAGE("\0\0\0\0\0\0\0\0\0\0\0\0", "breaks the protocol"),
    GARBAGE("*1000000000\r\n", "limit"),
    GARBAGE("*2147483647\r\n*2147483647\r\n", "breaks the protocol"),
    GARBAGE("*-7\r\n", "breaks the protocol"),
    GARBAGE("*9223372036854775807\r\n", "breaks the protocol"),
    GARBAGE("*99999999999999999999999999\r\n", "breaks the protocol"),
    GARBAGE("$-5\r\n", "breaks the protocol"),
    GARBAGE("$9223372036854775807\r\nx", NULL),
    GARBAGE("$5\r\nabc", NULL),
    GARBAGE(":notanumber\r\n", "breaks the protocol"),
    GARBAGE("*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n",
            "breaks the protocol"),
    GARBAGE("*1000000\r\n*1000000\r\n*1000000\r\n", "limit"),
    GARBAGE("+OK\r\n+OK\r\n+OK\r\n+OK\r\n+OK\r\n+OK\r\n+OK\r\n+OK\r\n+OK\r\n+OK\r\n+OK\r\n",
            "answers INFO with"),
    GARBAGE("*-1\r\n$-1\r\n*0\r\n", "answers INFO with"),
    GARBAGE("-ERR unknown command\r\n-\r\n-OOM\r\n", "unknown command"),
    GARBAGE(GOOD_INFO "*0\r\n:1\r\n", "appendonly unknown"),
    GARBAGE(GOOD_INFO "*3\r\n:1\r\n*-1\r\n$-1\r\n:1\r\n", "appendonly unknown"),
    GARBAGE(GOOD_INFO GOOD_CONFIG "$2\r\nid\r\n", "answers CLIENT ID with"),
    GARBAGE(GOOD_INFO GOOD_CONFIG ":7\r\n+OK\r\n", "what was not asked"),
    GARBAGE(GOOD_INFO GOOD_CONFIG ":7\r\n$3\r\nsha\r\n", "what was not asked"),
    GARBAGE(GOOD_INFO GOOD_CONFIG ":7\r\n-ERR Error compiling script\r\n", "what was not asked"),
};

typedef struct {
    int listener, client;
    garbage_t says;
} liar_t;

static void on_liar(void *arg, int events) {
    liar_t *liar = arg;
    (void)events;
    int client = accept(liar->listener, NULL, NULL);
    if (client < 0)
        return;
    if (liar->client >= 0)
        close(liar->client);
    liar->client = client;
    ssize_t size = send(client, liar->says.bytes, liar->says.size, MSG_NOSIGNAL);
    (void)size;
}

static void open_liar(liar_t *liar, char path[64]) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(path, 64, "/tmp/inkling-liar-%d", (int)getpid());
    unlink(path);
    strcpy(address.sun_path, path);
    liar->client = -1;
    liar->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(liar->listener, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(liar->listener, 8), 0);
    bus_loop_watch(bench->loop, liar->listener, BUS_READ, on_liar, liar);
}

static void close_liar(liar_t *liar, const char *path) {
    bus_loop_watch(bench->loop, liar->listener, 0, NULL, NULL);
    close(liar->listener);
    if (liar->client >= 0)
        close(liar->client);
    unlink(path);
}

// Whatever it says: a reason, no crash, no up(). What is cut short is waited for.
static void a_server_that_talks_nonsense(void **state) {
    (void)state;
    liar_t liar;
    char path[64];
    open_liar(&liar, path);
    for (size_t i = 0; i < sizeof garbage / sizeof *garbage; i++) {
        const char *why = garbage[i].why;
        liar.says = garbage[i];
        bench->downs = 0;
        open_store(path);
        bool stopped = run(why ? 4000 : 200);
        if (stopped != (why != NULL) || bench->ups || (why && !strstr(bench->why.message, why)))
            fail_msg("case %zu: downs %d, ups %d: %s", i, bench->downs, bench->ups,
                     bench->why.message);
        store_destroy(&bench->store);
    }
    close_liar(&liar, path);
}

static void a_reply_without_end(void **state) {
    (void)state;
    liar_t liar;
    char path[64];
    open_liar(&liar, path);
    size_t size = STORE_REPLY_MAX + 65536;
    char *endless = mem_alloc(size);
    memset(endless, 'x', size);
    memcpy(endless, "$1000000000\r\n", 13);
    liar.says = (garbage_t){endless, 1000, NULL};
    open_store(path);
    assert_false(run(100));
    for (size_t sent = 1000; sent < size && bench->downs == 0;) {
        ssize_t part = send(liar.client, endless + sent, size - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        sent += part > 0 ? (size_t)part : 0;
        run(1);
    }
    if (bench->downs == 0)
        run(2000);
    assert_int_equal(bench->downs, 1);
    assert_non_null(strstr(bench->why.message, "over the limit"));
    store_destroy(&bench->store);
    free(endless);
    close_liar(&liar, path);
}

#define WITH_REDIS(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
#define WITHOUT(test)    cmocka_unit_test_setup_teardown(test, set_up_bare, tear_down)

static int set_up_small(void **state) {
    set_up_bare(state);
    start_redis((const char *[]){"--maxmemory", "8mb", NULL});
    open_store(bench->redis.socket);
    run_until_up(1);
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
        cmocka_unit_test_setup_teardown(a_full_server_says_so, set_up_small, tear_down),
        WITH_REDIS(a_killed_server),
        WITHOUT(a_server_that_comes_later),
        WITH_REDIS(a_halted_server),
        WITH_REDIS(an_idle_server_that_halts),
        WITH_REDIS(a_closed_connection),
        WITH_REDIS(destroyed_with_calls_in_flight),
        WITH_REDIS(destroyed_before_anything_was_sent),
        WITHOUT(wrong_settings),
        WITHOUT(settings_put_right),
        WITHOUT(wrong_addresses),
        WITHOUT(a_server_that_talks_nonsense),
        WITHOUT(a_reply_without_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
