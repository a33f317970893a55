// Data sets and models: what jobs registered, which model version is served.
#include "base/clock.h"
#include "base/log.h"
#include "followers_impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LISTED_MAX  10000   // entries of a list
#define INFOS_BYTES 8388608 // of the infos of a list: what does not fit goes without

// Positions as in lua/registry.lua, from 0.
static void dataset_of(const store_reply_t *item, proto_dataset_info_t *info) {
    *info = (proto_dataset_info_t){.name = reply_text(item, 0),
                                   .version = reply_number(item, 1),
                                   .path = reply_text(item, 2),
                                   .digest = reply_text(item, 3),
                                   .job = reply_text(item, 4),
                                   .created_ms = reply_number(item, 5),
                                   .info = reply_bytes(item, 6)};
}

static void model_of(const store_reply_t *item, proto_model_info_t *info) {
    *info = (proto_model_info_t){.name = reply_text(item, 0),
                                 .version = reply_number(item, 1),
                                 .path = reply_text(item, 2),
                                 .digest = reply_text(item, 3),
                                 .job = reply_text(item, 4),
                                 .created_ms = reply_number(item, 5),
                                 .info = reply_bytes(item, 6),
                                 .promoted = reply_number(item, 7) != 0,
                                 .promoted_at = reply_number(item, 8),
                                 .canary = strtod(reply_text(item, 9), NULL)};
}

static item_t *question(const request_t *from, item_fn done, const char *where, const char *name,
                        uint64_t version, const char *what, uint64_t most) {
    item_t *item = item_new(SCRIPT_registry, from, done);
    snprintf(item->job, sizeof item->job, "%s", name);
    item->number = version;
    item_text(item, where);
    item_text(item, name);
    item_number(item, version);
    item_text(item, what);
    item_number(item, most);
    item_number(item, INFOS_BYTES);
    return item;
}

static err_code_t none_such(const item_t *item, const char *sort, err_t *err) {
    if (item->number)
        err_set(err, ERR_NOT_FOUND, "there is no version %llu of %s %s",
                (unsigned long long)item->number, sort, item->job);
    else
        err_set(err, ERR_NOT_FOUND, "there is no %s %s", sort, item->job);
    return err_remedy(err, "`inkling %s` lists what there is",
                      strcmp(sort, "model") == 0 ? "models" : "datasets");
}

// --- Lists
// ---------------------------------------------------------------------------------------

static void datasets_came(dispatcher_t *d, const item_t *item, const store_reply_t *reply,
                          const err_t *err) {
    if (err) {
        answer_error(d, &item->from, err);
        return;
    }
    proto_arena_reset(d->arena);
    size_t count = store_count(reply) - 1;
    proto_dataset_info_t *infos = proto_arena_alloc(d->arena, (count + 1) * sizeof *infos);
    for (size_t i = 0; i < count; i++)
        dataset_of(store_item(reply, 1 + i), &infos[i]);
    proto_datasets_t list = {.datasets = {infos, count}};
    answer(d, &item->from, PROTO_datasets, &list);
}

void on_datasets(dispatcher_t *d, const bus_message_t *message) {
    request_t from = request_of(message);
    batch_add(d->batch, question(&from, datasets_came, "d", "", 0, "newest", LISTED_MAX));
}

static void models_came(dispatcher_t *d, const item_t *item, const store_reply_t *reply,
                        const err_t *err) {
    follower_t *follower = item->context;
    if (err) {
        answer_error(d, &follower->from, err);
        free(follower);
        return;
    }
    uint64_t revision = reply_number(reply, 0);
    if (revision > d->followers->revision)
        d->followers->revision = revision;
    if (revision <= follower->after && clock_mono_ms() < follower->until_ms) {
        follower_wait(d, follower);
        return;
    }
    proto_arena_reset(d->arena);
    size_t count = store_count(reply) - 1;
    proto_model_info_t *infos = proto_arena_alloc(d->arena, (count + 1) * sizeof *infos);
    for (size_t i = 0; i < count; i++)
        model_of(store_item(reply, 1 + i), &infos[i]);
    proto_models_t list = {.revision = revision, .models = {infos, count}};
    answer(d, &follower->from, PROTO_models, &list);
    free(follower);
}

void models_read(dispatcher_t *d, follower_t *follower) {
    item_t *item = question(&follower->from, models_came, "m", follower->name, 0,
                            follower->promoted ? "promoted" : "all", LISTED_MAX);
    item->context = follower;
    batch_add(d->batch, item);
}

void on_models(dispatcher_t *d, const bus_message_t *message) {
    proto_model_list_t list;
    if (!decode(d, message, &list))
        return;
    follower_t *follower = mem_zero(1, sizeof *follower);
    follower->from = request_of(message);
    snprintf(follower->name, sizeof follower->name, "%s", list.name);
    follower->promoted = list.promoted;
    follower->after = list.after;
    follower->until_ms = message->received_ms + (int64_t)list.wait_ms;
    models_read(d, follower);
}

