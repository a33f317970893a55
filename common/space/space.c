#include "space/space.h"

#include <math.h>
#include <string.h>

#define FAR      16.0 // widths of a range, to where places outside of it are in proportion
#define FARTHEST 1e12

// ---- checks ----

static bool is_number(const tune_parameter_t *p) {
    return p->type == TUNE_FLOAT || p->type == TUNE_INTEGER;
}

static bool is_letter(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool is_word(const char *text, bool name) {
    size_t size = strnlen(text, TUNE_NAME_SIZE);
    if (size == 0 || size == TUNE_NAME_SIZE || (name && !is_letter(text[0])))
        return false;
    for (size_t i = 0; i < size; i++)
        if (!is_letter(text[i]) && !(text[i] >= '0' && text[i] <= '9') && text[i] != '.' &&
            text[i] != '-' && (name || text[i] != '+'))
            return false;
    return true;
}

static err_code_t check_range(const tune_parameter_t *p, err_t *err) {
    if (!isfinite(p->lo) || !isfinite(p->hi)) {
        err_set(err, ERR_USAGE, "parameter %s: an end of its range is not a finite number",
                p->name);
        return err_remedy(err, "write two numbers, as in %s=0..1", p->name);
    }
    if (p->lo > p->hi) {
        err_set(err, ERR_USAGE, "parameter %s: the range %g..%g is empty", p->name, p->lo, p->hi);
        return err_remedy(err, "write the lower end first: %g..%g", p->hi, p->lo);
    }
    if (p->lo == p->hi) {
        err_set(err, ERR_USAGE, "parameter %s: its range has one value only", p->name);
        return err_remedy(err, "widen the range, or write %s=%g for a constant", p->name, p->lo);
    }
    if (p->log && p->lo <= 0) {
        err_set(err, ERR_USAGE, "parameter %s: a log scale has no place for %g", p->name, p->lo);
        return err_remedy(err, "begin the range above zero, or leave out the log");
    }
    if (!isfinite(p->hi - p->lo)) {
        err_set(err, ERR_USAGE, "parameter %s: the range is too wide", p->name);
        return err_remedy(err, "narrow the range to what can be of use");
    }
    if (p->type == TUNE_INTEGER && (p->lo != floor(p->lo) || p->hi != floor(p->hi) ||
                                    p->lo < -TUNE_INTEGER_MAX || p->hi > TUNE_INTEGER_MAX)) {
        err_set(err, ERR_USAGE, "parameter %s: not a range of whole numbers", p->name);
        return err_remedy(err, "write whole ends of at most %.0f, or leave out the int",
                          TUNE_INTEGER_MAX);
    }
    return ERR_OK;
}

static err_code_t check_choices(const tune_parameter_t *p, err_t *err) {
    if (p->choice_count < 2 || p->choice_count > TUNE_CHOICES_MAX) {
        err_set(err, ERR_USAGE, "parameter %s: %d choices, not 2 to %d", p->name, p->choice_count,
                TUNE_CHOICES_MAX);
        return err_remedy(err, "list what to choose from, as in %s={a,b}", p->name);
    }
    for (int i = 0; i < p->choice_count; i++) {
        if (!is_word(p->choices[i], false)) {
            err_set(err, ERR_USAGE, "parameter %s: choice %d is not a word", p->name, i + 1);
            return err_remedy(err, "use letters, digits and _ . + -, %d at most",
                              TUNE_NAME_SIZE - 1);
        }
        for (int j = 0; j < i; j++)
            if (strcmp(p->choices[i], p->choices[j]) == 0) {
                err_set(err, ERR_USAGE, "parameter %s: %s is there twice", p->name, p->choices[i]);
                return err_remedy(err, "list every choice once");
            }
    }
    return ERR_OK;
}

static err_code_t check_default(const tune_parameter_t *p, err_t *err) {
    double v = p->fallback;
    bool whole = p->type == TUNE_FLOAT || v == floor(v);
    bool within =
        is_number(p) ? v >= p->lo && v <= p->hi && whole : v >= 0 && v < p->choice_count && whole;
    if (p->type == TUNE_CONSTANT)
        within = v == p->lo;
    if (within)
        return ERR_OK;
    err_set(err, ERR_USAGE, "parameter %s: its default is not one of its values", p->name);
    return err_remedy(err, "take a default from the range, or widen the range");
}

static err_code_t check_parent(const tune_space_t *space, int i, err_t *err) {
    const tune_parameter_t *p = &space->parameters[i];
    if (p->parent < 0 || p->parent >= space->count ||
        space->parameters[p->parent].type != TUNE_CATEGORY) {
        err_set(err, ERR_USAGE, "parameter %s depends on what is not a list of choices", p->name);
        return err_remedy(err, "let it depend on a parameter such as optimizer={sgd,adam}");
    }
    const tune_parameter_t *parent = &space->parameters[p->parent];
    if (p->parent_choices == 0 || p->parent_choices >> parent->choice_count != 0) {
        err_set(err, ERR_USAGE, "parameter %s depends on a choice that %s does not have", p->name,
                parent->name);
        return err_remedy(err, "name one of the choices of %s", parent->name);
    }
    int at = i;
    for (int steps = 0; space->parameters[at].conditional; steps++) {
        if (steps == space->count) {
            err_set(err, ERR_USAGE, "parameter %s depends on itself, by way of %s", p->name,
                    parent->name);
            return err_remedy(err, "leave out the \"if\" of one of them");
        }
        at = space->parameters[at].parent;
        if (at < 0 || at >= space->count)
            break; // refused when its turn comes
    }
    return ERR_OK;
}

static err_code_t check_parameter(const tune_space_t *space, int i, err_t *err) {
    const tune_parameter_t *p = &space->parameters[i];
    if (!is_word(p->name, true)) {
        err_set(err, ERR_USAGE, "parameter %d has no proper name", i + 1);
        return err_remedy(err, "begin with a letter; then letters, digits and _ . -, %d at most",
                          TUNE_NAME_SIZE - 1);
    }
    for (int j = 0; j < i; j++)
        if (strcmp(p->name, space->parameters[j].name) == 0) {
            err_set(err, ERR_USAGE, "parameter %s is there twice", p->name);
            return err_remedy(err, "leave one of them out");
        }
    err_code_t code = ERR_OK;
    if (p->type == TUNE_CATEGORY) {
        code = check_choices(p, err);
    } else if (p->type == TUNE_CONSTANT) {
        if (!isfinite(p->lo) || p->lo != p->hi) {
            err_set(err, ERR_USAGE, "parameter %s: not a constant", p->name);
            code = err_remedy(err, "write a finite number");
        }
    } else {
        code = check_range(p, err);
    }
    if (code == ERR_OK && p->has_default)
        code = check_default(p, err);
    if (code == ERR_OK && p->conditional)
        code = check_parent(space, i, err);
    return code;
}

err_code_t tune_space_check(const tune_space_t *space, err_t *err) {
    int refused;
    return tune_space_check_each(space, &refused, err);
}

err_code_t tune_space_check_each(const tune_space_t *space, int *refused, err_t *err) {
    err_t unused;
    err = err ? err : &unused; // the code comes back by it
    *refused = -1;
    if (space->count < 0 || space->count > TUNE_PARAMETERS_MAX) {
        err_set(err, ERR_USAGE, "%d parameters, more than the %d that are possible", space->count,
                TUNE_PARAMETERS_MAX);
        return err_remedy(err, "tune those that matter most, and fix the others");
    }
    bool varies = false;
    for (int i = 0; i < space->count; i++) {
        err_code_t code = check_parameter(space, i, err);
        if (code) {
            *refused = i;
            return code;
        }
        varies = varies || space->parameters[i].type != TUNE_CONSTANT;
    }
    if (varies)
        return ERR_OK;
    err_set(err, ERR_USAGE, "no parameter can vary");
    return err_remedy(err, "name at least one range, as in lr=log:1e-5..1e-2");
}

// ---- points ----

int tune_space_find(const tune_space_t *space, const char *name) {
    for (int i = 0; i < space->count; i++)
        if (strcmp(space->parameters[i].name, name) == 0)
            return i;
    return -1;
}

bool tune_space_active(const tune_space_t *space, const double *point, int i) {
    while (space->parameters[i].conditional) {
        const tune_parameter_t *p = &space->parameters[i];
        if (!(p->parent_choices >> (int)point[p->parent] & 1))
            return false;
        i = p->parent;
    }
    return true;
}

// A category's value may lead to other values: it is looked at first, so that `active` can be
// asked.
static bool is_choice(const tune_parameter_t *p, double value) {
    return value >= 0 && value < p->choice_count && value == floor(value);
}

err_code_t tune_space_contains(const tune_space_t *space, const double *point, err_t *err) {
    for (int i = 0; i < space->count; i++) {
        const tune_parameter_t *p = &space->parameters[i];
        if (!isfinite(point[i]))
            return err_set(err, ERR_INVALID, "parameter %s is not a finite number", p->name);
        if (p->type == TUNE_CATEGORY && !is_choice(p, point[i]))
            return err_set(err, ERR_INVALID, "parameter %s has no choice %g", p->name, point[i]);
    }
    for (int i = 0; i < space->count; i++) {
        const tune_parameter_t *p = &space->parameters[i];
        if (p->type == TUNE_CATEGORY || !tune_space_active(space, point, i))
            continue;
        bool whole = p->type != TUNE_INTEGER || point[i] == floor(point[i]);
        if (!whole || point[i] < p->lo || point[i] > p->hi)
            return err_set(err, ERR_INVALID, "parameter %s cannot be %g", p->name, point[i]);
    }
    return ERR_OK;
}

static double clamp(double value, double lo, double hi) {
    return value < lo ? lo : value > hi ? hi : value;
}

double tune_parameter_rest(const tune_parameter_t *p) {
    return (p->has_default ? p->fallback : tune_parameter_decode(p, 0.5)) + 0.0;
}

void tune_space_canonical(const tune_space_t *space, double *point) {
    for (int i = 0; i < space->count; i++) {
        const tune_parameter_t *p = &space->parameters[i];
        double hi = p->type == TUNE_CATEGORY ? p->choice_count - 1 : p->hi;
        double lo = p->type == TUNE_CATEGORY ? 0 : p->lo;
        double value =
            p->type == TUNE_INTEGER || p->type == TUNE_CATEGORY ? round(point[i]) : point[i];
        point[i] = clamp(value, lo, hi) + 0.0; // no negative zero
    }
    // A category that comes to rest may switch its own children off: as often as they nest.
    for (bool changed = true; changed;) {
        changed = false;
        for (int i = 0; i < space->count; i++) {
            double rest = tune_parameter_rest(&space->parameters[i]);
            if (!tune_space_active(space, point, i) && point[i] != rest) {
                point[i] = rest;
                changed = true;
            }
        }
    }
}

void tune_space_defaults(const tune_space_t *space, double *point) {
    for (int i = 0; i < space->count; i++)
        point[i] = tune_parameter_rest(&space->parameters[i]);
    tune_space_canonical(space, point);
}

static uint64_t times(uint64_t a, uint64_t b) {
    uint64_t product;
    if (a == TUNE_POINTS_ENDLESS || b == TUNE_POINTS_ENDLESS ||
        __builtin_mul_overflow(a, b, &product) || product >> 63)
        return TUNE_POINTS_ENDLESS;
    return product;
}

static uint64_t size_once(const tune_space_t *space, int i, uint64_t *known);

// Values of parameter i, with all combinations of those that hang on it.
static uint64_t size_below(const tune_space_t *space, int i, uint64_t *known) {
    const tune_parameter_t *p = &space->parameters[i];
    if (p->type == TUNE_FLOAT)
        return TUNE_POINTS_ENDLESS;
    if (p->type == TUNE_CONSTANT)
        return 1;
    if (p->type == TUNE_INTEGER)
        return (uint64_t)(p->hi - p->lo) + 1;
    uint64_t sum = 0;
    for (int choice = 0; choice < p->choice_count; choice++) {
        uint64_t product = 1;
        for (int j = 0; j < space->count; j++) {
            const tune_parameter_t *child = &space->parameters[j];
            if (child->conditional && child->parent == i && child->parent_choices >> choice & 1)
                product = times(product, size_once(space, j, known));
        }
        if (product == TUNE_POINTS_ENDLESS || (sum += product) >> 63)
            return TUNE_POINTS_ENDLESS;
    }
    return sum;
}

// What hangs on several words of a chain would else be counted anew for each: words ^ depth times.
static uint64_t size_once(const tune_space_t *space, int i, uint64_t *known) {
    if (known[i] == 0)
        known[i] = size_below(space, i, known);
    return known[i];
}

uint64_t tune_space_size(const tune_space_t *space) {
    uint64_t product = 1, known[TUNE_PARAMETERS_MAX] = {0}; // 0: not counted yet
    for (int i = 0; i < space->count; i++)
        if (!space->parameters[i].conditional)
            product = times(product, size_once(space, i, known));
    return product;
}

// ---- the unit cube ----

// The range on the scale that the unit interval is laid on.
static void scaled_ends(const tune_parameter_t *p, double *lo, double *hi) {
    double wider = p->type == TUNE_INTEGER ? 0.5 : 0;
    *lo = p->log ? log(p->lo - wider) : p->lo - wider;
    *hi = p->log ? log(p->hi + wider) : p->hi + wider;
}

double tune_parameter_encode(const tune_parameter_t *p, double value) {
    double lo, hi;
    if (p->type == TUNE_CONSTANT)
        return 0.5;
    if (p->type == TUNE_CATEGORY)
        return (value + 0.5) / p->choice_count;
    scaled_ends(p, &lo, &hi);
    return clamp(((p->log ? log(fmax(value, 0)) : value) - lo) / (hi - lo), 0, 1);
}

double tune_parameter_place(const tune_parameter_t *p, double value) {
    double lo, hi;
    if (p->type == TUNE_CONSTANT || p->type == TUNE_CATEGORY)
        return tune_parameter_encode(p, value);
    scaled_ends(p, &lo, &hi);
    double unit = ((p->log ? log(fmax(value, 0)) : value) - lo) / (hi - lo);
    double off = unit < 0 ? -unit : unit > 1 ? unit - 1 : 0;
    if (off <= FAR)
        return unit;
    off = FAR * (1 + log(fmin(off, FARTHEST) / FAR));
    return unit < 0 ? -off : 1 + off;
}

double tune_parameter_decode(const tune_parameter_t *p, double unit) {
    double lo, hi;
    if (p->type == TUNE_CONSTANT)
        return p->lo;
    if (p->type == TUNE_CATEGORY)
        return clamp(floor(unit * p->choice_count), 0, p->choice_count - 1);
    scaled_ends(p, &lo, &hi);
    double value = lo + unit * (hi - lo);
    value = p->log ? exp(value) : value;
    return clamp(p->type == TUNE_INTEGER ? round(value) : value, p->lo, p->hi);
}
