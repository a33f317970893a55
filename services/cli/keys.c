// keys init, client, redis, show: who may reach the stack from other hosts.
#include "cli_impl.h"

#include "base/fs.h"
#include "sec/sec.h"
#include "table_impl.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define KEY_FILE_MAX 4096

err_code_t verb_keys_init(cli_t *cli, int *exit_code, err_t *err) {
    (void)exit_code;
    const char *folder = cli->conf.keys;
    sec_pair_t server;
    bool made;
    err_code_t code = sec_init(folder, &made, err);
    if (code == ERR_OK)
        code = sec_server(folder, &server, err);
    if (code)
        return code;
    if (say_is_json())
        say_json(json_pack("{s:o, s:s, s:b}", "folder", say_json_text(folder), "server",
                           server.public_key, "made", made));
    else
        printf("%s %s\n", made ? "the stack's keys are made in" : "the stack has keys already in",
               folder);
    explicit_bzero(&server, sizeof server);
    return ERR_OK;
}

// The whole file to standard output, by way of one that is gone again.
static err_code_t print_key(const char *path, err_t *err) {
    void *bytes;
    size_t size;
    err_code_t code = fs_read(path, KEY_FILE_MAX, &bytes, &size, err);
    unlink(path);
    if (code)
        return code;
    fwrite(bytes, 1, size, stdout);
    explicit_bzero(bytes, size);
    free(bytes);
    return ERR_OK;
}

err_code_t verb_keys_client(cli_t *cli, int *exit_code, err_t *err) {
    (void)exit_code;
    const char *name = cli->call.arguments[0], *given = call_text(&cli->call, "file");
    bool print = given && strcmp(given, "-") == 0;
    if (print && say_is_json()) {
        err_set(err, ERR_USAGE, "--file - and --json both want standard output");
        return err_remedy(err, "give the path of a file");
    }
    char *beside = mem_format("%s.key", name), *path = cli_absolute(given ? given : beside);
    if (print) {
        free(path);
        path = mem_format("%s/.%ld.key", cli->conf.keys, (long)getpid());
    }
    err_code_t code = sec_client_new(cli->conf.keys, name, path, err);
    if (code == ERR_OK && print)
        code = print_key(path, err);
    else if (code == ERR_OK && say_is_json())
        say_json(json_pack("{s:s, s:o}", "client", name, "file", say_json_text(path)));
    else if (code == ERR_OK)
        printf("%s may connect with the key in %s\n", name, path);
    free(beside);
    free(path);
    return code;
}

err_code_t verb_keys_token(cli_t *cli, int *exit_code, err_t *err) {
    (void)exit_code;
    const char *name = cli->call.arguments[0], *out = call_text(&cli->call, "token_out");
    char token[SEC_TOKEN_SIZE];
    char *path = out ? cli_absolute(out) : NULL;
    err_code_t code = ERR_OK;
    if (path && access(path, F_OK) == 0) {
        err_set(err, ERR_CONFLICT, "%s is there already", path);
        code = err_remedy(err, "give another file, or remove it");
    }
    if (code == ERR_OK)
        code = sec_token_new(cli->conf.keys, name, (double)call_number(&cli->call, "limit"), token,
                             err);
    if (code == ERR_OK && path)
        code = fs_write_secret(path, token, strlen(token), err);
    if (code == ERR_OK && say_is_json())
        say_json(path ? json_pack("{s:s, s:o}", "name", name, "file", say_json_text(path))
                      : json_pack("{s:s, s:s}", "name", name, "token", token));
    else if (code == ERR_OK && path)
        printf("the token of %s is in %s\n", name, path);
    else if (code == ERR_OK)
        printf("%s\n", token);
    explicit_bzero(token, sizeof token);
    free(path);
    return code;
}

