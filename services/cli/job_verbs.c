// jobs, and job show, why, follow, cancel, retry, logs.
#include "base/clock.h"
#include "follow_impl.h"
#include "progress_impl.h"
#include "table_impl.h"

#include <stdlib.h>
#include <string.h>

// "job" is the id.
static json_t *job_json(const proto_job_info_t *info) {
    json_t *job = proto_to_json(PROTO_job_info, info), *document = json_object();
    json_object_set(document, "id", json_object_get(job, "job"));
    json_object_del(job, "job");
    json_object_update(document, job);
    json_decref(job);
    return document;
}

static void age_of(uint64_t wall_ms, char text[32]) {
    double age = (double)clock_wall_ms() - (double)wall_ms;
    if (wall_ms == 0)
        snprintf(text, 32, "-");
    else
        say_duration(age > 0 ? age : 0, text);
}

// --- Lists and single jobs

static void put_job(table_t *table, const proto_job_info_t *info) {
    char age[32];
    age_of(info->created_ms, age);
    table_cell(table, SAY_BOLD, "%s", info->job);
    table_cell(table, SAY_PLAIN, "%s", info->kind);
    table_cell(table, say_state_style(info->state), "%s", info->state);
    table_cell(table, SAY_PLAIN, "%.0f %%", 100 * info->progress);
    table_cell(table, SAY_PLAIN, "%llu", (unsigned long long)info->attempts);
    table_cell(table, SAY_PLAIN, "%s", age);
    table_cell(table, SAY_DIM, "%s", info->worker[0] ? info->worker : info->reason);
}

err_code_t verb_jobs(cli_t *cli, int *exit_code, err_t *err) {
    (void)exit_code;
    proto_job_list_t question;
    proto_jobs_t answer;
    err_code_t code =
        proto_from_json(PROTO_job_list, cli->call.message, cli->arena, &question, err);
    if (code == ERR_OK)
        code = cli_ask(cli, PROTO_job_list, &question, PROTO_jobs, &answer, err);
    if (code)
        return code;
    if (say_is_json()) {
        json_t *list = json_array();
        for (size_t i = 0; i < answer.jobs.count; i++)
            json_array_append_new(list, job_json(&answer.jobs.items[i]));
        say_json(list);
        return ERR_OK;
    }
    table_t *table = table_new("job|kind|state|>progress|>attempts|>age|worker or reason");
    for (size_t i = 0; i < answer.jobs.count; i++)
        put_job(table, &answer.jobs.items[i]);
    table_print(&table, "There are no jobs.");
    return ERR_OK;
}

static void put_map(table_t *table, const char *key, proto_bytes_t map) {
    json_t *value = proto_map_json(map);
    buf_t text;
    buf_init(&text, 4 << 20);
    say_pairs(&text, value, "history"); // one line per epoch: `inkling job follow` shows it
    if (text.size > 0)
        table_pair(table, key, "%s", text.data);
    buf_release(&text);
    json_decref(value);
}

// Its workers by rank.
static void put_gang(table_t *table, const proto_job_info_t *info) {
    buf_t text;
    buf_init(&text, PROTO_TEXT_MAX * 4);
    for (size_t i = 0; i < info->workers.count; i++)
        buf_printf(&text, "%s%s", i ? ", " : "", info->workers.items[i]);
    table_pair(table, "workers", "%s (%zu of %llu replicas)", text.data, info->workers.count,
               (unsigned long long)info->replicas);
    buf_release(&text);
}

static void print_job(const proto_job_info_t *info) {
    char when[32];
    table_t *table = table_new("");
    table_pair(table, "job", "%s", info->job);
    table_pair(table, "kind", "%s", info->kind);
    table_pair(table, "state", "%s", info->state);
    table_pair(table, "progress", "%.0f %%", 100 * info->progress);
    table_pair(table, "attempts", "%llu, %llu of them died", (unsigned long long)info->attempts,
               (unsigned long long)info->deaths);
    if (info->reason[0])
        table_pair(table, "reason", "%s", info->reason);
    if (info->workers.count > 1)
        put_gang(table, info);
    else if (info->worker[0])
        table_pair(table, "worker", "%s", info->worker);
    say_when(info->created_ms, when);
    table_pair(table, "created", "%s", when);
    say_when(info->started_ms, when);
    table_pair(table, "started", "%s", when);
    say_when(info->finished_ms, when);
    table_pair(table, "finished", "%s", when);
    put_map(table, "parameters", info->body);
    if (info->checkpoint)
        table_pair(table, "checkpoint", "step %llu, %s", (unsigned long long)info->checkpoint->step,
                   info->checkpoint->path);
    if (info->version)
        table_pair(table, "version", "%llu", (unsigned long long)info->version);
    put_map(table, "result", info->result);
    if (info->error)
        table_pair(table, "error", "%s: %s", info->error->code, info->error->message);
    if (info->error && info->error->remedy[0])
        table_pair(table, "remedy", "%s", info->error->remedy);
    table_print(&table, NULL);
}

static void show_job(const proto_job_info_t *info) {
    if (say_is_json())
        say_json(job_json(info));
    else
        print_job(info);
}

static const char *job_of(const cli_t *cli) {
    return cli->call.arguments[0];
}

