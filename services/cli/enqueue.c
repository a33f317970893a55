#include "enqueue_impl.h"

#include "base/fs.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#define BODY_FILE_MAX (1 << 20)

// --- Any kind

static err_code_t check_body(const char *kind, const json_t *body, proto_arena_t *arena,
                             err_t *err) {
    proto_type_t type;
    if (!proto_type_find(kind, &type) || proto_message(type)->sender != PROTO_BY_BODY)
        return ERR_OK; // opaque: the worker's business
    void *message = proto_arena_alloc(arena, proto_message(type)->size);
    err_code_t code = proto_from_json(type, body, arena, message, err);
    if (code) {
        if (!err->remedy[0])
            err_remedy(err, "`inkling help %s` explains them", kind);
    }
    return code == ERR_PROTOCOL ? ERR_INVALID : code;
}

// Of this command's own choice, so that the question may be repeated.
static void choose_key(char key[40]) {
    unsigned char random[16];
    key[0] = 0;
    if (getrandom(random, sizeof random, 0) == sizeof random)
        for (int i = 0; i < 16; i++)
            snprintf(key + 2 * i, 3, "%02x", random[i]);
}

// existing: the key was known, nothing new is queued.
static err_code_t submit(cli_t *cli, const char *kind, const json_t *body, char job[65],
                         bool *existing, err_t *err) {
    proto_arena_t *arena = proto_arena_new();
    proto_job_submit_t message;
    proto_job_submitted_t answer;
    char key[40];
    json_t *wanted = json_copy(cli->call.submit);
    json_object_set_new(wanted, "kind", json_string(kind));
    err_code_t code = check_body(kind, body, arena, err);
    if (code == ERR_OK)
        code = proto_from_json(PROTO_job_submit, wanted, arena, &message, err);
    if (code == ERR_OK)
        code = proto_map_from_json(body, arena, &message.body, err);
    if (code == ERR_OK) {
        choose_key(key);
        if (!message.key[0])
            message.key = key;
        // From here on Ctrl-C must not leave a job behind without a word.
        cli_catch_interrupts();
        code = cli_ask(cli, PROTO_job_submit, &message, PROTO_job_submitted, &answer, err);
    }
    if (code == ERR_CANCELLED && cli_interrupted()) {
        err_set(err, ERR_CANCELLED, "stopped before the dispatcher has answered");
        code = err_remedy(err, "the job may be in the queue all the same: `inkling jobs` tells");
    }
    if (code == ERR_OK) {
        snprintf(job, 65, "%s", answer.job);
        *existing = answer.existing;
    }
    json_decref(wanted);
    proto_arena_destroy(&arena);
    return code;
}

// An existing job may be in any state by now.
static err_code_t tell_id(cli_t *cli, const char *kind, const char *job, bool existing,
                          err_t *err) {
    const char *state = "queued";
    proto_job_show_t question = {.job = job};
    proto_job_t answer;
    if (!say_is_json()) {
        puts(job);
        return ERR_OK;
    }
    if (existing) {
        err_code_t code = cli_ask(cli, PROTO_job_show, &question, PROTO_job, &answer, err);
        if (code)
            return code;
        state = answer.job->state;
    }
    say_json(json_pack("{s:s, s:s, s:s, s:b}", "job", job, "kind", kind, "state", state, "existing",
                       existing));
    return ERR_OK;
}

err_code_t enqueue(cli_t *cli, const char *kind, const json_t *body, follow_finish_fn finish,
                   int *exit_code, err_t *err) {
    char job[65];
    bool existing = false;
    err_code_t code = submit(cli, kind, body, job, &existing, err);
    if (code)
        return code;
    bool detach = call_flag(&cli->call, "detach");
    if (!say_is_json() && (existing || !detach))
        fprintf(stderr,
                existing ? "job %s is the existing one with this key\n" : "job %s is queued\n",
                job);
    return detach ? tell_id(cli, kind, job, existing, err)
                  : follow_job(cli, job, finish, exit_code, err);
}

static err_code_t read_body(const char *text, json_t **body, err_t *err) {
    void *bytes = NULL;
    size_t size = strlen(text);
    json_error_t where;
    if (*text == '@') {
        err_code_t code = fs_read(text + 1, BODY_FILE_MAX, &bytes, &size, err);
        if (code)
            return err_remedy(err, "behind @ stands the path of a file that has one JSON object");
    }
    *body = json_loadb(bytes ? bytes : text, size, JSON_REJECT_DUPLICATES, &where);
    free(bytes);
    if (json_is_object(*body))
        return ERR_OK;
    bool parsed = *body != NULL;
    json_decref(*body);
    *body = NULL;
    err_set(err, ERR_USAGE, "the parameters of the job are no JSON object%s%s", parsed ? "" : ": ",
            parsed ? "" : where.text);
    return err_remedy(err, "write '{\"name\": value, …}', or @FILE");
}

err_code_t verb_submit(cli_t *cli, int *exit_code, err_t *err) {
    const char *kind = cli->call.arguments[0];
    if (strspn(kind, "abcdefghijklmnopqrstuvwxyz0123456789._-") != strlen(kind) || !*kind ||
        strlen(kind) > PROTO_NAME_MAX) {
        err_set(err, ERR_USAGE, "'%s' is no name of a kind", kind);
        return err_remedy(err, "kinds are 1 to %d small letters, digits, dots, dashes, underscores",
                          PROTO_NAME_MAX);
    }
    json_t *body = NULL;
    err_code_t code = ERR_OK;
    if (cli->call.count > 1)
        code = read_body(cli->call.arguments[1], &body, err);
    else
        body = json_object();
    if (code == ERR_OK)
        code = enqueue(cli, kind, body, NULL, exit_code, err);
    json_decref(body);
    return code;
}
