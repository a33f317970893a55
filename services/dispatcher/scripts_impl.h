// The scripts, in the order in which one round sends what has gathered (batch_impl.h).
//
// S(name, sort)   CHANGE: gathers items into one call, under the epoch and with a kept reply;
// WRITES:
//                 a change that belongs to a lease, of which the order of arrival is kept; READ:
//                 one item a call; OWN: called by leader.c alone
#ifndef INKLING_DISPATCHER_SCRIPTS_IMPL_H
#define INKLING_DISPATCHER_SCRIPTS_IMPL_H

#define SCRIPTS(S)                                                                                 \
    S(submit, CHANGE)                                                                              \
    S(cancel, CHANGE)                                                                              \
    S(retry, CHANGE)                                                                               \
    S(report_full, WRITES)                                                                         \
    S(report, WRITES)                                                                              \
    S(checkpoint, WRITES)                                                                          \
    S(finish, WRITES)                                                                              \
    S(end, CHANGE)                                                                                 \
    S(tick, CHANGE)                                                                                \
    S(lease, CHANGE)                                                                               \
    S(gang, CHANGE)                                                                                \
    S(promote, CHANGE)                                                                             \
    S(rollback, CHANGE)                                                                            \
    S(remove, CHANGE)                                                                              \
    S(retain, CHANGE)                                                                              \
    S(study_open, CHANGE)                                                                          \
    S(study_append, CHANGE)                                                                        \
    S(study_rm, CHANGE)                                                                            \
    S(study_read, READ)                                                                            \
    S(study_list, READ)                                                                            \
    S(show, READ)                                                                                  \
    S(list, READ)                                                                                  \
    S(events, READ)                                                                                \
    S(running, READ)                                                                               \
    S(assignment, READ)                                                                            \
    S(registry, READ)                                                                              \
    S(resolve, READ)                                                                               \
    S(kept, READ)                                                                                  \
    S(lead, OWN)                                                                                   \
    S(resign, OWN)

typedef enum {
#define X(name, sort) SCRIPT_##name,
    SCRIPTS(X)
#undef X
        SCRIPT_COUNT
} script_t;

// The texts, embedded by embed.cmake.
#define X(name, sort) extern const char script_##name[];
SCRIPTS(X)
#undef X

#endif
