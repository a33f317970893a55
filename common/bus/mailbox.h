// From threads to the loop: a thread posts mail, the loop is woken and calls its function.
//
// Mail is a part of the thing that is sent and belongs to the mailbox until its function is called.
// Order is kept. Posting never blocks on the loop and never fails.
#ifndef INKLING_BUS_MAILBOX_H
#define INKLING_BUS_MAILBOX_H

#include "bus/loop.h"

typedef struct mail {
    struct mail *next;
    bus_fn read; // called on the loop's thread
    void *arg;
} mail_t;

typedef struct mailbox mailbox_t;

err_code_t mailbox_new(bus_loop_t *loop, mailbox_t **mailbox, err_t *err);
// No thread may post any more. Mail that was not read is read first.
void mailbox_destroy(mailbox_t **mailbox);
void mailbox_post(mailbox_t *mailbox, mail_t *mail); // any thread
// The same for several in their order; the loop is woken once.
void mailbox_post_many(mailbox_t *mailbox, mail_t *const *mail, size_t count);

#endif
