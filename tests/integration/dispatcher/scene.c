#include "scene.h"

#include "base/clock.h"
#include "base/fs.h"
#include "conf/conf.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HISTORY_MAX 8192

scene_t scene;

// --- Life
// ---------------------------------------------------------------------------------------

static void start(proc_t *proc, const char *name) {
    err_t err;
    if (proc_start(proc, "inkling-dispatcher", name, scene.home, NULL, scene.env, &err) != ERR_OK)
        fail_msg("%s; %s", err.message, err.remedy);
}

void scene_begin_dispatcher(void) {
    start(&scene.dispatcher, "dispatcher");
}

void scene_start_dispatcher(void) {
    err_t err;
    scene_begin_dispatcher();
    if (proc_await_ready(&scene.dispatcher, PATIENCE_MS, &err) != ERR_OK)
        fail_msg("%s: %s", err.message, proc_output(&scene.dispatcher));
}

void scene_start_second(proc_t *proc, const char *name) {
    start(proc, name);
}

void scene_kill_dispatcher(void) {
    proc_kill(&scene.dispatcher);
}

static void set(const char *setting) {
    assert_true(scene.env_count + 1 < sizeof scene.env / sizeof *scene.env);
    scene.env[scene.env_count++] = setting;
}

void scene_open(const char *const *redis_extra, const char *const *settings) {
    err_t err;
    memset(&scene, 0, sizeof scene);
    scene.arena = proto_arena_new();
    if (redis_start(&scene.redis, redis_extra, &err) != ERR_OK ||
        proc_make_home(scene.home, &err) != ERR_OK)
        fail_msg("%s; %s", err.message, err.remedy);
    snprintf(scene.redis_setting, sizeof scene.redis_setting, "INKLING_REDIS=%s",
             scene.redis.socket);
    set(scene.redis_setting);
    set("INKLING_HEARTBEAT_MS=100");
    set("INKLING_DISK_RESERVE_MB=0");
    for (; settings && *settings; settings++)
        set(*settings);
    scene.endpoint = conf_endpoint(scene.home, "dispatcher");
    if (client_new(scene.endpoint, "the dispatcher", &scene.client, &err) != ERR_OK)
        fail_msg("%s", err.message);
    scene_start_dispatcher();
}

// The dispatcher's log is of use where a test has failed or a sanitizer has something to say.
int scene_close(void **state) {
    (void)state;
    for (size_t i = 0; i < HANDS_MAX; i++)
        if (scene.hands[i])
            hand_close(scene.hands[i]);
    int status = 0;
    if (scene.dispatcher.pid) {
        proc_signal(&scene.dispatcher, SIGCONT);
        proc_signal(&scene.dispatcher, SIGTERM);
        if (proc_await_end(&scene.dispatcher, PATIENCE_MS, &status, NULL) != ERR_OK)
            status = -1;
    }
    if (status) {
        char *output = proc_output(&scene.dispatcher);
        fprintf(stderr, "the dispatcher ended with %d:\n%s\n", status, output);
        free(output);
    }
    proc_kill(&scene.dispatcher);
    redis_stop(&scene.redis);
    client_destroy(&scene.client);
    proto_arena_destroy(&scene.arena);
    free(scene.endpoint);
    if (scene.home[0])
        proc_remove_home(scene.home);
    memset(&scene, 0, sizeof scene);
    return status;
}

double scene_metric(const char *name) {
    return proc_metric(&scene.dispatcher, name);
}

void scene_redis(const char *command, char *reply, size_t size) {
    if (!redis_do(&scene.redis, command, reply, size))
        fail_msg("Redis does not answer %s", command);
}

int64_t scene_redis_number(const char *command) {
    char reply[64] = "";
    scene_redis(command, reply, sizeof reply);
    return atoll(reply);
}

// --- Client
// -------------------------------------------------------------------------------------

void *scene_try(proto_type_t type, const void *message, proto_type_t reply_type, int64_t timeout_ms,
                err_t *err) {
    void *reply = proto_arena_alloc(scene.arena, proto_message(reply_type)->size);
    return client_request(scene.client, type, message, NULL, 0, reply_type, reply, scene.arena,
                          timeout_ms, NULL, err) == ERR_OK
               ? reply
               : NULL;
}

