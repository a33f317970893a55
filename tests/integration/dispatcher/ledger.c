#include "ledger.h"

#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void ledger_open(ledger_t *ledger, uint64_t seed) {
    memset(ledger, 0, sizeof *ledger);
    ledger->random = seed * 0x9e3779b97f4a7c15u + 1;
}

void ledger_close(ledger_t *ledger) {
    for (size_t i = 0; i < ledger->count; i++)
        free(ledger->records[i].id);
}

// splitmix64
uint64_t ledger_random(ledger_t *ledger, uint64_t below) {
    uint64_t z = ledger->random += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (z ^ z >> 31) % below;
}

void ledger_wrong(ledger_t *ledger, const char *format, ...) {
    va_list args;
    if (ledger->wrong[0])
        return;
    va_start(args, format);
    vsnprintf(ledger->wrong, sizeof ledger->wrong, format, args);
    va_end(args);
}

// --- What is seen
// -------------------------------------------------------------------------------

record_t *ledger_add(ledger_t *ledger) {
    ERR_ASSERT(ledger->count < LEDGER_MAX);
    record_t *record = &ledger->records[ledger->count];
    record->number = ledger->count++;
    snprintf(record->key, sizeof record->key, "job %zu", record->number);
    return record;
}

void ledger_submitted(ledger_t *ledger, record_t *record, const char *id) {
    if (!record->id) {
        record->id = mem_dup(id);
        ledger->acked++;
    } else if (strcmp(record->id, id) != 0) {
        ledger_wrong(ledger, "%s is doubled: jobs %s and %s", record->key, record->id, id);
    }
}

// Tokens are given by whoever executes the script, so a worker may hear of an older one late; but
// never of one that comes after the job's end.
static size_t attempt_of(const record_t *record, uint64_t token) {
    size_t i = 0;
    while (i < record->attempt_count && record->attempts[i].token != token)
        i++;
    return i;
}

// All members of an attempt are told of one size, and each rank is one worker's.
static void check_member(ledger_t *ledger, record_t *record, size_t attempt,
                         const proto_worker_assign_t *assign, const char *worker) {
    unsigned long long token = assign->token, rank = assign->rank, world = assign->world;
    uint64_t known = record->attempts[attempt].world;
    bool fits = record->replicas ? world >= record->least && world <= record->replicas : world == 0;
    if (!fits || (known && known != world) || rank >= (world ? world : 1)) {
        ledger_wrong(ledger, "%s: rank %llu of %llu with token %llu, which has %llu of %llu",
                     record->key, rank, world, token, (unsigned long long)known,
                     (unsigned long long)record->replicas);
        return;
    }
    record->attempts[attempt].world = world;
    for (uint64_t i = 0; i < world; i++) {
        char *member = record->attempts[attempt].members[i];
        bool same = strcmp(member, worker) == 0;
        if (i == rank ? member[0] && !same : same)
            ledger_wrong(ledger, "%s: token %llu gives rank %llu to %s, but %llu to %s",
                         record->key, token, rank, worker, (unsigned long long)i, member);
        if (i == rank)
            snprintf(member, sizeof record->attempts[attempt].members[i], "%s", worker);
    }
}

void ledger_given(ledger_t *ledger, record_t *record, const proto_worker_assign_t *assign,
                  const char *worker) {
    uint64_t token = assign->token;
    if (token > record->newest)
        record->newest = token;
    if (record->ended && token > record->ended)
        ledger_wrong(ledger, "%s was begun again with token %llu after its end with %llu",
                     record->key, (unsigned long long)token, (unsigned long long)record->ended);
    size_t attempt = attempt_of(record, token);
    if (attempt == LEDGER_ATTEMPTS) {
        ledger_wrong(ledger, "%s has more than %d attempts", record->key, LEDGER_ATTEMPTS);
        return;
    }
    if (attempt == record->attempt_count) {
        memset(&record->attempts[attempt], 0, sizeof record->attempts[attempt]);
        record->attempts[attempt].token = token;
        record->attempt_count++;
    }
    check_member(ledger, record, attempt, assign, worker);
}

void ledger_died(record_t *record, uint64_t token) {
    size_t attempt = attempt_of(record, token);
    if (attempt < record->attempt_count)
        record->attempts[attempt].died = true;
}