static err_code_t check_id(const cli_t *cli, err_t *err) {
    size_t size = strlen(job_of(cli));
    if (size >= 1 && size <= PROTO_NAME_MAX)
        return ERR_OK;
    err_set(err, ERR_USAGE, "'%s' is no id of a job", job_of(cli));
    return err_remedy(err, "`inkling jobs` lists them");
}

// Questions that are answered with the job.
static err_code_t ask_job(cli_t *cli, proto_type_t type, const void *question, err_t *err) {
    proto_job_t answer;
    err_code_t code = check_id(cli, err);
    if (code == ERR_OK)
        code = cli_ask(cli, type, question, PROTO_job, &answer, err);
    if (code == ERR_NOT_FOUND && !err->remedy[0])
        err_remedy(err, "`inkling jobs` lists them");
    if (code == ERR_OK)
        show_job(answer.job);
    return code;
}

err_code_t verb_job_show(cli_t *cli, int *exit_code, err_t *err) {
    (void)exit_code;
    proto_job_show_t question = {.job = job_of(cli)};
    return ask_job(cli, PROTO_job_show, &question, err);
}

err_code_t verb_job_cancel(cli_t *cli, int *exit_code, err_t *err) {
    (void)exit_code;
    const json_t *reason = json_object_get(cli->call.message, "reason");
    proto_job_cancel_t question = {.job = job_of(cli),
                                   .reason = reason ? json_string_value(reason) : ""};
    return ask_job(cli, PROTO_job_cancel, &question, err);
}

err_code_t verb_job_retry(cli_t *cli, int *exit_code, err_t *err) {
    (void)exit_code;
    proto_job_retry_t question = {.job = job_of(cli)};
    return ask_job(cli, PROTO_job_retry, &question, err);
}

err_code_t verb_job_why(cli_t *cli, int *exit_code, err_t *err) {
    (void)exit_code;
    proto_job_why_t question = {.job = job_of(cli)};
    proto_job_reason_t answer;
    err_code_t code = check_id(cli, err);
    if (code == ERR_OK)
        code = cli_ask(cli, PROTO_job_why, &question, PROTO_job_reason, &answer, err);
    if (code)
        return code;
    if (say_is_json()) {
        json_t *document = proto_to_json(PROTO_job_reason, &answer);
        json_object_set(document, "id", json_object_get(document, "job"));
        say_json(document);
    } else {
        buf_t text;
        buf_init(&text, 4 * PROTO_TEXT_MAX + 1);
        say_text(&text, answer.text);
        printf("%s%s%s  %s\n", say_style(stdout, say_state_style(answer.state)), answer.state,
               say_style(stdout, SAY_PLAIN), text.data ? text.data : "");
        buf_release(&text);
    }
    return ERR_OK;
}

// --- Events

// Known at all? Following would wait for its first event.
static err_code_t check_known(cli_t *cli, err_t *err) {
    proto_job_show_t question = {.job = job_of(cli)};
    proto_job_t answer;
    err_code_t code = check_id(cli, err);
    if (code == ERR_OK)
        code = cli_ask(cli, PROTO_job_show, &question, PROTO_job, &answer, err);
    if (code == ERR_NOT_FOUND && !err->remedy[0])
        err_remedy(err, "`inkling jobs` lists them");
    return code;
}

err_code_t verb_job_follow(cli_t *cli, int *exit_code, err_t *err) {
    err_code_t code = check_known(cli, err);
    return code ? code : follow_job(cli, job_of(cli), NULL, exit_code, err);
}

static void collect_log(void *arg, const proto_event_t *event) {
    json_t *line = proto_map_json(event->data);
    if (strcmp(event->type, "log") == 0 && json_is_object(line)) {
        json_object_set_new(line, "n", json_integer((json_int_t)event->n));
        json_object_set_new(line, "at_ms", json_integer((json_int_t)event->at_ms));
        json_array_append(arg, line);
    }
    json_decref(line);
}

static void print_log(void *arg, const proto_event_t *event) {
    (void)arg;
    if (strcmp(event->type, "log") != 0)
        return;
    char when[32];
    json_t *line = proto_map_json(event->data);
    const char *level = json_string_value(json_object_get(line, "level"));
    const char *message = json_string_value(json_object_get(line, "text"));
    buf_t text;
    buf_init(&text, 4 * PROTO_BODY_MAX + 1);
    say_text(&text, message ? message : "");
    say_when(event->at_ms, when);
    printf("%s %-5s %s\n", when, level ? level : "", text.data ? text.data : "");
    fflush(stdout);
    buf_release(&text);
    json_decref(line);
}

err_code_t verb_job_logs(cli_t *cli, int *exit_code, err_t *err) {
    err_code_t code = check_known(cli, err);
    if (code)
        return code;
    json_t *lines = json_array();
    char state[17];
    bool once = !call_flag(&cli->call, "follow");
    code = follow_events(cli, job_of(cli), once, say_is_json() ? collect_log : print_log, lines,
                         state, err);
    if (code == ERR_CANCELLED && cli_interrupted()) {
        *exit_code = CLI_STOPPED;
        code = ERR_OK;
    }
    if (code == ERR_OK && say_is_json())
        say_json(json_incref(lines));
    json_decref(lines);
    return code;
}
