#include "conf/conf.h"

#include "base/fs.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FILE_LIMIT 65536

typedef enum { KIND_STR, KIND_INT, KIND_FLAG } kind_t;

typedef struct {
    const char *name; // "lease_ms"
    kind_t kind;
    size_t offset;
    const char *text; // default of KIND_STR
    int64_t number, min, max;
    const char *doc;
} setting_t;

#define DEFAULT_STR(def)  .text = (def),
#define DEFAULT_INT(def)  .number = (def),
#define DEFAULT_FLAG(def) .number = (def),
#define S(type, field, def, min_, max_, doc_)                                                      \
    {.name = #field,                                                                               \
     .kind = KIND_##type,                                                                          \
     .offset = offsetof(conf_t, field),                                                            \
     DEFAULT_##type(def).min = (min_),                                                             \
     .max = (max_),                                                                                \
     .doc = (doc_)},
static const setting_t settings[] = {CONF_SETTINGS(S)};
#undef S
#define SETTING_COUNT (sizeof settings / sizeof *settings)

static void *place(conf_t *conf, const setting_t *setting) {
    return (char *)conf + setting->offset;
}

static void set_text(char **at, const char *text) {
    char *copy = mem_dup(text);
    free(*at);
    *at = copy;
}

// where: "option --lease-ms", "INKLING_LEASE_MS", "…/inkling.conf:3".
static err_code_t assign(conf_t *conf, const setting_t *setting, const char *value,
                         const char *where, err_t *err) {
    if (setting->kind == KIND_STR) {
        set_text(place(conf, setting), value);
        return ERR_OK;
    }
    char *end;
    errno = 0;
    long long number = strtoll(value, &end, 10);
    if (*value == 0 || *end != 0 || errno) {
        err_set(err, ERR_USAGE, "%s: '%s' is no whole number", where, value);
    } else if (number < setting->min || number > setting->max) {
        err_set(err, ERR_USAGE, "%s: %s is out of range", where, value);
    } else {
        if (setting->kind == KIND_INT)
            *(int64_t *)place(conf, setting) = number;
        else
            *(bool *)place(conf, setting) = number != 0;
        return ERR_OK;
    }
    err_remedy(err, "%s takes %lld to %lld", setting->name, (long long)setting->min,
               (long long)setting->max);
    return ERR_USAGE;
}

// A failure is passed on, or, where failures are skipped, the first of them is kept.
static err_code_t bear(err_code_t code, const err_t *failure, err_t *skipped, err_t *err) {
    err_t *to = skipped ? skipped : err;
    if (code && to && (!skipped || skipped->code == ERR_OK))
        *to = *failure;
    return skipped ? ERR_OK : code;
}

static void set_defaults(conf_t *conf) {
    memset(conf, 0, sizeof *conf);
    for (size_t i = 0; i < SETTING_COUNT; i++) {
        const setting_t *setting = &settings[i];
        if (setting->kind == KIND_STR)
            set_text(place(conf, setting), setting->text);
        else if (setting->kind == KIND_INT)
            *(int64_t *)place(conf, setting) = setting->number;
        else
            *(bool *)place(conf, setting) = setting->number != 0;
    }
}

void conf_release(conf_t *conf) {
    for (size_t i = 0; i < SETTING_COUNT; i++)
        if (settings[i].kind == KIND_STR) {
            char **at = place(conf, &settings[i]);
            free(*at);
            *at = NULL;
        }
}

// --- Environment
// ----------------------------------------------------------------------------------

static void env_name(const setting_t *setting, char name[64]) {
    snprintf(name, 64, "INKLING_%s", setting->name);
    for (char *c = name; *c; c++)
        *c = (char)toupper((unsigned char)*c);
}

static err_code_t read_environment(conf_t *conf, err_t *skipped, err_t *err) {
    for (size_t i = 0; i < SETTING_COUNT; i++) {
        char name[64];
        env_name(&settings[i], name);
        const char *value = getenv(name);
        err_t failure = {0};
        err_code_t code = value ? assign(conf, &settings[i], value, name, &failure) : ERR_OK;
        code = bear(code, &failure, skipped, err);
        if (code)
            return code;
    }
    return ERR_OK;
}

// --- File: key = value, # comments
// ----------------------------------------------------------------

static char *trim(char *text) {
    while (isspace((unsigned char)*text))
        text++;
    char *end = text + strlen(text);
    while (end > text && isspace((unsigned char)end[-1]))
        *--end = 0;
    return text;
}

