// worker: this process becomes a worker of the stack, of one elsewhere too.
#include "cli_impl.h"

#include "stack/stack.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static err_code_t check_kind(const char *kind, err_t *err) {
    if (verb_in_list("trainer ingest tuner", kind))
        return ERR_OK;
    err_set(err, ERR_USAGE, "there is no worker '%s'", kind);
    return err_remedy(err, "inkling worker trainer, ingest or tuner");
}

// The settings as they were given, and behind them what the command line has found out: a worker
// does not look for the current stack.
static char **command_words(const cli_t *cli, const char *program) {
    const conf_t *conf = &cli->conf;
    char **words = mem_zero(CLI_SETTINGS_MAX + 5, sizeof *words);
    size_t count = 0;
    words[count++] = mem_format("inkling-%s", program);
    for (char **setting = cli->call.settings; setting && *setting; setting++)
        words[count++] = mem_dup(*setting);
    words[count++] = mem_format("--home=%s", conf->home);
    words[count++] = mem_format("--stack=%s", conf->stack[0] ? conf->stack : CONF_STACK_LOCAL);
    if (!conf->name[0])
        words[count++] = mem_format("--name=%s-%%h", program);
    return words;
}

err_code_t verb_worker(cli_t *cli, int *exit_code, err_t *err) {
    (void)exit_code;
    const char *kind = cli->call.arguments[0];
    err_code_t code = check_kind(kind, err);
    if (code)
        return code;
    char *name = mem_format("inkling-%s", kind), *program = stack_program(name, err);
    free(name);
    if (!program)
        return ERR_NOT_FOUND;
    char **words = command_words(cli, kind);
    fflush(NULL);
    execv(program, words);
    code = err_set_errno(err, "cannot start %s", program);
    for (char **word = words; *word; word++)
        free(*word);
    free(words);
    free(program);
    return code;
}
