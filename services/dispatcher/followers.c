#include "followers_impl.h"

#include "base/clock.h"

#include <stdlib.h>
#include <string.h>

followers_t *followers_new(void) {
    followers_t *followers = mem_zero(1, sizeof *followers);
    followers->jobs = map_new();
    return followers;
}

static void free_list(follower_t *list) {
    for (follower_t *next; list; list = next) {
        next = list->next;
        free(list);
    }
}

void followers_destroy(followers_t **self) {
    followers_t *followers = *self;
    if (!followers)
        return;
    size_t at = 0;
    for (follower_t *list; (list = map_next(followers->jobs, &at)) != NULL;)
        free_list(list);
    free_list(followers->models);
    map_destroy(&followers->jobs);
    free(followers);
    *self = NULL;
}

void follower_wait(dispatcher_t *d, follower_t *follower) {
    followers_t *followers = d->followers;
    if (followers->count >= FOLLOWERS_MAX) {
        err_t err;
        err_set(&err, ERR_FULL, "%d requests wait for events already", FOLLOWERS_MAX);
        answer_error(d, &follower->from, &err);
        free(follower);
        return;
    }
    followers->count++;
    if (follower->job[0]) {
        follower->next = map_get(followers->jobs, follower->job);
        map_put(followers->jobs, follower->job, follower);
    } else {
        follower->next = followers->models;
        followers->models = follower;
    }
}

static void read_again(dispatcher_t *d, follower_t *follower) {
    d->followers->count--;
    if (follower->job[0])
        events_read(d, follower);
    else
        models_read(d, follower);
}

static void read_list(dispatcher_t *d, follower_t *list) {
    for (follower_t *next; list; list = next) {
        next = list->next;
        read_again(d, list);
    }
}

void followers_touch(dispatcher_t *d, const char *job) {
    if (map_count(d->followers->jobs))
        read_list(d, map_remove(d->followers->jobs, job));
}

void followers_revision(dispatcher_t *d, uint64_t revision) {
    followers_t *followers = d->followers;
    if (revision <= followers->revision)
        return;
    followers->revision = revision;
    follower_t *list = followers->models;
    followers->models = NULL;
    read_list(d, list);
}

// Takes those whose time is over out of a list and puts them before *over.
static follower_t *split(follower_t *list, int64_t now_ms, follower_t **over) {
    follower_t *kept = NULL;
    for (follower_t *next; list; list = next) {
        next = list->next;
        follower_t **to = now_ms >= list->until_ms ? over : &kept;
        list->next = *to;
        *to = list;
    }
    return kept;
}

// All that wait, or those whose time is over.
static follower_t *take(followers_t *followers, int64_t now_ms) {
    follower_t *over = NULL;
    size_t at = 0;
    for (follower_t *list; (list = map_next(followers->jobs, &at)) != NULL;) {
        char job[PROTO_NAME_MAX + 1];
        memcpy(job, list->job, sizeof job);
        follower_t *kept = split(list, now_ms, &over);
        if (kept)
            map_put(followers->jobs, job, kept);
        else
            map_remove(followers->jobs, job);
    }
    followers->models = split(followers->models, now_ms, &over);
    return over;
}

void followers_tick(dispatcher_t *d, int64_t now_ms) {
    if (d->followers->count)
        read_list(d, take(d->followers, now_ms));
}

void followers_refuse(dispatcher_t *d, const err_t *err) {
    follower_t *list = take(d->followers, INT64_MAX);
    for (const follower_t *follower = list; follower; follower = follower->next)
        answer_error(d, &follower->from, err);
    free_list(list);
    d->followers->count = 0;
    d->followers->revision = 0;
}
