// Studies in memory: one is read when somebody wants something of it, and stays until there are too
// many. Requests of one study are done in the order of their coming, some of them together:
//
//   READING  → REPLAYING → READING … → IDLE        the log is read to its end
//   DECIDING → STORING   → answers                 something was decided
//   DECIDING → CHECKING  → answers                 nothing was: it must be true of the log's end
//
// Where the log turns out to have more than was known, it is read on (nothing was decided) or anew
// (what was decided is void), and the same requests are decided again.
#include "base/clock.h"
#include "base/log.h"
#include "proto/json.h"
#include "studies_impl.h"

#include <stdlib.h>
#include <string.h>

static void go(book_t *book);

// --- Requests
// -------------------------------------------------------------------------------------

void request_free(request_t *request) {
    json_decref(request->about);
    json_decref(request->param);
    free(request);
}

static void end_request(book_t *book, request_t *request) {
    book->studies->requests--;
    request_free(request);
}

static void put_last(book_t *book, request_t *request) {
    request->next = NULL;
    *book->queue_end = request;
    book->queue_end = &request->next;
    book->queued++;
}

static request_t *take_first(book_t *book) {
    request_t *request = book->queue;
    book->queue = request->next;
    if (!book->queue)
        book->queue_end = &book->queue;
    book->queued--;
    return request;
}

static void refuse(book_t *book, request_t *request, const err_t *err) {
    if (!request->gone)
        studies_refuse(book->studies, &request->peer, request->id, err);
    request->gone = true;
}

static void reply(book_t *book, request_t *request) {
    studies_t *studies = book->studies;
    err_t err;
    if (!request->answer)
        refuse(book, request, &request->err);
    else if (!request->gone &&
             bus_send(studies->router, &request->peer, request->id, 0, request->answer_type,
                      request->answer, NULL, 0, &err) != ERR_OK)
        log_debug("no answer to %s: %s", proto_message(request->type)->wire, err.message);
    if (request->answer && request->type == PROTO_study_ask)
        metric_add(&studies->stats.suggested, 1);
}

// --- Books
// ----------------------------------------------------------------------------------------

void book_drop(book_t *book) {
    study_free(&book->study);
    study_free(&book->earlier);
    book->studies->trials -= book->trials;
    book->trials = 0;
    book->entries = 0;
}

static void free_book(book_t *book) {
    book_drop(book);
    for (request_t *list = book->batch; list;) {
        request_t *next = list->next;
        end_request(book, list);
        list = next;
    }
    while (book->queue)
        end_request(book, take_first(book));
    proto_arena_destroy(&book->arena);
    proto_arena_destroy(&book->read_arena);
    free(book);
}

void books_free(studies_t *studies) {
    size_t at = 0;
    book_t *book;
    while ((book = map_next(studies->books, &at)) != NULL)
        free_book(book);
    map_destroy(&studies->books);
}

static book_t *least_used(const studies_t *studies) {
    size_t at = 0;
    book_t *book, *least = NULL;
    while ((book = map_next(studies->books, &at)) != NULL)
        if (book->state == BOOK_IDLE && !book->queue && (!least || book->used_ms < least->used_ms))
            least = book;
    return least;
}

static void remove_book(book_t *book) {
    map_remove(book->studies->books, book->name);
    free_book(book);
}

static bool make_room(studies_t *studies, size_t books_max) {
    while (map_count(studies->books) > books_max || studies->trials > TRIALS_MAX) {
        book_t *book = least_used(studies);
        if (!book)
            return map_count(studies->books) <= books_max;
        remove_book(book);
    }
    return true;
}

static book_t *open_book(studies_t *studies, const char *name) {
    if (!make_room(studies, BOOKS_MAX - 1))
        return NULL;
    book_t *book = mem_zero(1, sizeof *book);
    book->studies = studies;
    memcpy(book->name, name, strlen(name) + 1);
    book->queue_end = &book->queue;
    book->arena = proto_arena_new();
    book->read_arena = proto_arena_new();
    map_put(studies->books, name, book);
    return book;
}

