#include "verbs_impl.h"

#include "base/nearest.h"
#include "conf/conf.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { PROTO_NONE = VERB_NONE };

const verb_t verbs[] = {
#define V(words, run, arguments, min, max, message, hidden, submits, own, about)                   \
    {words, run, arguments, hidden, own, about, min, max, PROTO_##message, submits},
    CLI_VERBS(V)
#undef V
};
const size_t verb_count = sizeof verbs / sizeof *verbs;

// --- Options of the command line itself, and settings, as fields

#define OWN_STR(def)  .text = (def)
#define OWN_U64(def)  .text = "", .number = (def)
#define OWN_BOOL(def) .text = "", .number = (def)
static const proto_field_t own_fields[] = {
#define O(name_, kind_, def, min_, max_, doc_)                                                     \
    {.name = #name_,                                                                               \
     .kind = PROTO_##kind_,                                                                        \
     OWN_##kind_(def),                                                                             \
     .min = (min_),                                                                                \
     .max = (max_),                                                                                \
     .doc = (doc_)},
    CLI_OPTIONS(O)
#undef O
};
#define OWN_COUNT (sizeof own_fields / sizeof *own_fields)

#define SETTING_STR(def)  .kind = PROTO_STR, .text = (def), .max = PROTO_PATH_MAX
#define SETTING_INT(def)  .kind = PROTO_U64, .text = "", .number = (def)
#define SETTING_FLAG(def) .kind = PROTO_BOOL, .text = "", .number = (def)
#define RANGE_STR(min, max)
#define RANGE_INT(min_, max_)  .min = (double)(min_), .max = (double)(max_),
#define RANGE_FLAG(min_, max_) .min = 0, .max = 1,
static const proto_field_t setting_fields[] = {
#define S(type, field, def, min, max, doc_)                                                        \
    {.name = #field, SETTING_##type(def), RANGE_##type(min, max).doc = (doc_)},
    CONF_SETTINGS(S)
#undef S
};
#define SETTING_COUNT (sizeof setting_fields / sizeof *setting_fields)

bool verb_in_list(const char *list, const char *word) {
    size_t size = strlen(word);
    for (const char *at = list; *at;) {
        size_t length = strcspn(at, " ");
        if (length == size && memcmp(at, word, size) == 0)
            return true;
        at += length + (at[length] == ' ');
    }
    return false;
}

// `up` and `worker` hand all settings to the services; the others need to find the stack. A remote
// one is not for those that are about the one of this host.
static bool takes_setting(const verb_t *verb, const char *name) {
    if (verb->run == verb_worker)
        return true;
    if (verb->run == verb_up)
        return !verb_in_list("name stack idle_exit_s", name);
    if (verb_is_about_stacks(verb))
        return strcmp(name, "home") == 0;
    if (strcmp(name, "stack") == 0)
        return !verb_is_local(verb);
    return verb_in_list("home dispatcher gateway blobs studies files", name);
}

bool verb_is_local(const verb_t *verb) {
    return verb->run == verb_up || verb->run == verb_down || strncmp(verb->words, "keys ", 5) == 0;
}

bool verb_is_about_stacks(const verb_t *verb) {
    return strncmp(verb->words, "stack ", 6) == 0;
}

typedef struct {
    size_t wanted, seen;
    option_t *option;
} search_t;

// True when this is the one that is wanted.
static bool count_one(search_t *search, const proto_field_t *field, option_origin_t origin) {
    if (search->seen++ != search->wanted)
        return false;
    *search->option = (option_t){field, origin};
    return true;
}

static bool in_message(search_t *search, int type, const char *hidden, option_origin_t origin) {
    const proto_message_t *message = proto_message((proto_type_t)type);
    for (size_t i = 0; i < message->field_count; i++) {
        const proto_field_t *field = &message->fields[i];
        if (!verb_in_list(hidden, field->name) && count_one(search, field, origin))
            return true;
    }
    return false;
}

static bool has_field(int type, const char *name) {
    if (type == VERB_NONE)
        return false;
    const proto_message_t *message = proto_message((proto_type_t)type);
    for (size_t i = 0; i < message->field_count; i++)
        if (strcmp(message->fields[i].name, name) == 0)
            return true;
    return false;
}

bool verb_option(const verb_t *verb, size_t index, option_t *option) {
    search_t search = {.wanted = index, .option = option};
    if (verb->message != VERB_NONE &&
        in_message(&search, verb->message, verb->hidden, OPTION_MESSAGE))
        return true;
    for (size_t i = 0; i < OWN_COUNT; i++)
        if (verb_in_list(verb->own, own_fields[i].name) &&
            count_one(&search, &own_fields[i], OPTION_OWN))
            return true;
    if (verb->submits && in_message(&search, PROTO_job_submit, "kind body", OPTION_SUBMIT))
        return true;
    for (size_t i = 0; i < OWN_COUNT; i++)
        if (verb_in_list("json help", own_fields[i].name) &&
            count_one(&search, &own_fields[i], OPTION_OWN))
            return true;
    for (size_t i = 0; i < SETTING_COUNT; i++)
        if (takes_setting(verb, setting_fields[i].name) &&
            !has_field(verb->message, setting_fields[i].name) &&
            count_one(&search, &setting_fields[i], OPTION_SETTING))
            return true;
    return false;
}

const char *verb_choices(const verb_t *verb, const option_t *option) {
    static const struct {
        int message;
        const char *field, *words;
    } choices[] = {
#define C(message, field, words) {PROTO_##message, #field, words},
        CLI_CHOICES(C)
#undef C
    };
    static const struct {
        verb_fn run;
        const char *option, *words;
    } words[] = {
#define W(run, option, words) {run, #option, words},
        CLI_WORDS(W)
#undef W
    };
    for (size_t i = 0; i < sizeof choices / sizeof *choices; i++)
        if (option->origin == OPTION_MESSAGE && choices[i].message == verb->message &&
            strcmp(choices[i].field, option->field->name) == 0)
            return choices[i].words;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (option->origin == OPTION_OWN && words[i].run == verb->run &&
            strcmp(words[i].option, option->field->name) == 0)
            return words[i].words;
    return NULL;
}

const verb_t *verb_find(char *const *words, int count, int *used) {
    char two[128] = "";
    if (count >= 2)
        snprintf(two, sizeof two, "%s %s", words[0], words[1]);
    for (size_t i = 0; i < verb_count; i++) {
        bool pair = strchr(verbs[i].words, ' ') != NULL;
        if (count >= 1 && strcmp(verbs[i].words, pair ? two : words[0]) == 0) {
            *used = pair ? 2 : 1;
            return &verbs[i];
        }
    }
    return NULL;
}

bool verb_is_group(const char *word) {
    size_t size = strlen(word);
    for (size_t i = 0; i < verb_count; i++)
        if (strncmp(verbs[i].words, word, size) == 0 && verbs[i].words[size] == ' ')
            return true;
    return false;
}

void verb_number(double value, char text[VERB_NUMBER_SIZE]) {
    bool whole = value == floor(value) && fabs(value) < 1e16;
    snprintf(text, VERB_NUMBER_SIZE, whole ? "%.0f" : "%.10g", value);
}

static const char *verb_words(void *arg, size_t index) {
    (void)arg;
    return index < verb_count ? verbs[index].words : NULL;
}

bool verb_guess(const char *word, char best[64]) {
    return nearest(word, verb_words, NULL, best);
}
