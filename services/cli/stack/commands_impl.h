// The command lines of the stack's processes.
#ifndef INKLING_CLI_STACK_COMMANDS_IMPL_H
#define INKLING_CLI_STACK_COMMANDS_IMPL_H

#include "table_impl.h"

typedef struct {
    char *program; // absolute
    char **argv;   // ended by NULL
} command_t;

// May this setting be handed on as it was given? Not if it names a place (conf has it absolute) or
// an instance.
bool command_hands_on(const char *setting);
// ERR_NOT_FOUND: the program is not installed.
err_code_t command_of(const stack_up_t *up, int index, command_t *command, err_t *err);
void command_release(command_t *command);

#endif
