// stack add, list, use, rm: the remote stacks that this home knows (conf/conf.h says what is
// where).
#include "cli_impl.h"

#include "base/fs.h"
#include "remote_impl.h"
#include "sec/sec.h"
#include "table_impl.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ADD_MS   3000 // for each service of a new stack
#define LOOK_MS  1000 // for each stack of the list
#define PORT_MAX 65535

static bool is_there(const char *home, const char *name) {
    char *path = conf_stack_path(home, name, "");
    bool there = access(path, F_OK) == 0;
    free(path);
    return there;
}

// --- Addresses

static err_code_t bad_address(const char *text, err_t *err) {
    err_set(err, ERR_USAGE, "'%s' is no address of a service", text);
    return err_remedy(err, "write tcp://HOST:PORT, e.g. tcp://lab.example:7420");
}

// "tcp://HOST:PORT"; *host_size: of all before the last colon.
static err_code_t check_address(const char *text, size_t *host_size, long *port, err_t *err) {
    const char *colon = strrchr(text, ':');
    size_t scheme = strlen("tcp://");
    if (strncmp(text, "tcp://", scheme) != 0 || !colon || colon <= text + scheme)
        return bad_address(text, err);
    size_t digits = strlen(colon + 1);
    *host_size = (size_t)(colon - text);
    *port = strtol(colon + 1, NULL, 10);
    bool plain = strcspn(text + scheme, " ,#/*\t\r\n") == strlen(text + scheme);
    bool number = digits >= 1 && digits <= 5 && strspn(colon + 1, "0123456789") == digits;
    if (!plain || !number || *port < 1 || *port > PORT_MAX)
        return bad_address(text, err);
    return ERR_OK;
}

static err_code_t take_address(const char *text, char **address, err_t *err) {
    size_t host_size;
    long port;
    err_code_t code = check_address(text, &host_size, &port, err);
    if (code == ERR_OK)
        *address = mem_dup(text);
    return code;
}

// The dispatcher's host, with a port that is `above` its own.
static err_code_t derive_address(const char *dispatcher, int above, char **address, err_t *err) {
    size_t host_size = 0;
    long port = 0;
    err_code_t code = check_address(dispatcher, &host_size, &port, err);
    if (code)
        return code;
    if (port + above > PORT_MAX) {
        err_set(err, ERR_USAGE, "there is no port %ld, %d above that of %s", port + above, above,
                dispatcher);
        return err_remedy(err, "give the addresses with --gateway, --blobs and --studies");
    }
    *address = mem_format("%.*s:%ld", (int)host_size, dispatcher, port + above);
    return ERR_OK;
}

// --- add

static err_code_t write_stack(const conf_t *conf, bool has_key, err_t *err) {
    char *path = conf_stack_path(conf->home, conf->stack, "");
    char *text = mem_format("dispatcher = %s\ngateway = %s\nblobs = %s\nstudies = %s\n%s%s%s",
                            conf->dispatcher, conf->gateway, conf->blobs, conf->studies,
                            has_key ? "client_key = " : "", has_key ? conf->stack : "",
                            has_key ? ".key\n" : "");
    err_code_t code = fs_write(path, text, strlen(text), err);
    free(text);
    free(path);
    return code;
}

// The key first: a stack is there once its file is, whole. A key without one is nobody's.
static err_code_t save(const conf_t *conf, err_t *err) {
    char *folder = fs_join(conf->home, "stacks");
    char *key = conf_stack_path(conf->home, conf->stack, ".key");
    bool has_key = conf->client_key[0] != 0;
    err_code_t code = fs_mkdirs(folder, err);
    if (code == ERR_OK)
        code = fs_remove_all(key, err);
    if (code == ERR_OK && has_key)
        code = sec_client_copy(conf->client_key, key, err);
    if (code == ERR_OK && (code = write_stack(conf, has_key, err)) != ERR_OK)
        unlink(key);
    free(key);
    free(folder);
    return code;
}

static err_code_t check_new(const cli_t *cli, const char *name, err_t *err) {
    err_code_t code = conf_stack_check(name, err);
    if (code || !is_there(cli->conf.home, name))
        return code;
    err_set(err, ERR_CONFLICT, "there is a stack '%s' already", name);
    return err_remedy(err, "choose another name, or `inkling stack rm %s` first", name);
}

