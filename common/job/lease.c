#include "job/lease.h"

#include "base/map.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct lease_table {
    map_t *by_job;
};

lease_table_t *lease_table_new(void) {
    lease_table_t *table = mem_zero(1, sizeof *table);
    table->by_job = map_new();
    return table;
}

void lease_table_destroy(lease_table_t **self) {
    lease_table_t *table = *self;
    if (!table)
        return;
    size_t at = 0;
    for (lease_t *lease; (lease = map_next(table->by_job, &at)) != NULL;)
        free(lease);
    map_destroy(&table->by_job);
    free(table);
    *self = NULL;
}

static void make_key(char key[LEASE_KEY_SIZE], const char *job, size_t rank) {
    if (rank == 0)
        snprintf(key, LEASE_KEY_SIZE, "%s", job);
    else
        snprintf(key, LEASE_KEY_SIZE, "%.64s/%zu", job, rank);
}

lease_t *lease_add(lease_table_t *table, lease_owner_t *owner, const char *job, uint64_t token,
                   int64_t now_ms) {
    return lease_add_member(table, owner, job, token, 0, 0, now_ms);
}

lease_t *lease_add_member(lease_table_t *table, lease_owner_t *owner, const char *job,
                          uint64_t token, size_t rank, size_t world, int64_t now_ms) {
    lease_t *lease = mem_zero(1, sizeof *lease);
    snprintf(lease->job, sizeof lease->job, "%s", job);
    make_key(lease->key, job, rank);
    lease->rank = rank;
    lease->world = world;
    lease->token = token;
    lease->granted_ms = lease->renewed_ms = lease->moved_ms = now_ms;
    lease->owner = owner;
    lease->next = owner->first;
    if (owner->first)
        owner->first->previous = lease;
    owner->first = lease;
    owner->count++;
    ERR_ASSERT(map_put(table->by_job, lease->key, lease) == NULL);
    return lease;
}

void lease_remove(lease_table_t *table, lease_t *lease) {
    map_remove(table->by_job, lease->key);
    if (lease->previous)
        lease->previous->next = lease->next;
    else
        lease->owner->first = lease->next;
    if (lease->next)
        lease->next->previous = lease->previous;
    lease->owner->count--;
    free(lease);
}

lease_t *lease_find(const lease_table_t *table, const char *job) {
    return map_get(table->by_job, job);
}

lease_t *lease_member(const lease_table_t *table, const char *job, size_t rank) {
    char key[LEASE_KEY_SIZE];
    make_key(key, job, rank);
    return map_get(table->by_job, key);
}

lease_t *lease_of(const lease_table_t *table, const char *job, const char *worker) {
    lease_t *first = lease_find(table, job);
    if (!first || strcmp(first->worker, worker) == 0)
        return first;
    for (size_t rank = 1; rank < first->world; rank++) {
        lease_t *lease = lease_member(table, job, rank);
        if (lease && strcmp(lease->worker, worker) == 0)
            return lease;
    }
    return NULL;
}

size_t lease_count(const lease_table_t *table) {
    return map_count(table->by_job);
}

lease_t *lease_next(const lease_table_t *table, size_t *at) {
    return map_next(table->by_job, at);
}

void lease_renew(lease_t *lease, uint64_t step, double step_ms, int64_t now_ms) {
    lease->renewed_ms = now_ms;
    lease->shown = lease->heard = true;
    if (step != lease->step)
        lease->moved_ms = now_ms;
    lease->step = step;
    lease->step_ms = step_ms;
}

void lease_grace(lease_table_t *table, int64_t now_ms) {
    size_t at = 0;
    for (lease_t *lease; (lease = map_next(table->by_job, &at)) != NULL;) {
        lease->renewed_ms = lease->moved_ms = now_ms;
        lease->heard = false;
    }
}

int64_t lease_limit_ms(const lease_t *lease, int64_t lease_ms, int64_t gang_ms) {
    return lease->world > 1 && lease->heard && gang_ms < lease_ms ? gang_ms : lease_ms;
}

int64_t lease_stall_limit_ms(const lease_t *lease, int64_t stall_ms) {
    double usual_ms = LEASE_STALL_STEPS * lease->step_ms;
    return usual_ms > (double)stall_ms ? (int64_t)usual_ms : stall_ms;
}

lease_verdict_t lease_judge(const lease_t *lease, int64_t now_ms, int64_t lease_ms, int64_t gang_ms,
                            int64_t stall_ms) {
    if (now_ms - lease->renewed_ms > lease_limit_ms(lease, lease_ms, gang_ms))
        return LEASE_EXPIRED;
    if (lease->shown && now_ms - lease->moved_ms > lease_stall_limit_ms(lease, stall_ms))
        return LEASE_STALLED;
    return LEASE_GOOD;
}
