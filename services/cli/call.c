#include "call_impl.h"

#include "base/nearest.h"
#include "base/utf8.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void call_option_name(const char *field, char name[64]) {
    snprintf(name, 64, "--%s", field);
    for (char *c = name + 2; *c; c++)
        *c = *c == '_' ? '-' : *c;
}

void call_release(call_t *call) {
    json_decref(call->message);
    json_decref(call->submit);
    json_decref(call->own);
    for (char **setting = call->settings; setting && *setting; setting++)
        free(*setting);
    free(call->settings);
    free(call->arguments);
    *call = (call_t){0};
}

// --- Values

typedef struct {
    const verb_t *verb;
    const option_t *option;
    char name[64]; // "--lr"
    const char *value;
} given_t;

static err_code_t range_remedy(const given_t *given, err_t *err) {
    const proto_field_t *field = given->option->field;
    char least[VERB_NUMBER_SIZE], most[VERB_NUMBER_SIZE];
    verb_number(field->min, least);
    verb_number(field->max, most);
    return err_remedy(err, "%s takes %s to %s (%s)", given->name, least, most, field->doc);
}

static err_code_t out_of_range(const given_t *given, err_t *err) {
    err_set(err, ERR_USAGE, "option %s: %s is out of range", given->name, given->value);
    return range_remedy(given, err);
}

static err_code_t no_number(const given_t *given, const char *what, err_t *err) {
    err_set(err, ERR_USAGE, "option %s: '%s' is no %s", given->name, given->value, what);
    return range_remedy(given, err);
}

static err_code_t read_whole(const given_t *given, json_t **value, err_t *err) {
    const proto_field_t *field = given->option->field;
    const char *digits = given->value + (given->value[0] == '-');
    if (*digits == 0 || strspn(digits, "0123456789") != strlen(digits))
        return no_number(given, "whole number", err);
    errno = 0;
    long long number = strtoll(given->value, NULL, 10);
    if (errno || number < (long long)field->min || number > (long long)field->max)
        return out_of_range(given, err);
    *value = json_integer(number);
    return ERR_OK;
}

static err_code_t read_real(const given_t *given, json_t **value, err_t *err) {
    const proto_field_t *field = given->option->field;
    char *end;
    double number = strtod(given->value, &end);
    if (given->value[0] == 0 || *end != 0)
        return no_number(given, "number", err);
    if (!(number >= field->min && number <= field->max)) // a NaN is neither
        return out_of_range(given, err);
    *value = json_real(number);
    return ERR_OK;
}

static err_code_t read_text(const given_t *given, json_t **value, err_t *err) {
    const proto_field_t *field = given->option->field;
    size_t size = strlen(given->value);
    const char *choices = verb_choices(given->verb, given->option);
    if (!utf8_valid(given->value, size)) {
        err_set(err, ERR_USAGE, "option %s: its value is no UTF-8 text", given->name);
        return err_remedy(err, "use another name, or a link with one");
    }
    if (choices && !verb_in_list(choices, given->value)) {
        err_set(err, ERR_USAGE, "option %s: '%s' is none of its words", given->name, given->value);
        return err_remedy(err, "%s takes one of: %s", given->name, choices);
    }
    if (size < (size_t)field->min || size > (size_t)field->max) {
        err_set(err, ERR_USAGE, "option %s: its value has %zu bytes", given->name, size);
        return err_remedy(err, "%s takes %.0f to %.0f bytes (%s)", given->name, field->min,
                          field->max, field->doc);
    }
    *value = json_string(given->value);
    return ERR_OK;
}

// "a,b,c"; given again it adds to the list.
// The next part of a list; commas within braces belong to it: a={x,y}.
static char *next_part(char **rest) {
    char *part = *rest, *end = part;
    int depth = 0;
    if (!part)
        return NULL;
    for (; *end && (*end != ',' || depth > 0); end++)
        depth += *end == '{' ? 1 : *end == '}' ? -1 : 0;
    *rest = *end ? end + 1 : NULL;
    *end = 0;
    return part;
}

static err_code_t read_list(const given_t *given, json_t *old, json_t **value, err_t *err) {
    json_t *list = old ? json_incref(old) : json_array();
    char *copy = mem_dup(given->value), *rest = copy, *part;
    size_t before = json_array_size(list);
    err_code_t code = ERR_OK;
    while (code == ERR_OK && (part = next_part(&rest)) != NULL)
        if (*part && json_array_append_new(list, json_string(part)) != 0)
            code = err_set(err, ERR_USAGE, "option %s: its value is no UTF-8 text", given->name);
    free(copy);
    if (code == ERR_OK && json_array_size(list) == before) {
        err_set(err, ERR_USAGE, "option %s: its value is empty", given->name);
        code = err_remedy(err, "leave it out, or give: %s", given->option->field->doc);
    }
    if (code == ERR_OK && (double)json_array_size(list) > given->option->field->max)
        code = err_set(err, ERR_USAGE, "option %s: more than %.0f entries", given->name,
                       given->option->field->max);
    if (code)
        json_decref(list);
    else
        *value = list;
    return code;
}

