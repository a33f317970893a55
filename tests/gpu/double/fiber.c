#include "fiber.h"

#include <stdint.h>

#if !defined __x86_64__
#error "the double's fibers are written for x86-64"
#endif

#if defined __SANITIZE_ADDRESS__
#include <sanitizer/common_interface_defs.h>
static const void *outer_bottom;
static size_t outer_size;
#endif

void fiber_jump(void **save, void *load);
__asm__(".text\n"
        ".type fiber_jump, @function\n"
        "fiber_jump:\n"
        "pushq %rbp\npushq %rbx\npushq %r12\npushq %r13\npushq %r14\npushq %r15\n"
        "movq %rsp, (%rdi)\n"
        "movq %rsi, %rsp\n"
        "popq %r15\npopq %r14\npopq %r13\npopq %r12\npopq %rbx\npopq %rbp\n"
        "ret\n"
        ".size fiber_jump, .-fiber_jump\n");

void fiber_prepare(fiber_t *fiber, void (*start)(void)) {
    uintptr_t top = ((uintptr_t)fiber->stack + fiber->size) & ~(uintptr_t)15;
    void **at = (void **)top;
    *--at = NULL; // where start would return to
    *--at = (void *)(uintptr_t)start;
    for (int i = 0; i < 6; i++) {
        *--at = NULL;
    }
    fiber->stack_pointer = at;
    fiber->fake = NULL;
}

void fiber_started(void) {
#if defined __SANITIZE_ADDRESS__
    const void *bottom;
    size_t size;
    __sanitizer_finish_switch_fiber(NULL, &bottom, &size);
    if (!outer_bottom) {
        outer_bottom = bottom;
        outer_size = size;
    }
#endif
}

void fiber_switch(fiber_t *from, fiber_t *to, int done) {
#if defined __SANITIZE_ADDRESS__
    // The executor's own context has no stack of ours.
    const void *bottom = to->stack ? to->stack : outer_bottom;
    size_t size = to->stack ? to->size : outer_size;
    __sanitizer_start_switch_fiber(done ? NULL : &from->fake, bottom, size);
    fiber_jump(&from->stack_pointer, to->stack_pointer);
    __sanitizer_finish_switch_fiber(from->fake, NULL, NULL);
#else
    (void)done;
    fiber_jump(&from->stack_pointer, to->stack_pointer);
#endif
}
