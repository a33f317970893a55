#include "bus/mailbox.h"

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct mailbox {
    bus_loop_t *loop;
    int wake; // eventfd: written when the list becomes non-empty
    pthread_mutex_t lock;
    mail_t *first, **last;
};

static void read_all(mailbox_t *mailbox) {
    pthread_mutex_lock(&mailbox->lock);
    mail_t *mail = mailbox->first;
    mailbox->first = NULL;
    mailbox->last = &mailbox->first;
    pthread_mutex_unlock(&mailbox->lock);
    while (mail) {
        mail_t *next = mail->next; // the call may free it
        mail->read(mail->arg);
        mail = next;
    }
}

static void on_wake(void *arg, int events) {
    mailbox_t *mailbox = arg;
    uint64_t count;
    (void)events;
    // Emptied before the list is taken: mail that comes between the two wakes the loop once more.
    if (read(mailbox->wake, &count, sizeof count) == sizeof count)
        read_all(mailbox);
}

err_code_t mailbox_new(bus_loop_t *loop, mailbox_t **out, err_t *err) {
    int wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (wake < 0)
        return err_set_errno(err, "cannot make an event descriptor");
    mailbox_t *mailbox = mem_zero(1, sizeof *mailbox);
    mailbox->loop = loop;
    mailbox->wake = wake;
    mailbox->last = &mailbox->first;
    pthread_mutex_init(&mailbox->lock, NULL);
    bus_loop_watch(loop, wake, BUS_READ, on_wake, mailbox);
    *out = mailbox;
    return ERR_OK;
}

void mailbox_destroy(mailbox_t **self) {
    mailbox_t *mailbox = *self;
    if (!mailbox)
        return;
    while (mailbox->first)
        read_all(mailbox);
    bus_loop_watch(mailbox->loop, mailbox->wake, 0, NULL, NULL);
    close(mailbox->wake);
    pthread_mutex_destroy(&mailbox->lock);
    free(mailbox);
    *self = NULL;
}

void mailbox_post(mailbox_t *mailbox, mail_t *mail) {
    mailbox_post_many(mailbox, &mail, 1);
}

void mailbox_post_many(mailbox_t *mailbox, mail_t *const *mail, size_t count) {
    if (count == 0)
        return;
    pthread_mutex_lock(&mailbox->lock);
    bool wake = mailbox->first == NULL;
    for (size_t i = 0; i < count; i++) {
        mail[i]->next = NULL;
        *mailbox->last = mail[i];
        mailbox->last = &mail[i]->next;
    }
    pthread_mutex_unlock(&mailbox->lock);
    uint64_t one = 1;
    if (wake && write(mailbox->wake, &one, sizeof one) != sizeof one)
        ERR_ASSERT(!"an event descriptor takes 1");
}
