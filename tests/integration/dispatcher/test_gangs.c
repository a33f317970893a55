// Does a gang get all its workers or none, is it never kept waiting by smaller jobs or another
// gang, and does it end as a whole, whatever becomes of one member or of the dispatcher?
#include "scene.h"

#include "base/clock.h"

#include <stdio.h>
#include <string.h>

#define CREW_MAX 4
#define DIGEST   "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

// Hands that keep their heartbeats going together.
static hand_t crew[CREW_MAX];
static const proto_worker_assign_t *jobs[CREW_MAX]; // what each has, or NULL
static bool silent[CREW_MAX];
static size_t crew_count;

static void join(void) {
    static const char *const names[CREW_MAX] = {"ann", "bob", "cid", "dot"};
    hand_t *hand = &crew[crew_count];
    jobs[crew_count] = NULL;
    silent[crew_count] = false;
    hand_open(hand, names[crew_count], "train", 1);
    hand->kinds[1] = "ingest";
    hand_hello(hand, NULL, 0);
    crew_count++;
}

// Takes what comes, and renews what each has.
static void beat(void) {
    for (size_t i = 0; i < crew_count; i++) {
        if (silent[i])
            continue;
        const proto_worker_assign_t *assign = hand_next(&crew[i], PROTO_worker_assign, 0);
        if (assign)
            jobs[i] = assign;
        proto_lease_t lease = {0};
        proto_hold_t hold = {0};
        if (jobs[i]) {
            lease = (proto_lease_t){.job = jobs[i]->job, .token = jobs[i]->token, .step = 1};
            hold = (proto_hold_t){.job = jobs[i]->job, .token = jobs[i]->token};
        }
        if (hand_renew(&crew[i], &lease, jobs[i] != NULL)->hello)
            hand_hello(&crew[i], &hold, jobs[i] != NULL);
    }
}

static void beat_for(int64_t ms) {
    for (int64_t end_ms = clock_mono_ms() + ms; clock_mono_ms() < end_ms; clock_sleep_ms(20))
        beat();
}

static size_t busy(void) {
    size_t count = 0;
    for (size_t i = 0; i < crew_count; i++)
        count += jobs[i] != NULL;
    return count;
}

static void await_busy(size_t count) {
    int64_t end_ms = clock_mono_ms() + PATIENCE_MS;
    while (busy() < count && clock_mono_ms() < end_ms) {
        beat();
        clock_sleep_ms(10);
    }
    assert_int_equal(busy(), count);
}

static size_t holder(uint64_t rank) {
    for (size_t i = 0; i < crew_count; i++)
        if (jobs[i] && jobs[i]->rank == rank)
            return i;
    fail_msg("nobody has rank %d", (int)rank);
    return 0;
}

static err_code_t try_finish(size_t who, const char *outcome) {
    proto_job_finish_t finish = hand_end(&crew[who], jobs[who], outcome);
    const proto_failure_t failure = {.code = "UNAVAILABLE", .message = "a peer", .retryable = true};
    err_t err = {ERR_OK, "", ""};
    if (strcmp(outcome, "failed") == 0)
        finish.error = &failure;
    hand_try(&crew[who], PROTO_job_finish, &finish, PROTO_job_finished, &err);
    return err.code;
}

// The next job that came with the answer, if any, is taken.
static void end(size_t who, const char *outcome, const char *state) {
    const proto_job_finished_t *done = hand_finish(&crew[who], jobs[who], outcome, state);
    jobs[who] = done->next;
}

// A data set "demo", and a crew.
static void open(size_t workers, const char *const *settings) {
    scene_open(NULL, settings);
    crew_count = 0;
    join();
    scene_submit("ingest", "{\"dir\":\"/photos\",\"name\":\"demo\"}");
    await_busy(1);
    const proto_new_dataset_t made = {
        .name = "demo", .path = "datasets/demo/1", .digest = DIGEST, .info = scene_map("{}")};
    proto_job_finish_t finish = hand_end(&crew[0], jobs[0], "succeeded");
    err_t err;
    finish.dataset = &made;
    assert_non_null(hand_try(&crew[0], PROTO_job_finish, &finish, PROTO_job_finished, &err));
    jobs[0] = NULL;
    while (crew_count < workers)
        join();
}

