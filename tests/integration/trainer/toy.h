// The stage's small data set as a test's state, jobs that train on it, and what results say.
#ifndef INKLING_TESTS_TRAINER_TOY_H
#define INKLING_TESTS_TRAINER_TOY_H

#include "stage.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define TOY_SIZE 16 // of the images: height and width
// A training's parameters, without braces. Backend ref: the same on every machine, and fast enough
// for so small a network.
#define TOY_TRAIN                                                                                  \
    "\"dataset\": \"toy\", \"backend\": \"ref\", \"threads\": 1, \"width\": 2, \"depth\": 2, "     \
    "\"dense\": 8, \"batch\": 7, \"lr\": 0.01, \"checkpoint_s\": 1"

// A test's state: a stage.
int toy_set_up(void **state);
int toy_tear_down(void **state);
#define TOY_TEST(function) cmocka_unit_test_setup_teardown(function, toy_set_up, toy_tear_down)
// An argument of the program: only tests whose names match it.
void toy_filter(int argc, char **argv);

// A value that the object must have.
double toy_number(const json_t *json, const char *key);
const char *toy_text(const json_t *json, const char *key);
// A training's result: its history must have that many epochs and agree with its best.
void toy_check_history(const json_t *result, int epochs);

// Files below a folder of the stack whose names match.
int toy_count_files(stage_t *stage, const char *relative, const char *pattern);

#endif
