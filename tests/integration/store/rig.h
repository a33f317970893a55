// A store on a private Redis, and what the tests of the store watch of it.
#ifndef INKLING_TESTS_STORE_RIG_H
#define INKLING_TESTS_STORE_RIG_H

#include "store/store.h"
#include "support/redis.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define PATIENCE_MS 20000

enum { ADD, ECHO, CODES, BROKEN, FILL, NEST, BACKWARD, PAIR, SCRIPT_COUNT };
extern const store_script_t rig_scripts[SCRIPT_COUNT];

typedef struct {
    bus_loop_t *loop;
    store_t *store;
    redis_t redis;
    int ups, downs;
    err_t why; // of the last down()
    size_t answered, good, unknown, cancelled;
    size_t next; // number of the answer that should come next
    bool disorder;
    size_t wanted; // rig_on_answer stops the loop after so many answers
    int64_t last;  // of the last answer, as its text
    err_t err;
    bool timed_out;
    char text[256];
} rig_t;

extern rig_t rig;

int rig_set_up_bare(void **state); // a loop
int rig_set_up(void **state);      // and a Redis, and a store that is up
int rig_tear_down(void **state);
void rig_start_redis(const char *const *extra);
void rig_open_store(const char *address);

// Runs the loop until something stops it; false: nothing did within ms.
bool rig_run(int64_t ms);
void rig_run_until_up(int ups);
void rig_run_until_down(int downs);
void rig_run_until_answered(size_t count); // or more: others may come in the same round

// Counts the answer; arg is its number.
void rig_on_answer(void *arg, const store_reply_t *reply, const err_t *err);
store_bytes_t rig_bytes_of(const char *text);
err_code_t rig_call(size_t script, const char *key, const char *arg, size_t number);
// One call and its answer; ERR_OK if it succeeded.
err_code_t rig_ask(size_t script, const char *key, const char *arg);
int64_t rig_stored_number(const char *key); // as another connection sees it

#define WITH_REDIS(test) cmocka_unit_test_setup_teardown(test, rig_set_up, rig_tear_down)
#define WITHOUT(test)    cmocka_unit_test_setup_teardown(test, rig_set_up_bare, rig_tear_down)

#endif