// --- One
// -----------------------------------------------------------------------------------------

static void dataset_came(dispatcher_t *d, const item_t *item, const store_reply_t *reply,
                         const err_t *err) {
    err_t none;
    if (err) {
        answer_error(d, &item->from, err);
    } else if (store_count(reply) < 2) {
        none_such(item, "data set", &none);
        answer_error(d, &item->from, &none);
    } else {
        proto_dataset_info_t info;
        proto_dataset_t dataset = {.dataset = &info};
        dataset_of(store_item(reply, 1), &info);
        answer(d, &item->from, PROTO_dataset, &dataset);
    }
}

void on_dataset(dispatcher_t *d, const bus_message_t *message) {
    proto_dataset_show_t show;
    request_t from = request_of(message);
    if (decode(d, message, &show))
        batch_add(d->batch,
                  question(&from, dataset_came, "d", show.name, show.version, "newest", 1));
}

static void model_came(dispatcher_t *d, const item_t *item, const store_reply_t *reply,
                       const err_t *err) {
    err_t none;
    if (err) {
        answer_error(d, &item->from, err);
    } else if (store_count(reply) < 2) {
        none_such(item, "model", &none);
        answer_error(d, &item->from, &none);
    } else {
        proto_model_info_t info;
        proto_model_t model = {.model = &info};
        model_of(store_item(reply, 1), &info);
        answer(d, &item->from, PROTO_model, &model);
    }
}

void on_model(dispatcher_t *d, const bus_message_t *message) {
    proto_model_show_t show;
    request_t from = request_of(message);
    if (decode(d, message, &show))
        batch_add(d->batch, question(&from, model_came, "m", show.name, show.version, "newest", 1));
}

// --- Changes
// -------------------------------------------------------------------------------------

static void removed(dispatcher_t *d, const item_t *item, const store_reply_t *reply,
                    const err_t *err) {
    bool is_model = item->kind[0] == 'm';
    const char *sort = is_model ? "model" : "data set";
    err_t why;
    if (err) {
        answer_error(d, &item->from, err);
        return;
    }
    const char *word = reply_text(reply, 0);
    if (word[0] == 0) {
        answer_ok(d, &item->from);
        for (size_t i = 2; i < store_count(reply); i++)
            files_delete(d->files, reply_text(reply, i));
        followers_revision(d, reply_number(reply, 1));
        log_info("%s %s: %zu versions removed", sort, item->job, store_count(reply) - 2);
        return;
    }
    if (strcmp(word, "PROMOTED") == 0) {
        err_set(&why, ERR_CONFLICT, "model %s@%llu is promoted", item->job,
                (unsigned long long)item->number);
        err_remedy(&why, "promote another version first: `inkling promote %s@VERSION`", item->job);
    } else if (strcmp(word, "CANARY") == 0) {
        err_set(&why, ERR_CONFLICT, "model %s@%llu is the canary: a part of the requests is its",
                item->job, (unsigned long long)item->number);
        err_remedy(&why, "end that first: `inkling rollback %s`, or promote it in full", item->job);
    } else if (strcmp(word, "USED") == 0) {
        err_set(&why, ERR_CONFLICT, "%s %s: version %llu is needed by job %s", sort, item->job,
                (unsigned long long)reply_number(reply, 1), reply_text(reply, 2));
        err_remedy(&why, "wait for the job, or `inkling job cancel %s`", reply_text(reply, 2));
    } else {
        none_such(item, sort, &why);
    }
    answer_error(d, &item->from, &why);
}

static void remove_version(dispatcher_t *d, const request_t *from, const char *where,
                           const char *name, uint64_t version) {
    item_t *item = item_new(SCRIPT_remove, from, removed);
    snprintf(item->kind, sizeof item->kind, "%s", where);
    snprintf(item->job, sizeof item->job, "%s", name);
    item->number = version;
    item_text(item, where);
    item_text(item, name);
    item_number(item, version);
    batch_add(d->batch, item);
}

void on_dataset_rm(dispatcher_t *d, const bus_message_t *message) {
    proto_dataset_rm_t rm;
    request_t from = request_of(message);
    if (decode(d, message, &rm))
        remove_version(d, &from, "d", rm.name, rm.version);
}

void on_model_rm(dispatcher_t *d, const bus_message_t *message) {
    proto_model_rm_t rm;
    request_t from = request_of(message);
    if (decode(d, message, &rm))
        remove_version(d, &from, "m", rm.name, rm.version);
}

