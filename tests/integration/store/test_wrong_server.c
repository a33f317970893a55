// What does the store do with a server that is not what it needs, or no Redis at all?
#include "rig.h"

#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

// --- Wrong servers -------------------------------------------------------------------------------

static void refused(const char *const *extra, err_code_t code, const char *culprit,
                    const char *remedy) {
    rig_start_redis(extra);
    rig_open_store(rig.redis.socket);
    rig_run_until_down(1);
    assert_int_equal(rig.why.code, code);
    if (!strstr(rig.why.message, culprit) || !strstr(rig.why.remedy, remedy))
        fail_msg("%s; %s", rig.why.message, rig.why.remedy);
    rig_run(100);
    assert_int_equal(rig.ups, 0);
    store_destroy(&rig.store);
    redis_stop(&rig.redis);
    rig.downs = 0;
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
            "redis_password_file");
}

static void settings_put_right(void **state) {
    (void)state;
    rig_start_redis((const char *[]){"--appendfsync", "everysec", NULL});
    rig_open_store(rig.redis.socket);
    rig_run_until_down(1);
    assert_true(redis_do(&rig.redis, "CONFIG SET appendfsync always", NULL, 0));
    rig_run_until_up(1);
}

static void wrong_addresses(void **state) {
    (void)state;
    static const store_events_t events = {NULL, NULL};
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
        assert_int_equal(store_new(rig.loop, wrong[i], NULL, 0, &events, NULL, &rig.store, &err),
                         ERR_USAGE);
        assert_true(err.remedy[0]);
        assert_null(rig.store);
    }
    rig_open_store("127.0.0.1:1"); // nobody listens there
    rig_run_until_down(1);
    assert_int_equal(rig.why.code, ERR_UNAVAILABLE);
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
    bus_loop_watch(rig.loop, liar->listener, BUS_READ, on_liar, liar);
}

static void close_liar(liar_t *liar, const char *path) {
    bus_loop_watch(rig.loop, liar->listener, 0, NULL, NULL);
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
        rig.downs = 0;
        rig_open_store(path);
        bool stopped = rig_run(why ? 4000 : 200);
        if (stopped != (why != NULL) || rig.ups || (why && !strstr(rig.why.message, why)))
            fail_msg("case %zu: downs %d, ups %d: %s", i, rig.downs, rig.ups, rig.why.message);
        store_destroy(&rig.store);
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
    rig_open_store(path);
    assert_false(rig_run(100));
    for (size_t sent = 1000; sent < size && rig.downs == 0;) {
        ssize_t part = send(liar.client, endless + sent, size - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        sent += part > 0 ? (size_t)part : 0;
        rig_run(1);
    }
    if (rig.downs == 0)
        rig_run(2000);
    assert_int_equal(rig.downs, 1);
    assert_non_null(strstr(rig.why.message, "over the limit"));
    store_destroy(&rig.store);
    free(endless);
    close_liar(&liar, path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        WITHOUT(wrong_settings),      WITHOUT(settings_put_right),
        WITHOUT(wrong_addresses),     WITHOUT(a_server_that_talks_nonsense),
        WITHOUT(a_reply_without_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
