// Threads of a block: contexts that are switched without the kernel's help.
#ifndef DOUBLE_FIBER_H
#define DOUBLE_FIBER_H

#include <stddef.h>

typedef struct {
    void *stack_pointer;
    void *stack; // lowest byte
    size_t size;
    void *fake; // ASan's
} fiber_t;

// A fiber that calls start() when it is switched to for the first time; start never returns.
void fiber_prepare(fiber_t *fiber, void (*start)(void));
// Saves the running context in `from` and continues `to`. done: `from` is never continued.
void fiber_switch(fiber_t *from, fiber_t *to, int done);
// The first thing that a new fiber does.
void fiber_started(void);

#endif