// --- The batch
// ------------------------------------------------------------------------------------

// All that is decided counts: it is answered. What was not come to waits on.
static void answer_batch(book_t *book) {
    while (book->batch) {
        request_t *request = book->batch;
        book->batch = request->next;
        reply(book, request);
        end_request(book, request);
    }
}

// Before those that wait. The list is not empty.
static void put_back(book_t *book, request_t *list) {
    request_t **end = &list;
    while (*end) {
        (*end)->done = false;
        (*end)->answer = NULL;
        book->queued++;
        end = &(*end)->next;
    }
    *end = book->queue;
    if (!book->queue)
        book->queue_end = end;
    book->queue = list;
}

static void again(book_t *book) {
    request_t *batch = book->batch;
    book->batch = NULL;
    if (batch)
        put_back(book, batch);
}

// Those that wait for something that cannot be.
static void refuse_all(book_t *book, const err_t *err) {
    again(book);
    while (book->queue) {
        request_t *request = take_first(book);
        refuse(book, request, err);
        end_request(book, request);
    }
}

// --- The log: reading
// -----------------------------------------------------------------------------

void book_task(book_t *book, void (*run)(task_t *, bool), bus_fn read) {
    book->task = (task_t){.mail = {.read = read, .arg = book}, .run = run};
    background_push(book->studies->background, &book->task);
}

void book_ask(book_t *book, proto_type_t type, proto_type_t answer_type,
              void (*answered)(void *, const void *, const err_t *)) {
    book->ask = (ask_t){.type = type,
                        .message = &book->message,
                        .answer_type = answer_type,
                        .answered = answered,
                        .arg = book,
                        .arena = book->read_arena};
    archive_ask(book->studies->archive, &book->ask);
}

static void read_came(void *arg, const void *answer, const err_t *err);

static void read_on(book_t *book, book_state_t state) {
    book->state = state;
    book->message.read = (proto_study_read_t){.study = book->name,
                                              .after = book->study ? study_saved(book->study) : 0,
                                              .limit = PROTO_ENTRIES_MAX};
    book_ask(book, PROTO_study_read, PROTO_study_entries, read_came);
}

static void run_replay(task_t *task, bool stopping) {
    book_t *book = (book_t *)task;
    const proto_study_entries_t *page = book->page;
    err_code_t code = ERR_OK;
    book->err = (err_t){0};
    if (!book->study) {
        json_t *about = proto_map_json(page->study->about);
        code = study_new(about, &book->study, &book->err);
        json_decref(about);
    }
    for (size_t i = 0; i < page->entries.count && code == ERR_OK && !stopping; i++) {
        json_t *entry = proto_map_json(page->entries.items[i].data);
        code = study_replay(book->study, entry, &book->err);
        json_decref(entry);
    }
}

static void count_trials(book_t *book) {
    size_t count = study_count(book->study);
    book->studies->trials += count - book->trials;
    book->trials = count;
}

static void replayed(void *arg) {
    book_t *book = arg;
    if (book->studies->ending)
        return;
    if (book->err.code) {
        err_context(&book->err, "study %s", book->name);
        log_warn("%s", book->err.message);
        book_drop(book);
        book->state = BOOK_IDLE;
        refuse_all(book, &book->err);
        go(book);
        return;
    }
    count_trials(book);
    if (study_saved(book->study) < book->entries) {
        read_on(book, BOOK_READING);
        return;
    }
    book->state = BOOK_IDLE;
    go(book);
}

static void read_came(void *arg, const void *answer, const err_t *err) {
    book_t *book = arg;
    if (err) { // the study is gone, as a rule
        book_drop(book);
        book->state = BOOK_IDLE;
        refuse_all(book, err);
        go(book);
        return;
    }
    const proto_study_entries_t *page = answer;
    const proto_study_info_t *info = page->study;
    bool other = book->study &&
                 (info->created_ms != book->created_ms || info->entries < study_saved(book->study));
    if (other) { // removed, and made anew
        book_drop(book);
        again(book);
        read_on(book, BOOK_READING);
        return;
    }
    book->created_ms = info->created_ms;
    book->entries = info->entries;
    if (!book->study || page->entries.count > 0) {
        again(book);
        book->page = page;
        book->state = BOOK_REPLAYING;
        book_task(book, run_replay, replayed);
        return;
    }
    answer_batch(book);
    book->state = BOOK_IDLE;
    go(book);
}