static const char *train(unsigned replicas, unsigned least) {
    char body[128];
    snprintf(body, sizeof body, "{\"dataset\":\"demo\",\"replicas\":%u,\"min_replicas\":%u}",
             replicas, least);
    return scene_submit("train", body);
}

static void expect_gang(const char *job, size_t world) {
    uint64_t ranks = 0;
    const proto_worker_assign_t *first = NULL;
    for (size_t i = 0; i < crew_count; i++) {
        if (!jobs[i] || strcmp(jobs[i]->job, job) != 0)
            continue;
        first = first ? first : jobs[i];
        assert_int_equal(jobs[i]->token, first->token);
        assert_int_equal(jobs[i]->world, world);
        ranks |= UINT64_C(1) << jobs[i]->rank;
    }
    assert_int_equal(ranks, (UINT64_C(1) << world) - 1);
}

static void await_lost(size_t who, const proto_worker_assign_t *job) {
    const proto_worker_lost_t *lost = hand_next(&crew[who], PROTO_worker_lost, PATIENCE_MS);
    assert_non_null(lost);
    assert_string_equal(lost->job, job->job);
    assert_int_equal(lost->token, job->token);
}

// --- Forming
// -------------------------------------------------------------------------------------

static void test_all_or_none(void **state) {
    (void)state;
    open(2, NULL);
    const char *job = train(3, 0);
    beat_for(1500);
    assert_int_equal(busy(), 0);
    const proto_job_reason_t *why = scene_why(job);
    assert_string_equal(why->waits_for, "slot");
    assert_non_null(strstr(why->text, "3 replicas asked, 2 workers for train are here"));
    // A gang that cannot be formed keeps nobody from other work.
    scene_submit("train", "{\"dataset\":\"demo\"}");
    await_busy(1);
    join();
    beat_for(400);
    assert_int_equal(busy(), 1);
    assert_non_null(strstr(scene_why(job)->text, "2 of 3 workers for train are idle"));
    for (size_t i = 0; i < crew_count; i++)
        if (jobs[i])
            end(i, "succeeded", "succeeded");
    await_busy(3);
    expect_gang(job, 3);
    const proto_job_info_t *info = scene_show(job);
    assert_int_equal(info->workers.count, 3);
    assert_int_equal(info->replicas, 3);
    assert_string_equal(info->workers.items[0], info->worker);
    assert_string_equal(info->worker, crew[holder(0)].name);
    // One that is done is free; the job is done with rank 0.
    size_t first = holder(0), second = holder(1), third = holder(2);
    end(second, "succeeded", "part");
    const proto_worker_assign_t *part = jobs[third];
    scene_submit("train", "{\"dataset\":\"demo\"}");
    await_busy(3);
    end(first, "succeeded", "succeeded");
    await_lost(third, part);
    assert_int_equal(try_finish(third, "succeeded"), ERR_OK); // it had been on its way
    assert_string_equal(scene_history(job), "queued running succeeded");
}

static void test_a_gang_comes_before_smaller_jobs_behind_it(void **state) {
    (void)state;
    open(2, NULL);
    scene_submit("train", "{\"dataset\":\"demo\"}");
    await_busy(1);
    const char *gang = train(2, 0);
    beat_for(300);
    for (int i = 0; i < 3; i++)
        scene_submit("train", "{\"dataset\":\"demo\"}");
    beat_for(1500);
    assert_int_equal(busy(), 1); // the other worker is kept
    for (size_t i = 0; i < crew_count; i++)
        if (jobs[i]) {
            end(i, "succeeded", "succeeded");
            assert_null(jobs[i]);
        }
    await_busy(2);
    expect_gang(gang, 2);
    end(holder(1), "succeeded", "part");
    end(holder(0), "succeeded", "succeeded");
    await_busy(2); // those behind
}

static void test_two_gangs_run_one_after_the_other(void **state) {
    (void)state;
    open(2, NULL);
    scene_submit("train", "{\"dataset\":\"demo\"}");
    scene_submit("train", "{\"dataset\":\"demo\"}");
    await_busy(2);
    const char *first = train(2, 0), *second = train(2, 0);
    end(0, "succeeded", "succeeded");
    beat_for(300);
    end(1, "succeeded", "succeeded");
    await_busy(2);
    expect_gang(first, 2);
    assert_non_null(strstr(scene_why(second)->text, "0 of 2 workers"));
    size_t last = holder(0);
    end(holder(1), "succeeded", "part");
    end(last, "succeeded", "succeeded");
    await_busy(2);
    expect_gang(second, 2);
}

