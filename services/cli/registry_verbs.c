// workers; datasets, dataset show, rm; models, model show, rm; promote.
#include "base/log.h"
#include "cli_impl.h"
#include "table_impl.h"

#include <stdlib.h>
#include <string.h>

#define GATEWAY_MS 1000 // for what the gateway adds to the registry's answer

// What the registry knows, and what the maker told about it (info), in one object.
static json_t *flat_json(proto_type_t type, const void *message) {
    json_t *document = proto_to_json(type, message);
    json_t *info = json_incref(json_object_get(document, "info"));
    json_object_del(document, "info");
    if (json_is_object(info))
        json_object_update_missing(document, info);
    json_decref(info);
    return document;
}

// --- Workers

static void put_list(table_t *table, const proto_strs_t *list) {
    buf_t text;
    buf_init(&text, 2000);
    for (size_t i = 0; i < list->count; i++)
        buf_printf(&text, "%s%s", i ? "," : "", list->items[i]);
    table_cell(table, SAY_PLAIN, "%s", text.data && text.size ? text.data : "-");
    buf_release(&text);
}

err_code_t verb_workers(cli_t *cli, int *exit_code, err_t *err) {
    (void)exit_code;
    proto_worker_list_t question = {0};
    proto_workers_t answer;
    err_code_t code = cli_ask(cli, PROTO_worker_list, &question, PROTO_workers, &answer, err);
    if (code)
        return code;
    json_t *list = json_array();
    table_t *table = table_new("worker|state|kinds|>slots|jobs|host|>process|>last heartbeat");
    for (size_t i = 0; i < answer.workers.count; i++) {
        const proto_worker_info_t *worker = &answer.workers.items[i];
        char age[32];
        say_duration((double)worker->age_ms, age);
        json_array_append_new(list, proto_to_json(PROTO_worker_info, worker));
        table_cell(table, SAY_BOLD, "%s", worker->worker);
        table_cell(table, say_state_style(worker->state), "%s", worker->state);
        put_list(table, &worker->kinds);
        table_cell(table, SAY_PLAIN, "%llu", (unsigned long long)worker->slots);
        put_list(table, &worker->jobs);
        table_cell(table, SAY_DIM, "%s", worker->host);
        table_cell(table, SAY_DIM, "%llu", (unsigned long long)worker->pid);
        table_cell(table, SAY_PLAIN, "%s ago", age);
    }
    if (say_is_json())
        say_json(json_incref(list));
    else
        table_print(&table, "There are no workers: `inkling up` starts some.");
    json_decref(list);
    table_free(&table);
    return ERR_OK;
}

// --- Documents for people

static void put_member(table_t *table, const char *key, const json_t *value) {
    char text[32];
    if (json_is_null(value) || (json_is_string(value) && !*json_string_value(value)))
        return;
    if (strcmp(key, "canary") == 0 && json_number_value(value) == 0)
        return; // the usual case
    if (strcmp(key, "created_ms") == 0) {
        say_when((uint64_t)json_number_value(value), text);
        table_pair(table, "created", "%s", text);
    } else {
        table_value(table, key, value);
    }
}

// Takes the reference.
static void show_document(json_t *document) {
    if (say_is_json()) {
        say_json(document);
        return;
    }
    const char *key;
    const json_t *value;
    table_t *table = table_new("");
    json_object_foreach(document, key, value) put_member(table, key, value);
    table_print(&table, NULL);
    json_decref(document);
}

// A figure of the maker's map, or "-".
static void put_figure(table_t *table, const json_t *document, const char *path) {
    char copy[64], *rest = copy, *part, text[32];
    snprintf(copy, sizeof copy, "%s", path);
    const json_t *value = document;
    while ((part = strsep(&rest, "/")) != NULL)
        value = json_object_get(value, part);
    if (json_is_number(value)) {
        say_number(json_number_value(value), text);
        table_cell(table, SAY_PLAIN, "%s", text);
    } else if (json_is_array(value)) {
        table_cell(table, SAY_PLAIN, "%zu", json_array_size(value));
    } else {
        table_cell(table, SAY_DIM, "-");
    }
}

