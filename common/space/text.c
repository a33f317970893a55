#include "space/space.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// A stretch of the text.
typedef struct {
    const char *at;
    size_t size;
} part_t;

static part_t trim(part_t part) {
    while (part.size && (part.at[0] == ' ' || part.at[0] == '\t')) {
        part.at++;
        part.size--;
    }
    while (part.size && (part.at[part.size - 1] == ' ' || part.at[part.size - 1] == '\t'))
        part.size--;
    return part;
}

// What is before the first mark; *rest is what is behind it, or has at = NULL without one.
static part_t cut(part_t part, const char *mark, part_t *rest) {
    size_t size = strlen(mark);
    const char *found = memmem(part.at, part.size, mark, size);
    *rest = (part_t){NULL, 0};
    if (!found)
        return trim(part);
    size_t before = (size_t)(found - part.at);
    *rest = (part_t){found + size, part.size - before - size};
    return trim((part_t){part.at, before});
}

static bool starts(part_t *part, const char *word) {
    size_t size = strlen(word);
    if (part->size < size || memcmp(part->at, word, size) != 0)
        return false;
    *part = trim((part_t){part->at + size, part->size - size});
    return true;
}

// Digits with at most a sign, a point and an exponent: not nan, inf, hex or a locale's comma.
static bool read_number(part_t part, double *value) {
    char text[64], *end;
    if (part.size == 0 || part.size >= sizeof text)
        return false;
    for (size_t i = 0; i < part.size; i++)
        if (part.at[i] == 0 || !strchr("0123456789+-.eE", part.at[i]))
            return false;
    snprintf(text, sizeof text, "%.*s", (int)part.size, part.at);
    *value = strtod(text, &end) + 0.0;
    return end == text + part.size && isfinite(*value);
}

static bool copy_word(part_t part, char word[TUNE_NAME_SIZE]) {
    if (part.size == 0 || part.size >= TUNE_NAME_SIZE || memchr(part.at, 0, part.size))
        return false;
    memcpy(word, part.at, part.size);
    word[part.size] = 0;
    return true;
}

static int find_choice(const tune_parameter_t *p, part_t part) {
    for (int i = 0; i < p->choice_count; i++)
        if (strlen(p->choices[i]) == part.size && memcmp(p->choices[i], part.at, part.size) == 0)
            return i;
    return -1;
}

// ---- a definition's parts ----

static err_code_t refuse(const tune_parameter_t *p, part_t part, const char *what, err_t *err) {
    int size = part.size > 60 ? 60 : (int)part.size;
    err_set(err, ERR_USAGE, "parameter %s: \"%.*s\" is not %s", p->name, size, part.at, what);
    return err_remedy(err,
                      "write a range such as %s=0..1, log:1e-5..1e-2, int:8..64, logint:16..256 or "
                      "{a,b}, and behind it \"=default\" or \" if parent=choice\" where needed",
                      p->name);
}

static err_code_t read_choices(part_t list, tune_parameter_t *p, err_t *err) {
    p->type = TUNE_CATEGORY;
    do {
        part_t rest, word = cut(list, ",", &rest);
        if (p->choice_count == TUNE_CHOICES_MAX) {
            err_set(err, ERR_USAGE, "parameter %s: more than %d choices", p->name,
                    TUNE_CHOICES_MAX);
            return err_remedy(err, "leave out those that cannot win");
        }
        if (!copy_word(word, p->choices[p->choice_count]))
            return refuse(p, word, "a word to choose", err);
        p->choice_count++;
        list = rest;
    } while (list.at);
    return ERR_OK;
}

static err_code_t read_range(part_t domain, tune_parameter_t *p, err_t *err) {
    part_t text = domain, hi;
    p->log = starts(&domain, "log:");
    bool logint = !p->log && starts(&domain, "logint:");
    bool whole = !p->log && (logint || starts(&domain, "int:"));
    p->log = p->log || logint;
    p->type = whole ? TUNE_INTEGER : TUNE_FLOAT;
    part_t lo = cut(domain, "..", &hi);
    if (!hi.at && !p->log && !whole) {
        p->type = TUNE_CONSTANT;
        if (!read_number(lo, &p->lo))
            return refuse(p, text, "a range or a number", err);
        p->hi = p->lo;
        return ERR_OK;
    }
    if (!hi.at || !read_number(lo, &p->lo) || !read_number(trim(hi), &p->hi))
        return refuse(p, text, "a range of two finite numbers", err);
    return ERR_OK;
}

static err_code_t read_default(part_t text, tune_parameter_t *p, err_t *err) {
    text = trim(text);
    p->has_default = true;
    if (p->type == TUNE_CATEGORY) {
        int choice = find_choice(p, text);
        p->fallback = choice;
        return choice >= 0 ? ERR_OK : refuse(p, text, "one of its choices", err);
    }
    return read_number(text, &p->fallback) ? ERR_OK : refuse(p, text, "a default", err);
}

