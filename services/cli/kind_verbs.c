// ingest, train, evaluate, predict: jobs of the built-in kinds.
#include "base/fs.h"
#include "base/utf8.h"
#include "enqueue_impl.h"
#include "shard/shard.h"
#include "upload_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

// --- How a folder reaches the worker

// A stack that is reached over tcp is taken to be elsewhere.
static err_code_t wants_upload(const cli_t *cli, bool *upload, err_t *err) {
    bool in_place = call_flag(&cli->call, "in_place");
    *upload = call_flag(&cli->call, "upload");
    if (in_place && *upload) {
        err_set(err, ERR_USAGE, "both --in-place and --upload");
        return err_remedy(err, "give one of them");
    }
    if (!in_place && !*upload)
        *upload = strstr(cli->conf.dispatcher, "tcp://") != NULL;
    return ERR_OK;
}

static void list_classes(const json_t *body, char ***classes, size_t *count) {
    const json_t *given = json_object_get(body, "classes");
    *count = json_array_size(given);
    *classes = *count ? mem_zero(*count, sizeof **classes) : NULL;
    for (size_t i = 0; i < *count; i++)
        (*classes)[i] = shard_name_unescape(json_string_value(json_array_get(given, i)));
}

// Sends the folder if it must be; body then names what was sent.
static err_code_t bring_folder(cli_t *cli, json_t *body, err_t *err) {
    bool upload;
    upload_done_t done;
    char **classes = NULL;
    size_t count = 0;
    const char *folder = json_string_value(json_object_get(body, "dir"));
    err_code_t code = wants_upload(cli, &upload, err);
    if (code || !upload)
        return code;
    list_classes(body, &classes, &count);
    code = upload_folder(cli, folder, classes, count, &done, err);
    for (size_t i = 0; i < count; i++)
        free(classes[i]);
    free(classes);
    if (code)
        return code;
    json_object_set_new(body, "upload", json_string(done.listing));
    if (!say_is_json())
        fprintf(stderr, "%zu files of %s are with the stack: %llu were sent (%.1f MB)\n",
                done.files, folder, (unsigned long long)done.sent_files,
                (double)done.sent_bytes / 1e6);
    return ERR_OK;
}

// --- Checks before anything is queued

static err_code_t check_folder(const char *path, err_t *err) {
    struct stat info;
    if (!utf8_valid(path, strlen(path))) {
        err_set(err, ERR_USAGE, "the path %s is no UTF-8 text", path);
        return err_remedy(err, "make a link to it with another name");
    }
    if (stat(path, &info) != 0) {
        err_set_errno(err, "the folder %s", path);
        return err_remedy(err, "give the path of a folder that has one folder of images per class");
    }
    if (!S_ISDIR(info.st_mode)) {
        err_set(err, ERR_USAGE, "%s is no folder", path);
        return err_remedy(err, "give the folder that holds the images");
    }
    if (access(path, R_OK | X_OK) == 0)
        return ERR_OK;
    err_set_errno(err, "the folder %s cannot be read", path);
    return err_remedy(err, "its owner can allow it: chmod u+rx");
}

static err_code_t folder_body(json_t *body, const char *path, err_t *err) {
    char *absolute = cli_absolute(path);
    err_code_t code = check_folder(absolute, err);
    if (code == ERR_OK)
        json_object_set_new(body, "dir", json_string(absolute));
    free(absolute);
    return code;
}

static void set_dataset(json_t *body, const char *name, uint64_t version) {
    json_object_set_new(body, "dataset", json_string(name));
    if (version)
        json_object_set_new(body, "dataset_version", json_integer((json_int_t)version));
}

// It exists: so that a slip of the pen is told at once, not by a failed job.
err_code_t dataset_body(cli_t *cli, json_t *body, const char *text, err_t *err) {
    char name[PROTO_NAME_MAX + 1];
    proto_dataset_show_t question = {.name = name};
    proto_dataset_t answer;
    err_code_t code = cli_reference(text, "data set", name, &question.version, err);
    if (code == ERR_OK)
        code = cli_ask(cli, PROTO_dataset_show, &question, PROTO_dataset, &answer, err);
    if (code == ERR_NOT_FOUND && !err->remedy[0])
        err_remedy(err, "`inkling datasets` lists them, `inkling ingest DIR --name %s` makes one",
                   name);
    if (code == ERR_OK)
        set_dataset(body, name, question.version);
    return code;
}

