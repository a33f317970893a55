// completion: what the shell needs to complete this program's command lines.
#include "completion_impl.h"

#include "cli_impl.h"
#include "remote_impl.h"

#include <string.h>

#define NAMES_MS  500 // somebody waits with a finger on the tab key
#define NAMES_MAX 200

// --- The tables that completion.bash reads

static void put_options(buf_t *out, const verb_t *verb, bool flags) {
    option_t option;
    char name[64];
    const char *gap = "";
    buf_printf(out, "_inkling_%s[\"%s\"]=\"", flags ? "flags" : "options", verb->words);
    for (size_t i = 0; verb_option(verb, i, &option); i++) {
        if (flags && option.field->kind != PROTO_BOOL)
            continue;
        call_option_name(option.field->name, name);
        buf_printf(out, "%s%s", gap, name);
        gap = " ";
    }
    buf_puts(out, "\"\n");
}

static void put_choices(buf_t *out, const verb_t *verb) {
    option_t option;
    char name[64];
    for (size_t i = 0; verb_option(verb, i, &option); i++) {
        const char *choices = verb_choices(verb, &option);
        call_option_name(option.field->name, name);
        if (choices)
            buf_printf(out, "_inkling_choices[\"%s %s\"]=\"%s\"\n", verb->words, name, choices);
    }
}

static void put_words(buf_t *out) {
    buf_puts(out, "_inkling_words[.]=\"");
    for (size_t i = 0; i < verb_count; i++) {
        size_t size = strcspn(verbs[i].words, " ");
        bool again = i > 0 && strncmp(verbs[i - 1].words, verbs[i].words, size) == 0 &&
                     verbs[i - 1].words[size] == ' ';
        if (!again)
            buf_printf(out, "%s%.*s", i ? " " : "", (int)size, verbs[i].words);
    }
    buf_puts(out, "\"\n_inkling_words[help]=${_inkling_words[.]}\n");
    for (size_t i = 0; i < verb_count; i++) {
        size_t size = strcspn(verbs[i].words, " ");
        if (verbs[i].words[size])
            buf_printf(out, "_inkling_words[%.*s]+=\" %s\"\n", (int)size, verbs[i].words,
                       verbs[i].words + size + 1);
    }
}

static void put_script(buf_t *out) {
    buf_puts(out, "declare -gA _inkling_words=() _inkling_arguments=() _inkling_options=() "
                  "_inkling_flags=() _inkling_choices=()\n");
    put_words(out);
    for (size_t i = 0; i < verb_count; i++) {
        buf_printf(out, "_inkling_arguments[\"%s\"]=\"%s\"\n", verbs[i].words, verbs[i].arguments);
        put_options(out, &verbs[i], false);
        put_options(out, &verbs[i], true);
        put_choices(out, &verbs[i]);
    }
    buf_puts(out, completion_functions);
}

// --- Names that the stack knows

static err_code_t put_studies(cli_t *cli, buf_t *out, err_t *err) {
    proto_study_list_t question = {0};
    proto_studies_t answer;
    err_code_t code =
        cli_ask_once(cli, PROTO_study_list, &question, PROTO_studies, &answer, NAMES_MS, err);
    for (size_t i = 0; code == ERR_OK && i < answer.studies.count; i++)
        buf_printf(out, "%s\n", answer.studies.items[i].study);
    return code;
}

static err_code_t put_datasets(cli_t *cli, buf_t *out, err_t *err) {
    proto_dataset_list_t question = {0};
    proto_datasets_t answer;
    err_code_t code =
        cli_ask_once(cli, PROTO_dataset_list, &question, PROTO_datasets, &answer, NAMES_MS, err);
    for (size_t i = 0; code == ERR_OK && i < answer.datasets.count; i++)
        buf_printf(out, "%s\n", answer.datasets.items[i].name);
    return code;
}

static err_code_t put_models(cli_t *cli, buf_t *out, err_t *err) {
    proto_model_list_t question = {.name = ""};
    proto_models_t answer;
    err_code_t code =
        cli_ask_once(cli, PROTO_model_list, &question, PROTO_models, &answer, NAMES_MS, err);
    for (size_t i = 0; code == ERR_OK && i < answer.models.count; i++) {
        const proto_model_info_t *model = &answer.models.items[i];
        if (i == 0 || strcmp(model->name, answer.models.items[i - 1].name) != 0)
            buf_printf(out, "%s\n", model->name);
        buf_printf(out, "%s@%llu\n", model->name, (unsigned long long)model->version);
    }
    return code;
}

static err_code_t put_jobs(cli_t *cli, buf_t *out, err_t *err) {
    proto_job_list_t question;
    proto_jobs_t answer;
    proto_defaults(PROTO_job_list, &question);
    question.limit = NAMES_MAX;
    err_code_t code =
        cli_ask_once(cli, PROTO_job_list, &question, PROTO_jobs, &answer, NAMES_MS, err);
    for (size_t i = 0; code == ERR_OK && i < answer.jobs.count; i++)
        buf_printf(out, "%s\n", answer.jobs.items[i].job);
    return code;
}

err_code_t verb_completion(cli_t *cli, int *exit_code, err_t *err) {
    (void)exit_code;
    const char *what = cli->call.arguments[0];
    err_code_t code = ERR_OK;
    buf_t text;
    buf_init(&text, 4 << 20);
    buf_puts(&text, "");
    if (strcmp(what, "bash") == 0) {
        put_script(&text);
    } else if (strcmp(what, "datasets") == 0) {
        code = put_datasets(cli, &text, err);
    } else if (strcmp(what, "models") == 0) {
        code = put_models(cli, &text, err);
    } else if (strcmp(what, "jobs") == 0) {
        code = put_jobs(cli, &text, err);
    } else if (strcmp(what, "studies") == 0) {
        code = put_studies(cli, &text, err);
    } else if (strcmp(what, "stacks") == 0) {
        stacks_complete(cli->conf.home, &text);
    } else {
        err_set(err, ERR_USAGE, "there is no completion for '%s'", what);
        code = err_remedy(err, "`inkling completion bash` prints that of bash");
    }
    if (code == ERR_OK)
        say_answer("completion", &text);
    buf_release(&text);
    return code;
}
