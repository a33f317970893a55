// Ends the processes of a stack, whoever started them.
#ifndef INKLING_CLI_STACK_ENDING_IMPL_H
#define INKLING_CLI_STACK_ENDING_IMPL_H

#include <stdbool.h>

// Workers and gateway drain first (trainers checkpoint), while dispatcher and Redis can still store
// what they tell; then the dispatcher; Redis last. What does not end in its time is killed; so is
// all the rest once hurry(arg) is true (hurry may be NULL). Returns how many processes were there.
int ending_all(const char *home, bool (*hurry)(void *arg), void *arg);
// One service: asked to end, killed when it does not.
void ending_one(const char *home, int index);
// Removes the stack's sockets, and the folder of sockets that a long home has elsewhere. All has
// ended, and the caller holds the supervisor's lock.
void ending_tidy(const char *home);

#endif
