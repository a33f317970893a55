// Does the real trainer make the very same model whatever is killed, stopped, damaged, refused or
// full, and when? The dispatcher is played by the test.
#include "toy.h"

#include "base/clock.h"
#include "base/fs.h"
#include "base/philox.h"
#include "model/model.h"
#include "proto/json.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define LONG "{" TOY_TRAIN ", \"epochs\": 60, \"augment\": \"flip,shift\", \"seed\": 5}"

// weights_sha256 of the job undisturbed, in a stage of its own; malloc'ed.
static char *undisturbed(const char *body) {
    stage_t *stage = malloc(sizeof *stage);
    stage_open(stage, TOY_SIZE);
    stage_worker(stage, NULL);
    stage_submit(stage, "j0", "train", body);
    json_t *result = stage_succeed(stage);
    char *sha256 = mem_dup(toy_text(result, "weights_sha256"));
    json_decref(result);
    stage_close(stage);
    free(stage);
    return sha256;
}

// ---- killed, and going on ----

static void kill_worker(stage_t *stage) {
    kill(stage->fake.worker, SIGKILL);
    waitpid(stage->fake.worker, NULL, 0);
    stage->fake.worker = 0;
    stage_worker(stage, NULL);
}

static void kill_engine(stage_t *stage) {
    kill(stage_engine(stage), SIGKILL);
    const proto_job_finish_t *finish = stage_finish(stage);
    if (strcmp(finish->outcome, "succeeded") != 0) // it may just have ended
        assert_string_equal(finish->outcome, "died");
}

static void test_killed_anywhere(void **state) {
    stage_t *stage = *state;
    char *wanted = undisturbed(LONG);
    stage_worker(stage, NULL);
    for (uint32_t round = 0; round < 2; round++) {
        stage_submit(stage, round ? "j2" : "j1", "train", LONG);
        uint32_t kills = 0;
        for (; kills < 6; kills++) {
            // after some of 60 epochs, and anywhere in the next
            philox_t random = philox(3, round, kills, 0, 0);
            int reached = stage->checkpoints + (int)philox_below(random.v[0], 6);
            while (!stage->finish && stage->checkpoints < reached)
                stage_pump(stage, 1);
            stage_pump(stage, 1 + philox_below(random.v[1], 20));
            if (stage->finish)
                break;
            if (kills % 3 == 2)
                kill_worker(stage);
            else
                kill_engine(stage);
            if (stage->finish && strcmp(stage->finish->outcome, "succeeded") == 0)
                break;
            stage_again(stage);
        }
        assert_true(kills >= 3); // of the engine twice, and of the worker
        json_t *result = stage_succeed(stage);
        assert_string_equal(toy_text(result, "weights_sha256"), wanted);
        assert_true(toy_number(result, "epochs_run") == 60);
        toy_check_history(result, 60);
        json_decref(result);
        assert_int_equal(stage->warnings, 0);
        assert_int_equal(toy_count_files(stage, round ? "jobs/j2" : "jobs/j1", "*.ckpt*"), 1);
    }
    // what attempts that died left has gone, too
    assert_int_equal(toy_count_files(stage, "models", "model.json"), 2);
    free(wanted);
}

static void test_killed_at_the_end(void **state) {
    stage_t *stage = *state;
    stage_worker(stage, NULL);
    stage_submit(stage, "j1", "train", "{" TOY_TRAIN ", \"epochs\": 3}");
    json_t *first = stage_succeed(stage);
    int made = stage->checkpoints;
    // killed before it had cleaned up, and as if the end had never been stored
    char *left = stage_path(stage, "jobs/j1/1/step-9.ckpt");
    char *torn = stage_path(stage, "jobs/j1/1/step-18.ckpt.tmp-a1b2c3");
    assert_int_equal(fs_write(left, "x", 1, NULL), ERR_OK);
    assert_int_equal(fs_write(torn, "x", 1, NULL), ERR_OK);
    free(left);
    free(torn);
    stage_again(stage);
    json_t *second = stage_succeed(stage);
    assert_int_equal(toy_count_files(stage, "jobs/j1", "*.ckpt*"), 1);
    assert_true(json_equal(first, second));
    assert_int_equal(stage->checkpoints, made);
    assert_string_equal(stage->models[0].path, stage->models[1].path);
    // and with a model that is damaged it trains again
    char *path = stage_path(stage, stage->models[0].path);
    char *weights = fs_join(path, MODEL_WEIGHTS);
    assert_int_equal(truncate(weights, 1000), 0);
    stage_again(stage);
    json_t *third = stage_succeed(stage);
    assert_string_equal(toy_text(first, "weights_sha256"), toy_text(third, "weights_sha256"));
    assert_int_equal(stage->warnings, 1);
    free(weights);
    free(path);
    json_decref(first);
    json_decref(second);
    json_decref(third);
}

