// Studies: logs of decisions that only grow. What is in them is their writers' business
// (common/study).
#include "base/log.h"
#include "dispatcher_impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STUDIES_MAX 1000
#define LOG_MAX     1000000 // entries of one study
#define PART_BYTES  8388608 // of the entries of one answer

static err_code_t none_such(const char *name, err_t *err) {
    err_set(err, ERR_NOT_FOUND, "there is no study %s", name);
    return err_remedy(err, "`inkling study list` lists what there is");
}

static item_t *study_item(script_t script, const request_t *from, item_fn done, const char *name) {
    item_t *item = item_new(script, from, done);
    snprintf(item->job, sizeof item->job, "%s", name);
    item_text(item, name);
    return item;
}

// True if an error was answered: the connection's, or that a word stands for.
static bool refused(dispatcher_t *d, const item_t *item, const store_reply_t *reply,
                    const err_t *err) {
    err_t why;
    const char *word = err ? "" : reply_text(reply, 0);
    if (err) {
        answer_error(d, &item->from, err);
        return true;
    }
    if (word[0] == 0)
        return false;
    if (strcmp(word, "NONE") == 0) {
        none_such(item->job, &why);
    } else if (strcmp(word, "OTHER") == 0) {
        err_set(&why, ERR_CONFLICT, "study %s is there already, and is another one", item->job);
        err_remedy(&why, "choose another name, or remove that one");
    } else if (strcmp(word, "CONFLICT") == 0) {
        err_set(&why, ERR_CONFLICT, "study %s has %llu entries, others than its writer knows",
                item->job, (unsigned long long)reply_number(reply, 1));
        err_remedy(&why, "read the log again");
    } else {
        err_set(&why, ERR_FULL, "study %s: there are %d studies, or it has %d entries", item->job,
                STUDIES_MAX, LOG_MAX);
        err_remedy(&why, "`inkling study rm STUDY` removes one that is not needed any more");
    }
    answer_error(d, &item->from, &why);
    return true;
}

// --- Making and writing
// ---------------------------------------------------------------------------

static void opened(dispatcher_t *d, const item_t *item, const store_reply_t *reply,
                   const err_t *err) {
    if (refused(d, item, reply, err))
        return;
    proto_study_info_t info = {.study = item->job,
                               .entries = reply_number(reply, 1),
                               .created_ms = reply_number(reply, 2),
                               .about = reply_bytes(reply, 3)};
    proto_study_t study = {.study = &info};
    answer(d, &item->from, PROTO_study, &study);
}

void on_study_open(dispatcher_t *d, const bus_message_t *message) {
    proto_study_open_t open;
    request_t from = request_of(message);
    err_t err;
    if (!decode(d, message, &open))
        return;
    if (job_check_name("study.open: study", open.study, &err) != ERR_OK) {
        answer_error(d, &from, &err);
        return;
    }
    item_t *item = study_item(SCRIPT_study_open, &from, opened, open.study);
    item_bytes(item, open.about.data, open.about.size);
    item_number(item, STUDIES_MAX);
    batch_add(d->batch, item);
}

static void appended(dispatcher_t *d, const item_t *item, const store_reply_t *reply,
                     const err_t *err) {
    if (refused(d, item, reply, err))
        return;
    proto_study_appended_t answer_ = {.entries = reply_number(reply, 1)};
    answer(d, &item->from, PROTO_study_appended, &answer_);
}

void on_study_append(dispatcher_t *d, const bus_message_t *message) {
    proto_study_append_t append;
    request_t from = request_of(message);
    if (!decode(d, message, &append))
        return;
    item_t *item = study_item(SCRIPT_study_append, &from, appended, append.study);
    item_number(item, append.at);
    item_number(item, LOG_MAX);
    item_number(item, append.entries.count);
    for (size_t i = 0; i < append.entries.count; i++)
        item_bytes(item, append.entries.items[i].data.data, append.entries.items[i].data.size);
    batch_add(d->batch, item);
}

static void removed(dispatcher_t *d, const item_t *item, const store_reply_t *reply,
                    const err_t *err) {
    if (refused(d, item, reply, err))
        return;
    answer_ok(d, &item->from);
    log_info("study %s removed", item->job);
}

void on_study_rm(dispatcher_t *d, const bus_message_t *message) {
    proto_study_rm_t rm;
    request_t from = request_of(message);
    if (decode(d, message, &rm))
        batch_add(d->batch, study_item(SCRIPT_study_rm, &from, removed, rm.study));
}

// --- Reading
// --------------------------------------------------------------------------------------

static void read_came(dispatcher_t *d, const item_t *item, const store_reply_t *reply,
                      const err_t *err) {
    if (refused(d, item, reply, err))
        return;
    proto_arena_reset(d->arena);
    size_t count = store_count(reply) - 4;
    proto_study_entry_t *entries = proto_arena_alloc(d->arena, (count + 1) * sizeof *entries);
    for (size_t i = 0; i < count; i++)
        entries[i] = (proto_study_entry_t){.data = reply_bytes(reply, 4 + i)};
    proto_study_info_t info = {.study = item->job,
                               .entries = reply_number(reply, 1),
                               .created_ms = reply_number(reply, 2),
                               .about = reply_bytes(reply, 3)};
    proto_study_entries_t list = {.study = &info, .entries = {entries, count}};
    answer(d, &item->from, PROTO_study_entries, &list);
}

void on_study_read(dispatcher_t *d, const bus_message_t *message) {
    proto_study_read_t read;
    request_t from = request_of(message);
    if (!decode(d, message, &read))
        return;
    item_t *item = study_item(SCRIPT_study_read, &from, read_came, read.study);
    item_number(item, read.after);
    item_number(item, read.limit);
    item_number(item, PART_BYTES);
    batch_add(d->batch, item);
}

static void list_came(dispatcher_t *d, const item_t *item, const store_reply_t *reply,
                      const err_t *err) {
    if (err) {
        answer_error(d, &item->from, err);
        return;
    }
    proto_arena_reset(d->arena);
    size_t count = store_count(reply);
    proto_study_info_t *infos = proto_arena_alloc(d->arena, (count + 1) * sizeof *infos);
    for (size_t i = 0; i < count; i++) {
        const store_reply_t *study = store_item(reply, i);
        infos[i] = (proto_study_info_t){.study = reply_text(study, 0),
                                        .entries = reply_number(study, 1),
                                        .created_ms = reply_number(study, 2)};
    }
    proto_studies_t list = {.studies = {infos, count}};
    answer(d, &item->from, PROTO_studies, &list);
}

void on_study_list(dispatcher_t *d, const bus_message_t *message) {
    request_t from = request_of(message);
    item_t *item = item_new(SCRIPT_study_list, &from, list_came);
    item_number(item, STUDIES_MAX);
    batch_add(d->batch, item);
}
