// help and version, from the table of commands.
#include "cli_impl.h"

#include <stdlib.h>
#include <string.h>

// --- One command

static const char *value_word(const verb_t *verb, const option_t *option) {
    if (verb_choices(verb, option))
        return "WORD";
    switch (option->field->kind) {
    case PROTO_BOOL:
        return "";
    case PROTO_U64:
        return "N";
    case PROTO_F64:
        return "X";
    case PROTO_STRS:
        return "A,B";
    default:
        return "TEXT";
    }
}

// Some options mean something of their own for one command.
static const char *meaning(const verb_t *verb, const option_t *option) {
    if (verb->run == verb_up && strcmp(option->field->name, "detach") == 0)
        return "return when all is ready; the stack goes on in the background";
    return option->field->doc;
}

static void describe_value(buf_t *out, const verb_t *verb, const option_t *option) {
    const proto_field_t *field = option->field;
    const char *choices = verb_choices(verb, option);
    bool number = field->kind == PROTO_U64 || field->kind == PROTO_F64;
    if (choices)
        buf_printf(out, " [%s]", choices);
    char least[VERB_NUMBER_SIZE], most[VERB_NUMBER_SIZE], usual[VERB_NUMBER_SIZE];
    verb_number(field->min, least);
    verb_number(field->max, most);
    verb_number(field->number, usual);
    if (number)
        buf_printf(out, " [%s to %s]", least, most);
    if (field->required)
        buf_puts(out, " (needed)");
    else if (number && field->number >= field->min) // below it: none
        buf_printf(out, " (default %s)", usual);
    else if (field->kind == PROTO_STR && field->text && field->text[0])
        buf_printf(out, " (default %s)", field->text);
}

static const char *const heads[] = {[OPTION_MESSAGE] = "Options:",
                                    [OPTION_SUBMIT] = "Options of the queue:",
                                    [OPTION_OWN] = "Options:",
                                    [OPTION_SETTING] = "Where the stack is:"};

static void put_options(buf_t *out, const verb_t *verb) {
    option_t option;
    const char *head = "";
    for (size_t i = 0; verb_option(verb, i, &option); i++) {
        bool shared = option.origin == OPTION_OWN && verb_in_list("json help", option.field->name);
        const char *wanted = shared ? "Of every command:" : heads[option.origin];
        if (option.origin == OPTION_SETTING && verb->run == verb_worker)
            wanted = "Settings of the worker (also as INKLING_NAME, or in <home>/inkling.conf):";
        if (option.origin == OPTION_SETTING && verb->run == verb_up)
            wanted = "Settings of the services (also as INKLING_NAME, or in <home>/inkling.conf):";
        if (strcmp(wanted, head) != 0)
            buf_printf(out, "\n%s\n", head = wanted);
        char name[64], both[96];
        call_option_name(option.field->name, name);
        snprintf(both, sizeof both, "%s %s", name, value_word(verb, &option));
        buf_printf(out, "  %-24s %s", both, meaning(verb, &option));
        describe_value(out, verb, &option);
        buf_puts(out, "\n");
    }
}

static void explain(buf_t *out, const verb_t *verb) {
    buf_printf(out, "inkling %s%s%s [options]\n\n%s\n", verb->words, *verb->arguments ? " " : "",
               verb->arguments, verb->about);
    if (verb->submits)
        buf_puts(out, "\nThe job goes into the queue and is followed. Ctrl-C stops following only "
                      "(exit code 130);\nthe job goes on. The exit code is 0 only if the job "
                      "succeeded.\n");
    put_options(out, verb);
}

// --- All of them

static const char general_head[] =
    "inkling COMMAND [arguments] [options]\n\n"
    "Trains and serves image classifiers. Everything is a job in a durable queue.\n\n"
    "First steps:\n"
    "  inkling up --detach                     start the stack of this machine\n"
    "  inkling demo-data demo --count 600      or any folder with one folder of images per class\n"
    "  inkling ingest demo --name demo         make a data set of it\n"
    "  inkling train demo --epochs 4           train a model\n"
    "  inkling classify demo/photos/1.jpg      ask it\n\n"
    "Commands:\n";

static const char general_tail[] =
    "\n`inkling help COMMAND` explains one. --json anywhere: one JSON document on stdout.\n"
    "The stack is the one of INKLING_HOME, or --home DIR; default ~/.inkling. One on another "
    "host:\n"
    "`inkling stack add`, then --stack NAME, or INKLING_STACK, or `inkling stack use`.\n\n"
    "Exit codes: 0 done, 1 the job or some images failed or the state of a thing forbids it, 2 "
    "wrong usage, 3 not found (a path "
    "too),\n"
    "4 a service is away or refuses as full, 130 following was stopped with Ctrl-C.\n";

static void list_all(buf_t *out) {
    buf_puts(out, general_head);
    for (size_t i = 0; i < verb_count; i++) {
        char usage[96];
        snprintf(usage, sizeof usage, "%s %s", verbs[i].words, verbs[i].arguments);
        buf_printf(out, "  %-31s %s\n", usage, verbs[i].about);
    }
    buf_puts(out, general_tail);
}

// "job": all of its commands.
static bool list_group(buf_t *out, const char *group) {
    size_t size = strlen(group);
    bool found = false;
    for (size_t i = 0; i < verb_count; i++)
        if (strncmp(verbs[i].words, group, size) == 0 && verbs[i].words[size] == ' ') {
            buf_printf(out, "inkling %s %s\n    %s\n", verbs[i].words, verbs[i].arguments,
                       verbs[i].about);
            found = true;
        }
    return found;
}

err_code_t verb_help(cli_t *cli, int *exit_code, err_t *err) {
    (void)exit_code;
    call_t *call = &cli->call;
    buf_t text;
    buf_init(&text, 1 << 18);
    int used = 0;
    const verb_t *verb = call->verb->run == verb_help && call->count > 0
                             ? verb_find(call->arguments, call->count, &used)
                             : NULL;
    if (call->verb->run != verb_help) {
        explain(&text, call->verb);
    } else if (verb && used == call->count) {
        explain(&text, verb);
    } else if (call->count == 0) {
        list_all(&text);
    } else if (call->count > 1 || !list_group(&text, call->arguments[0])) {
        buf_release(&text);
        err_set(err, ERR_USAGE, "there is no command '%s%s%s'", call->arguments[0],
                call->count > 1 ? " " : "", call->count > 1 ? call->arguments[1] : "");
        return err_remedy(err, "`inkling help` lists the commands");
    }
    say_answer("help", &text);
    buf_release(&text);
    return ERR_OK;
}

err_code_t verb_version(cli_t *cli, int *exit_code, err_t *err) {
    (void)cli;
    (void)exit_code;
    (void)err;
    if (say_is_json())
        say_json(json_pack("{s:s, s:i}", "version", INKLING_VERSION, "protocol", PROTO_VERSION));
    else
        printf("inkling %s, protocol %d\n", INKLING_VERSION, PROTO_VERSION);
    return ERR_OK;
}