static void test_fewer_than_wanted_if_no_more_are_here(void **state) {
    (void)state;
    open(2, NULL);
    const char *job = train(3, 2);
    int64_t begun_ms = clock_mono_ms();
    await_busy(2);
    assert_true(clock_mono_ms() - begun_ms >= 900); // a third one might have come
    expect_gang(job, 2);
    // While three are here, it waits for the third.
    end(holder(0), "failed", "queued");
    jobs[0] = jobs[1] = NULL;
    join();
    await_busy(3);
    expect_gang(job, 3);
}

static void test_now_or_not_at_all(void **state) {
    (void)state;
    open(2, NULL);
    proto_job_submit_t submit = scene_wish("train", "{\"dataset\":\"demo\",\"replicas\":3}");
    submit.now = true;
    err_t err = scene_refused(PROTO_job_submit, &submit, ERR_CONFLICT);
    assert_non_null(strstr(err.message, "3 idle workers for train are wanted now, 2 are here"));
    submit.body = scene_map("{\"dataset\":\"demo\",\"replicas\":2}");
    submit.key = "now";
    const proto_job_submitted_t *done = scene_ask(PROTO_job_submit, &submit, PROTO_job_submitted);
    await_busy(2);
    // Asked again under its key it is the same job, though nobody is idle now.
    const proto_job_submitted_t *again = scene_ask(PROTO_job_submit, &submit, PROTO_job_submitted);
    assert_string_equal(again->job, done->job);
}

// --- Ending
// --------------------------------------------------------------------------------------

static void test_a_silent_member_ends_the_gang(void **state) {
    (void)state;
    open(2, NULL);
    const char *job = train(2, 1);
    await_busy(2);
    size_t first = holder(0), second = holder(1);
    const proto_worker_assign_t *old = jobs[first], *late = jobs[second];
    beat_for(300);
    silent[second] = true;
    int64_t begun_ms = clock_mono_ms();
    while (!hand_next(&crew[first], PROTO_worker_lost, 0) && clock_mono_ms() < begun_ms + 10000)
        beat(), clock_sleep_ms(10);
    assert_in_range(clock_mono_ms() - begun_ms, 800, 2500); // 4 heartbeats, 1 s at least
    assert_int_equal(try_finish(first, "failed"), ERR_STALE);
    jobs[first] = NULL;
    // It goes on alone, and what the lost one says is refused.
    await_busy(2); // the silent one's is not new
    assert_string_equal(jobs[first]->job, job);
    assert_true(jobs[first]->token > old->token);
    assert_int_equal(jobs[first]->world, 1);
    jobs[second] = late;
    assert_int_equal(try_finish(second, "succeeded"), ERR_STALE);
    assert_int_equal(hand_report(&crew[second], late, 1, 1, "late"), ERR_STALE);
    const proto_job_info_t *info = scene_show(job);
    assert_int_equal(info->deaths, 0);
    end(first, "succeeded", "succeeded");
}

// It is the way to the dispatcher that is cut, not the gang.
static void test_all_silent_at_once_have_a_whole_lease(void **state) {
    (void)state;
    open(2, NULL);
    const char *job = train(2, 0);
    await_busy(2);
    beat_for(300);
    clock_sleep_ms(2500);
    beat_for(300);
    assert_int_equal(scene_show(job)->attempts, 1);
    assert_string_equal(scene_show(job)->state, "running");
    end(holder(0), "succeeded", "succeeded");
}

// While one makes progress the others may wait for it.
static void test_progress_of_one_is_progress_of_all(void **state) {
    (void)state;
    open(2, (const char *[]){"INKLING_STALL_MS=1000", NULL});
    const char *job = train(2, 0);
    await_busy(2);
    size_t first = holder(0), second = holder(1);
    for (uint64_t step = 1; step <= 20; step++) {
        hand_renew_job(&crew[first], jobs[first], step);
        hand_renew_job(&crew[second], jobs[second], 1);
        clock_sleep_ms(100);
    }
    assert_int_equal(scene_show(job)->attempts, 1);
    assert_string_equal(scene_show(job)->state, "running");
    for (int i = 0; i < 20 && strcmp(scene_show(job)->state, "running") == 0; i++) {
        hand_renew_job(&crew[first], jobs[first], 20);
        hand_renew_job(&crew[second], jobs[second], 1);
        clock_sleep_ms(100);
    }
    assert_string_equal(scene_show(job)->state, "queued");
    assert_non_null(strstr(scene_show(job)->reason, "no progress"));
}