static err_code_t read_flag(const given_t *given, json_t **value, err_t *err) {
    if (!given->value || verb_in_list("true yes 1 on", given->value)) {
        *value = json_true();
        return ERR_OK;
    }
    if (verb_in_list("false no 0 off", given->value)) {
        *value = json_false();
        return ERR_OK;
    }
    err_set(err, ERR_USAGE, "option %s: '%s' is neither true nor false", given->name, given->value);
    return err_remedy(err, "write %s, or %s=false", given->name, given->name);
}

static err_code_t read_value(const given_t *given, json_t *old, json_t **value, err_t *err) {
    proto_kind_t kind = given->option->field->kind;
    if (kind == PROTO_BOOL)
        return read_flag(given, value, err);
    ERR_ASSERT(given->value);
    switch (kind) {
    case PROTO_U64:
        return read_whole(given, value, err);
    case PROTO_F64:
        return read_real(given, value, err);
    case PROTO_STRS:
        return read_list(given, old, value, err);
    case PROTO_STR:
        return read_text(given, value, err);
    default:
        return err_set(err, ERR_INTERNAL, "option %s has no form on the command line", given->name);
    }
}

// --- Options

static bool find_option(const verb_t *verb, const char *text, size_t size, option_t *option) {
    char name[64];
    for (size_t i = 0; verb_option(verb, i, option); i++) {
        call_option_name(option->field->name, name);
        if (strlen(name) == size && memcmp(name, text, size) == 0)
            return true;
    }
    return false;
}

static const char *option_names(void *arg, size_t index) {
    static char name[64]; // until the next call
    option_t option;
    if (!verb_option(arg, index, &option))
        return NULL;
    call_option_name(option.field->name, name);
    return name + 2; // without the dashes, which all have
}

static err_code_t unknown_option(const verb_t *verb, const char *text, err_t *err) {
    char word[64], meant[64];
    snprintf(word, sizeof word, "%.*s", (int)strcspn(text, "="), text);
    err_set(err, ERR_USAGE, "`inkling %s` has no option %s", verb->words, word);
    if (strcmp(word, "--stack") == 0)
        return err_remedy(err, "it is about %s; leave --stack out",
                          verb_is_about_stacks(verb) ? "all of them" : "the stack of this host");
    if (nearest(word + strspn(word, "-"), option_names, (void *)verb, meant))
        return err_remedy(err, "did you mean --%s? `inkling help %s` lists its options", meant,
                          verb->words);
    return err_remedy(err, "`inkling help %s` lists its options", verb->words);
}

static json_t **values_of(call_t *call, option_origin_t origin) {
    return origin == OPTION_MESSAGE  ? &call->message
           : origin == OPTION_SUBMIT ? &call->submit
                                     : &call->own;
}

static void keep_setting(call_t *call, const given_t *given, const json_t *value) {
    size_t count = 0;
    while (call->settings && call->settings[count])
        count++;
    call->settings = mem_grow(call->settings, (count + 2) * sizeof *call->settings);
    const char *text = json_is_boolean(value) ? json_is_true(value) ? "1" : "0" : given->value;
    call->settings[count] = mem_format("%s=%s", given->name, text);
    call->settings[count + 1] = NULL;
}

// "--option value", "--option=value", "--flag", "--no-flag"; *next: the argument behind, which is
// taken as the value where one is needed.
static err_code_t read_option(call_t *call, const char *text, const char *next, bool *took_next,
                              err_t *err) {
    size_t size = strcspn(text, "=");
    option_t option;
    given_t given = {.verb = call->verb, .option = &option};
    given.value = text[size] ? text + size + 1 : NULL;
    bool found = find_option(call->verb, text, size, &option);
    if (!found && strncmp(text, "--no-", 5) == 0 && !text[size]) {
        char positive[64];
        snprintf(positive, sizeof positive, "--%s", text + 5);
        found = find_option(call->verb, positive, strlen(positive), &option) &&
                option.field->kind == PROTO_BOOL;
        given.value = "false";
    }
    if (!found)
        return unknown_option(call->verb, text, err);
    call_option_name(option.field->name, given.name);
    if (!given.value && option.field->kind != PROTO_BOOL) {
        if (!next) {
            err_set(err, ERR_USAGE, "option %s: its value is missing", given.name);
            return err_remedy(err, "%s takes: %s", given.name, option.field->doc);
        }
        given.value = next;
        *took_next = true;
    }
    json_t **values = values_of(call, option.origin), *value = NULL;
    err_code_t code = read_value(&given, json_object_get(*values, option.field->name), &value, err);
    if (code == ERR_OK && option.origin == OPTION_SETTING)
        keep_setting(call, &given, value);
    if (code == ERR_OK && option.origin != OPTION_SETTING)
        json_object_set(*values, option.field->name, value);
    json_decref(value);
    return code;
}

// --- All together

// May stand before the command, where only what all commands take is known.
static bool global_takes_value(const char *arg) {
    return verb_in_list("--home --stack --dispatcher --gateway --blobs --studies --files", arg);
}