void ledger_met(record_t *record, uint64_t token) {
    size_t attempt = attempt_of(record, token);
    if (attempt < record->attempt_count)
        record->attempts[attempt].met++;
}

bool ledger_all_met(const record_t *record, uint64_t token, uint64_t meetings) {
    size_t attempt = attempt_of(record, token);
    return attempt < record->attempt_count &&
           record->attempts[attempt].met == meetings * record->attempts[attempt].world;
}

void ledger_reported(ledger_t *ledger, record_t *record, uint64_t token, uint64_t last) {
    size_t attempt = attempt_of(record, token);
    if (attempt < record->attempt_count) {
        record->attempts[attempt].acked = last;
        return;
    }
    ledger_wrong(ledger, "%s: a report of token %llu, which nobody was given", record->key,
                 (unsigned long long)token);
}

void ledger_ended(ledger_t *ledger, record_t *record, uint64_t token, const char *state) {
    if (strcmp(state, "succeeded") != 0 && strcmp(state, "failed") != 0)
        return; // cancelled: perhaps since this attempt's end, which is told a second time
    if (!record->ended)
        ledger->ended++;
    else if (record->ended != token)
        ledger_wrong(ledger, "%s ended twice, with tokens %llu and %llu", record->key,
                     (unsigned long long)record->ended, (unsigned long long)token);
    if (token < record->newest)
        ledger_wrong(ledger, "%s ended with token %llu though %llu was given", record->key,
                     (unsigned long long)token, (unsigned long long)record->newest);
    record->ended = token;
    snprintf(record->state, sizeof record->state, "%s", state);
}

// --- Events
// -------------------------------------------------------------------------------------

static uint64_t hash_bytes(uint64_t hash, const void *bytes, size_t size) {
    const unsigned char *at = bytes;
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ at[i]) * 0x100000001b3u;
    return hash;
}

static uint64_t hash_event(uint64_t hash, const proto_event_t *event) {
    hash = hash_bytes(hash, &event->n, sizeof event->n);
    hash = hash_bytes(hash, event->type, strlen(event->type));
    return event->data.size ? hash_bytes(hash, event->data.data, event->data.size) : hash;
}

void ledger_follow(ledger_t *ledger, record_t *record, const proto_events_t *events) {
    for (size_t i = 0; i < events->events.count; i++) {
        const proto_event_t *event = &events->events.items[i];
        if (event->n <= record->followed)
            continue; // the answer to a question asked twice
        if (event->n != record->followed + 1)
            ledger_wrong(ledger, "%s: event %llu follows event %llu", record->key,
                         (unsigned long long)event->n, (unsigned long long)record->followed);
        record->followed = event->n;
        record->hash = hash_event(record->hash, event);
    }
}

// --- The dispatcher's account
// --------------------------------------------------------------------

typedef struct {
    uint64_t last, hash, ends, begins;
    uint64_t seq[LEDGER_ATTEMPTS]; // reports of each attempt
    char state[16];
} account_t;

static int64_t number_of(const json_t *data, const char *key) {
    return json_integer_value(json_object_get(data, key));
}

static void read_log(const record_t *record, account_t *account, const json_t *data) {
    uint64_t token = (uint64_t)number_of(data, "token");
    for (size_t i = 0; i < record->attempt_count; i++)
        if (record->attempts[i].token == token) {
            if ((uint64_t)number_of(data, "seq") != ++account->seq[i])
                fail_msg("%s: report %lld of token %llu is number %llu of what is stored",
                         record->key, (long long)number_of(data, "seq"), (unsigned long long)token,
                         (unsigned long long)account->seq[i]);
            return;
        }
    fail_msg("%s: a report of token %llu, which nobody was given", record->key,
             (unsigned long long)token);
}

// queued → running → queued … → an end: nothing may follow that.
static void read_state(const record_t *record, account_t *account, const char *state) {
    static const char *const after_queued[] = {"running", "cancelled", NULL};
    static const char *const after_running[] = {"queued", "succeeded", "failed", "cancelled", NULL};
    static const char *const first[] = {"queued", NULL};
    const char *const *allowed = strcmp(account->state, "queued") == 0    ? after_queued
                                 : strcmp(account->state, "running") == 0 ? after_running
                                 : account->state[0] == 0                 ? first
                                                                          : first + 1;
    while (*allowed && strcmp(*allowed, state) != 0)
        allowed++;
    if (!*allowed)
        fail_msg("%s: %s follows %s", record->key, state, account->state);
    snprintf(account->state, sizeof account->state, "%s", state);
    account->begins += strcmp(state, "running") == 0;
}

