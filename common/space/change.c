// A space that changes: the one that follows another, and points that are carried over.
#include "space/space.h"

#include <string.h>

static bool is_category(const tune_parameter_t *p) {
    return p->type == TUNE_CATEGORY;
}

static int find_word(const tune_parameter_t *p, int count, const char *word) {
    for (int i = 0; i < count; i++)
        if (strcmp(p->choices[i], word) == 0)
            return i;
    return -1;
}

// ---- what may follow what ----

static err_code_t keep_words(const tune_parameter_t *from, tune_parameter_t *to, err_t *err) {
    to->retired = 0;
    for (int i = 0; i < from->choice_count + from->retired; i++) {
        int count = to->choice_count + to->retired;
        if (find_word(to, count, from->choices[i]) >= 0)
            continue;
        if (count == TUNE_CHOICES_MAX) {
            err_set(err, ERR_USAGE, "parameter %s: more than %d choices with those it had before",
                    to->name, TUNE_CHOICES_MAX);
            return err_remedy(err, "earlier trials have those: add fewer words, or make a study");
        }
        memcpy(to->choices[count], from->choices[i], TUNE_NAME_SIZE);
        to->retired++;
    }
    return ERR_OK;
}

// Does it apply wherever `from` did, and nowhere else?
static bool same_condition(const tune_space_t *a, const tune_parameter_t *from,
                           const tune_space_t *b, const tune_parameter_t *to) {
    if (from->conditional != to->conditional || !from->conditional)
        return from->conditional == to->conditional;
    const tune_parameter_t *was = &a->parameters[from->parent], *is = &b->parameters[to->parent];
    if (strcmp(was->name, is->name) != 0 || !same_condition(a, was, b, is))
        return false;
    for (int i = 0; i < is->choice_count; i++) {
        int before = find_word(was, was->choice_count, is->choices[i]);
        bool applied = before >= 0 && from->parent_choices >> before & 1;
        if (before >= 0 && applied != (to->parent_choices >> i & 1))
            return false;
    }
    return true;
}

static err_code_t needs_default(const tune_parameter_t *p, const char *what, err_t *err) {
    err_set(err, ERR_USAGE, "parameter %s %s, and has no default", p->name, what);
    return err_remedy(err,
                      "say what earlier trials had, behind the range: %s=0..1=0.5; that is what "
                      "they count as",
                      p->name);
}

static err_code_t follow_one(const tune_space_t *a, const tune_space_t *b, int i,
                             tune_parameter_t *to, err_t *err) {
    bool fixed = to->has_default || to->type == TUNE_CONSTANT;
    if (i < 0)
        return fixed ? ERR_OK : needs_default(to, "is new", err);
    const tune_parameter_t *from = &a->parameters[i];
    if (is_category(from) != is_category(to)) {
        err_set(err, ERR_USAGE, "parameter %s: %s cannot become %s", to->name,
                is_category(from) ? "words" : "a number", is_category(to) ? "words" : "a number");
        return err_remedy(err, "earlier trials would have no place: make a study of its own");
    }
    if (from->conditional && !fixed && !same_condition(a, from, b, to))
        return needs_default(to, "applies elsewhere than before", err);
    return is_category(to) ? keep_words(from, to, err) : ERR_OK;
}

err_code_t tune_space_follow(const tune_space_t *from, tune_space_t *to, err_t *err) {
    err_code_t code = ERR_OK;
    err_t unused;
    err = err ? err : &unused; // the code comes back by it
    for (int i = 0; i < from->count; i++)
        if (tune_space_find(to, from->parameters[i].name) < 0) {
            err_set(err, ERR_USAGE, "parameter %s is gone", from->parameters[i].name);
            return err_remedy(err, "write %s=VALUE: a constant from now on",
                              from->parameters[i].name);
        }
    for (int i = 0; i < to->count && code == ERR_OK; i++)
        code = follow_one(from, to, tune_space_find(from, to->parameters[i].name),
                          &to->parameters[i], err);
    return code;
}

// ---- merging ----

