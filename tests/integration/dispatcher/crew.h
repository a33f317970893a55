// Workers of the test on one loop: they do jobs in small steps, send again what gets no answer, and
// can be killed (all they know is gone, their next process has another boot) or frozen (they know
// nothing of the time that passes, and go on with what they held). Gangs meet before anything else;
// then rank 0 reports, and the others try to, in vain, and end their part.
#ifndef INKLING_TESTS_DISPATCHER_CREW_H
#define INKLING_TESTS_DISPATCHER_CREW_H

#include "ledger.h"

#define CREW_SIZE  4
#define CREW_SLOTS 3
#define AGAIN_MS   400 // what gets no answer is sent again

typedef struct crew crew_t;

crew_t *crew_new(bus_loop_t *loop, ledger_t *ledger);
void crew_destroy(crew_t **crew);
void crew_tick(crew_t *crew, int64_t now_ms);
void crew_kill(crew_t *crew, size_t worker, int64_t back_ms);
void crew_freeze(crew_t *crew, size_t worker, int64_t until_ms);
uint64_t crew_stale(const crew_t *crew);      // answers that refused a stale token
uint64_t crew_intrusions(const crew_t *crew); // that refused what only rank 0 may

#endif