static void said(const char *key, const char *text) {
    if (say_is_json())
        say_json(json_pack("{s:b, s:s}", "ok", true, key, text));
    else
        printf("%s %s\n", key, text);
}

// --- Data sets

err_code_t verb_datasets(cli_t *cli, int *exit_code, err_t *err) {
    (void)exit_code;
    proto_dataset_list_t question = {0};
    proto_datasets_t answer;
    err_code_t code = cli_ask(cli, PROTO_dataset_list, &question, PROTO_datasets, &answer, err);
    if (code)
        return code;
    json_t *list = json_array();
    table_t *table = table_new("data set|>version|>images|>classes|>rejected|created");
    for (size_t i = 0; i < answer.datasets.count; i++) {
        const proto_dataset_info_t *info = &answer.datasets.items[i];
        json_t *document = flat_json(PROTO_dataset_info, info);
        char when[32];
        say_when(info->created_ms, when);
        table_cell(table, SAY_BOLD, "%s", info->name);
        table_cell(table, SAY_PLAIN, "%llu", (unsigned long long)info->version);
        put_figure(table, document, "images");
        put_figure(table, document, "classes");
        put_figure(table, document, "rejected");
        table_cell(table, SAY_DIM, "%s", when);
        json_array_append_new(list, document);
    }
    if (say_is_json())
        say_json(json_incref(list));
    else
        table_print(&table, "There are no data sets: `inkling ingest DIR --name NAME` makes one.");
    json_decref(list);
    table_free(&table);
    return ERR_OK;
}

static err_code_t hint(err_code_t code, const char *list, err_t *err) {
    if (code == ERR_NOT_FOUND && !err->remedy[0])
        err_remedy(err, "`inkling %s` lists them", list);
    return code;
}

err_code_t verb_dataset_show(cli_t *cli, int *exit_code, err_t *err) {
    (void)exit_code;
    char name[PROTO_NAME_MAX + 1];
    proto_dataset_show_t question = {.name = name};
    proto_dataset_t answer;
    err_code_t code =
        cli_reference(cli->call.arguments[0], "data set", name, &question.version, err);
    if (code == ERR_OK)
        code = cli_ask(cli, PROTO_dataset_show, &question, PROTO_dataset, &answer, err);
    if (code == ERR_OK)
        show_document(flat_json(PROTO_dataset_info, answer.dataset));
    return hint(code, "datasets", err);
}

err_code_t verb_dataset_rm(cli_t *cli, int *exit_code, err_t *err) {
    (void)exit_code;
    char name[PROTO_NAME_MAX + 1];
    proto_dataset_rm_t question = {.name = name};
    proto_ok_t answer;
    err_code_t code =
        cli_reference(cli->call.arguments[0], "data set", name, &question.version, err);
    if (code == ERR_OK)
        code = cli_ask(cli, PROTO_dataset_rm, &question, PROTO_ok, &answer, err);
    if (code == ERR_OK)
        said("removed", cli->call.arguments[0]);
    return hint(code, "datasets", err);
}

// --- Models

// What the gateway says of the model's versions ("": of all), or false: it does not answer, or is
// one that cannot say, and the registry's answer must do.
static bool ask_gateway(cli_t *cli, const char *name, proto_served_t *answer) {
    proto_serving_t question = {.name = name};
    client_t *client = NULL;
    err_t err;
    err_code_t code = cli_connect(cli, cli->conf.gateway, "the gateway", &client, &err);
    if (code == ERR_OK)
        code = client_request(client, PROTO_serving, &question, NULL, 0, PROTO_served, answer,
                              cli->arena, GATEWAY_MS, cli_interrupt_flag(), &err);
    client_destroy(&client);
    if (code)
        log_debug("the gateway does not say what it serves: %s", err.message);
    return code == ERR_OK;
}