// --- The log: writing
// -----------------------------------------------------------------------------

static void appended(void *arg, const void *answer, const err_t *err) {
    book_t *book = arg;
    (void)answer;
    book->state = BOOK_IDLE;
    if (!err) {
        metric_add(&book->studies->stats.stored, book->unsaved);
        study_save(book->study, book->unsaved);
        book->entries = study_saved(book->study);
        count_trials(book);
        answer_batch(book);
    } else if (err->code == ERR_CONFLICT) {
        log_debug("study %s: another writer was first", book->name);
        metric_add(&book->studies->stats.conflicts, 1);
        book_drop(book);
        again(book);
    } else {
        log_warn("study %s: nothing is stored: %s", book->name, err->message);
        book_drop(book);
        for (request_t *request = book->batch; request; request = request->next) {
            request->answer = NULL;
            request->err = *err;
        }
        answer_batch(book);
    }
    go(book);
}

static void store(book_t *book, const json_t *const *unsaved, size_t count) {
    err_t err = {0};
    proto_study_entry_t *entries = proto_arena_alloc(book->arena, count * sizeof *entries);
    for (size_t i = 0; i < count && !err.code; i++)
        proto_map_from_json(unsaved[i], book->arena, (proto_bytes_t *)&entries[i].data, &err);
    book->unsaved = count;
    if (err.code) {
        appended(book, NULL, &err);
        return;
    }
    book->message.append = (proto_study_append_t){
        .study = book->name, .at = study_saved(book->study), .entries = {entries, count}};
    book->state = BOOK_STORING;
    book_ask(book, PROTO_study_append, PROTO_study_appended, appended);
}

// --- Deciding
// -------------------------------------------------------------------------------------

static void run_decide(task_t *task, bool stopping) {
    book_t *book = (book_t *)task;
    int64_t end_ms = clock_mono_ms() + DECIDE_MS;
    size_t unsaved = 0;
    for (request_t *request = book->batch; request && !stopping; request = request->next) {
        deed_do(book, request, book->arena);
        study_unsaved(book->study, &unsaved);
        if (clock_mono_ms() >= end_ms || unsaved >= ENTRIES_AT_ONCE)
            break;
    }
}

static void decided(void *arg) {
    book_t *book = arg;
    size_t count;
    if (book->studies->ending)
        return;
    request_t **end = &book->batch;
    while (*end && (*end)->done)
        end = &(*end)->next;
    request_t *rest = *end;
    *end = NULL;
    if (rest)
        put_back(book, rest);
    const json_t *const *unsaved = study_unsaved(book->study, &count);
    if (count > 0)
        store(book, unsaved, count);
    else
        read_on(book, BOOK_CHECKING);
}

static void decide(book_t *book) {
    request_t **end = &book->batch;
    for (int i = 0; i < BATCH_MAX && book->queue && book->queue->type != PROTO_study_create; i++) {
        *end = take_first(book);
        end = &(*end)->next;
    }
    *end = NULL;
    proto_arena_reset(book->arena);
    book->state = BOOK_DECIDING;
    book_task(book, run_decide, decided);
}

// --- Making one
// -----------------------------------------------------------------------------------

void book_opened(void *arg, const void *answer, const err_t *err) {
    book_t *book = arg;
    request_t *request = book->batch;
    request->answer_type = PROTO_study;
    request->answer = answer;
    if (err)
        request->err = *err;
    answer_batch(book);
    book->state = BOOK_IDLE;
    go(book);
}