static size_t name_size(const char *text) {
    size_t size = strcspn(text, "=");
    while (size && (text[size - 1] == ' ' || text[size - 1] == '\t'))
        size--;
    return size;
}

static const char *name_of(const char *text, size_t *size) {
    text += strspn(text, " \t");
    *size = name_size(text);
    return text;
}

static bool names(const char *text, const char *name) {
    size_t size;
    text = name_of(text, &size);
    return strlen(name) == size && memcmp(text, name, size) == 0;
}

static err_code_t check_once(const char *const *texts, size_t count, err_t *err) {
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < i; j++) {
            size_t a, b;
            const char *x = name_of(texts[i], &a), *y = name_of(texts[j], &b);
            if (a != b || memcmp(x, y, a) != 0)
                continue;
            err_set(err, ERR_USAGE, "parameter %.*s is there twice", a > 60 ? 60 : (int)a, x);
            return err_remedy(err, "leave one of them out");
        }
    return ERR_OK;
}

err_code_t tune_space_merge(const tune_space_t *from, const char *const *texts, size_t count,
                            tune_space_t *to, err_t *err) {
    const char *all[TUNE_PARAMETERS_MAX];
    buf_t kept[TUNE_PARAMETERS_MAX];
    size_t total = (size_t)from->count;
    err_t unused;
    err = err ? err : &unused; // the code comes back by it
    err_code_t code = check_once(texts, count, err);
    for (int i = 0; i < from->count; i++) {
        buf_init(&kept[i], 1 << 16);
        tune_space_print(from, i, &kept[i]);
        all[i] = kept[i].data;
    }
    for (size_t k = 0; k < count && code == ERR_OK; k++) {
        int at = -1;
        for (int i = 0; i < from->count; i++)
            at = names(texts[k], from->parameters[i].name) ? i : at;
        if (at >= 0) {
            all[at] = texts[k];
        } else if (total < TUNE_PARAMETERS_MAX) {
            all[total++] = texts[k];
        } else {
            err_set(err, ERR_USAGE, "\"%.60s\" is more than the %d parameters that are possible",
                    texts[k], TUNE_PARAMETERS_MAX);
            code = err_remedy(err, "tune those that matter most");
        }
    }
    if (code == ERR_OK)
        code = tune_space_parse(all, total, to, err);
    if (code == ERR_OK)
        code = tune_space_follow(from, to, err);
    for (int i = 0; i < from->count; i++)
        buf_release(&kept[i]);
    return code;
}

// ---- points ----

static double carried(const tune_space_t *from, const tune_parameter_t *to, const double *point) {
    int i = tune_space_find(from, to->name);
    if (i < 0 || !tune_space_active(from, point, i))
        return tune_parameter_rest(to);
    const tune_parameter_t *was = &from->parameters[i];
    return is_category(to) ? find_word(to, TUNE_CHOICES_MAX, was->choices[(int)point[i]])
                           : point[i];
}

void tune_space_carry(const tune_space_t *from, const tune_space_t *to, double *point) {
    double next[TUNE_PARAMETERS_MAX];
    for (int i = 0; i < to->count; i++)
        next[i] = carried(from, &to->parameters[i], point);
    for (bool changed = true; changed;) {
        changed = false;
        for (int i = 0; i < to->count; i++) {
            double rest = tune_parameter_rest(&to->parameters[i]);
            if (!tune_space_active(to, next, i) && next[i] != rest) {
                next[i] = rest;
                changed = true;
            }
        }
    }
    memcpy(point, next, sizeof *next * (size_t)to->count);
}

bool tune_space_equal(const tune_space_t *a, const tune_space_t *b) {
    buf_t x, y;
    bool same = a->count == b->count;
    for (int i = 0; i < a->count && same; i++) {
        buf_init(&x, 1 << 16);
        buf_init(&y, 1 << 16);
        tune_space_print(a, i, &x);
        tune_space_print(b, i, &y);
        same = strcmp(x.data, y.data) == 0;
        buf_release(&x);
        buf_release(&y);
    }
    return same;
}