static void damage(stage_t *stage, const char *relative) {
    char *path = stage_path(stage, relative);
    FILE *file = fopen(path, "r+");
    assert_non_null(file);
    fseek(file, -9, SEEK_END);
    int byte = fgetc(file);
    fseek(file, -9, SEEK_END); // C wants it between reading and writing
    fputc(byte ^ 1, file);
    fclose(file);
    free(path);
}

static void test_damaged_checkpoint(void **state) {
    stage_t *stage = *state;
    char *wanted = undisturbed(LONG);
    stage_worker(stage, NULL);
    stage_submit(stage, "j1", "train", LONG);
    stage_await(stage, &stage->checkpoints, 4);
    kill_engine(stage);
    // the one before still serves
    json_t *info = proto_map_json(stage->checkpoint.info);
    const json_t *previous = json_object_get(info, "previous");
    damage(stage, stage->checkpoint.path);
    stage_again(stage);
    stage_await(stage, &stage->warnings, 1);
    assert_non_null(strstr(stage->warning, "SHA-256"));
    int before = stage->checkpoints;
    stage_await(stage, &stage->checkpoints, before + 1);
    assert_true((double)stage->checkpoint.step > toy_number(previous, "step"));
    json_decref(info);
    kill_engine(stage);
    // both damaged
    info = proto_map_json(stage->checkpoint.info);
    damage(stage, stage->checkpoint.path);
    damage(stage, toy_text(json_object_get(info, "previous"), "path"));
    json_decref(info);
    stage_again(stage);
    json_t *result = stage_succeed(stage);
    assert_string_equal(toy_text(result, "weights_sha256"), wanted);
    assert_true(stage->warnings >= 4);
    json_decref(result);
    free(wanted);
}

// A checkpoint of another job's parameters is none of ours.
static void test_foreign_checkpoint(void **state) {
    stage_t *stage = *state;
    stage_worker(stage, NULL);
    stage_submit(stage, "j1", "train", LONG);
    stage_await(stage, &stage->checkpoints, 3);
    kill_engine(stage);
    stage->body = "{" TOY_TRAIN ", \"epochs\": 2, \"seed\": 6}";
    stage_again(stage);
    json_t *result = stage_succeed(stage);
    char *wanted = undisturbed(stage->body);
    assert_string_equal(toy_text(result, "weights_sha256"), wanted);
    assert_non_null(strstr(stage->warning, "beginning"));
    json_decref(result);
    free(wanted);
}

// ---- stopped on request ----

#define ENDLESS "{" TOY_TRAIN ", \"epochs\": 100000}"

static void test_cancel(void **state) {
    stage_t *stage = *state;
    stage_worker(stage, NULL);
    stage_submit(stage, "j1", "train", ENDLESS);
    stage_await(stage, &stage->metrics, 2);
    proto_worker_cancel_t cancel = {.job = "j1", .token = stage->token};
    int64_t start = clock_mono_ms();
    fake_send(&stage->fake, PROTO_worker_cancel, &cancel);
    const proto_job_finish_t *finish = stage_finish(stage);
    assert_string_equal(finish->outcome, "cancelled");
    assert_true(clock_mono_ms() - start < 5000);
    assert_int_equal(toy_count_files(stage, "models", "*"), 0);
}