static int by_key(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

// The same things said in another order are the same.
static json_t *in_order(json_t *about) {
    size_t count = json_object_size(about), i = 0;
    const char **keys = mem_zero(count + 1, sizeof *keys), *key;
    json_t *value, *ordered = json_object();
    json_object_foreach(about, key, value) keys[i++] = key;
    qsort(keys, count, sizeof *keys, by_key);
    for (i = 0; i < count; i++)
        json_object_set(ordered, keys[i], json_object_get(about, keys[i]));
    free(keys);
    return ordered;
}

void book_open(book_t *book, void (*opened)(void *, const void *, const err_t *)) {
    err_t err;
    proto_arena_reset(book->arena);
    book->message.open = (proto_study_open_t){.study = book->name};
    json_t *about = in_order(book->batch->about);
    err_code_t code = proto_map_from_json(about, book->arena, &book->message.open.about, &err);
    json_decref(about);
    book->state = BOOK_OPENING;
    if (code)
        book_opened(book, NULL, &err);
    else
        book_ask(book, PROTO_study_open, PROTO_study, opened);
}

static void make_study(book_t *book) {
    book->batch = take_first(book);
    book->batch->next = NULL;
    if (json_object_get(book->batch->about, "warm_start"))
        warm_make(book);
    else
        book_open(book, book_opened);
}

// --- What comes next
// ------------------------------------------------------------------------------

// The book may be gone afterwards.
static void go(book_t *book) {
    studies_t *studies = book->studies;
    if (book->state != BOOK_IDLE)
        return;
    if (!book->queue && !book->study)
        remove_book(book);
    else if (!book->queue)
        make_room(studies, BOOKS_MAX);
    else if (book->queue->type == PROTO_study_create)
        make_study(book);
    else if (!book->study)
        read_on(book, BOOK_READING);
    else
        decide(book);
}

void books_take(studies_t *studies, const char *study, request_t *request) {
    book_t *book = map_get(studies->books, study);
    err_t err;
    if (!book)
        book = open_book(studies, study);
    if (!book || book->queued >= BOOK_QUEUE_MAX) {
        err_set(&err, ERR_FULL,
                book ? "study %s has %d requests that wait already"
                     : "cannot serve study %s: %d studies are being served",
                study, book ? BOOK_QUEUE_MAX : BOOKS_MAX);
        err_remedy(&err, "ask again in a moment");
        studies_refuse(studies, &request->peer, request->id, &err);
        request_free(request);
        return;
    }
    studies->requests++;
    book->used_ms = clock_mono_ms();
    put_last(book, request);
    go(book);
}

static void late(const studies_t *studies, err_t *err) {
    if (archive_heard(studies->archive))
        err_set(err, ERR_UNAVAILABLE, "the study has too much to do: there was no answer in time");
    else
        err_set(err, ERR_UNAVAILABLE, "the dispatcher, which has the studies, does not answer");
    err_remedy(err, "send the same again; whatever came of it meanwhile is not done twice");
}

// A request that the background thread has, or whose entries are on their way, is only answered.
static void expire(book_t *book, int64_t now) {
    err_t err;
    late(book->studies, &err);
    for (request_t *request = book->batch; request; request = request->next)
        if (request->until_ms <= now)
            refuse(book, request, &err);
    book->queue_end = &book->queue;
    while (*book->queue_end) {
        request_t *request = *book->queue_end;
        if (request->until_ms > now) {
            book->queue_end = &request->next;
            continue;
        }
        *book->queue_end = request->next;
        book->queued--;
        refuse(book, request, &err);
        end_request(book, request);
    }
}

void books_expire(studies_t *studies) {
    size_t at = 0;
    int64_t now = clock_mono_ms();
    book_t *book;
    while ((book = map_next(studies->books, &at)) != NULL)
        expire(book, now);
}

void books_hurry(studies_t *studies, int64_t until_ms) {
    size_t at = 0;
    book_t *book;
    while ((book = map_next(studies->books, &at)) != NULL) {
        for (request_t *request = book->batch; request; request = request->next)
            request->until_ms = request->until_ms < until_ms ? request->until_ms : until_ms;
        for (request_t *request = book->queue; request; request = request->next)
            request->until_ms = request->until_ms < until_ms ? request->until_ms : until_ms;
    }
}
