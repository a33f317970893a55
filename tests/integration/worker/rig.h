// What the tests of a played worker share: a dispatcher that listens, and what it is told. The
// worker and its child are real processes.
#ifndef INKLING_TESTS_WORKER_RIG_H
#define INKLING_TESTS_WORKER_RIG_H

#include "fake.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

// A dispatcher of the played worker; no socket yet.
fake_t *rig_open(void);
void rig_close(fake_t *fake);

// A test's state: a dispatcher that listens.
int rig_set_up(void **state);
int rig_tear_down(void **state);
#define RIG_TEST(name) cmocka_unit_test_setup_teardown(name, rig_set_up, rig_tear_down)

// The next message that is no report; reports are answered.
const got_t *rig_next_but_reports(fake_t *fake, proto_type_t type);
// What a job gave; a new reference.
json_t *rig_result(const proto_job_finish_t *finish);

#endif
