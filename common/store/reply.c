#include "store_impl.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// --- Accessors -----------------------------------------------------------------------------------

store_kind_t store_kind(const store_reply_t *reply) {
    switch (reply->type) {
    case REDIS_REPLY_INTEGER:
        return STORE_INTEGER;
    case REDIS_REPLY_STRING:
    case REDIS_REPLY_STATUS:
        return STORE_BYTES;
    case REDIS_REPLY_ARRAY:
        return STORE_LIST;
    case REDIS_REPLY_ERROR:
        return STORE_ERROR;
    default:
        return STORE_NIL;
    }
}

int64_t store_integer(const store_reply_t *reply) {
    if (reply->type == REDIS_REPLY_INTEGER)
        return reply->integer;
    if (store_kind(reply) != STORE_BYTES || reply->len == 0)
        return 0;
    char *end;
    errno = 0;
    long long value = strtoll(reply->str, &end, 10);
    return errno == 0 && end == reply->str + reply->len ? value : 0;
}

store_bytes_t store_bytes(const store_reply_t *reply) {
    store_kind_t kind = store_kind(reply);
    if (kind != STORE_BYTES && kind != STORE_ERROR)
        return (store_bytes_t){NULL, 0};
    return (store_bytes_t){reply->str, (size_t)reply->len};
}

size_t store_count(const store_reply_t *reply) {
    return reply->type == REDIS_REPLY_ARRAY ? reply->elements : 0;
}

const store_reply_t *store_item(const store_reply_t *reply, size_t index) {
    ERR_ASSERT(index < store_count(reply));
    return reply->element[index];
}

// --- Limits --------------------------------------------------------------------------------------

#if HIREDIS_MAJOR >= 1
typedef size_t reply_count_t;
#else
typedef int reply_count_t;
#endif

static void *(*create_array)(const redisReadTask *, reply_count_t);

// The reader sizes a list from its declared count: it is checked before anything is allocated.
static void *limited_array(const redisReadTask *task, reply_count_t count) {
    store_t *store = task->privdata;
    if (!task->parent)
        store->reply_items = 0;
    if ((size_t)count > STORE_REPLY_ITEMS_MAX - store->reply_items)
        return NULL; // the reader reports "out of memory"
    store->reply_items += (size_t)count;
    return create_array(task, count);
}

void reply_limits(store_t *store) {
    create_array = store->reader->fn->createArray; // the library's own, the same in every store
    store->reply_functions = *store->reader->fn;
    store->reply_functions.createArray = limited_array;
    store->reader->fn = &store->reply_functions;
    store->reader->privdata = store;
}

// --- Errors --------------------------------------------------------------------------------------

// First words of Redis' own errors that are no defect of a script. useless: no other call will fare
// better on this connection.
static const struct {
    const char *word;
    err_code_t code;
    bool useless;
    const char *text, *remedy;
} known[] = {
    {"OOM", ERR_FULL, false, "Redis has no memory left",
     "remove finished jobs, or raise Redis' maxmemory"},
    {"MISCONF", ERR_FULL, false, "Redis cannot write to its disk", "free some disk space"},
    {"NOREPLICAS", ERR_UNAVAILABLE, false, "Redis misses its replicas", "start them again"},
    {"BUSY", ERR_UNAVAILABLE, false, "a script keeps Redis busy", ""},
    {"NOSCRIPT", ERR_UNAVAILABLE, false, "the script is flushed again and again",
     "find out who calls SCRIPT FLUSH"},
    {"LOADING", ERR_UNAVAILABLE, true, "Redis is loading its data", ""},
    {"READONLY", ERR_UNAVAILABLE, true, "this Redis is a replica", "name the master's address"},
    {"MASTERDOWN", ERR_UNAVAILABLE, true, "this Redis is a replica without a master", ""},
    {"CLUSTERDOWN", ERR_UNAVAILABLE, true, "the Redis cluster is down", ""},
    {"NOAUTH", ERR_UNAVAILABLE, true, "Redis asks for a password", "start it without one"},
};

bool reply_is_error(const redisReply *reply, const char *word) {
    size_t size = strlen(word);
    return reply->type == REDIS_REPLY_ERROR && strncmp(reply->str, word, size) == 0 &&
           (reply->str[size] == ' ' || reply->str[size] == 0);
}

// "script submit", or "command SET" read from the call's bytes: *3\r\n$3\r\nSET\r\n…
static void name_call(const store_t *store, const call_t *call, char *name, size_t size) {
    if (call->script != NO_SCRIPT) {
        snprintf(name, size, "script %s", store->scripts[call->script].name);
        return;
    }
    const char *word = strchr(strchr(call->bytes, '\n') + 1, '\n') + 1;
    snprintf(name, size, "command %.*s", (int)strcspn(word, "\r"), word);
}

bool reply_error(const store_t *store, const call_t *call, const redisReply *reply, err_t *err) {
    char name[128], word[32] = "";
    name_call(store, call, name, sizeof name);
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (reply_is_error(reply, known[i].word)) {
            err_set(err, known[i].code, "%s: %s (%s)", name, known[i].text, reply->str);
            err_remedy(err, "%s", known[i].remedy);
            return known[i].useless;
        }
    size_t size = strcspn(reply->str, " ");
    if (size < sizeof word)
        memcpy(word, reply->str, size);
    err_code_t code = err_from_name(word);
    const char *rest = reply->str + size + strspn(reply->str + size, " ");
    if (call->script != NO_SCRIPT && code != ERR_OK && strcmp(err_name(code), word) == 0)
        err_set(err, code, "%s", *rest ? rest : err_text(code));
    else
        err_set(err, ERR_INTERNAL, "%s failed: %s", name, reply->str);
    return false;
}