// Everything but the condition, which is left in *condition (at = NULL: none).
static err_code_t read_definition(const char *text, tune_parameter_t *p, part_t *condition,
                                  err_t *err) {
    *p = (tune_parameter_t){.parent = -1};
    part_t rest, domain, behind;
    part_t name = cut((part_t){text, strlen(text)}, "=", &rest);
    if (!rest.at || !copy_word(name, p->name)) {
        err_set(err, ERR_USAGE, "\"%.60s\" does not say what to tune", text);
        return err_remedy(err, "write a name of at most %d letters, =, and a range: lr=log:1e-5..1",
                          TUNE_NAME_SIZE - 1);
    }
    part_t body = cut(rest, " if ", condition);
    err_code_t code = ERR_OK;
    if (starts(&body, "{")) {
        part_t list = cut(body, "}", &behind);
        if (!behind.at)
            return refuse(p, body, "a list that ends in }", err);
        behind = trim(behind);
        if (behind.size == 0)
            behind.at = NULL;
        else if (!starts(&behind, "="))
            return refuse(p, behind, "a default", err);
        code = read_choices(list, p, err);
    } else {
        domain = cut(body, "=", &behind);
        code = read_range(domain, p, err);
    }
    if (code == ERR_OK && behind.at)
        code = read_default(behind, p, err);
    return code;
}

static err_code_t read_condition(const tune_space_t *space, part_t text, tune_parameter_t *p,
                                 err_t *err) {
    part_t rest, name = cut(text, "=", &rest);
    char word[TUNE_NAME_SIZE];
    p->conditional = true;
    p->parent = rest.at && copy_word(name, word) ? tune_space_find(space, word) : -1;
    if (p->parent < 0) {
        int size = name.size > 60 ? 60 : (int)name.size;
        err_set(err, ERR_USAGE, "parameter %s depends on \"%.*s\", which is no parameter", p->name,
                size, name.at);
        return err_remedy(err, "write it as \"%s=… if optimizer=sgd\", and tune optimizer, too",
                          p->name);
    }
    const tune_parameter_t *parent = &space->parameters[p->parent];
    for (part_t list = rest; list.at; list = rest) {
        part_t choice = cut(list, "|", &rest);
        int found = find_choice(parent, choice);
        if (found < 0) {
            int size = choice.size > 60 ? 60 : (int)choice.size;
            err_set(err, ERR_USAGE, "parameter %s depends on %s=%.*s, which is not to choose",
                    p->name, parent->name, size, choice.at);
            return err_remedy(err, "name one of the choices of %s", parent->name);
        }
        p->parent_choices |= 1u << found;
    }
    return ERR_OK;
}

err_code_t tune_space_parse(const char *const *texts, size_t count, tune_space_t *space,
                            err_t *err) {
    size_t refused;
    return tune_space_parse_each(texts, count, space, &refused, err);
}

err_code_t tune_space_parse_each(const char *const *texts, size_t count, tune_space_t *space,
                                 size_t *refused, err_t *err) {
    part_t conditions[TUNE_PARAMETERS_MAX];
    err_code_t code = ERR_OK;
    err_t unused;
    err = err ? err : &unused; // the code comes back by it
    *space = (tune_space_t){0};
    *refused = count;
    if (count > TUNE_PARAMETERS_MAX) {
        err_set(err, ERR_USAGE, "%zu parameters, more than the %d that are possible", count,
                TUNE_PARAMETERS_MAX);
        return err_remedy(err, "tune those that matter most, and fix the others");
    }
    for (size_t i = 0; i < count && code == ERR_OK; i++) {
        code = read_definition(texts[i], &space->parameters[i], &conditions[i], err);
        *refused = code ? i : count;
    }
    space->count = (int)count;
    for (size_t i = 0; i < count && code == ERR_OK; i++)
        if (conditions[i].at) {
            code = read_condition(space, conditions[i], &space->parameters[i], err);
            *refused = code ? i : count;
        }
    int parameter = -1;
    if (code == ERR_OK)
        code = tune_space_check_each(space, &parameter, err);
    if (parameter >= 0)
        *refused = (size_t)parameter;
    return code;
}

// ---- printing ----

static void print_number(double value, buf_t *out) {
    char text[40];
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtod(text, NULL) == value)
            break;
    }
    buf_puts(out, text);
}

void tune_space_print_value(const tune_parameter_t *p, double value, buf_t *out) {
    if (p->type == TUNE_CATEGORY)
        buf_puts(out, p->choices[(int)value]);
    else if (p->type == TUNE_INTEGER)
        buf_printf(out, "%.0f", value);
    else
        print_number(value, out);
}

void tune_space_print(const tune_space_t *space, int i, buf_t *out) {
    const tune_parameter_t *p = &space->parameters[i];
    buf_printf(out, "%s=", p->name);
    if (p->type == TUNE_CATEGORY) {
        for (int c = 0; c < p->choice_count; c++)
            buf_printf(out, "%s%s", c ? "," : "{", p->choices[c]);
        buf_puts(out, "}");
    } else {
        if (p->log || p->type == TUNE_INTEGER)
            buf_printf(out, "%s%s:", p->log ? "log" : "", p->type == TUNE_INTEGER ? "int" : "");
        tune_space_print_value(p, p->lo, out);
        if (p->type != TUNE_CONSTANT) {
            buf_puts(out, "..");
            tune_space_print_value(p, p->hi, out);
        }
    }
    if (p->has_default) {
        buf_puts(out, "=");
        tune_space_print_value(p, p->fallback, out);
    }
    if (!p->conditional)
        return;
    const tune_parameter_t *parent = &space->parameters[p->parent];
    buf_printf(out, " if %s", parent->name);
    const char *mark = "=";
    for (int c = 0; c < parent->choice_count; c++)
        if (p->parent_choices >> c & 1) {
            buf_printf(out, "%s%s", mark, parent->choices[c]);
            mark = "|";
        }
}