static err_code_t check_model(cli_t *cli, const char *text, err_t *err) {
    char name[PROTO_NAME_MAX + 1];
    proto_model_show_t question = {.name = name};
    proto_model_t answer;
    err_code_t code = cli_reference(text, "model", name, &question.version, err);
    if (code == ERR_OK)
        code = cli_ask(cli, PROTO_model_show, &question, PROTO_model, &answer, err);
    if (code == ERR_NOT_FOUND && !err->remedy[0])
        err_remedy(err, "`inkling models` lists them");
    return code;
}

// The name that a new data set or model shall have.
err_code_t check_new_name(const json_t *body, const char *key, const char *what, err_t *err) {
    const char *text = json_string_value(json_object_get(body, key));
    char name[PROTO_NAME_MAX + 1];
    uint64_t version = 0;
    if (!text)
        return ERR_OK;
    err_code_t code = cli_reference(text, what, name, &version, err);
    if (code || version == 0)
        return code;
    err_set(err, ERR_USAGE, "option --%s: '%s' has a version", key, text);
    return err_remedy(err, "versions are numbered by themselves: write --%s %s", key, name);
}

// --- ingest, train, evaluate

err_code_t verb_ingest(cli_t *cli, int *exit_code, err_t *err) {
    json_t *body = cli->call.message;
    err_code_t code = check_new_name(body, "name", "data set", err);
    if (code == ERR_OK)
        code = folder_body(body, cli->call.arguments[0], err);
    if (code == ERR_OK)
        code = bring_folder(cli, body, err);
    return code ? code : enqueue(cli, "ingest", body, NULL, exit_code, err);
}

err_code_t verb_train(cli_t *cli, int *exit_code, err_t *err) {
    json_t *body = cli->call.message;
    const char *init = json_string_value(json_object_get(body, "init"));
    err_code_t code = check_new_name(body, "model", "model", err);
    if (code == ERR_OK)
        code = dataset_body(cli, body, cli->call.arguments[0], err);
    if (code == ERR_OK && init && *init)
        code = check_model(cli, init, err);
    return code ? code : enqueue(cli, "train", body, NULL, exit_code, err);
}

err_code_t verb_evaluate(cli_t *cli, int *exit_code, err_t *err) {
    json_t *body = cli->call.message;
    const char *model = cli->call.arguments[0];
    err_code_t code = check_model(cli, model, err);
    if (code == ERR_OK)
        code = dataset_body(cli, body, cli->call.arguments[1], err);
    if (code == ERR_OK)
        json_object_set_new(body, "model", json_string(model));
    return code ? code : enqueue(cli, "evaluate", body, NULL, exit_code, err);
}

// --- predict

static err_code_t fetch_table(cli_t *cli, json_t *document, err_t *err) {
    const char *path = json_string_value(json_object_get(document, "path"));
    const char *digest = json_string_value(json_object_get(document, "digest"));
    if (!path || !digest || !blob_digest_valid(digest))
        return err_set(err, ERR_INTERNAL, "the job has named no table");
    char *to = NULL;
    err_code_t code = cli_place(call_text(&cli->call, "out"), &to, err);
    if (code == ERR_OK)
        code = fetch_file(cli, path, digest, to, err);
    if (code == ERR_OK)
        json_object_set_new(document, "out", say_json_text(to));
    else
        err_context(err, "the table is with the stack, but does not come here");
    free(to);
    return code;
}

// The place for --out can be written: told before hours of work.
static err_code_t check_out(cli_t *cli, err_t *err) {
    const char *out = call_text(&cli->call, "out");
    if (!out && !call_flag(&cli->call, "detach")) {
        err_set(err, ERR_USAGE, "`inkling predict` needs the option --out");
        return err_remedy(err, "--out FILE.csv");
    }
    if (!out)
        return ERR_OK;
    char *to = NULL;
    err_code_t code = cli_place(out, &to, err);
    free(to);
    return code;
}

err_code_t verb_predict(cli_t *cli, int *exit_code, err_t *err) {
    json_t *body = cli->call.message;
    const char *what = cli->call.arguments[0];
    struct stat info;
    bool folder = strchr(what, '/') || (stat(what, &info) == 0 && S_ISDIR(info.st_mode));
    err_code_t code = check_out(cli, err);
    if (code == ERR_OK)
        code = folder ? folder_body(body, what, err) : dataset_body(cli, body, what, err);
    if (code == ERR_NOT_FOUND && !folder)
        err_context(err, "there is no folder %s here, and as a data set", what);
    if (code == ERR_OK)
        code = check_model(cli, json_string_value(json_object_get(body, "model")), err);
    if (code == ERR_OK && folder)
        code = bring_folder(cli, body, err);
    return code ? code : enqueue(cli, "predict", body, fetch_table, exit_code, err);
}