// Fills in conf as the new stack's, with the key where it is now.
static err_code_t describe(const cli_t *cli, conf_t *conf, err_t *err) {
    const call_t *call = &cli->call;
    const char *dispatcher = call->arguments[1], *key = call_text(call, "key");
    conf->stack = mem_dup(call->arguments[0]);
    conf->home = mem_dup(cli->conf.home);
    conf->client_key = key ? cli_absolute(key) : mem_dup("");
    const char *gateway = call_text(call, "gateway"), *blobs = call_text(call, "blobs");
    const char *studies = call_text(call, "studies");
    err_code_t code = take_address(dispatcher, &conf->dispatcher, err);
    if (code == ERR_OK)
        code = gateway ? take_address(gateway, &conf->gateway, err)
                       : derive_address(dispatcher, 1, &conf->gateway, err);
    if (code == ERR_OK)
        code = blobs ? take_address(blobs, &conf->blobs, err)
                     : derive_address(dispatcher, 2, &conf->blobs, err);
    if (code == ERR_OK)
        code = studies ? take_address(studies, &conf->studies, err)
                       : derive_address(dispatcher, 3, &conf->studies, err);
    sec_client_t client;
    if (code == ERR_OK && key)
        code = sec_client(conf->client_key, &client, err);
    explicit_bzero(&client, sizeof client);
    return code;
}

static void warn_of_missing(const remote_t *remote) {
    for (int i = REMOTE_GATEWAY; i < REMOTE_COUNT; i++)
        if (!remote->services[i].answers)
            say_warning(&remote->services[i].why);
    if (!remote->services[REMOTE_DISPATCHER].ready)
        say_warning(&remote->services[REMOTE_DISPATCHER].why);
}

static void tell_added(const conf_t *conf, const remote_t *remote) {
    char *key = conf_stack_path(conf->home, conf->stack, ".key");
    if (say_is_json())
        say_json(json_pack("{s:s, s:s, s:s, s:s, s:s, s:o, s:o}", "stack", conf->stack,
                           "dispatcher", conf->dispatcher, "gateway", conf->gateway, "blobs",
                           conf->blobs, "studies", conf->studies, "client_key",
                           conf->client_key[0] ? say_json_text(key) : json_null(), "services",
                           remote_json(remote)));
    else
        printf("%s is known: `inkling stack use %s` makes it the one that commands are about, and "
               "--stack %s for one command\n",
               conf->stack, conf->stack, conf->stack);
    free(key);
}

err_code_t verb_stack_add(cli_t *cli, int *exit_code, err_t *err) {
    (void)exit_code;
    conf_t conf = {0};
    remote_t remote;
    err_code_t code = check_new(cli, cli->call.arguments[0], err);
    if (code == ERR_OK)
        code = describe(cli, &conf, err);
    if (code == ERR_OK) {
        remote_ask(&conf, REMOTE_COUNT, ADD_MS, &remote);
        const remote_service_t *dispatcher = &remote.services[REMOTE_DISPATCHER];
        if (!dispatcher->answers) {
            *err = dispatcher->why;
            code = err_context(err, "the stack is not added");
        }
    }
    if (code == ERR_OK)
        code = save(&conf, err);
    if (code == ERR_OK) {
        warn_of_missing(&remote);
        tell_added(&conf, &remote);
    }
    conf_release(&conf);
    return code;
}

// --- list