// For a stack's first start: a token named http, unless it has one.
static err_code_t first_token(const cli_t *cli, err_t *err) {
    const char *out = call_text(&cli->call, "token_out");
    char token[SEC_TOKEN_SIZE];
    if (!out)
        return ERR_OK;
    err_code_t code = sec_token_new(cli->conf.keys, "http", 0, token, err);
    if (code == ERR_CONFLICT)
        return ERR_OK;
    char *path = cli_absolute(out);
    if (code == ERR_OK)
        code = fs_write_secret(path, token, strlen(token), err);
    explicit_bzero(token, sizeof token);
    free(path);
    return code;
}

err_code_t verb_keys_redis(cli_t *cli, int *exit_code, err_t *err) {
    (void)exit_code;
    char *acl = cli_absolute(cli->call.arguments[0]), *password = NULL;
    bool made;
    err_code_t code = sec_init(cli->conf.keys, &made, err);
    if (code == ERR_OK)
        code = sec_redis_init(cli->conf.keys, acl, &made, err);
    if (code == ERR_OK)
        code = first_token(cli, err);
    if (code == ERR_OK)
        password = fs_join(cli->conf.keys, "redis.password");
    if (code == ERR_OK && say_is_json())
        say_json(json_pack("{s:o, s:o, s:b}", "password_file", say_json_text(password), "acl_file",
                           say_json_text(acl), "made", made));
    else if (code == ERR_OK)
        printf("start Redis with --aclfile %s, and the dispatcher "
               "with\nINKLING_REDIS_PASSWORD_FILE=%s\n",
               acl, password);
    free(password);
    free(acl);
    return code;
}

static json_t *list_tokens(const char *folder) {
    sec_tokens_t *tokens = sec_tokens_new(folder);
    size_t count = sec_tokens_count(tokens);
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++) {
        const sec_token_t *token = sec_tokens_at(tokens, i);
        json_array_append_new(list,
                              json_pack("{s:s, s:f}", "name", token->name, "limit", token->rate));
    }
    sec_tokens_destroy(&tokens);
    return list;
}

static void print_tokens(const json_t *tokens) {
    size_t i;
    const json_t *token;
    table_t *table = table_new("token|requests a second");
    json_array_foreach(tokens, i, token) {
        double limit = json_number_value(json_object_get(token, "limit"));
        table_cell(table, SAY_BOLD, "%s", json_string_value(json_object_get(token, "name")));
        limit > 0 ? table_cell(table, SAY_DIM, "%g", limit) : table_cell(table, SAY_DIM, "any");
    }
    if (json_array_size(tokens))
        table_print(&table, "");
    table_free(&table);
}

err_code_t verb_keys_show(cli_t *cli, int *exit_code, err_t *err) {
    (void)exit_code;
    const char *folder = cli->conf.keys, *name;
    sec_pair_t server;
    err_code_t code = sec_server(folder, &server, err);
    if (code)
        return code;
    sec_guests_t *guests = sec_guests_new(folder);
    size_t count = sec_guests_count(guests);
    json_t *names = json_array();
    table_t *table = table_new("client|may connect by");
    for (size_t i = 0; i < count && (name = sec_guests_at(guests, i)) != NULL; i++) {
        json_array_append_new(names, json_string(name));
        table_cell(table, SAY_BOLD, "%s", name);
        table_cell(table, SAY_DIM, "%s/clients/%s.pub", folder, name);
    }
    json_t *tokens = list_tokens(folder);
    if (say_is_json()) {
        say_json(json_pack("{s:o, s:s, s:O, s:O}", "folder", say_json_text(folder), "server",
                           server.public_key, "clients", names, "tokens", tokens));
    } else {
        printf("folder      %s\npublic key  %s\n", folder, server.public_key);
        table_print(&table, "No client may connect: `inkling keys client NAME` lets one in.");
        print_tokens(tokens);
    }
    explicit_bzero(&server, sizeof server);
    json_decref(names);
    json_decref(tokens);
    table_free(&table);
    sec_guests_destroy(&guests);
    return ERR_OK;
}
