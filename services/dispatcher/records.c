// Replies of Redis as messages.
#include "dispatcher_impl.h"
#include "proto/json.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define STAMP_DIGITS 13
#define DEPTH_SPARE  4 // levels that messages put around a map on its way

static const store_reply_t *item_of(const store_reply_t *reply, size_t index) {
    return reply && index < store_count(reply) ? store_item(reply, index) : NULL;
}

proto_bytes_t reply_bytes(const store_reply_t *reply, size_t index) {
    const store_reply_t *item = item_of(reply, index);
    store_bytes_t bytes = item ? store_bytes(item) : (store_bytes_t){NULL, 0};
    return (proto_bytes_t){bytes.size ? bytes.data : NULL, bytes.size};
}

const char *reply_text(const store_reply_t *reply, size_t index) {
    proto_bytes_t bytes = reply_bytes(reply, index);
    return bytes.data ? bytes.data : "";
}

uint64_t reply_number(const store_reply_t *reply, size_t index) {
    const store_reply_t *item = item_of(reply, index);
    int64_t number = item ? store_integer(item) : 0;
    return number > 0 ? (uint64_t)number : 0;
}

bool map_real(proto_bytes_t map, const char *key, double *number) {
    json_t *object = proto_map_json(map);
    const json_t *value = json_object_get(object, key);
    bool found = json_is_number(value);
    if (found)
        *number = json_number_value(value);
    json_decref(object);
    return found;
}

const proto_checkpoint_t *checkpoint_of(dispatcher_t *d, proto_bytes_t packed) {
    if (packed.size == 0)
        return NULL;
    proto_checkpoint_t *checkpoint = proto_arena_alloc(d->arena, sizeof *checkpoint);
    return proto_decode(PROTO_checkpoint, packed.data, packed.size, d->arena, checkpoint, NULL)
               ? NULL
               : checkpoint;
}

static const proto_failure_t *failure_of(dispatcher_t *d, proto_bytes_t packed) {
    if (packed.size == 0)
        return NULL;
    proto_failure_t *failure = proto_arena_alloc(d->arena, sizeof *failure);
    return proto_decode(PROTO_failure, packed.data, packed.size, d->arena, failure, NULL) ? NULL
                                                                                          : failure;
}

// Positions as in lua/lib_show.lua, from 0.
void job_of_reply(dispatcher_t *d, const store_reply_t *reply, proto_job_info_t *job) {
    proto_defaults(PROTO_job_info, job);
    job->job = reply_text(reply, 0);
    job->kind = reply_text(reply, 1);
    job->state = reply_text(reply, 2);
    job->attempts = reply_number(reply, 3);
    job->deaths = reply_number(reply, 4);
    job->progress = strtod(reply_text(reply, 5), NULL);
    job->worker = reply_text(reply, 6);
    job->token = reply_number(reply, 7);
    job->created_ms = reply_number(reply, 8);
    job->started_ms = reply_number(reply, 9);
    job->finished_ms = reply_number(reply, 10);
    job->last_event = reply_number(reply, 11);
    job->version = reply_number(reply, 12);
    job->reason = reply_text(reply, 17);
    job->body = reply_bytes(reply, 18);
    job->result = reply_bytes(reply, 19);
    job->error = failure_of(d, reply_bytes(reply, 20));
    job->checkpoint = checkpoint_of(d, reply_bytes(reply, 21));
    const store_reply_t *members = item_of(reply, 22);
    size_t count = members ? store_count(members) : 0;
    const char **workers = proto_arena_alloc(d->arena, (count + 1) * sizeof *workers);
    for (size_t i = 0; i < count; i++)
        workers[i] = reply_text(members, i);
    job->workers = (proto_strs_t){workers, count};
    if (reply_number(reply, 23))
        job->replicas = reply_number(reply, 23);
}

// 13 digits of time, length of the type, type, data.
bool event_of_reply(dispatcher_t *d, const store_reply_t *item, proto_event_t *event) {
    store_bytes_t bytes = store_bytes(item);
    const char *text = bytes.data;
    if (bytes.size < STAMP_DIGITS + 1)
        return false;
    size_t length = (unsigned char)text[STAMP_DIGITS];
    if (bytes.size < STAMP_DIGITS + 1 + length)
        return false;
    event->at_ms = 0;
    for (int i = 0; i < STAMP_DIGITS; i++) {
        if (!isdigit((unsigned char)text[i]))
            return false;
        event->at_ms = event->at_ms * 10 + (uint64_t)(text[i] - '0');
    }
    char *type = proto_arena_alloc(d->arena, length + 1);
    memcpy(type, text + STAMP_DIGITS + 1, length);
    event->type = type;
    size_t rest = bytes.size - STAMP_DIGITS - 1 - length;
    event->data = (proto_bytes_t){rest ? text + STAMP_DIGITS + 1 + length : NULL, rest};
    return true;
}

err_code_t check_depth(const char *what, proto_bytes_t map, err_t *err) {
    if (map.size == 0)
        return ERR_OK;
    buf_t wrapped;
    buf_init(&wrapped, PROTO_MESSAGE_MAX);
    for (int i = 0; i < DEPTH_SPARE; i++)
        buf_append(&wrapped, "\x91", 1); // a list of one
    buf_append(&wrapped, map.data, map.size);
    err_code_t code =
        wrapped.failed ? ERR_TOO_LARGE : proto_check(wrapped.data, wrapped.size, NULL);
    buf_release(&wrapped);
    if (code == ERR_OK)
        return ERR_OK;
    err_set(err, ERR_INVALID, "%s: nested deeper than %d levels", what,
            PROTO_DEPTH_MAX - DEPTH_SPARE);
    return err_remedy(err, "use flatter data");
}

err_code_t check_path(const char *what, const char *path, err_t *err) {
    bool good = path[0] && path[0] != '/';
    for (const char *part = path; good && part; part = strchr(part, '/')) {
        part += *part == '/';
        size_t size = strcspn(part, "/");
        bool dots = size <= 2 && strncmp(part, "..", size) == 0;
        good = size > 0 && !dots;
    }
    if (good)
        return ERR_OK;
    err_set(err, ERR_INVALID, "%s: '%.200s' is no path below the stack's files", what, path);
    return err_remedy(err, "give a relative path without '..'");
}
