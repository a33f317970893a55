#include "settings_impl.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PREFIX "INKLING_"

// "INKLING_LEASE_MS=" of lease_ms; malloc'ed.
static char *variable(const char *field) {
    char *name = mem_format(PREFIX "%s=", field);
    for (char *c = name; *c; c++)
        *c = (char)toupper((unsigned char)*c);
    return name;
}

static char *with_text(const char *field, const char *value) {
    char *name = variable(field), *pair = mem_format("%s%s", name, value ? value : "");
    free(name);
    return pair;
}

static char *with_number(const char *field, int64_t value) {
    char *name = variable(field), *pair = mem_format("%s%lld", name, (long long)value);
    free(name);
    return pair;
}

static bool is_setting(const char *pair) {
#define S(type, field, def, min, max, doc)                                                         \
    {                                                                                              \
        char *name = variable(#field);                                                             \
        bool same = strncmp(pair, name, strlen(name)) == 0;                                        \
        free(name);                                                                                \
        if (same)                                                                                  \
            return true;                                                                           \
    }
    CONF_SETTINGS(S)
#undef S
    return false;
}

#define PAIR_STR(field)  with_text(#field, conf->field)
#define PAIR_INT(field)  with_number(#field, conf->field)
#define PAIR_FLAG(field) with_number(#field, conf->field)

char **settings_environment(const conf_t *conf) {
    char *pairs[] = {
#define S(type, field, def, min, max, doc) PAIR_##type(field),
        CONF_SETTINGS(S)
#undef S
    };
    size_t count = sizeof pairs / sizeof *pairs, inherited = 0;
    while (environ[inherited])
        inherited++;
    char **env = mem_zero(count + inherited + 1, sizeof *env);
    memcpy(env, pairs, sizeof pairs);
    for (size_t i = 0; i < inherited; i++)
        if (!is_setting(environ[i]))
            env[count++] = mem_dup(environ[i]);
    return env;
}

void settings_environment_free(char **env) {
    for (char **pair = env; pair && *pair; pair++)
        free(*pair);
    free(env);
}