static int by_name(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

// Names in order, ended by NULL; to be freed one by one.
static char **list_names(const char *home) {
    char *folder = fs_join(home, "stacks");
    char **names = mem_zero(1, sizeof *names);
    size_t count = 0;
    struct dirent *entry;
    DIR *dir = opendir(folder);
    while (dir && (entry = readdir(dir)) != NULL) {
        if (conf_stack_check(entry->d_name, NULL) != ERR_OK)
            continue; // keys, folders of files, what is being written
        names = mem_grow(names, (count + 2) * sizeof *names);
        names[count++] = mem_dup(entry->d_name);
        names[count] = NULL;
    }
    if (dir)
        closedir(dir);
    if (count > 0)
        qsort(names, count, sizeof *names, by_name);
    free(folder);
    return names;
}

static void free_names(char **names) {
    for (char **name = names; *name; name++)
        free(*name);
    free(names);
}

static json_t *describe_listed(const conf_t *conf, const char *name, bool current,
                               const err_t *unread) {
    remote_t remote = {.workers = -1};
    remote_service_t *dispatcher = &remote.services[REMOTE_DISPATCHER];
    if (unread->code)
        dispatcher->why = *unread;
    else
        remote_ask(conf, REMOTE_DISPATCHER + 1, LOOK_MS, &remote);
    const char *detail = remote_detail(dispatcher);
    bool read = !unread->code;
    return json_pack("{s:s, s:o, s:o, s:o, s:o, s:b, s:b, s:o}", "name", name, "dispatcher",
                     read ? say_json_text(conf->dispatcher) : json_null(), "gateway",
                     read ? say_json_text(conf->gateway) : json_null(), "blobs",
                     read ? say_json_text(conf->blobs) : json_null(), "studies",
                     read ? say_json_text(conf->studies) : json_null(), "current", current,
                     "answers", dispatcher->answers, "detail",
                     *detail ? say_json_text(detail) : json_null());
}

static void print_listed(const json_t *list) {
    table_t *table = table_new("|stack|answers|dispatcher|detail");
    size_t i;
    const json_t *stack;
    json_array_foreach(list, i, stack) {
        bool answers = json_is_true(json_object_get(stack, "answers"));
        bool current = json_is_true(json_object_get(stack, "current"));
        const char *detail = json_string_value(json_object_get(stack, "detail"));
        const char *dispatcher = json_string_value(json_object_get(stack, "dispatcher"));
        table_cell(table, SAY_BOLD, "%s", current ? "*" : "");
        table_cell(table, SAY_BOLD, "%s", json_string_value(json_object_get(stack, "name")));
        table_cell(table, answers ? SAY_GOOD : SAY_BAD, "%s", answers ? "yes" : "no");
        table_cell(table, SAY_PLAIN, "%s", dispatcher ? dispatcher : "-");
        table_cell(table, SAY_DIM, "%s", detail ? detail : "");
    }
    table_print(&table, NULL);
}

err_code_t verb_stack_list(cli_t *cli, int *exit_code, err_t *err) {
    (void)exit_code;
    (void)err;
    const char *home = cli->conf.home;
    char **names = list_names(home), *current = conf_stack_current(home);
    err_t good = {0};
    json_t *list = json_array();
    bool local = !current || strcmp(current, CONF_STACK_LOCAL) == 0;
    json_array_append_new(list, describe_listed(&cli->conf, CONF_STACK_LOCAL, local, &good));
    for (char **name = names; *name; name++) {
        conf_t conf;
        err_t unread = {0};
        conf_stack_read(home, *name, &conf, &unread);
        bool chosen = current && strcmp(current, *name) == 0;
        json_array_append_new(list, describe_listed(&conf, *name, chosen, &unread));
        conf_release(&conf);
    }
    free(current);
    free_names(names);
    if (say_is_json()) {
        say_json(list);
    } else {
        print_listed(list);
        json_decref(list);
    }
    return ERR_OK;
}

void stacks_complete(const char *home, buf_t *out) {
    char **names = list_names(home);
    for (char **name = names; *name; name++)
        buf_printf(out, "%s\n", *name);
    buf_puts(out, CONF_STACK_LOCAL "\n");
    free_names(names);
}

// --- use and rm

static err_code_t check_known(const cli_t *cli, const char *name, err_t *err) {
    err_code_t code = conf_stack_check(name, err);
    if (code || is_there(cli->conf.home, name))
        return code;
    err_set(err, ERR_NOT_FOUND, "there is no stack '%s'", name);
    return err_remedy(err, "`inkling stack list` lists them, `inkling stack add` adds one");
}

static err_code_t choose(const char *home, const char *name, err_t *err) {
    char *path = conf_stack_path(home, "current", "");
    err_code_t code = ERR_OK;
    if (strcmp(name, CONF_STACK_LOCAL) == 0) {
        code = fs_remove_all(path, err);
    } else {
        char *text = mem_format("%s\n", name);
        code = fs_write(path, text, strlen(text), err);
        free(text);
    }
    free(path);
    return code;
}

err_code_t verb_stack_use(cli_t *cli, int *exit_code, err_t *err) {
    (void)exit_code;
    const char *name = cli->call.arguments[0];
    bool local = strcmp(name, CONF_STACK_LOCAL) == 0;
    err_code_t code = local ? ERR_OK : check_known(cli, name, err);
    if (code == ERR_OK)
        code = choose(cli->conf.home, name, err);
    if (code == ERR_OK && say_is_json())
        say_json(json_pack("{s:s}", "current", name));
    else if (code == ERR_OK && local)
        puts("commands are about the stack of this host");
    else if (code == ERR_OK)
        printf("commands are about %s; up, down and keys about the stack of this host as ever\n",
               name);
    return code;
}

// The stack's own file first: without it the rest is nobody's.
static err_code_t remove_stack(const char *home, const char *name, err_t *err) {
    static const char *const suffixes[] = {"", ".key", ".files"};
    err_code_t code = ERR_OK;
    for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes && code == ERR_OK; i++) {
        char *path = conf_stack_path(home, name, suffixes[i]);
        code = fs_remove_all(path, err);
        free(path);
    }
    return code;
}

err_code_t verb_stack_rm(cli_t *cli, int *exit_code, err_t *err) {
    (void)exit_code;
    const char *name = cli->call.arguments[0], *home = cli->conf.home;
    err_code_t code = check_known(cli, name, err);
    if (code)
        return code;
    char *current = conf_stack_current(home);
    bool was_current = current && strcmp(current, name) == 0;
    free(current);
    if (was_current)
        code = choose(home, CONF_STACK_LOCAL, err);
    if (code == ERR_OK)
        code = remove_stack(home, name, err);
    if (code == ERR_OK && say_is_json())
        say_json(json_pack("{s:s, s:b}", "removed", name, "was_current", was_current));
    else if (code == ERR_OK)
        printf("%s is forgotten%s\n", name,
               was_current ? "; commands are about the stack of this host again" : "");
    return code;
}
