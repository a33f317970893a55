#include "store_impl.h"

#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// --- Commands ------------------------------------------------------------------------------------

static size_t digits(size_t number) {
    size_t count = 1;
    while (number >= 10) {
        number /= 10;
        count++;
    }
    return count;
}

static char *put_end(char *out) {
    *out++ = '\r';
    *out++ = '\n';
    return out;
}

static char *put_number(char *out, char mark, size_t number) {
    size_t count = digits(number);
    *out++ = mark;
    for (size_t i = count; i-- > 0; number /= 10)
        out[i] = (char)('0' + number % 10);
    return put_end(out + count);
}

static err_code_t too_large(err_t *err) {
    return err_set(err, ERR_TOO_LARGE, "a call to Redis takes more than %d bytes", STORE_BYTES_MAX);
}

// *<words>\r\n, then for each word $<size>\r\n<bytes>\r\n; a NUL behind.
err_code_t call_words(const store_bytes_t *const *lists, const size_t *counts, size_t list_count,
                      call_t **made, err_t *err) {
    size_t words = 0, size = 0;
    for (size_t i = 0; i < list_count; i++) {
        words += counts[i];
        for (size_t k = 0; k < counts[i]; k++) {
            if (lists[i][k].size > STORE_BYTES_MAX || size > STORE_BYTES_MAX)
                return too_large(err);
            size += 1 + digits(lists[i][k].size) + 2 + lists[i][k].size + 2;
        }
    }
    size += 1 + digits(words) + 2;
    if (size > STORE_BYTES_MAX)
        return too_large(err);
    call_t *call = malloc(sizeof *call + size + 1);
    if (!call)
        return err_set(err, ERR_NO_MEMORY, "no memory for a call of %zu bytes to Redis", size);
    *call = (call_t){.script = NO_SCRIPT, .size = size};
    char *out = put_number(call->bytes, '*', words);
    for (size_t i = 0; i < list_count; i++)
        for (size_t k = 0; k < counts[i]; k++) {
            out = put_number(out, '$', lists[i][k].size);
            if (lists[i][k].size)
                memcpy(out, lists[i][k].data, lists[i][k].size);
            out += lists[i][k].size;
            out = put_end(out);
        }
    *out = 0;
    *made = call;
    return ERR_OK;
}

// --- The queue -----------------------------------------------------------------------------------

static void push(store_t *store, call_t *call) {
    call->next = NULL;
    *store->end = call;
    store->end = &call->next;
    if (!store->unsent)
        store->unsent = call;
    bus_loop_defer(store->loop, connection_flush, store);
}

void call_append(store_t *store, call_t *call) {
    if (!store->first)
        store->heard_ms = clock_mono_ms(); // it owes us an answer from now on
    if (call->fn)
        store->caller_calls++;
    store->bytes += call->size;
    push(store, call);
}

static call_t *shift(store_t *store) {
    call_t *call = store->first;
    store->first = call->next;
    if (!store->first)
        store->end = &store->first;
    return call;
}

static void drop(store_t *store, call_t *call) {
    if (call->fn)
        store->caller_calls--;
    store->bytes -= call->size;
    free(call);
}

void call_own(store_t *store, void (*own)(store_t *, call_t *, redisReply *), size_t script,
              const char *const *texts) {
    store_bytes_t words[8];
    size_t word_count = 0;
    for (; texts[word_count]; word_count++) {
        ERR_ASSERT(word_count < sizeof words / sizeof *words);
        words[word_count] = (store_bytes_t){texts[word_count], strlen(texts[word_count])};
    }
    const store_bytes_t *list = words;
    call_t *call = NULL;
    ERR_ASSERT(call_words(&list, &word_count, 1, &call, NULL) == ERR_OK); // ours are small
    call->own = own;
    call->script = script;
    call_append(store, call);
}

static void tell(store_t *store, call_t *call, const redisReply *reply, const err_t *err) {
    store->stats.failures += err != NULL;
    store->calling = true;
    call->fn(call->arg, reply, err);
    store->calling = false;
}

