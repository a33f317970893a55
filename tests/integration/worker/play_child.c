// A job's process that does what the body's "do" says.
#include "child/child.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/fs.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LINK_FD 3
#define DIGEST  "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

typedef struct {
    child_t *child;
    const child_job_t *job;
    json_t *body;
    child_result_t *result;
    err_t *err;
} play_t;

static int64_t number(const play_t *play, const char *key) {
    return json_integer_value(json_object_get(play->body, key));
}

// <folder>/<name> with the process' number: how tests find it.
static void leave_pid(const play_t *play, const char *name, pid_t pid) {
    char text[32], path[4096];
    snprintf(path, sizeof path, "%s/%s", play->job->folder, name);
    snprintf(text, sizeof text, "%d", (int)pid);
    if (fs_write(path, text, strlen(text), NULL) != ERR_OK)
        _exit(9);
}

static err_code_t succeed(play_t *play) {
    child_event(play->child, "greeting", json_pack("{s:s}", "text", "hello"));
    child_log(play->child, "info", "%s", "working");
    child_progress(play->child, 7, 1, 2, "half way");
    play->result->result = json_pack("{s:i, s:s, s:I}", "answer", 42, "files", play->job->files,
                                     "attempt", (json_int_t)play->job->attempt);
    return ERR_OK;
}

static err_code_t fail(play_t *play) {
    const char *code = json_string_value(json_object_get(play->body, "code"));
    err_set(play->err, err_from_name(code), "the part is bad: \xff\xfe");
    return err_remedy(play->err, "write a better one");
}

static err_code_t crash(play_t *play) {
    int number_of = (int)number(play, "signal");
    fprintf(stderr, "line one\nthe last words\n");
    signal(number_of, SIG_DFL);
    raise(number_of);
    return ERR_OK;
}

static err_code_t leave(play_t *play) {
    (void)play;
    fprintf(stderr, "no more of this\n");
    _exit(3);
}

// Stays whatever is said.
static err_code_t hang(play_t *play) {
    leave_pid(play, "pid", getpid());
    pid_t grandchild = fork();
    if (grandchild > 0)
        leave_pid(play, "grandchild", grandchild);
    while (pause() < 0)
        ;
    return ERR_OK;
}

// As if somebody had stopped it.
static err_code_t freeze(play_t *play) {
    leave_pid(play, "pid", getpid());
    clock_sleep_ms(number(play, "after_ms"));
    raise(SIGSTOP);
    return ERR_OK;
}

static err_code_t polite(play_t *play) {
    leave_pid(play, "pid", getpid());
    for (uint64_t step = 1;; step++) {
        child_stop_t stop = child_stop(play->child);
        child_progress(play->child, step, 0, 0, NULL);
        if (stop == CHILD_RELEASE) {
            err_code_t code =
                child_checkpoint(play->child, "jobs/x/y", DIGEST, step, NULL, play->err);
            if (code)
                return code;
        }
        if (stop != CHILD_GO)
            return err_set(play->err, ERR_CANCELLED, "asked to stop");
        clock_sleep_ms(20);
    }
}

static err_code_t flood(play_t *play) {
    leave_pid(play, "pid", getpid());
    for (int64_t i = 1; i <= number(play, "count"); i++)
        child_event(play->child, "drop", json_pack("{s:I}", "i", (json_int_t)i));
    leave_pid(play, "flooded", getpid());
    play->result->result = json_object();
    return ERR_OK;
}

static err_code_t checkpoint(play_t *play) {
    child_event(play->child, "before", NULL);
    json_t *info = json_pack("{s:i}", "epoch", 3);
    err_code_t code = child_checkpoint(play->child, "jobs/j/1/a.ckpt", DIGEST, 12, info, play->err);
    json_decref(info);
    child_event(play->child, "after", NULL);
    play->result->result = json_pack("{s:s}", "checkpoint", err_name(code));
    return ERR_OK;
}

static err_code_t ask(play_t *play) {
    const proto_dataset_show_t show = {.name = "faces"};
    proto_dataset_t dataset;
    err_code_t code =
        child_ask(play->child, PROTO_dataset_show, &show, PROTO_dataset, &dataset, play->err);
    if (code)
        return code;
    play->result->result = json_pack("{s:s}", "path", dataset.dataset->path);
    return ERR_OK;
}

// The gang's parts in the order of their ranks, twice.
static err_code_t meet(play_t *play) {
    const child_job_t *job = play->job;
    proto_bytes_t *all = mem_zero((size_t)job->world, sizeof *all);
    json_t *met = json_array();
    char own[16];
    snprintf(own, sizeof own, "from %d", job->rank);
    err_code_t code = ERR_OK;
    for (int round = 1; round <= 2 && code == ERR_OK; round++) {
        char name[16];
        snprintf(name, sizeof name, "round-%d", round);
        code = child_meet(play->child, name, own, strlen(own), all, play->err);
        for (int i = 0; i < job->world && code == ERR_OK; i++)
            json_array_append_new(met, json_stringn(all[i].size ? all[i].data : "", all[i].size));
    }
    free(all);
    play->result->result = json_pack("{s:o, s:s?}", "met", met, "address", job->address);
    return code;
}

static err_code_t garbage(play_t *play) {
    (void)play;
    ssize_t sent = write(LINK_FD, "this is no frame, is it?", 24);
    (void)sent;
    while (pause() < 0)
        ;
    return ERR_OK;
}

static err_code_t too_much(play_t *play) {
    char *text = malloc(2u << 20);
    memset(text, 'x', 2u << 20);
    play->result->result = json_pack("{s:s%}", "text", text, (size_t)(2u << 20));
    free(text);
    return ERR_OK;
}

static err_code_t settings(play_t *play) {
    const conf_t *conf = child_conf(play->child);
    play->result->result =
        json_pack("{s:s, s:I, s:b}", "name", conf->name, "threads", (json_int_t)conf->threads,
                  "folder", access(play->job->folder, W_OK) == 0);
    return ERR_OK;
}

static err_code_t run(child_t *child, const child_job_t *job, child_result_t *result, err_t *err) {
    static const struct {
        const char *name;
        err_code_t (*part)(play_t *play);
    } parts[] = {{"succeed", succeed}, {"fail", fail},         {"crash", crash},
                 {"leave", leave},     {"hang", hang},         {"polite", polite},
                 {"flood", flood},     {"ask", ask},           {"checkpoint", checkpoint},
                 {"garbage", garbage}, {"too_much", too_much}, {"settings", settings},
                 {"meet", meet},       {"freeze", freeze}};
    play_t play = {child, job, proto_map_json(job->body), result, err};
    const char *wanted = json_string_value(json_object_get(play.body, "do"));
    err_code_t code = err_set(err, ERR_INVALID, "no part of that name");
    for (size_t i = 0; wanted && i < sizeof parts / sizeof *parts; i++)
        if (strcmp(parts[i].name, wanted) == 0)
            code = parts[i].part(&play);
    json_decref(play.body);
    return code;
}

int main(int argc, char **argv) {
    return child_main(argc, argv, run);
}