static void test_drain(void **state) {
    stage_t *stage = *state;
    char *wanted = undisturbed(LONG);
    stage_worker(stage, NULL);
    stage_submit(stage, "j1", "train", LONG);
    stage_await(stage, &stage->metrics, 3);
    kill(stage->fake.worker, SIGTERM);
    const proto_job_finish_t *finish = stage_finish(stage);
    assert_string_equal(finish->outcome, "released");
    assert_true(stage->checkpoint.step > 0);
    fake_reap(&stage->fake);
    stage_worker(stage, NULL);
    uint64_t step = stage->checkpoint.step;
    stage_again(stage);
    json_t *result = stage_succeed(stage);
    assert_string_equal(toy_text(result, "weights_sha256"), wanted);
    assert_true(step > 0);
    json_decref(result);
    free(wanted);
}

// ---- checkpoints that are not taken ----

static uint64_t leased_step(stage_t *stage) {
    fake_wait_renew(&stage->fake);
    const proto_worker_renew_t *renew = &stage->fake.renew;
    return renew->leases.count ? renew->leases.items[0].step : 0;
}

// The dispatcher stays silent about a checkpoint: training goes on. Then the lease is lost: what
// the engine does is of no interest any more, and the worker takes the next job.
static void test_unanswered_and_stale(void **state) {
    stage_t *stage = *state;
    stage_worker(stage, NULL);
    stage->deaf_to_checkpoints = true;
    stage_submit(stage, "j1", "train", ENDLESS);
    for (int i = 0; i < 1000 && !stage->unanswered; i++)
        stage_pump(stage, 20);
    assert_non_null(stage->unanswered);
    pid_t engine = stage_engine(stage);
    uint64_t first = leased_step(stage);
    for (int i = 0; i < 1000 && leased_step(stage) <= first + 20; i++)
        stage_pump(stage, 20);
    assert_true(leased_step(stage) > first + 20);
    assert_int_equal(stage->checkpoints, 0);
    fake_error(&stage->fake, stage->unanswered, ERR_STALE, NULL);
    assert_true(fake_gone(&stage->fake, engine, 10000));
    assert_null(stage->finish);
    stage->deaf_to_checkpoints = false;
    stage_submit(stage, "j2", "train", "{" TOY_TRAIN ", \"epochs\": 2}");
    json_decref(stage_succeed(stage));
}

// Refused, not unanswered: told, and training goes on; its file does not stay.
static void test_refused_checkpoint(void **state) {
    stage_t *stage = *state;
    stage_worker(stage, NULL);
    stage->refuse_checkpoints = ERR_INVALID;
    stage_submit(stage, "j1", "train", "{" TOY_TRAIN ", \"epochs\": 3}");
    json_decref(stage_succeed(stage));
    assert_int_equal(stage->warnings, 1);
    assert_non_null(strstr(stage->warning, "as the test wants"));
    assert_int_equal(toy_count_files(stage, "jobs/j1", "*.ckpt*"), 1);
}

static void test_full_disk(void **state) {
    stage_t *stage = *state;
    stage_worker(stage, (const char *[]){"--disk-reserve-mb", "1048576", NULL});
    stage_submit(stage, "j1", "train", "{" TOY_TRAIN ", \"epochs\": 3}");
    json_t *result = stage_succeed(stage);
    assert_int_equal(stage->checkpoints, 0);
    assert_int_equal(stage->warnings, 1); // not one for each
    assert_non_null(strstr(stage->warning, "without a checkpoint"));
    json_decref(result);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        TOY_TEST(test_killed_anywhere),
        TOY_TEST(test_killed_at_the_end),
        TOY_TEST(test_damaged_checkpoint),
        TOY_TEST(test_foreign_checkpoint),
        TOY_TEST(test_cancel),
        TOY_TEST(test_drain),
        TOY_TEST(test_unanswered_and_stale),
        TOY_TEST(test_refused_checkpoint),
        TOY_TEST(test_full_disk),
    };
    toy_filter(argc, argv);
    return cmocka_run_group_tests_name("interrupted", tests, NULL, NULL);
}
