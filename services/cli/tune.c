// tune: a search for the parameters of a training.
#include "enqueue_impl.h"
#include "space_file_impl.h"

#include "trials/trials.h"

#include <stdlib.h>
#include <string.h>

// --- The job
// --------------------------------------------------------------------------------------

// What stands in options of its own, over what stands in --train.
static err_code_t train_body(const cli_t *cli, json_t **train, err_t *err) {
    static const char *const own[] = {"epochs", "batch", "width", "depth", "dense"};
    const char *text = call_text(&cli->call, "train");
    json_error_t where;
    *train = text ? json_loads(text, JSON_REJECT_DUPLICATES, &where) : json_object();
    if (!json_is_object(*train)) {
        json_decref(*train);
        *train = NULL;
        err_set(err, ERR_USAGE, "option --train: its value is no JSON object");
        return err_remedy(err,
                          "write --train '{\"name\": value, …}'; `inkling help train` lists names");
    }
    for (size_t i = 0; i < sizeof own / sizeof *own; i++) {
        json_t *given = json_object_get(cli->call.own, own[i]);
        if (given)
            json_object_set(*train, own[i], given);
    }
    return ERR_OK;
}

static err_code_t budget_body(const cli_t *cli, json_t *body, err_t *err) {
    static const struct {
        char letter;
        long long seconds;
    } units[] = {{0, 1}, {'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}};
    const char *text = call_text(&cli->call, "budget");
    char *end;
    if (!text)
        return ERR_OK;
    long long number = strtoll(text, &end, 10);
    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        if (end > text && number > 0 && number < 1000000000 && *end == units[i].letter &&
            (*end == 0 || end[1] == 0)) {
            json_object_set_new(body, "budget_s", json_integer(number * units[i].seconds));
            return ERR_OK;
        }
    err_set(err, ERR_USAGE, "option --budget: '%s' is no length of time", text);
    return err_remedy(err, "write 90s, 30m, 2h or 1d");
}

// --- Its space
// --------------------------------------------------------------------------------------

static err_code_t parse_space(const json_t *body, tune_space_t *space, err_t *err) {
    const json_t *params = json_object_get(body, "param");
    const char *texts[TUNE_PARAMETERS_MAX];
    size_t count = json_array_size(params);
    ERR_ASSERT(count <= TUNE_PARAMETERS_MAX); // by the option's declaration
    for (size_t i = 0; i < count; i++)
        texts[i] = json_string_value(json_array_get(params, i));
    *space = (tune_space_t){.count = 0};
    return count == 0 ? ERR_OK : tune_space_parse(texts, count, space, err);
}

// As the search itself will check it: a slip is told at once, not by a failed job.
static err_code_t check_trials(const json_t *body, const json_t *train, err_t *err) {
    tune_space_t *space = mem_zero(1, sizeof *space);
    json_t *about = json_object(), *dataset = json_object_get(body, "dataset"),
           *model = json_object_get(body, "model"),
           *version = json_object_get(body, "dataset_version");
    json_object_set(about, "dataset", dataset);
    json_object_set(about, "model", model ? model : dataset);
    json_object_set_new(about, "dataset_version", version ? json_incref(version) : json_integer(0));
    json_object_set(about, "train", (json_t *)(uintptr_t)train);
    err_code_t code = trials_check_train(train, err);
    if (code == ERR_OK)
        code = parse_space(body, space, err);
    if (code == ERR_OK)
        code = trials_check_space(about, space, err);
    json_decref(about);
    free(space);
    return code;
}

// --- Its end
// --------------------------------------------------------------------------------------

// The best trial's model is the version that the job has become.
static err_code_t finish_tune(cli_t *cli, json_t *document, err_t *err) {
    (void)cli, (void)err;
    json_t *best = json_object_get(document, "best"),
           *version = json_object_get(document, "version");
    if (json_is_object(best) && version)
        json_object_set(best, "version", version);
    return ERR_OK;
}

err_code_t verb_tune(cli_t *cli, int *exit_code, err_t *err) {
    json_t *body = cli->call.message, *train = NULL;
    err_code_t code = check_new_name(body, "model", "model", err);
    if (code == ERR_OK)
        code = space_file_body(cli, body, err);
    if (code == ERR_OK)
        code = dataset_body(cli, body, cli->call.arguments[0], err);
    if (code == ERR_OK)
        code = budget_body(cli, body, err);
    if (code == ERR_OK)
        code = train_body(cli, &train, err);
    if (code == ERR_OK)
        code = check_trials(body, train, err);
    if (code == ERR_OK)
        json_object_set(body, "train", train);
    json_decref(train);
    return code ? code : enqueue(cli, "tune", body, finish_tune, exit_code, err);
}
