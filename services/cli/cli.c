#include "cli/cli.h"

#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "cli_impl.h"
#include "stack/stack.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PAUSE_MS 200

// --- Ctrl-C

static volatile bool interrupted;

static void on_interrupt(int number) {
    (void)number;
    interrupted = true;
}

void cli_catch_interrupts(void) {
    struct sigaction action = {.sa_handler = on_interrupt}; // without SA_RESTART: waits end
    sigaction(SIGINT, &action, NULL);
}

bool cli_interrupted(void) {
    return interrupted;
}

const volatile bool *cli_interrupt_flag(void) {
    return &interrupted;
}

// --- Questions

int64_t cli_patience_ms(const cli_t *cli) {
    char *own = conf_endpoint(cli->conf.home, "dispatcher");
    bool elsewhere = strcmp(own, cli->conf.dispatcher) != 0;
    free(own);
    return elsewhere || stack_is_up(cli->conf.home) ? CLI_PATIENCE_MS : CLI_ABSENT_MS;
}

err_code_t cli_keys(cli_t *cli, err_t *err) {
    if (!cli->conf.client_key[0] || cli->has_key)
        return ERR_OK;
    err_code_t code = bus_keys_connect(cli->conf.client_key, err);
    cli->has_key = code == ERR_OK;
    return code;
}

err_code_t cli_connect(cli_t *cli, const char *endpoints, const char *service, client_t **client,
                       err_t *err) {
    err_code_t code = cli_keys(cli, err);
    return code ? code : client_new(endpoints, service, client, err);
}

err_code_t cli_ask_once(cli_t *cli, proto_type_t type, const void *message, proto_type_t reply_type,
                        void *reply, int64_t timeout_ms, err_t *err) {
    if (!cli->dispatcher) {
        err_code_t code =
            cli_connect(cli, cli->conf.dispatcher, "the dispatcher", &cli->dispatcher, err);
        if (code)
            return code;
    }
    return client_request(cli->dispatcher, type, message, NULL, 0, reply_type, reply, cli->arena,
                          timeout_ms, &interrupted, err);
}

err_code_t cli_ask(cli_t *cli, proto_type_t type, const void *message, proto_type_t reply_type,
                   void *reply, err_t *err) {
    int64_t end_ms = clock_mono_ms() + cli_patience_ms(cli);
    for (;;) {
        int64_t left = end_ms - clock_mono_ms();
        err_code_t code = cli_ask_once(cli, type, message, reply_type, reply,
                                       left > PAUSE_MS ? left : PAUSE_MS, err);
        if (code != ERR_UNAVAILABLE || clock_mono_ms() + PAUSE_MS > end_ms)
            return code;
        clock_sleep_ms(PAUSE_MS); // it is there, but has no Redis
    }
}

// --- Names and paths