static const proto_served_version_t *served_of(const proto_served_t *served,
                                               const proto_model_info_t *info) {
    for (size_t i = 0; i < served->versions.count; i++) {
        const proto_served_version_t *version = &served->versions.items[i];
        if (version->version == info->version && strcmp(version->name, info->name) == 0)
            return version;
    }
    return NULL;
}

// document: of the version; gains "gateway": null, or how the gateway has it.
static void add_gateway(json_t *document, const proto_served_version_t *served) {
    json_t *state = served ? proto_to_json(PROTO_served_version, served) : json_null();
    json_object_del(state, "name");
    json_object_del(state, "version");
    json_object_set_new(document, "gateway", state);
}

static void say_failures(const proto_served_t *served) {
    for (size_t i = 0; i < served->versions.count; i++) {
        const proto_failure_t *error = served->versions.items[i].error;
        if (error)
            printf("\nThe gateway: %s%s%s\n", error->message, error->remedy[0] ? "; " : "",
                   error->remedy);
    }
}

static void put_gateway(table_t *table, const proto_served_version_t *served) {
    if (served)
        table_cell(table,
                   served->error    ? SAY_BAD
                   : served->served ? SAY_GOOD
                                    : SAY_PLAIN,
                   "%s", served->error ? "failed" : served->state);
    else
        table_cell(table, SAY_DIM, "-");
}

static void put_promoted(table_t *table, const proto_model_info_t *info) {
    if (info->canary > 0)
        table_cell(table, SAY_WARN, "canary, %g %%", info->canary);
    else
        table_cell(table, SAY_GOOD, "%s", info->promoted ? "yes" : "");
}

err_code_t verb_models(cli_t *cli, int *exit_code, err_t *err) {
    (void)exit_code;
    char name[PROTO_NAME_MAX + 1] = "";
    uint64_t version = 0;
    proto_model_list_t question;
    proto_models_t answer;
    err_code_t code = ERR_OK;
    if (cli->call.count > 0)
        code = cli_reference(cli->call.arguments[0], "model", name, &version, err);
    if (code == ERR_OK && version > 0) {
        err_set(err, ERR_USAGE, "`inkling models` lists all versions of a model");
        code = err_remedy(err, "`inkling model show %s` shows one", cli->call.arguments[0]);
    }
    if (code == ERR_OK)
        code = proto_from_json(PROTO_model_list, cli->call.message, cli->arena, &question, err);
    question.name = name;
    if (code == ERR_OK)
        code = cli_ask(cli, PROTO_model_list, &question, PROTO_models, &answer, err);
    if (code == ERR_OK && name[0] && answer.models.count == 0)
        code = err_set(err, ERR_NOT_FOUND, "there is no model %s", name);
    if (code)
        return hint(code, "models", err);
    proto_served_t served = {0};
    ask_gateway(cli, name, &served);
    json_t *list = json_array();
    table_t *table = table_new("model|>version|promoted|gateway|>test accuracy|>test loss|created");
    for (size_t i = 0; i < answer.models.count; i++) {
        const proto_model_info_t *info = &answer.models.items[i];
        json_t *document = flat_json(PROTO_model_info, info);
        char when[32];
        say_when(info->created_ms, when);
        table_cell(table, SAY_BOLD, "%s", info->name);
        table_cell(table, SAY_PLAIN, "%llu", (unsigned long long)info->version);
        put_promoted(table, info);
        put_gateway(table, served_of(&served, info));
        add_gateway(document, served_of(&served, info));
        put_figure(table, document, "test/accuracy");
        put_figure(table, document, "test/loss");
        table_cell(table, SAY_DIM, "%s", when);
        json_array_append_new(list, document);
    }
    if (say_is_json()) {
        say_json(json_incref(list));
    } else {
        table_print(&table, "There are no models: `inkling train DATASET` makes one.");
        say_failures(&served);
    }
    json_decref(list);
    table_free(&table);
    return ERR_OK;
}

