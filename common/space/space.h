// The space of a study: its parameters, their ranges, and which of them apply when. A parameter's
// text form, as the command line has it:
//
//   lr=log:1e-5..1e-2                      a number, even on a log scale
//   dropout=0..0.5=0.2                     a number; 0.2 is its default
//   batch=int:8..64  filters=logint:16..256    whole numbers
//   augment={none,flip}=flip               one of several words
//   epochs=12                              a constant
//   momentum=0.5..0.99 if optimizer=sgd    applies only where optimizer is sgd (a|b: a or b)
//
// A point is an array of space->count doubles in natural units: numbers as they are, of words the
// index. Its canonical form: whole numbers rounded, everything within its range, and what does not
// apply at its resting value (the default, or else the middle), so that two points mean the same
// trial exactly if their canonical forms are equal byte by byte.
#ifndef INKLING_SPACE_SPACE_H
#define INKLING_SPACE_SPACE_H

#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TUNE_PARAMETERS_MAX 32
#define TUNE_CHOICES_MAX    16
#define TUNE_NAME_SIZE      48           // with the NUL
#define TUNE_INTEGER_MAX    1000000000.0 // of a whole number's range, either sign
#define TUNE_POINTS_ENDLESS UINT64_MAX

typedef enum { TUNE_FLOAT, TUNE_INTEGER, TUNE_CATEGORY, TUNE_CONSTANT } tune_type_t;

typedef struct {
    char name[TUNE_NAME_SIZE]; // a letter or _, then letters, digits, _ . -
    tune_type_t type;
    bool log;
    double lo, hi; // numbers; of a constant both are its value
    int choice_count;
    int retired; // words behind those to choose from: of a space as it was, and never proposed
    char choices[TUNE_CHOICES_MAX][TUNE_NAME_SIZE]; // letters, digits, _ . + -
    bool has_default;
    double fallback;         // the default, if there is one
    bool conditional;        // applies only where parameter `parent`, a category, applies and is
    int parent;              // one of parent_choices (bit i: choice i)
    uint32_t parent_choices; // not empty
} tune_parameter_t;

typedef struct {
    int count;
    tune_parameter_t parameters[TUNE_PARAMETERS_MAX];
} tune_space_t;

// ---- as text ----

// Reads count definitions; a parent may come behind its children. The space passes
// tune_space_check. ERR_USAGE names the parameter and says what to do.
err_code_t tune_space_parse(const char *const *texts, size_t count, tune_space_t *space,
                            err_t *err);
// The same, and which of the texts is refused; count: no single one.
err_code_t tune_space_parse_each(const char *const *texts, size_t count, tune_space_t *space,
                                 size_t *refused, err_t *err);
// The text form of parameter i of a checked space; it is read back to the same bits.
void tune_space_print(const tune_space_t *space, int i, buf_t *out);
// Appends the value as text: the word of a category, the shortest number that is read back equal.
void tune_space_print_value(const tune_parameter_t *parameter, double value, buf_t *out);

// For spaces made otherwise. ERR_USAGE: no parameter, too many, a bad or repeated name, an empty or
// one-value range, a number that is not finite, a log range that is not above zero, a default
// outside, a parent that is no category or depends on its own child.
err_code_t tune_space_check(const tune_space_t *space, err_t *err);
// The same, and which parameter is refused; -1: no single one.
err_code_t tune_space_check_each(const tune_space_t *space, int *refused, err_t *err);

// ---- a space that changes ----
//
// A parameter's definition may be replaced and others may come, none can go; one that is of no use
// any more becomes a constant. Points of the space as it was are carried over: they keep their
// values, also those outside of what the space is now (tune_parameter_place says where they lie),
// words that are not to choose any more included. What is new to a point has its default.

// `from` with the definitions of `texts` instead of those of the same names, or behind them.
// ERR_USAGE, besides what tune_space_parse says: a name that is there twice, a parameter without a
// default that is new or begins to apply to points, words that become numbers or the other way
// round, more than TUNE_CHOICES_MAX words with those that points may still have.
err_code_t tune_space_merge(const tune_space_t *from, const char *const *texts, size_t count,
                            tune_space_t *to, err_t *err);
// Makes `to`, a space as it was parsed, the one that follows `from`. ERR_USAGE as above, or a
// parameter that is gone.
err_code_t tune_space_follow(const tune_space_t *from, tune_space_t *to, err_t *err);
// A point of `from` as one of `to`, which follows it. Not canonical if it is outside.
void tune_space_carry(const tune_space_t *from, const tune_space_t *to, double *point);
// Do both define the same parameters, in the same order?
bool tune_space_equal(const tune_space_t *a, const tune_space_t *b);

// ---- points ----

int tune_space_find(const tune_space_t *space, const char *name); // the index, or -1
// Does parameter i apply at the point?
bool tune_space_active(const tune_space_t *space, const double *point, int i);
// ERR_INVALID: a value that is not finite or outside its range (only of those that apply), a word's
// index that is none.
err_code_t tune_space_contains(const tune_space_t *space, const double *point, err_t *err);
// Values must not be NaN.
void tune_space_canonical(const tune_space_t *space, double *point);
// The defaults; parameters without one at their resting value. Canonical.
void tune_space_defaults(const tune_space_t *space, double *point);
// How many canonical points there are; TUNE_POINTS_ENDLESS if one is a real number or the count
// passes 2^63.
uint64_t tune_space_size(const tune_space_t *space);

// ---- the unit cube ----

// Where a parameter's value lies in [0, 1], and back. Whole numbers are widened by half a step, so
// that each has an equal share (log scale: a share by its logarithm); words have equal shares and
// lie in the middle of them; constants at 0.5. Back from anywhere in [0, 1], the ends included.
double tune_parameter_encode(const tune_parameter_t *parameter, double value);
double tune_parameter_decode(const tune_parameter_t *parameter, double unit);
// As encode of a number, but what is outside of the range lies outside of [0, 1]: as far as it is
// on the parameter's scale up to 16 widths of the range, and by the logarithm of that from there
// on, so that it is finite whatever the value.
double tune_parameter_place(const tune_parameter_t *parameter, double value);
// Where a parameter is that does not apply: at its default, or else in the middle.
double tune_parameter_rest(const tune_parameter_t *parameter);

#endif
