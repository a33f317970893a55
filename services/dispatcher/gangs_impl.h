// Gangs: which of those that wait gathers its workers (gangs.c), and the meetings of those that run
// (meetings.c). In memory of the leader alone.
#ifndef INKLING_DISPATCHER_GANGS_IMPL_H
#define INKLING_DISPATCHER_GANGS_IMPL_H

#include "workers_impl.h"

gangs_t *gangs_new(void);
void gangs_destroy(gangs_t **gangs);
void gangs_clear(dispatcher_t *d);
// A tick's list: kind, id, order, replicas, fewest ….
void gangs_waiting(dispatcher_t *d, const store_reply_t *list);
// Keeps idle workers for the gang whose turn it is, or leases its job to them.
void gangs_match(dispatcher_t *d);
// A new job for this worker must be older than that (an order, "0": any job will do).
const char *gangs_before(dispatcher_t *d, const worker_t *worker);
bool gangs_keep(dispatcher_t *d, const worker_t *worker);
// ERR_CONFLICT: fewer workers of the kind are idle.
err_code_t gangs_check_now(dispatcher_t *d, const char *kind, size_t replicas, err_t *err);
// False: no gang waits under that id. idle of want workers could begin.
bool gangs_why(dispatcher_t *d, const char *job, buf_t *text, size_t *idle, size_t *want);
// A member of a gang may be silent for so long.
int64_t gang_limit_ms(const dispatcher_t *d);

meetings_t *meetings_new(void);
void meetings_destroy(meetings_t **meetings);
// The attempt is over: who waits is refused as STALE.
void meetings_end(dispatcher_t *d, const char *job);
// This dispatcher leads no more: all who wait are refused with err, and meet with the next one.
void meetings_refuse(dispatcher_t *d, const err_t *err);
void on_gang_meet(dispatcher_t *d, const bus_message_t *message);

#endif
