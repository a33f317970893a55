// What does a worker tell of a child that fails, dies, talks nonsense or cannot even be started,
// and is it fit for the next job?
#include "rig.h"

#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const proto_job_finish_t *run_part(fake_t *fake, const char *body) {
    fake_worker(fake, NULL);
    fake_assign(fake, "j1", 1, body);
    return fake_finish(fake, NULL);
}

static void expect_death(const proto_job_finish_t *finish, const char *how, const char *words) {
    assert_string_equal(finish->outcome, "died");
    assert_non_null(finish->error);
    assert_string_equal(finish->error->code, "INTERNAL");
    if (!strstr(finish->error->message, how) || !strstr(finish->error->message, words))
        fail_msg("'%s' or '%s' is not in: %s", how, words, finish->error->message);
}

static void test_failure(void **state) {
    const proto_job_finish_t *finish =
        run_part(*state, "{\"do\": \"fail\", \"code\": \"INVALID\"}");
    assert_string_equal(finish->outcome, "failed");
    assert_string_equal(finish->error->code, "INVALID");
    assert_string_equal(finish->error->message, "the part is bad: ??"); // no UTF-8 before
    assert_string_equal(finish->error->remedy, "write a better one");
    assert_false(finish->error->retryable);
}

static void test_retryable_failure(void **state) {
    const proto_job_finish_t *finish = run_part(*state, "{\"do\": \"fail\", \"code\": \"IO\"}");
    assert_string_equal(finish->error->code, "IO");
    assert_true(finish->error->retryable);
}

static void test_cancelled_without_being_asked_is_a_failure(void **state) {
    const proto_job_finish_t *finish =
        run_part(*state, "{\"do\": \"fail\", \"code\": \"CANCELLED\"}");
    assert_string_equal(finish->outcome, "failed");
}

static void test_crash(void **state) {
    expect_death(run_part(*state, "{\"do\": \"crash\", \"signal\": 11}"), "signal 11",
                 "line one\nthe last words");
}

static void test_killed_from_outside(void **state) {
    expect_death(run_part(*state, "{\"do\": \"crash\", \"signal\": 9}"), "memory",
                 "the last words");
}

static void test_exit_without_a_word(void **state) {
    expect_death(run_part(*state, "{\"do\": \"leave\"}"), "exit status 3", "no more of this");
}

static void test_garbage_on_the_link(void **state) {
    expect_death(run_part(*state, "{\"do\": \"garbage\"}"), "rules of the link", "no frame");
}

static void test_result_too_large(void **state) {
    const proto_job_finish_t *finish = run_part(*state, "{\"do\": \"too_much\"}");
    assert_string_equal(finish->outcome, "failed");
    assert_non_null(strstr(finish->error->message, "result"));
}

static void test_missing_child_program(void **state) {
    setenv("PLAY_CHILD", "no_such_program", 1);
    const proto_job_finish_t *finish = run_part(*state, "{\"do\": \"succeed\"}");
    unsetenv("PLAY_CHILD");
    assert_string_equal(finish->outcome, "failed");
    assert_non_null(strstr(finish->error->message, "no_such_program"));
    assert_true(finish->error->remedy[0]);
}

// A job that cannot be started leaves the worker fit for the next one.
static void test_hostile_job_id(void **state) {
    fake_t *fake = *state;
    fake_worker(fake, NULL);
    fake_assign(fake, "../../etc", 1, "{\"do\": \"succeed\"}");
    assert_string_equal(fake_finish(fake, NULL)->outcome, "failed");
    fake_assign(fake, "j2", 2, "{\"do\": \"succeed\"}");
    assert_string_equal(fake_finish(fake, NULL)->outcome, "succeeded");
}

static void test_child_is_no_program_for_people(void **state) {
    fake_t *fake = *state;
    fake->worker = fork();
    if (fake->worker == 0) {
        execl(PLAY_CHILD, PLAY_CHILD, (char *)NULL);
        _exit(127);
    }
    int status = fake_reap(fake);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        RIG_TEST(test_failure),
        RIG_TEST(test_retryable_failure),
        RIG_TEST(test_cancelled_without_being_asked_is_a_failure),
        RIG_TEST(test_crash),
        RIG_TEST(test_killed_from_outside),
        RIG_TEST(test_exit_without_a_word),
        RIG_TEST(test_garbage_on_the_link),
        RIG_TEST(test_result_too_large),
        RIG_TEST(test_missing_child_program),
        RIG_TEST(test_hostile_job_id),
        RIG_TEST(test_child_is_no_program_for_people),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