// The script is gone from the server: loads all again, and sends the call once more behind that.
// What follows it in the queue meets the same fate and lines up behind it.
static void resend(store_t *store, call_t *call) {
    call->resends++;
    if (store->loads == 0)
        handshake_load(store);
    if (!store->first)
        store->heard_ms = clock_mono_ms();
    push(store, call);
}

void call_answered(store_t *store, redisReply *reply) {
    err_t err;
    if (!store->first || store->first == store->unsent) {
        err_set(&err, ERR_PROTOCOL, "Redis at %s answers what was not asked", store->address);
        connection_lost(store, &err);
        return;
    }
    call_t *call = shift(store);
    if (call->own) {
        call->own(store, call, reply);
        drop(store, call);
        return;
    }
    if (reply->type != REDIS_REPLY_ERROR) {
        tell(store, call, reply, NULL);
        drop(store, call);
        return;
    }
    if (call->script != NO_SCRIPT && reply_is_error(reply, "NOSCRIPT") &&
        call->resends < RESENDS_MAX) {
        resend(store, call);
        return;
    }
    bool useless = reply_error(store, call, reply, &err);
    tell(store, call, NULL, &err);
    drop(store, call);
    if (useless)
        connection_lost(store, &err);
}

void calls_fail(store_t *store, const err_t *err) {
    call_t *call = store->first;
    store->first = store->unsent = NULL;
    store->end = &store->first;
    store->sent = 0;
    store->loads = 0;
    while (call) {
        call_t *next = call->next;
        if (call->fn)
            tell(store, call, NULL, err);
        drop(store, call);
        call = next;
    }
}

// --- For callers ---------------------------------------------------------------------------------

bool store_is_up(const store_t *store) {
    return store->state == STORE_UP;
}

static err_code_t submit(store_t *store, size_t script, const store_bytes_t *const *lists,
                         const size_t *counts, size_t list_count, store_reply_fn fn, void *arg,
                         err_t *err) {
    if (store->state != STORE_UP)
        return err_set(err, ERR_UNAVAILABLE, "Redis at %s is away", store->address);
    if (store->caller_calls >= STORE_PIPELINE_MAX)
        return err_set(err, ERR_FULL, "%d calls to Redis are in flight", STORE_PIPELINE_MAX);
    call_t *call = NULL;
    err_code_t code = call_words(lists, counts, list_count, &call, err);
    if (code)
        return code;
    if (call->size > STORE_BYTES_MAX - store->bytes) {
        free(call);
        return err_set(err, ERR_FULL, "%zu bytes of calls to Redis are in flight", store->bytes);
    }
    call->fn = fn;
    call->arg = arg;
    call->script = script;
    store->stats.calls++;
    call_append(store, call);
    return ERR_OK;
}

err_code_t store_call(store_t *store, size_t script, const store_bytes_t *keys, size_t key_count,
                      const store_bytes_t *args, size_t arg_count, store_reply_fn fn, void *arg,
                      err_t *err) {
    ERR_ASSERT(script < store->script_count && fn);
    char number[24];
    snprintf(number, sizeof number, "%zu", key_count);
    store_bytes_t head[3] = {
        {"EVALSHA", 7}, {store->digests[script], DIGEST_SIZE}, {number, strlen(number)}};
    const store_bytes_t *lists[3] = {head, keys, args};
    size_t counts[3] = {3, key_count, arg_count};
    return submit(store, script, lists, counts, 3, fn, arg, err);
}

err_code_t store_command(store_t *store, const store_bytes_t *words, size_t word_count,
                         store_reply_fn fn, void *arg, err_t *err) {
    ERR_ASSERT(word_count > 0 && fn);
    return submit(store, NO_SCRIPT, &words, &word_count, 1, fn, arg, err);
}

store_stats_t store_stats(const store_t *store) {
    store_stats_t stats = store->stats;
    stats.in_flight = store->caller_calls;
    stats.in_flight_bytes = store->bytes;
    return stats;
}
