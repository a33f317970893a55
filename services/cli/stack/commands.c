#include "commands_impl.h"

#include "base/fs.h"
#include "spawn_impl.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WORDS_MAX 256

void command_release(command_t *command) {
    for (char **word = command->argv; word && *word; word++)
        free(*word);
    free(command->argv);
    free(command->program);
    *command = (command_t){0};
}

bool command_hands_on(const char *setting) {
    static const char *const places[] = {"--home=", "--name=", "--files=", "--redis="};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++)
        if (strncmp(setting, places[i], strlen(places[i])) == 0)
            return false;
    return true;
}

static void add(command_t *command, const char *const *words) {
    size_t count = 0;
    while (command->argv[count])
        count++;
    for (; *words && count + 1 < WORDS_MAX; words++)
        command->argv[count++] = mem_dup(*words);
}

// In PATH, and where Debian has it.
static char *find_redis(void) {
    const char *path = getenv("PATH");
    char *all = mem_format("%s:/usr/bin:/usr/local/bin", path ? path : ""), *rest = all, *part;
    char *found = NULL;
    while (!found && (part = strsep(&rest, ":")) != NULL) {
        char *file = *part == '/' ? fs_join(part, "redis-server") : NULL;
        if (file && access(file, X_OK) == 0)
            found = file;
        else
            free(file);
    }
    free(all);
    return found;
}

// Promised to the dispatcher, which checks it: every write is on disk before it is acknowledged,
// and a full memory refuses instead of forgetting.
static err_code_t redis_command(const stack_up_t *up, command_t *command, err_t *err) {
    command->program = find_redis();
    if (!command->program) {
        err_set(err, ERR_NOT_FOUND, "the program redis-server is not installed");
        return err_remedy(err, "install it: apt-get install redis-server (7.0 or newer)");
    }
    char *folder = fs_join(up->conf->home, "redis");
    err_code_t code = fs_mkdirs(folder, err);
    const char *words[] = {"redis-server",
                           "--port",
                           "0",
                           "--unixsocket",
                           up->conf->redis,
                           "--unixsocketperm",
                           "700",
                           "--dir",
                           folder,
                           "--appendonly",
                           "yes",
                           "--appendfsync",
                           "always",
                           "--no-appendfsync-on-rewrite",
                           "no",
                           "--auto-aof-rewrite-percentage",
                           "100",
                           "--auto-aof-rewrite-min-size",
                           "64mb",
                           "--save",
                           "",
                           "--maxmemory-policy",
                           "noeviction",
                           "--databases",
                           "1",
                           "--daemonize",
                           "no",
                           NULL};
    add(command, words);
    free(folder);
    return code;
}

char *stack_program(const char *name, err_t *err) {
    char *program = spawn_sibling(name);
    if (program && access(program, X_OK) == 0)
        return program;
    err_set(err, ERR_NOT_FOUND, "the program %s is not there", program ? program : name);
    err_remedy(err, "it belongs beside this program: build or install it");
    free(program);
    return NULL;
}

static err_code_t service_command(const stack_up_t *up, int index, command_t *command, err_t *err) {
    const stack_row_t *row = &stack_rows[index];
    command->program = stack_program(row->program, err);
    if (!command->program)
        return ERR_NOT_FOUND;
    // Workers of the stack stay, however idle; the setting is for those that join it.
    const char *words[] = {
        row->program,    "--home",  up->conf->home,  "--name",        row->name, "--files",
        up->conf->files, "--redis", up->conf->redis, "--idle-exit-s", "0",       NULL};
    add(command, words);
    for (char *const *setting = up->settings; setting && *setting; setting++)
        if (command_hands_on(*setting))
            add(command, (const char *const[]){*setting, NULL});
    return ERR_OK;
}

err_code_t command_of(const stack_up_t *up, int index, command_t *command, err_t *err) {
    *command = (command_t){.argv = mem_zero(WORDS_MAX, sizeof(char *))};
    err_code_t code = index == STACK_REDIS ? redis_command(up, command, err)
                                           : service_command(up, index, command, err);
    if (code)
        command_release(command);
    return code;
}
