// One thread for what takes long and must keep its order: opening, building and freeing engines,
// writing files.
#ifndef INKLING_BUS_BACKGROUND_H
#define INKLING_BUS_BACKGROUND_H

#include "bus/mailbox.h"

#include <stdbool.h>

typedef struct task {
    mail_t mail; // read is called on the loop's thread after run
    struct task *next;
    // On the background thread. stopping: only clean up, what is done now is not needed any more.
    void (*run)(struct task *task, bool stopping);
} task_t;

typedef struct background background_t;

err_code_t background_new(mailbox_t *mailbox, background_t **background, err_t *err);
// Runs what is left with stopping = true, then ends the thread.
void background_destroy(background_t **background);
// The task belongs to the thread until its mail is read. First come, first served.
void background_push(background_t *background, task_t *task);

#endif