// Which settings a file may have.
typedef bool (*takes_fn)(const char *key);

// What the others are found by is in none.
static bool in_home_file(const char *key) {
    return strcmp(key, "home") != 0 && strcmp(key, "stack") != 0;
}

static bool in_stack_file(const char *key) {
    return strcmp(key, "dispatcher") == 0 || strcmp(key, "gateway") == 0 ||
           strcmp(key, "blobs") == 0 || strcmp(key, "studies") == 0 ||
           strcmp(key, "client_key") == 0;
}

static err_code_t unknown_key(const char *where, const char *key, takes_fn takes, err_t *err) {
    err_set(err, ERR_USAGE, "%s: unknown setting '%s'", where, key);
    if (takes == in_stack_file)
        return err_remedy(err, "the file of a stack has dispatcher, gateway, blobs, studies, "
                               "client_key");
    if (strcmp(key, "stack") == 0)
        return err_remedy(err, "`inkling stack use NAME` makes a stack the command line's");
    return err_remedy(err, "`inkling help up` or `inkling-dispatcher --help` lists the settings");
}

static err_code_t read_line(conf_t *conf, char *line, const char *where, takes_fn takes,
                            err_t *err) {
    char *hash = strchr(line, '#');
    if (hash)
        *hash = 0;
    line = trim(line);
    if (*line == 0)
        return ERR_OK;
    char *equals = strchr(line, '=');
    if (!equals) {
        err_set(err, ERR_USAGE, "%s: '%s' is no setting", where, line);
        return err_remedy(err, "write: key = value"), ERR_USAGE;
    }
    *equals = 0;
    char *key = trim(line);
    for (size_t i = 0; i < SETTING_COUNT; i++)
        if (strcmp(settings[i].name, key) == 0 && takes(key))
            return assign(conf, &settings[i], trim(equals + 1), where, err);
    return unknown_key(where, key, takes, err);
}

// ERR_NOT_FOUND: there is no such file; conf is as it was.
static err_code_t read_file(conf_t *conf, const char *path, takes_fn takes, err_t *skipped,
                            err_t *err) {
    void *bytes = NULL;
    size_t size;
    err_t failure = {0};
    err_code_t code = fs_read(path, FILE_LIMIT, &bytes, &size, &failure);
    if (code == ERR_NOT_FOUND)
        return code;
    code = bear(code, &failure, skipped, err);
    char *rest = bytes, *line;
    for (int number = 1; code == ERR_OK && (line = strsep(&rest, "\n")) != NULL; number++) {
        char where[PATH_MAX + 32];
        snprintf(where, sizeof where, "%s:%d", path, number);
        code = read_line(conf, line, where, takes, &failure);
        code = bear(code, &failure, skipped, err);
    }
    free(bytes);
    return code;
}

static err_code_t read_home_file(conf_t *conf, err_t *skipped, err_t *err) {
    char *path = fs_join(conf->home, "inkling.conf");
    err_code_t code = read_file(conf, path, in_home_file, skipped, err);
    free(path);
    return code == ERR_NOT_FOUND ? ERR_OK : code;
}

// --- Remote stacks
// ---------------------------------------------------------------------------------

static err_code_t check_complete(const conf_t *conf, const char *path, err_t *err) {
    const char *missing = !conf->dispatcher[0] ? "dispatcher"
                          : !conf->gateway[0]  ? "gateway"
                          : !conf->blobs[0]    ? "blobs"
                                               : NULL;
    if (!missing)
        return ERR_OK;
    err_set(err, ERR_INVALID, "%s does not tell '%s'", path, missing);
    return err_remedy(err,
                      "add the line, or the stack anew: `inkling stack rm %s`, then `inkling "
                      "stack add`",
                      conf->stack);
}

// Files of stacks that were added before there was a studies service do not tell its address.
static void derive_studies(conf_t *conf) {
    const char *colon = strrchr(conf->dispatcher, ':');
    long port = colon ? strtol(colon + 1, NULL, 10) : 0;
    if (port < 1)
        return;
    free(conf->studies);
    conf->studies =
        mem_format("%.*s:%ld", (int)(colon - conf->dispatcher), conf->dispatcher, port + 3);
}

