// The rules of a job's life and of leases, with no clock but the test's.
#include "job/job.h"
#include "job/lease.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void test_back_off(void **state) {
    (void)state;
    assert_int_equal(job_backoff_ms(1, 0), 1000);
    assert_int_equal(job_backoff_ms(1, 1), 500);
    assert_int_equal(job_backoff_ms(2, 0), 2000);
    assert_int_equal(job_backoff_ms(9, 0), 256000);
    assert_int_equal(job_backoff_ms(10, 0), 300000);
    assert_int_equal(job_backoff_ms(5000, 1), 150000);
}

static job_t running(uint64_t max_attempts) {
    job_t job;
    job_submit(&job, max_attempts, 0);
    assert_int_equal(job_lease(&job, 7), ERR_OK);
    return job;
}

static void test_a_life(void **state) {
    (void)state;
    job_t job;
    job_submit(&job, 3, 50);
    assert_int_equal(job_lease(&job, 1), ERR_CONFLICT); // not yet
    job_due(&job);
    assert_int_equal(job_lease(&job, 1), ERR_OK);
    assert_int_equal(job_lease(&job, 2), ERR_CONFLICT);
    uint64_t skip;
    assert_int_equal(job_report(&job, 2, 1, 3, &skip), ERR_STALE);
    assert_int_equal(job_report(&job, 1, 1, 3, &skip), ERR_OK);
    assert_int_equal(skip, 0);
    assert_int_equal(job_report(&job, 1, 2, 4, &skip), ERR_OK);
    assert_int_equal(skip, 2);
    assert_int_equal(job.reports, 5);
    assert_int_equal(job_finish(&job, 1, JOB_END_SUCCEEDED, false, 0, 5), ERR_OK);
    assert_int_equal(job.state, JOB_SUCCEEDED);
    assert_int_equal(job_finish(&job, 1, JOB_END_FAILED, false, 0, 5), ERR_OK); // told again
    assert_int_equal(job.state, JOB_SUCCEEDED);
    assert_int_equal(job_finish(&job, 2, JOB_END_FAILED, false, 0, 5), ERR_STALE);
    assert_int_equal(job_cancel(&job), ERR_CONFLICT);
    assert_int_equal(job_retry(&job), ERR_CONFLICT);
}

static void test_what_follows_an_end(void **state) {
    (void)state;
    static const struct {
        job_outcome_t outcome;
        bool retryable, cancel;
        job_state_t state;
    } table[] = {{JOB_END_FAILED, false, false, JOB_FAILED},
                 {JOB_END_FAILED, true, false, JOB_QUEUED},
                 {JOB_END_FAILED, true, true, JOB_CANCELLED},
                 {JOB_END_CANCELLED, false, false, JOB_CANCELLED},
                 {JOB_END_RELEASED, false, false, JOB_QUEUED},
                 {JOB_END_RELEASED, false, true, JOB_CANCELLED},
                 {JOB_END_LOST, false, false, JOB_QUEUED},
                 {JOB_END_LOST, false, true, JOB_CANCELLED},
                 {JOB_END_DIED, false, false, JOB_QUEUED},
                 {JOB_END_SUCCEEDED, false, true, JOB_SUCCEEDED}};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        job_t job = running(3);
        if (table[i].cancel)
            assert_int_equal(job_cancel(&job), ERR_OK);
        assert_int_equal(job_finish(&job, 7, table[i].outcome, table[i].retryable, 0, 5), ERR_OK);
        assert_int_equal(job.state, table[i].state);
    }
}

static void test_limits_and_retry(void **state) {
    (void)state;
    job_t job = running(2);
    assert_int_equal(job_end(&job, 7, JOB_END_FAILED, 0.5, 5), ERR_OK);
    assert_int_equal(job.delay_ms, 750);
    job_due(&job);
    assert_int_equal(job_lease(&job, 8), ERR_OK);
    assert_int_equal(job_end(&job, 8, JOB_END_FAILED, 0, 5), ERR_OK);
    assert_int_equal(job.state, JOB_FAILED);
    assert_int_equal(job_retry(&job), ERR_OK);
    for (uint64_t token = 9; token < 12; token++) {
        assert_int_equal(job_lease(&job, token), ERR_OK);
        if (token == 10)
            assert_int_equal(job_checkpoint(&job, token), ERR_OK); // forgives the one before
        assert_int_equal(job_end(&job, token, JOB_END_DIED, 0, 2), ERR_OK);
    }
    assert_int_equal(job.state, JOB_DEAD);
    assert_int_equal(job.attempts, 5);
}

