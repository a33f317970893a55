// Who runs what, and since when nothing was heard of it. Pure: the caller says what time it is, by
// its own monotonic clock, ms.
//
// A lease's age counts from the last renewal that was seen, or from when lease_grace() gave all of
// them a full period: after a change of leader, an outage of the store, or a pause of this process,
// when renewals could not be seen or acted on. Its stall counts from the last change of the step
// counter, likewise.
//
// A gang's attempt has a lease for each member, all with one token. Members are judged more
// strictly than others as soon as they were heard of: a lost peer stops all of them.
#ifndef INKLING_JOB_LEASE_H
#define INKLING_JOB_LEASE_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

#define LEASE_NAME_SIZE   65
#define LEASE_KEY_SIZE    88
#define LEASE_STALL_STEPS 20 // an attempt may stand still for so many of its usual steps

typedef struct lease lease_t;
typedef struct lease_table lease_table_t;

// The leases of one worker: first … next.
typedef struct {
    lease_t *first;
    size_t count;
} lease_owner_t;

struct lease {
    char key[LEASE_KEY_SIZE]; // the job's id, of rank 1 and up with "/RANK"
    char job[LEASE_NAME_SIZE], kind[LEASE_NAME_SIZE], worker[LEASE_NAME_SIZE],
        boot[LEASE_NAME_SIZE];
    uint64_t token, attempt, step;
    size_t rank, world; // 0, 0 without a gang
    double step_ms;
    int64_t granted_ms, renewed_ms, moved_ms;
    int64_t sent_ms;  // the worker was told of it then
    int64_t judge_ms; // not to be judged before
    bool shown;       // the worker has shown it since it was granted
    bool cancel;      // the worker is to stop
    bool ending;      // its end is on the way to the store
    bool heard;       // renewed since it was granted, or since lease_grace()
    bool release;     // of a gang: the worker is to give it back
    lease_owner_t *owner;
    lease_t *next, *previous; // of the same owner
};

typedef enum { LEASE_GOOD, LEASE_EXPIRED, LEASE_STALLED } lease_verdict_t;

lease_table_t *lease_table_new(void);
void lease_table_destroy(lease_table_t **table);

// The lease of a job that has none. owner must outlive it.
lease_t *lease_add(lease_table_t *table, lease_owner_t *owner, const char *job, uint64_t token,
                   int64_t now_ms);
// The same of one member of a gang; rank 0 comes first and goes last.
lease_t *lease_add_member(lease_table_t *table, lease_owner_t *owner, const char *job,
                          uint64_t token, size_t rank, size_t world, int64_t now_ms);
lease_t *lease_member(const lease_table_t *table, const char *job, size_t rank);
// The one that this worker holds, whichever its rank; NULL: none.
lease_t *lease_of(const lease_table_t *table, const char *job, const char *worker);
void lease_remove(lease_table_t *table, lease_t *lease);          // and frees it
lease_t *lease_find(const lease_table_t *table, const char *job); // NULL: none
size_t lease_count(const lease_table_t *table);
lease_t *lease_next(const lease_table_t *table, size_t *at); // as map_next

// A renewal: the step counter only says something when it changes.
void lease_renew(lease_t *lease, uint64_t step, double step_ms, int64_t now_ms);
void lease_grace(lease_table_t *table, int64_t now_ms);
// How long nothing may be heard of it.
int64_t lease_limit_ms(const lease_t *lease, int64_t lease_ms, int64_t gang_ms);
int64_t lease_stall_limit_ms(const lease_t *lease, int64_t stall_ms);
// gang_ms: the limit of members that were heard of.
lease_verdict_t lease_judge(const lease_t *lease, int64_t now_ms, int64_t lease_ms, int64_t gang_ms,
                            int64_t stall_ms);

#endif