static void test_only_rank_0_speaks_for_the_job(void **state) {
    (void)state;
    open(3, NULL);
    const char *job = train(2, 0);
    await_busy(2);
    size_t first = holder(0), second = holder(1);
    assert_int_equal(hand_report(&crew[first], jobs[first], 1, 1, "mine"), ERR_OK);
    assert_int_equal(hand_report(&crew[second], jobs[second], 1, 1, "not mine"), ERR_INVALID);
    assert_int_equal(hand_checkpoint(&crew[second], jobs[second], 5), ERR_INVALID);
    assert_int_equal(hand_checkpoint(&crew[first], jobs[first], 5), ERR_OK);
    const proto_new_model_t model = {.name = "m",
                                     .path = "models/m/1",
                                     .digest = DIGEST,
                                     .promote = "never",
                                     .info = scene_map("{}")};
    proto_job_finish_t finish = hand_end(&crew[second], jobs[second], "succeeded");
    err_t err;
    finish.model = &model;
    assert_null(hand_try(&crew[second], PROTO_job_finish, &finish, PROTO_job_finished, &err));
    assert_int_equal(err.code, ERR_INVALID);
    // One that has no part in it has the token.
    hand_t *stranger = NULL;
    for (size_t i = 0; i < crew_count; i++)
        if (!jobs[i])
            stranger = &crew[i];
    assert_non_null(stranger);
    assert_int_equal(hand_report(stranger, jobs[first], 2, 1, "strange"), ERR_STALE);
    finish = hand_end(stranger, jobs[first], "failed");
    const proto_failure_t failure = {.code = "IO", .message = "no"};
    finish.error = &failure;
    assert_null(hand_try(stranger, PROTO_job_finish, &finish, PROTO_job_finished, &err));
    assert_int_equal(err.code, ERR_STALE);
    beat_for(300);
    assert_string_equal(scene_show(job)->state, "running");
    end(first, "succeeded", "succeeded");
}

static void test_a_crash_counts_once(void **state) {
    (void)state;
    open(2, NULL);
    const char *job = train(2, 0);
    await_busy(2);
    beat();
    size_t first = holder(0), second = holder(1);
    const proto_worker_assign_t *old = jobs[first];
    assert_int_equal(try_finish(second, "died"), ERR_OK);
    await_lost(first, old);
    try_finish(first, "died");
    assert_int_equal(scene_show(job)->deaths, 1);
    jobs[0] = jobs[1] = NULL;
    await_busy(2);
    expect_gang(job, 2);
    assert_true(jobs[0]->token > old->token);
}

static void test_a_member_s_process_is_replaced(void **state) {
    (void)state;
    open(2, NULL);
    const char *job = train(2, 0);
    await_busy(2);
    beat();
    size_t first = holder(0), second = holder(1);
    const proto_worker_assign_t *old = jobs[first];
    jobs[second] = NULL;
    crew[second].boot = "boot-2";
    hand_hello(&crew[second], NULL, 0);
    await_lost(first, old);
    jobs[first] = NULL;
    await_busy(2);
    expect_gang(job, 2);
    assert_int_equal(scene_show(job)->deaths, 1);
}

static void test_lost_peers_are_forgiven_by_a_checkpoint(void **state) {
    (void)state;
    open(2, NULL);
    const char *job = train(2, 0);
    for (int i = 0; i < 4; i++) { // more than max_attempts
        await_busy(2);
        size_t first = holder(0), second = holder(1);
        const proto_worker_assign_t *old = jobs[first];
        assert_int_equal(hand_checkpoint(&crew[first], jobs[first], (uint64_t)i + 1), ERR_OK);
        end(second, "failed", "queued");
        await_lost(first, old);
        jobs[first] = jobs[second] = NULL;
    }
    assert_string_equal(scene_show(job)->state, "queued");
}

