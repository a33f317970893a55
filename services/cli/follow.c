#include "follow_impl.h"

#include "base/clock.h"
#include "progress_impl.h"
#include "result_impl.h"

#include <string.h>

#define WAIT_MS     2000   // the dispatcher holds a question so long when there is nothing new
#define ANSWER_MS   4000   // after that the question is asked again: the dispatcher was restarted
#define PATIENCE_MS 180000 // for a dispatcher that is away
#define PAUSE_MS    300

bool follow_is_end(const char *state) {
    return verb_in_list("succeeded failed cancelled dead", state);
}

typedef struct {
    int64_t since_ms; // the dispatcher is away; 0: it is not
    progress_t *progress;
} away_t;

// True if it is worth asking again.
static bool bear(away_t *away, err_code_t code, const err_t *err) {
    if (code != ERR_UNAVAILABLE && code != ERR_TIMEOUT && code != ERR_NOT_LEADER)
        return false;
    int64_t now = clock_mono_ms();
    if (away->since_ms == 0) {
        away->since_ms = now;
        if (away->progress)
            progress_note(away->progress, SAY_WARN, "waiting: %s", err->message);
    }
    clock_sleep_ms(PAUSE_MS);
    return now - away->since_ms < PATIENCE_MS;
}

static err_code_t stopped(const char *job, err_t *err) {
    err_set(err, ERR_CANCELLED, "stopped following; job %s goes on", job);
    return err_remedy(
        err, "`inkling job follow %s` attaches again, `inkling job cancel %s` ends it", job, job);
}

typedef struct {
    cli_t *cli;
    const char *job;
    bool once;
    void (*fn)(void *arg, const proto_event_t *event);
    void *arg;
    uint64_t after;
    away_t away;
    char waits_for[32]; // what was told that the job waits for
} reading_t;

static err_code_t ask(reading_t *reading, proto_events_t *events, err_t *err) {
    proto_job_events_t question;
    proto_defaults(PROTO_job_events, &question);
    question.job = reading->job;
    question.after = reading->after;
    question.wait_ms = reading->once ? 0 : WAIT_MS;
    proto_arena_reset(reading->cli->arena);
    err_code_t code;
    do
        code = cli_interrupted() ? ERR_CANCELLED
                                 : cli_ask_once(reading->cli, PROTO_job_events, &question,
                                                PROTO_events, events, ANSWER_MS, err);
    while (code && code != ERR_CANCELLED && bear(&reading->away, code, err));
    if (code == ERR_CANCELLED && cli_interrupted())
        return stopped(reading->job, err);
    if (code == ERR_OK)
        reading->away.since_ms = 0;
    return code;
}

// A job that waits is silent: says once for what, and again when that has changed.
static void tell_why(reading_t *reading) {
    proto_job_why_t question = {.job = reading->job};
    proto_job_reason_t answer;
    if (cli_ask_once(reading->cli, PROTO_job_why, &question, PROTO_job_reason, &answer, ANSWER_MS,
                     NULL) != ERR_OK ||
        strcmp(answer.state, "queued") != 0 || strcmp(answer.waits_for, reading->waits_for) == 0)
        return;
    snprintf(reading->waits_for, sizeof reading->waits_for, "%s", answer.waits_for);
    progress_note(reading->away.progress, SAY_DIM, "waits: %s", answer.text);
}

static err_code_t read_all(reading_t *reading, char state[17], err_t *err) {
    for (;;) {
        proto_events_t events;
        err_code_t code = ask(reading, &events, err);
        if (code)
            return code;
        if (events.first > reading->after + 1 && reading->away.progress)
            progress_note(reading->away.progress, SAY_DIM,
                          "(events before number %llu are no longer kept)",
                          (unsigned long long)events.first);
        for (size_t i = 0; i < events.events.count; i++)
            if (events.events.items[i].n > reading->after) {
                reading->after = events.events.items[i].n;
                reading->fn(reading->arg, &events.events.items[i]);
            }
        snprintf(state, 17, "%s", events.state);
        bool all = reading->after >= events.last;
        if (events.first > reading->after + 1 && events.events.count == 0)
            all = true; // all of them have been dropped
        if (all && (reading->once || follow_is_end(state)))
            return ERR_OK;
        if (reading->away.progress && !say_is_json() && events.events.count == 0 &&
            strcmp(state, "queued") == 0)
            tell_why(reading);
        if (reading->away.progress && all &&
            live_look(reading->away.progress->live, reading->cli, reading->job))
            progress_table(reading->away.progress);
    }
}

err_code_t follow_events(cli_t *cli, const char *job, bool once,
                         void (*fn)(void *arg, const proto_event_t *event), void *arg,
                         char state[17], err_t *err) {
    reading_t reading = {.cli = cli, .job = job, .once = once, .fn = fn, .arg = arg};
    cli_catch_interrupts();
    return read_all(&reading, state, err);
}