void *scene_ask(proto_type_t type, const void *message, proto_type_t reply_type) {
    err_t err;
    void *reply = scene_try(type, message, reply_type, PATIENCE_MS, &err);
    if (!reply)
        fail_msg("%s: %s: %s; %s", proto_message(type)->wire, err_name(err.code), err.message,
                 err.remedy);
    return reply;
}

err_t scene_refused(proto_type_t type, const void *message, err_code_t code) {
    err_t err = {ERR_OK, "", ""};
    proto_type_t reply = PROTO_ok;
    void *room = proto_arena_alloc(scene.arena, 4096);
    client_request(scene.client, type, message, NULL, 0, reply, room, scene.arena, PATIENCE_MS,
                   NULL, &err);
    if (err.code != code)
        fail_msg("%s: %s, not %s: %s", proto_message(type)->wire, err_name(err.code),
                 err_name(code), err.message);
    return err;
}

proto_bytes_t scene_map(const char *json) {
    proto_bytes_t map = {NULL, 0};
    err_t err;
    json_t *object = json ? json_loads(json, 0, NULL) : NULL;
    if (json && (!object || proto_map_from_json(object, scene.arena, &map, &err) != ERR_OK))
        fail_msg("%s is no map", json);
    json_decref(object);
    return map;
}

