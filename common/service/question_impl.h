// Asking the instance that runs, from a second process of the same program and settings: for health
// checks and for scrapers that start a program.
#ifndef INKLING_SERVICE_QUESTION_IMPL_H
#define INKLING_SERVICE_QUESTION_IMPL_H

#include "conf/conf.h"

// X(name, option, help)
#define QUESTIONS(X)                                                                               \
    X(PROBE, "--probe",                                                                            \
      "is the instance of this name ready? Prints what it says; exit code 0: ready, 1: not, 4: "   \
      "no answer")                                                                                 \
    X(METRICS, "--metrics", "prints its metrics in Prometheus' text format")

typedef enum {
    QUESTION_NONE,
#define X(name, option, help) QUESTION_##name,
    QUESTIONS(X)
#undef X
} question_t;

question_t question_of(const char *option); // QUESTION_NONE: it is another option
// Asks and prints. Returns the exit code.
int question_ask(const conf_t *conf, question_t question);

#endif
