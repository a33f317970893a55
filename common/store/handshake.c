// What happens on a connection before it is up:
//
//   AUTH                               where there are credentials
//   INFO, CONFIG GET …, CLIENT ID      is this a server that keeps what it acknowledges?
//   CLIENT KILL ID <old>               calls of the connection before this one end here
//   SCRIPT LOAD …                      for each script
#include "store_impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void refuse(store_t *store, err_code_t code, const char *remedy, const char *what) {
    err_t err;
    err_set(&err, code, "Redis at %s %s", store->address, what);
    err_remedy(&err, "%s", remedy);
    connection_lost(store, &err);
}

// False if the reply is not of that type: the connection is then lost.
static bool expect(store_t *store, const redisReply *reply, int type, const char *command) {
    char what[512];
    if (reply->type == type)
        return true;
    bool error = reply->type == REDIS_REPLY_ERROR;
    snprintf(what, sizeof what, "answers %s with %.300s", command,
             error ? reply->str : "something else than Redis would");
    refuse(store, error ? ERR_UNAVAILABLE : ERR_PROTOCOL,
           reply_is_error(reply, "NOAUTH") ? "set redis_password_file to a file with its password"
           : reply_is_error(reply, "NOPERM")
               ? "let its user do that: `inkling keys redis` writes an ACL with all that is needed"
               : "",
           what);
    return false;
}

// --- Checks --------------------------------------------------------------------------------------

// The value of "name:value\r\n" in the text of INFO; "" if it is missing.
static void info_field(const char *text, const char *name, char *value, size_t size) {
    size_t name_size = strlen(name);
    value[0] = 0;
    for (const char *line = text; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, name, name_size) == 0 && line[name_size] == ':') {
            line += name_size + 1;
            snprintf(value, size, "%.*s", (int)strcspn(line, "\r\n"), line);
            return;
        }
    }
}

static void on_info(store_t *store, call_t *call, redisReply *reply) {
    char version[32], role[16], loading[8], cluster[8], what[128];
    (void)call;
    if (!expect(store, reply, REDIS_REPLY_STRING, "INFO"))
        return;
    info_field(reply->str, "redis_version", version, sizeof version);
    info_field(reply->str, "role", role, sizeof role);
    info_field(reply->str, "loading", loading, sizeof loading);
    info_field(reply->str, "cluster_enabled", cluster, sizeof cluster);
    info_field(reply->str, "run_id", store->new_run_id, sizeof store->new_run_id);
    snprintf(what, sizeof what, "is version %s", version[0] ? version : "unknown");
    if (atoi(version) < 7)
        refuse(store, ERR_UNSUPPORTED, "use Redis 7 or newer", what);
    else if (strcmp(cluster, "1") == 0)
        refuse(store, ERR_UNSUPPORTED, "use one with cluster-enabled no", "is part of a cluster");
    else if (strcmp(role, "master") != 0)
        refuse(store, ERR_UNSUPPORTED, "name the master's address", "is a replica");
    else if (strcmp(loading, "0") != 0)
        refuse(store, ERR_UNAVAILABLE, "", "is loading its data");
}

static const struct {
    const char *name, *value, *why;
} settings[] = {
    {"appendonly", "yes", "jobs would be lost with Redis"},
    {"appendfsync", "always", "acknowledged jobs would be lost with the machine"},
    {"maxmemory-policy", "noeviction", "jobs would be evicted"},
};

static void on_config(store_t *store, call_t *call, redisReply *reply) {
    (void)call;
    if (!expect(store, reply, REDIS_REPLY_ARRAY, "CONFIG GET"))
        return;
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) {
        const char *value = "unknown";
        for (size_t k = 0; k + 1 < reply->elements; k += 2) {
            const redisReply *key = reply->element[k], *text = reply->element[k + 1];
            if (key->type == REDIS_REPLY_STRING && text->type == REDIS_REPLY_STRING &&
                strcmp(key->str, settings[i].name) == 0)
                value = text->str;
        }
        if (strcmp(value, settings[i].value) == 0)
            continue;
        char what[256], remedy[256];
        snprintf(what, sizeof what, "has %s %.64s: %s", settings[i].name, value, settings[i].why);
        snprintf(remedy, sizeof remedy, "set it in its redis.conf, or: redis-cli CONFIG SET %s %s",
                 settings[i].name, settings[i].value);
        refuse(store, ERR_INVALID, remedy, what);
        return;
    }
}

// --- Scripts -------------------------------------------------------------------------------------

static void go_up(store_t *store) {
    store->state = STORE_UP;
    store->wait_ms = STORE_RECONNECT_MIN_MS;
    store->told[0] = 0;
    store->stats.connections++;
    if (store->events.up)
        store->events.up(store->arg);
}

static void on_loaded(store_t *store, call_t *call, redisReply *reply) {
    char command[128];
    snprintf(command, sizeof command, "SCRIPT LOAD of %s", store->scripts[call->script].name);
    if (!expect(store, reply, REDIS_REPLY_STRING, command))
        return;
    if ((size_t)reply->len != DIGEST_SIZE) {
        refuse(store, ERR_PROTOCOL, "", "answers SCRIPT LOAD with something that is no SHA-1");
        return;
    }
    memcpy(store->digests[call->script], reply->str, DIGEST_SIZE);
    if (--store->loads == 0 && store->state == STORE_CHECKING)
        go_up(store);
}

void handshake_load(store_t *store) {
    store->loads = store->script_count;
    for (size_t i = 0; i < store->script_count; i++)
        call_own(store, on_loaded, i,
                 (const char *[]){"SCRIPT", "LOAD", store->scripts[i].source, NULL});
}

static void on_killed(store_t *store, call_t *call, redisReply *reply) {
    (void)call;
    (void)expect(store, reply, REDIS_REPLY_INTEGER, "CLIENT KILL");
}

// All checks passed: the server carries out commands in order, so the old connection is gone before
// the first load, and with it what it had received and not carried out.
static void on_client_id(store_t *store, call_t *call, redisReply *reply) {
    (void)call;
    if (!expect(store, reply, REDIS_REPLY_INTEGER, "CLIENT ID"))
        return;
    char old[24];
    snprintf(old, sizeof old, "%lld", (long long)store->client_id);
    if (store->client_id && strcmp(store->run_id, store->new_run_id) == 0)
        call_own(store, on_killed, NO_SCRIPT, (const char *[]){"CLIENT", "KILL", "ID", old, NULL});
    store->client_id = reply->integer;
    memcpy(store->run_id, store->new_run_id, sizeof store->run_id);
    if (store->script_count)
        handshake_load(store);
    else
        go_up(store);
}

static void on_auth(store_t *store, call_t *call, redisReply *reply) {
    char what[128];
    (void)call;
    if (reply->type == REDIS_REPLY_STATUS)
        return;
    snprintf(what, sizeof what, "refuses the user %.64s and its password", store->user);
    refuse(store, ERR_INVALID, "redis_user and the file of redis_password_file must be its own",
           what);
}

void handshake_start(store_t *store) {
    store->state = STORE_CHECKING;
    if (store->password)
        call_own(store, on_auth, NO_SCRIPT,
                 (const char *[]){"AUTH", store->user, store->password, NULL});
    call_own(store, on_info, NO_SCRIPT, (const char *[]){"INFO", NULL});
    call_own(store, on_config, NO_SCRIPT,
             (const char *[]){"CONFIG", "GET", settings[0].name, settings[1].name, settings[2].name,
                              NULL});
    call_own(store, on_client_id, NO_SCRIPT, (const char *[]){"CLIENT", "ID", NULL});
}
