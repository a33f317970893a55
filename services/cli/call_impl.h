// A command line as it was read: the command, its arguments and what its options say.
#ifndef INKLING_CLI_CALL_IMPL_H
#define INKLING_CLI_CALL_IMPL_H

#include "verbs_impl.h"

#include <jansson.h>

typedef struct {
    const verb_t *verb;
    char **arguments; // of the process
    int count;
    // What was given, checked against ranges and choices; objects by the fields' names.
    json_t *message, *submit, *own;
    char **settings; // "--lease-ms=3000" …, ended by NULL
} call_t;

// Unknown commands and options, values out of range, missing arguments: ERR_USAGE with a remedy.
// The call is to be released after success and after failure. Without a command, or with --help, it
// is the help's call.
err_code_t call_parse(int argc, char **argv, call_t *call, err_t *err);
void call_release(call_t *call);

bool call_flag(const call_t *call, const char *own);
// Given or default.
uint64_t call_number(const call_t *call, const char *own);
const char *call_text(const call_t *call, const char *own); // NULL: not given

// "--group-by" of group_by.
void call_option_name(const char *field, char name[64]);

#endif
