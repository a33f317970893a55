// Meetings: each rank of a gang gives some bytes, and all get those of all. A new leader knows of
// none: who still waits asks again.
#include "gangs_impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEPT_MAX 16 // meetings of one attempt, for those who ask again

typedef struct meeting meeting_t;
struct meeting {
    meeting_t *next; // older
    char job[PROTO_NAME_MAX + 1], round[PROTO_NAME_MAX + 1];
    uint64_t token;
    size_t world, given;
    struct {
        bool here, waits;
        char *bytes; // malloc'ed
        size_t size;
        request_t from;
    } ranks[PROTO_REPLICAS_MAX];
};

struct meetings {
    meeting_t *first; // the newest
};

meetings_t *meetings_new(void) {
    return mem_zero(1, sizeof(meetings_t));
}

static void meeting_free(meeting_t *meeting) {
    for (size_t i = 0; i < meeting->world; i++)
        free(meeting->ranks[i].bytes);
    free(meeting);
}

void meetings_destroy(meetings_t **self) {
    meetings_t *meetings = *self;
    while (meetings && meetings->first) {
        meeting_t *meeting = meetings->first;
        meetings->first = meeting->next;
        meeting_free(meeting);
    }
    free(meetings);
    *self = NULL;
}

static err_code_t over(err_t *err, const char *job, uint64_t token) {
    return err_set(err, ERR_STALE, "job %s: the gang with token %llu has ended", job,
                   (unsigned long long)token);
}

// Takes it out of the list.
static void refuse(dispatcher_t *d, meeting_t **at, const err_t *err) {
    meeting_t *meeting = *at;
    *at = meeting->next;
    for (size_t i = 0; i < meeting->world; i++)
        if (meeting->ranks[i].waits)
            answer_error(d, &meeting->ranks[i].from, err);
    meeting_free(meeting);
}

void meetings_end(dispatcher_t *d, const char *job) {
    meeting_t **at = &d->meetings->first;
    while (*at) {
        err_t err;
        over(&err, (*at)->job, (*at)->token);
        if (strcmp((*at)->job, job) == 0)
            refuse(d, at, &err);
        else
            at = &(*at)->next;
    }
}

void meetings_refuse(dispatcher_t *d, const err_t *err) {
    while (d->meetings->first)
        refuse(d, &d->meetings->first, err);
}

static meeting_t *meeting_of(meetings_t *meetings, const lease_t *lease, const char *round) {
    meeting_t **oldest = NULL;
    size_t count = 0;
    for (meeting_t **at = &meetings->first; *at; at = &(*at)->next) {
        if (strcmp((*at)->job, lease->job) != 0)
            continue;
        if (strcmp((*at)->round, round) == 0)
            return *at;
        count++;
        if ((*at)->given == (*at)->world)
            oldest = at;
    }
    if (count >= KEPT_MAX && oldest) {
        meeting_t *gone = *oldest;
        *oldest = gone->next;
        meeting_free(gone);
    } else if (count >= KEPT_MAX) {
        return NULL;
    }
    meeting_t *meeting = mem_zero(1, sizeof *meeting);
    snprintf(meeting->job, sizeof meeting->job, "%s", lease->job);
    snprintf(meeting->round, sizeof meeting->round, "%s", round);
    meeting->token = lease->token;
    meeting->world = lease->world;
    meeting->next = meetings->first;
    meetings->first = meeting;
    return meeting;
}

static void tell_all(dispatcher_t *d, meeting_t *meeting) {
    proto_gang_part_t *parts = proto_arena_alloc(d->arena, meeting->world * sizeof *parts);
    for (size_t i = 0; i < meeting->world; i++)
        parts[i] = (proto_gang_part_t){.data = {meeting->ranks[i].bytes, meeting->ranks[i].size}};
    const proto_gang_met_t met = {.parts = {parts, meeting->world}};
    for (size_t i = 0; i < meeting->world; i++)
        if (meeting->ranks[i].waits) {
            meeting->ranks[i].waits = false;
            answer(d, &meeting->ranks[i].from, PROTO_gang_met, &met);
        }
}

static err_code_t check_meet(const proto_gang_meet_t *meet, const lease_t *lease, err_t *err) {
    if (!lease || lease->ending || lease->token != meet->token || lease->world == 0)
        return over(err, meet->job, meet->token);
    if (lease->rank != meet->rank)
        return err_set(err, ERR_INVALID, "gang.meet: %s has rank %zu of job %s, not %llu",
                       meet->worker, lease->rank, meet->job, (unsigned long long)meet->rank);
    return ERR_OK;
}

void on_gang_meet(dispatcher_t *d, const bus_message_t *message) {
    proto_gang_meet_t meet;
    request_t from = request_of(message);
    err_t err;
    if (!decode(d, message, &meet))
        return;
    const lease_t *lease = lease_of(d->leases, meet.job, meet.worker);
    err_code_t code = check_meet(&meet, lease, &err);
    meeting_t *meeting = code ? NULL : meeting_of(d->meetings, lease, meet.round);
    if (code == ERR_OK && !meeting)
        code =
            err_set(&err, ERR_CONFLICT, "gang.meet: more than %d rounds are unfinished", KEPT_MAX);
    if (code) {
        answer_error(d, &from, &err);
        return;
    }
    size_t rank = meet.rank;
    if (!meeting->ranks[rank].here) { // of a repeat the first counts: others may have it already
        meeting->ranks[rank].here = true;
        meeting->ranks[rank].size = meet.data.size;
        meeting->ranks[rank].bytes = mem_alloc(meet.data.size + 1);
        if (meet.data.size)
            memcpy(meeting->ranks[rank].bytes, meet.data.data, meet.data.size);
        meeting->given++;
    }
    meeting->ranks[rank].from = from;
    meeting->ranks[rank].waits = true;
    if (meeting->given == meeting->world)
        tell_all(d, meeting);
}