static void test_drain_brings_a_checkpoint(void **state) {
    (void)state;
    open(2, NULL);
    const char *job = train(2, 0);
    await_busy(2);
    beat();
    size_t first = holder(0), second = holder(1);
    proto_lease_t lease = {.job = job, .token = jobs[second]->token, .step = 1};
    proto_worker_renew_t renew = {.worker = crew[second].name,
                                  .boot = crew[second].boot,
                                  .draining = true,
                                  .leases = {&lease, 1}};
    err_t err;
    assert_non_null(
        hand_try(&crew[second], PROTO_worker_renew, &renew, PROTO_worker_renewed, &err));
    const proto_worker_release_t *release =
        hand_next(&crew[first], PROTO_worker_release, PATIENCE_MS);
    assert_non_null(release);
    assert_int_equal(release->token, jobs[first]->token);
    proto_lease_t own = {.job = job, .token = jobs[first]->token, .step = 1};
    assert_int_equal(hand_renew(&crew[first], &own, 1)->release.count, 1);
    end(second, "released", "part");
    silent[second] = true;
    assert_int_equal(hand_checkpoint(&crew[first], jobs[first], 9), ERR_OK);
    end(first, "failed", "queued"); // its peer had gone: that is no failure
    const proto_job_info_t *info = scene_show(job);
    assert_int_equal(info->checkpoint->step, 9);
    assert_int_equal(info->deaths, 0);
    assert_non_null(strstr(scene_history(job), "queued running queued"));
    join();
    await_busy(2);
    assert_int_equal(jobs[first]->attempt, 2);
}

static void test_cancel_reaches_all(void **state) {
    (void)state;
    open(2, NULL);
    const char *job = train(2, 0);
    await_busy(2);
    const proto_job_cancel_t cancel = {.job = job, .reason = ""};
    scene_ask(PROTO_job_cancel, &cancel, PROTO_job);
    for (size_t i = 0; i < 2; i++)
        assert_non_null(hand_next(&crew[i], PROTO_worker_cancel, PATIENCE_MS));
    assert_int_equal(try_finish(holder(1), "cancelled"), ERR_OK);
    assert_string_equal(scene_show(job)->state, "cancelled");
    assert_int_equal(try_finish(holder(0), "cancelled"), ERR_OK);
    // One that waits, too.
    jobs[0] = jobs[1] = NULL;
    const char *waits = train(3, 0);
    const proto_job_cancel_t other = {.job = waits, .reason = ""};
    scene_ask(PROTO_job_cancel, &other, PROTO_job);
    join();
    beat_for(1500);
    assert_int_equal(busy(), 0);
    assert_int_equal(scene_redis_number("ZCARD g:train"), 0);
}

// --- A new leader
// ---------------------------------------------------------------------------------

static void test_a_new_leader_takes_the_gang_over(void **state) {
    (void)state;
    open(3, NULL);
    const char *job = train(3, 0);
    await_busy(3);
    beat();
    size_t first = holder(0), second = holder(1), third = holder(2);
    end(third, "succeeded", "part");
    scene_kill_dispatcher();
    scene_start_dispatcher();
    beat_for(2500); // longer than members may be silent
    assert_int_equal(scene_show(job)->attempts, 1);
    assert_string_equal(scene_show(job)->state, "running");
    assert_null(jobs[third]); // its part is done
    assert_int_equal(hand_checkpoint(&crew[second], jobs[second], 5), ERR_INVALID);
    // And goes on watching it.
    const proto_worker_assign_t *old = jobs[first];
    silent[second] = true;
    int64_t begun_ms = clock_mono_ms();
    while (!hand_next(&crew[first], PROTO_worker_lost, 0) && clock_mono_ms() < begun_ms + 10000)
        beat(), clock_sleep_ms(10);
    assert_true(clock_mono_ms() - begun_ms < 2500);
    silent[second] = false;
    jobs[first] = jobs[second] = NULL;
    await_busy(3);
    expect_gang(job, 3);
    assert_true(jobs[first]->token > old->token);
    end(holder(0), "succeeded", "succeeded");
}

static void test_members_that_are_back_late_keep_the_gang(void **state) {
    (void)state;
    open(2, NULL);
    const char *job = train(2, 0);
    await_busy(2);
    beat();
    scene_kill_dispatcher();
    scene_start_dispatcher();
    clock_sleep_ms(2000); // a new leader grants a whole lease
    beat_for(300);
    assert_int_equal(scene_show(job)->attempts, 1);
    end(holder(0), "succeeded", "succeeded");
}