static void read_account(const record_t *record, account_t *account) {
    const proto_events_t *page;
    do {
        page = scene_events(record->id, account->last, 0);
        assert_int_equal(page->first, 1);
        for (size_t i = 0; i < page->events.count; i++) {
            const proto_event_t *event = &page->events.items[i];
            if (event->n != account->last + 1)
                fail_msg("%s: event %llu follows event %llu", record->key,
                         (unsigned long long)event->n, (unsigned long long)account->last);
            account->last = event->n;
            account->hash = hash_event(account->hash, event);
            json_t *data = proto_map_json(event->data);
            if (strcmp(event->type, "state") == 0)
                read_state(record, account, json_string_value(json_object_get(data, "state")));
            else if (strcmp(event->type, "log") == 0)
                read_log(record, account, data);
            json_decref(data);
        }
    } while (account->last < page->last);
}

static void verify_record(record_t *record) {
    const proto_job_info_t *info = scene_show(record->id);
    account_t account = {0};
    read_account(record, &account);
    if (strcmp(account.state, info->state) != 0)
        fail_msg("%s is %s, its last event says %s", record->key, info->state, account.state);
    if (record->state[0] && strcmp(record->state, info->state) != 0)
        fail_msg("%s is %s, its worker was told %s", record->key, info->state, record->state);
    if (record->ended && info->token != record->ended)
        fail_msg("%s: token %llu is newer than its end with %llu", record->key,
                 (unsigned long long)info->token, (unsigned long long)record->ended);
    assert_int_equal(account.begins, info->attempts);
    assert_int_equal(account.last, info->last_event);
    uint64_t deaths = 0; // of a gang's processes that die together one
    for (size_t i = 0; i < record->attempt_count; i++)
        deaths += record->attempts[i].died;
    if (info->deaths > deaths)
        fail_msg("%s: %llu deaths counted, %llu happened", record->key,
                 (unsigned long long)info->deaths, (unsigned long long)deaths);
    if (!record->cancel && strcmp(info->state, "cancelled") == 0)
        fail_msg("%s is cancelled though nobody asked for that", record->key);
    for (size_t i = 0; i < record->attempt_count; i++)
        if (account.seq[i] < record->attempts[i].acked)
            fail_msg("%s: %llu reports of token %llu were acknowledged, %llu are stored",
                     record->key, (unsigned long long)record->attempts[i].acked,
                     (unsigned long long)record->attempts[i].token,
                     (unsigned long long)account.seq[i]);
    if (record->followed && record->followed != account.last)
        fail_msg("%s: its follower saw %llu of %llu events", record->key,
                 (unsigned long long)record->followed, (unsigned long long)account.last);
    if (record->followed && record->hash != account.hash)
        fail_msg("%s: its follower saw other events than are stored", record->key);
}

void ledger_verify(ledger_t *ledger) {
    for (size_t i = 0; i < ledger->count; i++) {
        verify_record(&ledger->records[i]);
        proto_arena_reset(scene.arena);
    }
    assert_int_equal(scene_redis_number("GET ids"), ledger->count + ledger->before);
    assert_int_equal(scene_redis_number("ZCARD st:running"), 0);
    assert_int_equal(scene_redis_number("ZCARD st:queued"), 0);
    assert_int_equal(scene_redis_number("ZCARD delayed"), 0);
    assert_int_equal(scene_redis_number("EXISTS q:play"), 0);
    assert_int_equal(scene_redis_number("EXISTS g:train"), 0);
    assert_int_equal(scene_redis_number("LLEN done"), ledger->count + ledger->before);
    assert_int_equal(scene_redis_number("HLEN keys"), ledger->count + ledger->before);
    int64_t end_ms = clock_mono_ms() + PATIENCE_MS;
    while (scene_metric("inkling_leases") != 0 && clock_mono_ms() < end_ms)
        clock_sleep_ms(20);
    assert_true(scene_metric("inkling_leases") == 0);
}