static err_code_t no_such_stack(const conf_t *conf, bool given, err_t *err) {
    err_set(err, ERR_NOT_FOUND, "there is no stack '%s' under %s/stacks", conf->stack, conf->home);
    if (!given)
        return err_remedy(err, "it was the one of `inkling stack use`: `inkling stack use local` "
                               "goes back to that of this host");
    return err_remedy(err,
                      "`inkling stack list` lists them, `inkling stack add %s "
                      "tcp://HOST:PORT --key FILE` adds it",
                      conf->stack);
}

// The places of a remote stack, all of them: what inkling.conf says is of the stack under home.
static err_code_t read_stack_file(conf_t *conf, bool given, err_t *err) {
    err_code_t code = conf_stack_check(conf->stack, err);
    if (code)
        return code;
    char *path = conf_stack_path(conf->home, conf->stack, "");
    char **places[] = {&conf->dispatcher, &conf->gateway, &conf->blobs, &conf->studies,
                       &conf->client_key};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++)
        set_text(places[i], "");
    free(conf->files);
    conf->files = conf_stack_path(conf->home, conf->stack, ".files");
    code = read_file(conf, path, in_stack_file, NULL, err);
    if (code == ERR_NOT_FOUND)
        no_such_stack(conf, given, err);
    if (code == ERR_OK)
        code = check_complete(conf, path, err);
    if (code == ERR_OK && !conf->studies[0])
        derive_studies(conf);
    if (code == ERR_OK && conf->client_key[0] && conf->client_key[0] != '/') {
        char *key = conf_stack_path(conf->home, conf->client_key, "");
        free(conf->client_key);
        conf->client_key = key;
    }
    free(path);
    return code;
}

err_code_t conf_stack_read(const char *home, const char *name, conf_t *conf, err_t *err) {
    set_defaults(conf);
    set_text(&conf->home, home);
    set_text(&conf->stack, name);
    return read_stack_file(conf, true, err);
}

// Settles conf->stack, the name as given, and reads its file if it is a remote one.
static err_code_t read_stack(conf_t *conf, conf_stack_t which, err_t *err) {
    bool given = conf->stack[0] != 0;
    if (which == CONF_STACK_HOME)
        return ERR_OK;
    if (!given && which == CONF_STACK_CURRENT) {
        char *current = conf_stack_current(conf->home);
        set_text(&conf->stack, current ? current : "");
        free(current);
    }
    if (strcmp(conf->stack, CONF_STACK_LOCAL) == 0)
        set_text(&conf->stack, "");
    return conf->stack[0] ? read_stack_file(conf, given, err) : ERR_OK;
}

// --- Options
// --------------------------------------------------------------------------------------

// "--lease-ms" or "--lease-ms=…" is lease_ms.
static const setting_t *option_setting(const char *arg, const char **value) {
    if (strncmp(arg, "--", 2) != 0 || arg[2] == 0)
        return NULL;
    const char *name = arg + 2, *equals = strchr(name, '=');
    size_t size = equals ? (size_t)(equals - name) : strlen(name);
    for (size_t i = 0; i < SETTING_COUNT; i++) {
        if (strlen(settings[i].name) != size)
            continue;
        size_t same = 0;
        while (same < size && (name[same] == settings[i].name[same] ||
                               (name[same] == '-' && settings[i].name[same] == '_')))
            same++;
        if (same == size) {
            *value = equals ? equals + 1 : NULL;
            return &settings[i];
        }
    }
    return NULL;
}

// Applies the options to conf; at first nothing but --home and --stack, and the arguments stay as
// they are.
static err_code_t read_options(conf_t *conf, int *argc, char **argv, bool first, err_t *err) {
    int kept = 1;
    for (int i = 1; i < *argc; i++) {
        const char *value = NULL;
        const setting_t *setting = NULL;
        if (strcmp(argv[i], "--") == 0) {
            while (!first && i < *argc)
                argv[kept++] = argv[i++];
            break;
        }
        setting = option_setting(argv[i], &value);
        if (!setting) {
            if (!first)
                argv[kept++] = argv[i];
            continue;
        }
        char where[80];
        snprintf(where, sizeof where, "option --%s", setting->name);
        for (char *c = where + 9; *c; c++)
            *c = *c == '_' ? '-' : *c;
        if (!value && i + 1 >= *argc) {
            err_set(err, ERR_USAGE, "%s: its value is missing", where);
            return err_remedy(err, "--help shows how it is used"), ERR_USAGE;
        }
        if (!value)
            value = argv[++i];
        if (first && in_home_file(setting->name))
            continue;
        err_code_t code = assign(conf, setting, value, where, err);
        if (code)
            return code;
    }
    if (!first) {
        *argc = kept;
        argv[kept] = NULL;
    }
    return ERR_OK;
}