static void test_names(void **state) {
    (void)state;
    char name[65];
    err_t err;
    uint64_t version;
    assert_int_equal(job_check_kind("my.kind-1_x", &err), ERR_OK);
    assert_int_equal(job_check_kind("Train", &err), ERR_INVALID);
    assert_int_equal(job_check_kind("", &err), ERR_INVALID);
    assert_int_equal(job_check_name("x", "../x", &err), ERR_INVALID);
    assert_int_equal(job_check_name("x", "a b", &err), ERR_INVALID);
    assert_int_equal(job_parse_model("m", "faces@3", name, &version, &err), ERR_OK);
    assert_string_equal(name, "faces");
    assert_int_equal(version, 3);
    assert_int_equal(job_parse_model("m", "faces", name, &version, &err), ERR_OK);
    assert_int_equal(version, 0);
    static const char *const bad[] = {"faces@", "faces@0", "faces@1x", "@1",
                                      "faces@99999999999999999"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(job_parse_model("m", bad[i], name, &version, &err), ERR_INVALID);
}

static void test_leases(void **state) {
    (void)state;
    lease_table_t *table = lease_table_new();
    lease_owner_t owner = {NULL, 0};
    lease_t *one = lease_add(table, &owner, "1", 5, 1000),
            *two = lease_add(table, &owner, "2", 6, 1000);
    assert_int_equal(owner.count, 2);
    assert_ptr_equal(lease_find(table, "2"), two);
    assert_int_equal(lease_judge(one, 2000, 1000, 1000, 500),
                     LEASE_GOOD); // not shown: cannot stall
    assert_int_equal(lease_judge(one, 2001, 1000, 1000, 500), LEASE_EXPIRED);
    lease_renew(one, 1, 10, 2000);
    lease_renew(one, 1, 10, 2500);
    assert_int_equal(lease_judge(one, 2501, 1000, 1000, 500), LEASE_STALLED);
    lease_renew(one, 2, 100, 2501); // 20 steps of 100 ms
    assert_int_equal(lease_judge(one, 3400, 1000, 1000, 500), LEASE_GOOD);
    lease_grace(table, 9000);
    assert_int_equal(lease_judge(two, 10000, 1000, 1000, 500), LEASE_GOOD);
    lease_remove(table, one);
    assert_ptr_equal(owner.first, two);
    assert_null(lease_find(table, "1"));
    lease_table_destroy(&table);
}

// A gang's leases share job and token, each has a worker; heard of once, they are judged strictly.
static void test_a_gang_s_leases(void **state) {
    (void)state;
    lease_table_t *table = lease_table_new();
    lease_owner_t owners[3] = {{NULL, 0}};
    const char *const names[] = {"ann", "bob", "cid"};
    for (size_t rank = 0; rank < 3; rank++) {
        lease_t *lease = lease_add_member(table, &owners[rank], "7", 5, rank, 3, 1000);
        snprintf(lease->worker, sizeof lease->worker, "%s", names[rank]);
    }
    assert_int_equal(lease_count(table), 3);
    assert_int_equal(lease_find(table, "7")->rank, 0);
    assert_int_equal(lease_of(table, "7", "cid")->rank, 2);
    assert_null(lease_of(table, "7", "dot"));
    assert_null(lease_of(table, "8", "ann"));
    assert_null(lease_member(table, "7", 3));
    lease_t *bob = lease_of(table, "7", "bob");
    assert_int_equal(lease_judge(bob, 5500, 15000, 4000, 60000), LEASE_GOOD); // not heard of yet
    lease_renew(bob, 1, 0, 2000);
    assert_int_equal(lease_judge(bob, 6000, 15000, 4000, 60000), LEASE_GOOD);
    assert_int_equal(lease_judge(bob, 6001, 15000, 4000, 60000), LEASE_EXPIRED);
    assert_int_equal(lease_limit_ms(bob, 3000, 4000), 3000); // never longer than others
    lease_grace(table, 6000);
    assert_int_equal(lease_judge(bob, 21000, 15000, 4000, 60000), LEASE_GOOD);
    lease_remove(table, bob);
    assert_null(lease_of(table, "7", "bob"));
    assert_non_null(lease_of(table, "7", "cid"));
    lease_remove(table, lease_of(table, "7", "cid"));
    lease_remove(table, lease_of(table, "7", "ann"));
    assert_int_equal(lease_count(table), 0);
    lease_table_destroy(&table);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_back_off),
        cmocka_unit_test(test_a_life),
        cmocka_unit_test(test_what_follows_an_end),
        cmocka_unit_test(test_limits_and_retry),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_leases),
        cmocka_unit_test(test_a_gang_s_leases),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
