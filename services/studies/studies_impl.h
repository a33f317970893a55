// The parts of the service: messages (studies.c), studies in memory and the order of what is done
// to them (books.c), what a request does to a study (deeds.c, change.c) and sees of it (views.c),
// the dispatcher (archive.h).
#ifndef INKLING_STUDIES_STUDIES_IMPL_H
#define INKLING_STUDIES_STUDIES_IMPL_H

#include "archive.h"
#include "base/map.h"
#include "bus/background.h"
#include "metric/metric.h"
#include "service/service.h"
#include "study/study.h"

#define BOOKS_MAX       64    // studies in memory, with questions or without
#define TRIALS_MAX      50000 // trials of those together; then the ones used longest ago go
#define REQUESTS_MAX    4096  // without an answer
#define BOOK_QUEUE_MAX  1024  // of those, of one study
#define BATCH_MAX       64    // requests that are decided together
#define DECIDE_MS       50    // what was decided after so long is stored before there is more
#define REQUEST_MS      30000 // then the answer is UNAVAILABLE
#define ENTRIES_AT_ONCE 900   // unsaved entries that are stored together, at most PROTO_ENTRIES_MAX

// X(type, field, name, labels, help)
#define STUDIES_METRICS(X)                                                                         \
    X(COUNTER, requests, "inkling_studies_requests_total", "", "Requests.")                        \
    X(COUNTER, refused, "inkling_studies_refused_total", "", "Requests answered with an error.")   \
    X(COUNTER, suggested, "inkling_studies_trials_total", "",                                      \
      "Trials that were given out, some of them again.")                                           \
    X(COUNTER, stored, "inkling_studies_entries_total", "", "Entries that were stored.")           \
    X(COUNTER, conflicts, "inkling_studies_conflicts_total", "",                                   \
      "Decisions that were dropped, for another writer was first.")                                \
    X(GAUGE, waiting, "inkling_studies_waiting", "", "Requests without an answer.")                \
    X(GAUGE, loaded, "inkling_studies_loaded", "", "Studies in memory.")                           \
    X(GAUGE, trials, "inkling_studies_loaded_trials", "", "Their trials.")

typedef struct {
    STUDIES_METRICS(METRIC_FIELD)
} stats_t;

// What somebody wants of a study.
typedef struct request request_t;
struct request {
    request_t *next;
    bus_peer_t peer;
    uint64_t id;
    int64_t until_ms; // then it is answered that it took too long
    bool gone;        // it was
    proto_type_t type;
    json_t *about;              // of study_create
    json_t *param;              // of study_change: texts
    uint64_t trial, step;       // step, or `after` of study_show
    uint64_t limit;             // of study_show
    double value;               // PROTO_NO_VALUE: none
    char text[STUDY_TEXT_SIZE]; // key of an ask, reason of a stop, why a trial failed
    bool model;                 // of study_show
    uint64_t curves, slices;    // of study_show: points
    // What came of it, until it is stored or known to be true still:
    bool done;
    proto_type_t answer_type;
    const void *answer; // struct, in its book's arena; NULL: err
    err_t err;
};

typedef struct studies studies_t;

typedef enum {
    BOOK_IDLE,
    BOOK_LOADING,   // the study that a new one is to begin with is read and replayed
    BOOK_OPENING,   // the dispatcher makes it, for a study.create
    BOOK_READING,   // its log is asked for
    BOOK_REPLAYING, // in the background
    BOOK_DECIDING,  // in the background
    BOOK_STORING,   // what was decided is on its way to the log
    BOOK_CHECKING,  // is the log still what the decisions were made by?
} book_state_t;

// A study in memory, and who wants something of it. One thing at a time is done to it; study,
// batch and arena are the background thread's while it replays or decides.
typedef struct {
    task_t task; // first: a task is its book
    studies_t *studies;
    char name[PROTO_NAME_MAX + 1];
    book_state_t state;
    study_t *study;               // NULL: not read yet
    uint64_t created_ms, entries; // of its log, as far as is known
    study_t *earlier;             // while a new one is made that begins with it; else NULL
    size_t trials;                // in memory
    int64_t used_ms;
    request_t *queue, **queue_end;
    size_t queued;
    request_t *batch; // those that are being decided, stored or checked
    ask_t ask;
    proto_arena_t *arena;      // of the question and of the batch's answers
    proto_arena_t *read_arena; // of the archive's answer
    union {
        proto_study_open_t open;
        proto_study_read_t read;
        proto_study_append_t append;
    } message;
    const proto_study_entries_t *page; // to be replayed
    size_t unsaved;                    // entries that are being stored
    err_t err;                         // of the replay
} book_t;

struct studies {
    service_t *service;
    bus_loop_t *loop;
    bus_socket_t *router;
    proto_arena_t *arena;
    mailbox_t *mailbox;
    background_t *background;
    archive_t *archive;
    map_t *books; // by name
    size_t requests, trials;
    bool draining, ending;
    int timer;
    stats_t stats;
};

// --- studies.c
void studies_refuse(studies_t *studies, const bus_peer_t *peer, uint64_t id, const err_t *err);

// --- books.c
// Takes the request, which is answered when its time comes.
void books_take(studies_t *studies, const char *study, request_t *request);
// Answers what has waited for too long.
void books_expire(studies_t *studies);
// Nothing is waited for any longer than that.
void books_hurry(studies_t *studies, int64_t until_ms);
void books_free(studies_t *studies);
void request_free(request_t *request);
// For warm.c: a task of the book, a question about book->message, and the end of a study.create.
void book_task(book_t *book, void (*run)(task_t *, bool), bus_fn read);
void book_ask(book_t *book, proto_type_t type, proto_type_t answer_type,
              void (*answered)(void *, const void *, const err_t *));
void book_open(book_t *book, void (*opened)(void *, const void *, const err_t *));
void book_opened(void *arg, const void *answer, const err_t *err);
void book_drop(book_t *book); // the studies in memory

// --- warm.c
// A study.create whose study begins with an earlier one: that is read, and what is copied of it is
// the first entry. Done twice, it is there.
void warm_make(book_t *book);

// --- deeds.c, on the background thread
// ERR_INVALID names what in a study.create's about is wrong; keys that no study has are refused.
err_code_t deed_check_about(const json_t *about, err_t *err); // on the loop's thread
// Decides: afterwards the request has an answer in the arena, or an err.
void deed_do(book_t *book, request_t *request, proto_arena_t *arena);
// Takes the reference, of a list of texts.
proto_strs_t deed_texts(json_t *list, proto_arena_t *arena);

// --- change.c, on the background thread
// study.change: decides as deed_do().
err_code_t deed_change(study_t *study, request_t *request, proto_arena_t *arena, err_t *err);

// --- views.c, on the background thread: parts of a study.view, new references
json_t *view_curve(const study_trial_t *trial, uint64_t most); // at most so many points
json_t *view_stopped(const study_trial_t *trial);              // of one that is to stop
json_t *view_importance(study_t *study);                       // NULL: there is no model yet
json_t *view_slices(study_t *study, uint64_t points);          // NULL: as above

#endif