// --- All together
// ---------------------------------------------------------------------------------

static err_code_t make_absolute(char **path, err_t *err) {
    if ((*path)[0] == '/')
        return ERR_OK;
    char *here = getcwd(NULL, 0);
    if (!here)
        return err_set_errno(err, "the current folder is gone");
    char *absolute = fs_join(here, *path);
    free(here);
    free(*path);
    *path = absolute;
    return ERR_OK;
}

// Where all else is found: home, and the name of the stack as it was given.
static err_code_t find_home(conf_t *conf, int *argc, char **argv, err_t *err) {
    const char *value = getenv("INKLING_HOME"), *stack = getenv("INKLING_STACK");
    if (value && *value)
        set_text(&conf->home, value);
    set_text(&conf->stack, stack ? stack : "");
    err_code_t code = read_options(conf, argc, argv, true, err);
    if (code)
        return code;
    if (conf->home[0] == 0) {
        const char *user = getenv("HOME");
        if (!user || !*user) {
            err_set(err, ERR_USAGE, "there is no home for the stack: HOME is not set");
            return err_remedy(err, "set INKLING_HOME or give --home DIR"), ERR_USAGE;
        }
        free(conf->home);
        conf->home = fs_join(user, ".inkling");
    }
    return make_absolute(&conf->home, err);
}

static void fill_place(char **at, char *value) {
    if ((*at)[0] == 0) {
        free(*at);
        *at = value;
    } else {
        free(value);
    }
}

static err_code_t fill_places(conf_t *conf, err_t *err) {
    const char *home = conf->home;
    char *run = conf_run_folder(home);
    fill_place(&conf->dispatcher, conf_endpoint(home, "dispatcher"));
    fill_place(&conf->gateway, conf_endpoint(home, "gateway"));
    fill_place(&conf->blobs, conf_endpoint(home, "blobs"));
    fill_place(&conf->studies, conf_endpoint(home, "studies"));
    fill_place(&conf->redis, fs_join(run, "redis.sock"));
    fill_place(&conf->files, fs_join(home, "files"));
    fill_place(&conf->keys, fs_join(home, "keys"));
    free(run);
    err_code_t code = make_absolute(&conf->files, err);
    return code ? code : make_absolute(&conf->keys, err);
}

err_code_t conf_load_client(conf_t *conf, conf_stack_t which, int *argc, char **argv,
                            err_t *skipped, err_t *err) {
    if (skipped)
        *skipped = (err_t){0};
    set_defaults(conf);
    err_code_t code = find_home(conf, argc, argv, err);
    char *home = mem_dup(conf->home), *stack = NULL;
    if (code == ERR_OK)
        code = read_home_file(conf, skipped, err);
    if (code == ERR_OK)
        code = read_stack(conf, which, err);
    if (code == ERR_OK) {
        stack = mem_dup(conf->stack);
        code = read_environment(conf, skipped, err);
    }
    if (code == ERR_OK)
        code = read_options(conf, argc, argv, false, err);
    if (code == ERR_OK) {
        set_text(&conf->home, home);
        set_text(&conf->stack, stack);
        code = fill_places(conf, err);
    }
    free(home);
    free(stack);
    return code;
}

err_code_t conf_load(conf_t *conf, int *argc, char **argv, err_t *err) {
    return conf_load_client(conf, CONF_STACK_GIVEN, argc, argv, NULL, err);
}

void conf_help(buf_t *out) {
    for (size_t i = 0; i < SETTING_COUNT; i++) {
        const setting_t *setting = &settings[i];
        char name[64], option[64];
        env_name(setting, name);
        snprintf(option, sizeof option, "%s", setting->name);
        for (char *c = option; *c; c++)
            *c = *c == '_' ? '-' : *c;
        buf_printf(out, "  --%-16s %-24s %s", option, name, setting->doc);
        if (setting->kind != KIND_STR)
            buf_printf(out, " (default %lld)", (long long)setting->number);
        else if (setting->text[0])
            buf_printf(out, " (default %s)", setting->text);
        buf_puts(out, "\n");
    }
}