// --- Meetings
// -------------------------------------------------------------------------------------

static uint64_t send_meet(size_t who, const char *round, const char *data) {
    const proto_gang_meet_t meet = {.worker = crew[who].name,
                                    .job = jobs[who]->job,
                                    .token = jobs[who]->token,
                                    .rank = jobs[who]->rank,
                                    .round = round,
                                    .data = {data, strlen(data)}};
    err_t err;
    uint64_t id = crew[who].next_id++;
    if (bus_send(crew[who].dealer, NULL, id, 0, PROTO_gang_meet, &meet, NULL, 0, &err) != ERR_OK)
        fail_msg("%s", err.message);
    return id;
}

static const proto_gang_met_t *meet_now(size_t who, const char *round, const char *data,
                                        err_t *err) {
    const proto_gang_meet_t meet = {.worker = crew[who].name,
                                    .job = jobs[who]->job,
                                    .token = jobs[who]->token,
                                    .rank = jobs[who]->rank,
                                    .round = round,
                                    .data = {data, strlen(data)}};
    return hand_try(&crew[who], PROTO_gang_meet, &meet, PROTO_gang_met, err);
}

static void test_a_meeting(void **state) {
    (void)state;
    open(3, NULL);
    train(2, 0);
    await_busy(2);
    err_t err;
    size_t first = holder(0), second = holder(1), other = 3 - first - second;
    send_meet(first, "a", "zero");
    send_meet(first, "a", "again"); // the first counts
    beat_for(300);
    for (size_t i = 0; i < crew[first].got_count; i++)
        assert_int_not_equal(crew[first].got[i].type, PROTO_gang_met);
    const proto_gang_met_t *met = meet_now(second, "a", "one", &err);
    assert_non_null(met);
    assert_int_equal(met->parts.count, 2);
    assert_memory_equal(met->parts.items[0].data.data, "zero", 4);
    assert_memory_equal(met->parts.items[1].data.data, "one", 3);
    met = meet_now(first, "a", "zero", &err); // its answer was lost
    assert_non_null(met);
    assert_memory_equal(met->parts.items[1].data.data, "one", 3);
    // A stranger with the right token; a wrong rank.
    jobs[other] = jobs[second];
    assert_null(meet_now(other, "b", "x", &err));
    assert_int_equal(err.code, ERR_STALE);
    jobs[other] = NULL;
    proto_worker_assign_t wrong = *jobs[second];
    const proto_worker_assign_t *right = jobs[second];
    wrong.rank = 0;
    jobs[second] = &wrong;
    assert_null(meet_now(second, "b", "x", &err));
    assert_int_equal(err.code, ERR_INVALID);
    jobs[second] = right;
    // The gang ends while one waits.
    uint64_t id = send_meet(first, "c", "zero");
    end(second, "failed", "queued");
    await_lost(first, jobs[first]);
    bool refused = false;
    for (size_t i = 0; i < crew[first].got_count; i++)
        if (crew[first].got[i].id == id && crew[first].got[i].type == PROTO_error)
            refused = strcmp(((proto_error_t *)crew[first].got[i].body)->code, "STALE") == 0;
    assert_true(refused);
}

#define TEST(name) cmocka_unit_test_teardown(name, scene_close)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_all_or_none),
        TEST(test_a_gang_comes_before_smaller_jobs_behind_it),
        TEST(test_two_gangs_run_one_after_the_other),
        TEST(test_fewer_than_wanted_if_no_more_are_here),
        TEST(test_now_or_not_at_all),
        TEST(test_a_silent_member_ends_the_gang),
        TEST(test_all_silent_at_once_have_a_whole_lease),
        TEST(test_progress_of_one_is_progress_of_all),
        TEST(test_only_rank_0_speaks_for_the_job),
        TEST(test_a_crash_counts_once),
        TEST(test_a_member_s_process_is_replaced),
        TEST(test_lost_peers_are_forgiven_by_a_checkpoint),
        TEST(test_drain_brings_a_checkpoint),
        TEST(test_cancel_reaches_all),
        TEST(test_a_new_leader_takes_the_gang_over),
        TEST(test_members_that_are_back_late_keep_the_gang),
        TEST(test_a_meeting),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
