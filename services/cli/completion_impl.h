// The part of the shell's completion that is the same whatever commands there are: completion.bash.
#ifndef INKLING_CLI_COMPLETION_IMPL_H
#define INKLING_CLI_COMPLETION_IMPL_H

extern const char completion_functions[];

#endif
