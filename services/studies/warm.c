// A study.create whose study begins with an earlier one:
//
//   LOADING … → OPENING → STORING → OPENING → answer
//
// Whatever ends it in between: the same study.create goes on with it, and until then the study
// gives out no trial.
#include "proto/json.h"
#include "studies_impl.h"

#include <string.h>

static const char *earlier_name(const book_t *book) {
    return json_string_value(json_object_get(book->batch->about, "warm_start"));
}

static void give_up(book_t *book, err_t *err) {
    book_drop(book);
    book_opened(book, NULL, err);
}

// --- The first entry
// ------------------------------------------------------------------------------

// Another one's first entry is as good: a study.create is done twice, or by two.
static void stored(void *arg, const void *answer, const err_t *err) {
    book_t *book = arg;
    (void)answer;
    book_drop(book);
    if (err && err->code != ERR_CONFLICT)
        book_opened(book, NULL, err);
    else
        book_open(book, book_opened);
}

static void store_first(book_t *book) {
    err_t err;
    size_t count;
    const json_t *const *unsaved = study_unsaved(book->study, &count);
    proto_study_entry_t *entry = proto_arena_alloc(book->arena, sizeof *entry);
    if (proto_map_from_json(unsaved[0], book->arena, (proto_bytes_t *)&entry->data, &err) !=
        ERR_OK) {
        give_up(book, &err);
        return;
    }
    book->message.append = (proto_study_append_t){.study = book->name, .entries = {entry, 1}};
    book->state = BOOK_STORING;
    book_ask(book, PROTO_study_append, PROTO_study_appended, stored);
}

static void opened(void *arg, const void *answer, const err_t *err) {
    book_t *book = arg;
    const proto_study_t *study = answer;
    if (!err && study->study->entries == 0) {
        store_first(book);
        return;
    }
    book_drop(book);
    book_opened(book, answer, err);
}

// --- The earlier study
// ----------------------------------------------------------------------------

static void read_earlier(book_t *book);

// With its last page, the new study is tried: a wrong one is never made.
static void run_replay(task_t *task, bool stopping) {
    book_t *book = (book_t *)task;
    const proto_study_entries_t *page = book->page;
    err_code_t code = ERR_OK;
    book->err = (err_t){0};
    if (!book->earlier) {
        json_t *about = proto_map_json(page->study->about);
        code = study_new(about, &book->earlier, &book->err);
        json_decref(about);
    }
    for (size_t i = 0; i < page->entries.count && code == ERR_OK && !stopping; i++) {
        json_t *entry = proto_map_json(page->entries.items[i].data);
        code = study_replay(book->earlier, entry, &book->err);
        json_decref(entry);
    }
    if (code || stopping || study_saved(book->earlier) < page->study->entries)
        return;
    code = study_new(book->batch->about, &book->study, &book->err);
    if (code == ERR_OK)
        study_begin_with(book->study, earlier_name(book), book->earlier, &book->err);
}

static void replayed(void *arg) {
    book_t *book = arg;
    if (book->studies->ending)
        return;
    if (book->err.code)
        give_up(book, &book->err);
    else if (book->study)
        book_open(book, opened);
    else
        read_earlier(book);
}

static void page_came(void *arg, const void *answer, const err_t *err) {
    book_t *book = arg;
    if (err) {
        err_t why = *err;
        err_context(&why, "to begin with study %s", earlier_name(book));
        give_up(book, &why);
        return;
    }
    book->page = answer;
    book_task(book, run_replay, replayed);
}

static void read_earlier(book_t *book) {
    book->state = BOOK_LOADING;
    book->message.read =
        (proto_study_read_t){.study = earlier_name(book),
                             .after = book->earlier ? study_saved(book->earlier) : 0,
                             .limit = PROTO_ENTRIES_MAX};
    book_ask(book, PROTO_study_read, PROTO_study_entries, page_came);
}

void warm_make(book_t *book) {
    book_drop(book); // what is in memory of the study may be of an earlier one of its name
    read_earlier(book);
}