err_code_t verb_model_show(cli_t *cli, int *exit_code, err_t *err) {
    (void)exit_code;
    char name[PROTO_NAME_MAX + 1];
    proto_model_show_t question = {.name = name};
    proto_model_t answer;
    err_code_t code = cli_reference(cli->call.arguments[0], "model", name, &question.version, err);
    if (code == ERR_OK)
        code = cli_ask(cli, PROTO_model_show, &question, PROTO_model, &answer, err);
    if (code == ERR_OK)
        show_document(flat_json(PROTO_model_info, answer.model));
    return hint(code, "models", err);
}

err_code_t verb_model_rm(cli_t *cli, int *exit_code, err_t *err) {
    (void)exit_code;
    char name[PROTO_NAME_MAX + 1];
    proto_model_rm_t question = {.name = name};
    proto_ok_t answer;
    err_code_t code =
        cli_reference_exact(cli->call.arguments[0], "model", name, &question.version, err);
    if (code == ERR_OK)
        code = cli_ask(cli, PROTO_model_rm, &question, PROTO_ok, &answer, err);
    if (code == ERR_OK)
        said("removed", cli->call.arguments[0]);
    return hint(code, "models", err);
}

err_code_t verb_promote(cli_t *cli, int *exit_code, err_t *err) {
    (void)exit_code;
    char name[PROTO_NAME_MAX + 1];
    proto_model_promote_t question;
    proto_model_t answer;
    uint64_t version;
    err_code_t code = cli_reference_exact(cli->call.arguments[0], "model", name, &version, err);
    if (code == ERR_OK) {
        json_object_set_new(cli->call.message, "name", json_string(name));
        json_object_set_new(cli->call.message, "version", json_integer((json_int_t)version));
        code = proto_from_json(PROTO_model_promote, cli->call.message, cli->arena, &question, err);
    }
    if (code == ERR_OK)
        code = cli_ask(cli, PROTO_model_promote, &question, PROTO_model, &answer, err);
    if (code == ERR_OK)
        show_document(flat_json(PROTO_model_info, answer.model));
    return hint(code, "models", err);
}

// The version that a rollback is about if none was named: the canary, else the promoted one. What
// is asked of the dispatcher names it, so that asked twice it is not done twice.
static err_code_t find_served(cli_t *cli, const char *name, uint64_t *version, err_t *err) {
    proto_model_list_t question;
    proto_models_t answer;
    proto_defaults(PROTO_model_list, &question);
    question.name = name;
    question.promoted = true;
    err_code_t code = cli_ask(cli, PROTO_model_list, &question, PROTO_models, &answer, err);
    for (size_t i = 0; code == ERR_OK && i < answer.models.count; i++)
        if (*version == 0 || answer.models.items[i].canary > 0)
            *version = answer.models.items[i].version;
    if (code || *version > 0)
        return code;
    return err_set(err, ERR_NOT_FOUND, "no version of a model %s is promoted", name);
}

err_code_t verb_rollback(cli_t *cli, int *exit_code, err_t *err) {
    (void)exit_code;
    char name[PROTO_NAME_MAX + 1];
    proto_model_rollback_t question = {.name = name};
    proto_model_rolled_back_t answer;
    err_code_t code = cli_reference(cli->call.arguments[0], "model", name, &question.version, err);
    if (code == ERR_OK && question.version == 0)
        code = find_served(cli, name, &question.version, err);
    if (code == ERR_OK)
        code = cli_ask(cli, PROTO_model_rollback, &question, PROTO_model_rolled_back, &answer, err);
    if (code)
        return hint(code, "models", err);
    if (say_is_json()) {
        json_t *document = proto_to_json(PROTO_model_rolled_back, &answer);
        json_object_set_new(document, "model", flat_json(PROTO_model_info, answer.model));
        say_json(document);
    } else {
        printf("%s@%llu %s; promoted is %s@%llu\n", name, (unsigned long long)answer.version,
               answer.canary ? "is tried no more" : "is rolled back", name,
               (unsigned long long)answer.model->version);
    }
    return ERR_OK;
}