static void promoted(dispatcher_t *d, const item_t *item, const store_reply_t *reply,
                     const err_t *err) {
    err_t why;
    if (err) {
        answer_error(d, &item->from, err);
        return;
    }
    const char *word = reply_text(reply, 0), *name = item->job;
    unsigned long long version = item->number;
    if (word[0] == 0) {
        followers_revision(d, reply_number(reply, 1));
        batch_add(d->batch,
                  question(&item->from, model_came, "m", name, item->number, "newest", 1));
        return;
    }
    if (strcmp(word, "UNPROMOTED") == 0) {
        err_set(&why, ERR_CONFLICT,
                "no version of model %s is promoted that could serve the other requests", name);
        err_remedy(&why, "promote one in full first: `inkling promote %s@%llu`", name, version);
    } else if (strcmp(word, "SAME") == 0) {
        err_set(&why, ERR_CONFLICT, "model %s@%llu is promoted: it serves what a canary does not",
                name, version);
        err_remedy(&why, "name another version; `inkling rollback %s` ends a canary", name);
    } else {
        none_such(item, "model", &why);
    }
    answer_error(d, &item->from, &why);
}

void on_promote(dispatcher_t *d, const bus_message_t *message) {
    proto_model_promote_t promote;
    request_t from = request_of(message);
    if (!decode(d, message, &promote))
        return;
    item_t *item = item_new(SCRIPT_promote, &from, promoted);
    snprintf(item->job, sizeof item->job, "%s", promote.name);
    item->number = promote.version;
    item_text(item, promote.name);
    item_number(item, promote.version);
    item_real(item, promote.percent);
    batch_add(d->batch, item);
}

// --- Rollback
// ------------------------------------------------------------------------------------

// item: number2 the version that is served no more, kind "canary" if it was that.
static void now_promoted_came(dispatcher_t *d, const item_t *item, const store_reply_t *reply,
                              const err_t *err) {
    err_t none;
    proto_model_info_t info;
    if (err || store_count(reply) < 2) {
        if (!err)
            none_such(item, "model", &none);
        answer_error(d, &item->from, err ? err : &none);
        return;
    }
    model_of(store_item(reply, 1), &info);
    proto_model_rolled_back_t told = {
        .model = &info, .version = item->number2, .canary = item->kind[0] != 0};
    answer(d, &item->from, PROTO_model_rolled_back, &told);
}

static void not_rolled_back(const item_t *item, const store_reply_t *reply, err_t *err) {
    const char *word = reply_text(reply, 0), *name = item->job;
    unsigned long long version = item->number, first = reply_number(reply, 1),
                       second = reply_number(reply, 2);
    if (strcmp(word, "NONE") == 0) {
        err_set(err, ERR_NOT_FOUND, "no version of a model %s is promoted", name);
        err_remedy(err, "`inkling models` lists what there is");
    } else if (strcmp(word, "CANARY") == 0) {
        err_set(err, ERR_CONFLICT, "model %s@%llu is tried beside %s@%llu", name, first, name,
                version);
        err_remedy(err, "end that first: `inkling rollback %s@%llu`", name, first);
    } else if (strcmp(word, "FIRST") == 0) {
        err_set(err, ERR_CONFLICT, "no version of model %s was promoted before %s@%llu", name, name,
                version);
        err_remedy(err, "name the one to be served: `inkling promote %s@VERSION`", name);
    } else if (strcmp(word, "GONE") == 0) {
        err_set(err, ERR_CONFLICT, "%s@%llu, which was promoted before %s@%llu, has been removed",
                name, first, name, version);
        if (second)
            err_remedy(err, "the newest kept one of those before it: `inkling promote %s@%llu`",
                       name, second);
        else
            err_remedy(err, "name the one to be served: `inkling promote %s@VERSION`", name);
    } else if (second) {
        err_set(err, ERR_CONFLICT, "%s@%llu is not served; promoted is %s@%llu, the canary %s@%llu",
                name, version, name, first, name, second);
        err_remedy(err, "`inkling rollback %s@%llu` ends the canary", name, second);
    } else {
        err_set(err, ERR_CONFLICT, "%s@%llu is not served; promoted is %s@%llu", name, version,
                name, first);
        err_remedy(err, "`inkling rollback %s@%llu` goes back from there", name, first);
    }
}

static void rolled_back(dispatcher_t *d, const item_t *item, const store_reply_t *reply,
                        const err_t *err) {
    err_t why;
    if (err || reply_text(reply, 0)[0]) {
        if (!err)
            not_rolled_back(item, reply, &why);
        answer_error(d, &item->from, err ? err : &why);
        return;
    }
    followers_revision(d, reply_number(reply, 1));
    item_t *next = question(&item->from, now_promoted_came, "m", item->job, reply_number(reply, 2),
                            "newest", 1);
    next->number2 = item->number;
    snprintf(next->kind, sizeof next->kind, "%s", reply_number(reply, 3) ? "canary" : "");
    batch_add(d->batch, next);
}

void on_rollback(dispatcher_t *d, const bus_message_t *message) {
    proto_model_rollback_t rollback;
    request_t from = request_of(message);
    if (!decode(d, message, &rollback))
        return;
    item_t *item = item_new(SCRIPT_rollback, &from, rolled_back);
    snprintf(item->job, sizeof item->job, "%s", rollback.name);
    item->number = rollback.version;
    item_text(item, rollback.name);
    item_number(item, rollback.version);
    batch_add(d->batch, item);
}