char *scene_json(proto_bytes_t map) {
    json_t *object = map.size ? proto_map_json(map) : NULL;
    char *text = object ? json_dumps(object, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
    char *kept = proto_arena_text(scene.arena, text ? text : "");
    free(text);
    json_decref(object);
    return kept;
}

proto_job_submit_t scene_wish(const char *kind, const char *body_json) {
    proto_job_submit_t submit;
    proto_defaults(PROTO_job_submit, &submit);
    submit.kind = kind;
    submit.body = scene_map(body_json);
    return submit;
}

const char *scene_submit(const char *kind, const char *body_json) {
    proto_job_submit_t submit = scene_wish(kind, body_json);
    const proto_job_submitted_t *done = scene_ask(PROTO_job_submit, &submit, PROTO_job_submitted);
    return done->job;
}

const proto_job_info_t *scene_show(const char *job) {
    proto_job_show_t show = {.job = job};
    return ((proto_job_t *)scene_ask(PROTO_job_show, &show, PROTO_job))->job;
}

const proto_job_reason_t *scene_why(const char *job) {
    proto_job_why_t why = {.job = job};
    return scene_ask(PROTO_job_why, &why, PROTO_job_reason);
}

void scene_await_state(const char *job, const char *state) {
    int64_t end_ms = clock_mono_ms() + PATIENCE_MS;
    const proto_job_info_t *info = scene_show(job);
    while (strcmp(info->state, state) != 0 && clock_mono_ms() < end_ms) {
        clock_sleep_ms(10);
        info = scene_show(job);
    }
    assert_string_equal(info->state, state);
}

const proto_events_t *scene_events(const char *job, uint64_t after, uint64_t wait_ms) {
    proto_job_events_t events;
    proto_defaults(PROTO_job_events, &events);
    events.job = job;
    events.after = after;
    events.wait_ms = wait_ms;
    return scene_ask(PROTO_job_events, &events, PROTO_events);
}

char *scene_history(const char *job) {
    char *history = proto_arena_alloc(scene.arena, HISTORY_MAX);
    size_t used = 0;
    const proto_events_t *page;
    uint64_t after = 0;
    do {
        page = scene_events(job, after, 0);
        if (after == 0)
            after = page->first - 1;
        for (size_t i = 0; i < page->events.count; i++) {
            const proto_event_t *event = &page->events.items[i];
            assert_int_equal(event->n, ++after);
            if (strcmp(event->type, "state") != 0)
                continue;
            json_t *data = proto_map_json(event->data);
            used += (size_t)snprintf(history + used, HISTORY_MAX - used, "%s%s", used ? " " : "",
                                     json_string_value(json_object_get(data, "state")));
            json_decref(data);
            assert_true(used < HISTORY_MAX);
        }
    } while (after < page->last);
    return history;
}

// --- Worker
// -------------------------------------------------------------------------------------

static void on_message(void *arg, bus_socket_t *socket, const bus_message_t *message) {
    hand_t *hand = arg;
    err_t err;
    (void)socket;
    void *body = proto_arena_alloc(scene.arena, proto_message(message->type)->size);
    proto_bytes_t copy = {proto_arena_alloc(scene.arena, message->body.size + 1),
                          message->body.size};
    memcpy((void *)(uintptr_t)copy.data, message->body.data, copy.size);
    if (proto_decode(message->type, copy.data, copy.size, scene.arena, body, &err) != ERR_OK)
        fail_msg("%s", err.message);
    assert_true(hand->got_count < sizeof hand->got / sizeof *hand->got);
    hand->got[hand->got_count].type = message->type;
    hand->got[hand->got_count].id = message->id;
    hand->got[hand->got_count++].body = body;
}

void hand_open(hand_t *hand, const char *name, const char *kind, size_t slots) {
    err_t err;
    memset(hand, 0, sizeof *hand);
    hand->name = name;
    hand->boot = "boot-1";
    hand->kinds[0] = kind;
    hand->slots = slots;
    hand->next_id = 1;
    if (bus_dealer_new(NULL, scene.endpoint, on_message, hand, &hand->dealer, &err) != ERR_OK)
        fail_msg("%s", err.message);
    for (size_t i = 0; i < HANDS_MAX; i++)
        if (!scene.hands[i]) {
            scene.hands[i] = hand;
            return;
        }
    fail_msg("too many hands");
}

void hand_close(hand_t *hand) {
    bus_socket_destroy(&hand->dealer);
    for (size_t i = 0; i < HANDS_MAX; i++)
        if (scene.hands[i] == hand)
            scene.hands[i] = NULL;
}

// What came with that id (0: unasked) and type (if id is 0).
static void *pick(hand_t *hand, uint64_t id, proto_type_t type, proto_type_t *picked) {
    for (size_t i = 0; i < hand->got_count; i++) {
        if (hand->got[i].id != id || (id == 0 && hand->got[i].type != type))
            continue;
        void *body = hand->got[i].body;
        if (picked)
            *picked = hand->got[i].type;
        memmove(&hand->got[i], &hand->got[i + 1], (hand->got_count - i - 1) * sizeof *hand->got);
        hand->got_count--;
        return body;
    }
    return NULL;
}

const void *hand_next(hand_t *hand, proto_type_t type, int64_t timeout_ms) {
    int64_t end_ms = clock_mono_ms() + timeout_ms;
    void *body;
    while ((body = pick(hand, 0, type, NULL)) == NULL && clock_mono_ms() <= end_ms)
        bus_receive(hand->dealer, end_ms - clock_mono_ms(), on_message, hand, NULL);
    return body;
}

// Until the answer comes; sent once, so only where nothing is killed meanwhile.
void *hand_try(hand_t *hand, proto_type_t type, const void *message, proto_type_t reply_type,
               err_t *err) {
    uint64_t id = hand->next_id++;
    int64_t end_ms = clock_mono_ms() + PATIENCE_MS;
    proto_type_t came = PROTO_ok;
    if (bus_send(hand->dealer, NULL, id, 0, type, message, NULL, 0, err) != ERR_OK)
        fail_msg("%s: %s", proto_message(type)->wire, err->message);
    void *body = NULL;
    while ((body = pick(hand, id, type, &came)) == NULL && clock_mono_ms() < end_ms)
        bus_receive(hand->dealer, end_ms - clock_mono_ms(), on_message, hand, NULL);
    if (!body) {
        fail_msg("no answer to %s", proto_message(type)->wire);
        return NULL;
    }
    if (came == PROTO_error) {
        const proto_error_t *error = body;
        err_set(err, err_from_name(error->code), "%s", error->message);
        err_remedy(err, "%s", error->remedy);
        return NULL;
    }
    assert_int_equal(came, reply_type);
    return body;
}

static void *ask(hand_t *hand, proto_type_t type, const void *message, proto_type_t reply_type) {
    err_t err;
    void *reply = hand_try(hand, type, message, reply_type, &err);
    if (!reply)
        fail_msg("%s: %s: %s", proto_message(type)->wire, err_name(err.code), err.message);
    return reply;
}

const proto_worker_welcome_t *hand_hello(hand_t *hand, const proto_hold_t *holds, size_t count) {
    size_t kinds = 0;
    while (hand->kinds[kinds])
        kinds++;
    proto_worker_hello_t hello;
    proto_defaults(PROTO_worker_hello, &hello);
    hello.worker = hand->name;
    hello.boot = hand->boot;
    hello.kinds = (proto_strs_t){hand->kinds, kinds};
    hello.slots = hand->slots;
    hello.holds.items = holds;
    hello.holds.count = count;
    return ask(hand, PROTO_worker_hello, &hello, PROTO_worker_welcome);
}

const proto_worker_renewed_t *hand_renew(hand_t *hand, const proto_lease_t *leases, size_t count) {
    proto_worker_renew_t renew;
    proto_defaults(PROTO_worker_renew, &renew);
    renew.worker = hand->name;
    renew.boot = hand->boot;
    renew.leases.items = leases;
    renew.leases.count = count;
    return ask(hand, PROTO_worker_renew, &renew, PROTO_worker_renewed);
}

const proto_worker_renewed_t *hand_renew_job(hand_t *hand, const proto_worker_assign_t *job,
                                             uint64_t step) {
    proto_lease_t lease = {.job = job->job, .token = job->token, .step = step};
    return hand_renew(hand, &lease, 1);
}

const proto_worker_assign_t *hand_take(hand_t *hand) {
    int64_t end_ms = clock_mono_ms() + PATIENCE_MS;
    const proto_worker_assign_t *assign = NULL;
    while (!assign && clock_mono_ms() < end_ms) {
        assign = hand_next(hand, PROTO_worker_assign, 100);
        if (!assign && hand_renew(hand, NULL, 0)->hello)
            hand_hello(hand, NULL, 0);
    }
    if (!assign)
        fail_msg("%s gets no job", hand->name);
    return assign;
}

// --- Attempts

err_code_t hand_report(hand_t *hand, const proto_worker_assign_t *job, uint64_t seq, size_t count,
                       const char *text) {
    proto_report_t *events = proto_arena_alloc(scene.arena, (count + 1) * sizeof *events);
    char json[256];
    for (size_t i = 0; i < count; i++) {
        snprintf(json, sizeof json, "{\"level\":\"info\",\"text\":\"%s\",\"seq\":%zu}", text,
                 (size_t)seq + i);
        events[i] = (proto_report_t){.type = "log", .data = scene_map(json)};
    }
    proto_job_report_t report = {.worker = hand->name,
                                 .job = job->job,
                                 .token = job->token,
                                 .seq = seq,
                                 .events = {events, count}};
    err_t err = {ERR_OK, "", ""};
    hand_try(hand, PROTO_job_report, &report, PROTO_ok, &err);
    return err.code;
}

err_code_t hand_checkpoint(hand_t *hand, const proto_worker_assign_t *job, uint64_t step) {
    char path[200];
    snprintf(path, sizeof path, "jobs/%s/%llu/step-%llu.ckpt", job->job,
             (unsigned long long)job->token, (unsigned long long)step);
    proto_checkpoint_t made = {
        .path = path,
        .digest = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
        .step = step,
        .info = scene_map("{\"epoch\":1}")};
    proto_job_checkpoint_t checkpoint = {
        .worker = hand->name, .job = job->job, .token = job->token, .checkpoint = &made};
    err_t err = {ERR_OK, "", ""};
    hand_try(hand, PROTO_job_checkpoint, &checkpoint, PROTO_ok, &err);
    return err.code;
}

proto_job_finish_t hand_end(const hand_t *hand, const proto_worker_assign_t *job,
                            const char *outcome) {
    proto_job_finish_t finish;
    proto_defaults(PROTO_job_finish, &finish);
    finish.worker = hand->name;
    finish.job = job->job;
    finish.token = job->token;
    finish.outcome = outcome;
    return finish;
}

const proto_job_finished_t *hand_finish(hand_t *hand, const proto_worker_assign_t *job,
                                        const char *outcome, const char *state) {
    proto_job_finish_t finish = hand_end(hand, job, outcome);
    proto_failure_t failure = {
        .code = "IO", .message = "it broke", .remedy = "mend it", .retryable = true};
    if (strcmp(outcome, "failed") == 0)
        finish.error = &failure;
    if (strcmp(outcome, "succeeded") == 0)
        finish.result = scene_map("{\"answer\":42}");
    const proto_job_finished_t *done = ask(hand, PROTO_job_finish, &finish, PROTO_job_finished);
    assert_string_equal(done->state, state);
    return done;
}