// --- The end of a job

// {"job", "state"}, what the job has found out, and the version that this became.
static json_t *document_of(const proto_job_info_t *info) {
    json_t *document = json_object(), *result = proto_map_json(info->result);
    json_t *body = proto_map_json(info->body);
    json_object_set_new(document, "job", json_string(info->job));
    json_object_set_new(document, "state", json_string(info->state));
    if (json_is_object(result))
        json_object_update_missing(document, result);
    if (info->version > 0)
        json_object_set_new(document, "version", json_integer((json_int_t)info->version));
    static const char *const from_body[] = {"model", "dataset"};
    for (size_t i = 0; i < 2; i++) {
        json_t *name = json_object_get(body, from_body[i]);
        if (json_is_string(name) && *json_string_value(name) &&
            !json_object_get(document, from_body[i]))
            json_object_set(document, from_body[i], name);
    }
    json_decref(body);
    json_decref(result);
    return document;
}

static int job_failed(const proto_job_info_t *info) {
    err_t err;
    bool told = info->error && info->error->message[0];
    err_set(&err, told ? err_from_name(info->error->code) : ERR_INTERNAL, "job %s %s%s: %s",
            info->job, strcmp(info->state, "dead") == 0 ? "is " : "", info->state,
            told              ? info->error->message
            : info->reason[0] ? info->reason
                              : "no reason is known");
    if (strcmp(info->state, "cancelled") == 0)
        err_set(&err, ERR_CANCELLED, "job %s was cancelled%s%s", info->job,
                info->reason[0] ? ": " : "", info->reason);
    if (err.code == ERR_CANCELLED)
        err_remedy(&err, "`inkling job retry %s` queues it again", info->job);
    else if (told && info->error->remedy[0])
        err_remedy(&err, "%s", info->error->remedy);
    else
        err_remedy(&err, "`inkling job logs %s` tells more, `inkling job retry %s` tries again",
                   info->job, info->job);
    json_t *more = json_object();
    json_object_set_new(more, "job", json_string(info->job));
    json_object_set_new(more, "kind", json_string(info->kind));
    json_object_set_new(more, "state", json_string(info->state));
    json_object_set_new(more, "attempts", json_integer((json_int_t)info->attempts));
    json_object_set_new(more, "reason", say_json_text(info->reason));
    say_error(&err, more);
    json_decref(more);
    return 1;
}

// The table is there, and says for which images it has no label.
static int images_failed(const proto_job_info_t *info, const json_t *document) {
    const json_t *failed = json_object_get(document, "failed");
    if (strcmp(info->kind, "predict") != 0 || json_integer_value(failed) <= 0)
        return 0;
    fprintf(stderr, "inkling: %lld of %lld images have failed\n  the column error of %s says why\n",
            (long long)json_integer_value(failed),
            (long long)json_integer_value(json_object_get(document, "images")),
            json_object_get(document, "out") ? "the CSV file" : "its table");
    return 1;
}

static err_code_t show_end(cli_t *cli, const char *job, follow_finish_fn finish, int *exit_code,
                           err_t *err) {
    proto_job_show_t question = {.job = job};
    proto_job_t answer;
    err_code_t code = cli_ask(cli, PROTO_job_show, &question, PROTO_job, &answer, err);
    if (code)
        return code;
    if (strcmp(answer.job->state, "succeeded") != 0) {
        *exit_code = job_failed(answer.job);
        return ERR_OK;
    }
    json_t *document = document_of(answer.job);
    if (finish)
        code = finish(cli, document, err);
    if (code == ERR_OK && say_is_json())
        say_json(json_incref(document));
    else if (code == ERR_OK)
        result_print(document);
    if (code == ERR_OK)
        *exit_code = images_failed(answer.job, document);
    json_decref(document);
    return code;
}

static void on_event(void *arg, const proto_event_t *event) {
    progress_event(arg, event);
}

err_code_t follow_job(cli_t *cli, const char *job, follow_finish_fn finish, int *exit_code,
                      err_t *err) {
    progress_t progress;
    progress_init(&progress);
    if (progress.terminal && !progress.silent)
        progress.live = live_new();
    reading_t reading = {
        .cli = cli, .job = job, .fn = on_event, .arg = &progress, .away.progress = &progress};
    char state[17];
    cli_catch_interrupts();
    err_code_t code = read_all(&reading, state, err);
    progress_end(&progress);
    live_free(&progress.live);
    if (code == ERR_OK)
        return show_end(cli, job, finish, exit_code, err);
    if (code != ERR_CANCELLED)
        return code;
    json_t *more = json_pack("{s:s}", "job", job);
    say_error(err, more);
    json_decref(more);
    *exit_code = CLI_STOPPED;
    return ERR_OK;
}
