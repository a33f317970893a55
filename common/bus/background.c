#include "bus/background.h"

#include <pthread.h>
#include <stdlib.h>

struct background {
    mailbox_t *mailbox;
    pthread_mutex_t lock;
    pthread_cond_t more;
    task_t *first, **last;
    bool stop;
    pthread_t thread;
};

static void *run(void *arg) {
    background_t *background = arg;
    pthread_mutex_lock(&background->lock);
    for (;;) {
        task_t *task = background->first;
        bool stopping = background->stop;
        if (!task && stopping)
            break;
        if (!task) {
            pthread_cond_wait(&background->more, &background->lock);
            continue;
        }
        background->first = task->next;
        if (!background->first)
            background->last = &background->first;
        pthread_mutex_unlock(&background->lock);
        task->run(task, stopping);
        mailbox_post(background->mailbox, &task->mail);
        pthread_mutex_lock(&background->lock);
    }
    pthread_mutex_unlock(&background->lock);
    return NULL;
}

err_code_t background_new(mailbox_t *mailbox, background_t **out, err_t *err) {
    background_t *background = mem_zero(1, sizeof *background);
    background->mailbox = mailbox;
    background->last = &background->first;
    pthread_mutex_init(&background->lock, NULL);
    pthread_cond_init(&background->more, NULL);
    int failed = pthread_create(&background->thread, NULL, run, background);
    if (failed) {
        pthread_mutex_destroy(&background->lock);
        pthread_cond_destroy(&background->more);
        free(background);
        return err_set(err, ERR_NO_MEMORY, "cannot start a thread (error %d)", failed);
    }
    pthread_setname_np(background->thread, "background");
    *out = background;
    return ERR_OK;
}

void background_destroy(background_t **self) {
    background_t *background = *self;
    if (!background)
        return;
    pthread_mutex_lock(&background->lock);
    background->stop = true;
    pthread_cond_signal(&background->more);
    pthread_mutex_unlock(&background->lock);
    pthread_join(background->thread, NULL);
    pthread_mutex_destroy(&background->lock);
    pthread_cond_destroy(&background->more);
    free(background);
    *self = NULL;
}

void background_push(background_t *background, task_t *task) {
    task->next = NULL;
    pthread_mutex_lock(&background->lock);
    *background->last = task;
    background->last = &task->next;
    pthread_cond_signal(&background->more);
    pthread_mutex_unlock(&background->lock);
}