// Index of the first argument from `from` on that is no option; count if there is none.
static int next_word(int argc, char **argv, int from) {
    for (int i = from; i < argc; i++) {
        if (strcmp(argv[i], "--") == 0)
            return argc;
        if (argv[i][0] != '-')
            return i;
        if (global_takes_value(argv[i]))
            i++;
    }
    return argc;
}

static err_code_t no_command(const char *word, err_t *err) {
    char meant[64];
    err_set(err, ERR_USAGE, "there is no command '%s'", word);
    if (verb_guess(word, meant))
        return err_remedy(err, "did you mean `inkling %s`? `inkling help` lists the commands",
                          meant);
    return err_remedy(err, "`inkling help` lists the commands");
}

static bool has_version(int argc, char **argv) {
    bool found = false;
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
        found = found || strcmp(argv[i], "--version") == 0;
    return found;
}

// first, second: where the command's words stand (second: argc when it has one).
static err_code_t find_verb(int argc, char **argv, call_t *call, int *first, int *second,
                            err_t *err) {
    static char help[] = "help", version[] = "version";
    *first = next_word(argc, argv, 1);
    *second = *first < argc ? next_word(argc, argv, *first + 1) : argc;
    char *alone = has_version(argc, argv) ? version : help;
    char *words[2] = {*first < argc ? argv[*first] : alone, *second < argc ? argv[*second] : NULL};
    int used = 0;
    call->verb = verb_find(words, words[1] ? 2 : 1, &used);
    if (used == 1)
        *second = argc;
    if (call->verb)
        return ERR_OK;
    if (!verb_is_group(words[0]))
        return no_command(words[0], err);
    if (!words[1]) { // `inkling job` is `inkling help job`
        call->verb = verb_find((char *[]){help}, 1, &used);
        *first = argc;
        return ERR_OK;
    }
    char both[64];
    snprintf(both, sizeof both, "%.20s %.40s", words[0], words[1]);
    return no_command(both, err);
}

static err_code_t check_arguments(const call_t *call, err_t *err) {
    const verb_t *verb = call->verb;
    if (call->count > verb->max)
        err_set(err, ERR_USAGE, "`inkling %s` has one argument too many: '%s'", verb->words,
                call->arguments[verb->max]);
    else if (call->count < verb->min)
        err_set(err, ERR_USAGE, "`inkling %s` needs %s", verb->words, verb->arguments);
    else
        return ERR_OK;
    return err_remedy(err, "usage: inkling %s %s", verb->words, verb->arguments);
}

static err_code_t check_required(const call_t *call, err_t *err) {
    option_t option;
    for (size_t i = 0; verb_option(call->verb, i, &option); i++)
        if (option.origin == OPTION_MESSAGE && option.field->required &&
            !json_object_get(call->message, option.field->name)) {
            char name[64];
            call_option_name(option.field->name, name);
            err_set(err, ERR_USAGE, "`inkling %s` needs the option %s", call->verb->words, name);
            return err_remedy(err, "%s: %s", name, option.field->doc);
        }
    return ERR_OK;
}

err_code_t call_parse(int argc, char **argv, call_t *call, err_t *err) {
    *call = (call_t){.message = json_object(),
                     .submit = json_object(),
                     .own = json_object(),
                     .arguments = mem_zero((size_t)argc + 1, sizeof(char *))};
    int first, second;
    err_code_t code = find_verb(argc, argv, call, &first, &second, err);
    bool options = true;
    for (int i = 1; i < argc && code == ERR_OK; i++) {
        bool took_next = false;
        if (i == first || i == second)
            continue;
        if (options && strcmp(argv[i], "--") == 0)
            options = false;
        else if (options && call->verb->run == verb_version && strcmp(argv[i], "--version") == 0)
            continue;
        else if (options && argv[i][0] == '-' && argv[i][1] == '-')
            code = read_option(call, argv[i], i + 1 < argc ? argv[i + 1] : NULL, &took_next, err);
        else if (options && strcmp(argv[i], "-h") == 0)
            json_object_set_new(call->own, "help", json_true());
        else if (options && argv[i][0] == '-' && argv[i][1])
            code = unknown_option(call->verb, argv[i], err);
        else
            call->arguments[call->count++] = argv[i];
        i += took_next;
    }
    if (code || call_flag(call, "help"))
        return code;
    code = check_arguments(call, err);
    return code ? code : check_required(call, err);
}

// --- What was given

bool call_flag(const call_t *call, const char *own) {
    return json_is_true(json_object_get(call->own, own));
}

uint64_t call_number(const call_t *call, const char *own) {
    const json_t *given = json_object_get(call->own, own);
    if (given)
        return (uint64_t)json_integer_value(given);
    option_t option;
    for (size_t i = 0; verb_option(call->verb, i, &option); i++)
        if (option.origin == OPTION_OWN && strcmp(option.field->name, own) == 0)
            return (uint64_t)option.field->number;
    return 0;
}

const char *call_text(const call_t *call, const char *own) {
    return json_string_value(json_object_get(call->own, own));
}