err_code_t cli_reference(const char *text, const char *what, char name[PROTO_NAME_MAX + 1],
                         uint64_t *version, err_t *err) {
    static const char letters[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    const char *at = strchr(text, '@');
    size_t size = at ? (size_t)(at - text) : strlen(text);
    *version = 0;
    if (size == 0 || size > PROTO_NAME_MAX || strspn(text, letters) != size) {
        err_set(err, ERR_USAGE, "'%s' is no name of a %s", text, what);
        return err_remedy(err, "names are 1 to %d letters, digits, dots, dashes, underscores",
                          PROTO_NAME_MAX);
    }
    memcpy(name, text, size);
    name[size] = 0;
    if (!at)
        return ERR_OK;
    const char *digits = at + 1;
    size_t length = strlen(digits);
    if (length > 0 && length <= 15 && strspn(digits, "0123456789") == length)
        *version = strtoull(digits, NULL, 10);
    if (*version > 0)
        return ERR_OK;
    err_set(err, ERR_USAGE, "'%s' names no version of a %s", text, what);
    return err_remedy(err, "write %s@1, or %s alone", name, name);
}

err_code_t cli_reference_exact(const char *text, const char *what, char name[PROTO_NAME_MAX + 1],
                               uint64_t *version, err_t *err) {
    err_code_t code = cli_reference(text, what, name, version, err);
    if (code || *version > 0)
        return code;
    err_set(err, ERR_USAGE, "'%s' names no version of the %s", text, what);
    return err_remedy(err, "write %s@VERSION; `inkling %ss` lists them", name,
                      strcmp(what, "model") == 0 ? "model" : "dataset");
}

char *cli_absolute(const char *path) {
    char *here = *path == '/' ? NULL : getcwd(NULL, 0);
    char *absolute = here ? fs_join(here, path) : mem_dup(path);
    free(here);
    return absolute;
}

// --- Main

static bool wants_json(int argc, char **argv) {
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (verb_in_list("--json --json=true --json=yes --json=1 --json=on", argv[i]))
            return true;
    return false;
}

typedef enum { SETTINGS_NONE, SETTINGS_LENIENT, SETTINGS_ALL } settings_t;

// A slip in inkling.conf must not keep anybody from asking for help or from ending the stack.
static settings_t settings_of(const call_t *call) {
    verb_fn verb = call->verb->run;
    if (verb == verb_help || verb == verb_version || verb == verb_demo_data)
        return SETTINGS_NONE;
    if (verb == verb_completion)
        return strcmp(call->arguments[0], "bash") == 0 ? SETTINGS_NONE : SETTINGS_LENIENT;
    if (verb_is_about_stacks(call->verb))
        return SETTINGS_LENIENT;
    return verb == verb_down || verb == verb_status ? SETTINGS_LENIENT : SETTINGS_ALL;
}

// Health checks and what starts, ends or opens the stack of this host are about that one, also
// while the command line has another one in mind.
static bool is_local(const call_t *call) {
    return verb_is_local(call->verb) || call_text(call, "service");
}

static conf_stack_t stack_of(const call_t *call) {
    bool names_them =
        verb_is_about_stacks(call->verb) ||
        (call->verb->run == verb_completion && strcmp(call->arguments[0], "stacks") == 0);
    return names_them || is_local(call) ? CONF_STACK_HOME : CONF_STACK_CURRENT;
}

// But who names another one means it.
static err_code_t check_stack(const cli_t *cli, err_t *err) {
    const char *stack = cli->conf.stack;
    if (!is_local(&cli->call) || !stack[0] || strcmp(stack, CONF_STACK_LOCAL) == 0)
        return ERR_OK;
    err_set(err, ERR_USAGE,
            call_text(&cli->call, "service")
                ? "`inkling %s --service` is about the stack of this host, not about '%s'"
                : "`inkling %s` is about the stack of this host, not about '%s'",
            cli->call.verb->words, stack);
    return err_remedy(err, "unset INKLING_STACK, or leave out --stack");
}

// Settings come from the file, the environment, and those options that are settings.
static err_code_t load_settings(cli_t *cli, err_t *err) {
    char *argv[CLI_SETTINGS_MAX + 2] = {"inkling"};
    int argc = 1;
    for (char **setting = cli->call.settings; setting && *setting; setting++) {
        if (argc > CLI_SETTINGS_MAX)
            return err_set(err, ERR_USAGE, "more than %d settings are given", CLI_SETTINGS_MAX);
        argv[argc++] = *setting;
    }
    bool lenient = settings_of(&cli->call) == SETTINGS_LENIENT;
    err_t skipped = {0};
    err_code_t code = conf_load_client(&cli->conf, stack_of(&cli->call), &argc, argv,
                                       lenient ? &skipped : NULL, err);
    if (code == ERR_OK && skipped.code)
        say_warning(&skipped);
    return code ? code : check_stack(cli, err);
}

static err_code_t run(cli_t *cli, int argc, char **argv, int *exit_code, err_t *err) {
    err_code_t code = call_parse(argc, argv, &cli->call, err);
    if (code)
        return code;
    if (call_flag(&cli->call, "help"))
        return verb_help(cli, exit_code, err);
    if (settings_of(&cli->call) != SETTINGS_NONE)
        code = load_settings(cli, err);
    return code ? code : cli->call.verb->run(cli, exit_code, err);
}

int cli_main(int argc, char **argv) {
    cli_t cli = {.arena = proto_arena_new()};
    int exit_code = 0;
    err_t err = {0};
    say_setup(wants_json(argc, argv));
    signal(SIGPIPE, SIG_IGN);
    log_setup(NULL, LOG_WARN, false);
    if (run(&cli, argc, argv, &exit_code, &err) != ERR_OK)
        exit_code = say_error(&err, NULL);
    if (exit_code && err.code == ERR_CANCELLED && interrupted)
        exit_code = CLI_STOPPED;
    client_destroy(&cli.dispatcher);
    proto_arena_destroy(&cli.arena);
    conf_release(&cli.conf);
    call_release(&cli.call);
    return say_end(exit_code);
}
