// Does the writer's thread keep the last two checkpoints and no more, and go on when it cannot?
#include "made.h"

#include "trainer/writer.h"

#include "base/fs.h"

#include <dirent.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cmocka.h>

// Who records: answers with code, and remembers.
typedef struct {
    made_t *made;
    writer_options_t options;
    char *folder;
    err_code_t code;
    int records, warnings;
    uint64_t step, previous; // of the newest record
    char path[256], sha256[DIGEST_HEX_SIZE], warning[1024];
} rig_t;

static err_code_t record(void *context, const char *path, const char *sha256, const state_t *state,
                         const proto_checkpoint_t *previous, err_t *err) {
    rig_t *rig = context;
    char *full = fs_join(rig->made->folder, path), found[DIGEST_HEX_SIZE];
    ERR_ASSERT(digest_file(full, found, NULL, NULL) == ERR_OK && strcmp(found, sha256) == 0);
    free(full);
    rig->records++;
    rig->step = state->step;
    rig->previous = previous ? previous->step : 0;
    snprintf(rig->path, sizeof rig->path, "%s", path);
    memcpy(rig->sha256, sha256, DIGEST_HEX_SIZE);
    return rig->code ? err_set(err, rig->code, "as the test wants") : ERR_OK;
}

static void warn(void *context, const char *text) {
    rig_t *rig = context;
    rig->warnings++;
    snprintf(rig->warning, sizeof rig->warning, "%s", text);
}

static void remove_below(void *context, const char *path) {
    const rig_t *rig = context;
    assert_int_equal(fs_remove_below(rig->made->folder, path, NULL), ERR_OK);
}

static rig_t *rig_new(made_t *made, int token) {
    rig_t *rig = calloc(1, sizeof *rig);
    rig->made = made;
    rig->folder = mem_format("%s/jobs/j/%d", made->folder, token);
    assert_int_equal(fs_mkdirs(rig->folder, NULL), ERR_OK);
    rig->options = (writer_options_t){.record = record,
                                      .remove = remove_below,
                                      .warn = warn,
                                      .context = rig,
                                      .files = made->folder,
                                      .folder = rig->folder,
                                      .tensors = made->tensors,
                                      .tensor_count = made->count};
    return rig;
}

static void rig_free(rig_t *rig) {
    free(rig->folder);
    free(rig);
}

static bool put(rig_t *rig, writer_t *writer, uint64_t step) {
    checkpoint_t checkpoint;
    writer_reuse(writer, &checkpoint);
    checkpoint_release(&checkpoint);
    checkpoint = made_checkpoint(rig->made, step, 1);
    writer_put(writer, &checkpoint);
    assert_null(checkpoint.params);
    bool stored = writer_wait(writer);
    assert_true(writer_idle(writer));
    return stored;
}

static int count_files(const char *folder) {
    DIR *list = opendir(folder);
    int count = 0;
    for (const struct dirent *entry; list && (entry = readdir(list)) != NULL;)
        count += entry->d_name[0] != '.';
    if (list)
        closedir(list);
    return count;
}

static bool has_step(const rig_t *rig, uint64_t step) {
    char *path = mem_format("%s/step-%" PRIu64 ".ckpt", rig->folder, step);
    bool there = access(path, F_OK) == 0;
    free(path);
    return there;
}

static void test_last_two(void **state) {
    rig_t *rig = rig_new(*state, 1);
    writer_t *writer = writer_new(&rig->options, NULL);
    for (uint64_t step = 1; step <= 5; step++) {
        assert_true(put(rig, writer, step));
        assert_true(rig->step == step && rig->previous == step - 1);
        assert_int_equal(count_files(rig->folder), step == 1 ? 1 : 2);
        assert_true(has_step(rig, step));
    }
    assert_int_equal(writer_error(writer, NULL), ERR_OK);
    writer_keep_last(writer);
    assert_int_equal(count_files(rig->folder), 1);
    assert_true(has_step(rig, 5));
    writer_destroy(&writer);
    assert_int_equal(rig->warnings, 0);
    rig_free(rig);
}

// The attempt before stays until two newer checkpoints are recorded.
static void test_earlier_attempt(void **state) {
    rig_t *old = rig_new(*state, 3), *rig = rig_new(*state, 4);
    writer_t *writer = writer_new(&old->options, NULL);
    assert_true(put(old, writer, 8));
    writer_destroy(&writer);
    const proto_checkpoint_t earlier = {.path = old->path, .digest = old->sha256, .step = 8};
    writer = writer_new(&rig->options, &earlier);
    assert_true(put(rig, writer, 9));
    assert_int_equal(rig->previous, 8);
    assert_true(has_step(old, 8));
    assert_true(put(rig, writer, 10));
    assert_int_not_equal(access(old->folder, F_OK), 0);
    writer_destroy(&writer);
    rig_free(old);
    rig_free(rig);
}

static void test_refused(void **state) {
    rig_t *rig = rig_new(*state, 1);
    writer_t *writer = writer_new(&rig->options, NULL);
    assert_true(put(rig, writer, 1));
    rig->code = ERR_FULL;
    for (uint64_t step = 2; step < 5; step++) {
        assert_false(put(rig, writer, step));
        assert_true(has_step(rig, 1) && !has_step(rig, step));
    }
    assert_int_equal(rig->warnings, 1); // one of several in a row
    assert_non_null(strstr(rig->warning, "as the test wants"));
    assert_int_equal(writer_error(writer, NULL), ERR_OK);
    rig->code = ERR_OK;
    assert_true(put(rig, writer, 5));
    assert_int_equal(rig->previous, 1);
    rig->code = ERR_FULL;
    assert_false(put(rig, writer, 6));
    assert_int_equal(rig->warnings, 2);
    writer_destroy(&writer);
    rig_free(rig);
}

// A lost lease ends it; nobody else's file is touched then.
static void test_stale(void **state) {
    rig_t *rig = rig_new(*state, 1);
    err_t err;
    writer_t *writer = writer_new(&rig->options, NULL);
    assert_true(put(rig, writer, 1));
    assert_true(put(rig, writer, 2));
    rig->code = ERR_STALE;
    assert_false(put(rig, writer, 3));
    assert_int_equal(writer_error(writer, &err), ERR_STALE);
    assert_string_equal(err.message, "as the test wants");
    assert_true(has_step(rig, 1) && has_step(rig, 2));
    assert_int_equal(rig->warnings, 0);
    writer_destroy(&writer);
    rig_free(rig);
}

static bool disk_is_full;

int __real_statvfs(const char *path, struct statvfs *info);
int __wrap_statvfs(const char *path, struct statvfs *info);
int __wrap_statvfs(const char *path, struct statvfs *info) {
    int result = __real_statvfs(path, info);
    if (disk_is_full)
        info->f_bavail = 0;
    return result;
}

// Below the reserve nothing is written at all; a folder that has gone is an error like any other.
static void test_no_room(void **state) {
    rig_t *rig = rig_new(*state, 1);
    rig->options.reserve_bytes = 1ull << 60;
    writer_t *writer = writer_new(&rig->options, NULL);
    assert_false(put(rig, writer, 1));
    assert_int_equal(count_files(rig->folder), 0);
    assert_non_null(strstr(rig->warning, "MB"));
    rig->options.reserve_bytes = 0;
    disk_is_full = true; // to the last byte
    assert_false(put(rig, writer, 1));
    assert_int_equal(count_files(rig->folder), 0);
    disk_is_full = false;
    assert_true(put(rig, writer, 2));
    assert_int_equal(fs_remove_all(rig->folder, NULL), ERR_OK);
    assert_false(put(rig, writer, 3));
    assert_int_equal(rig->warnings, 2);
    assert_int_equal(rig->records, 1);
    writer_destroy(&writer);
    rig_free(rig);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, made_set_up, made_tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_last_two), TEST(test_earlier_attempt), TEST(test_refused),
        TEST(test_stale),    TEST(test_no_room),
    };
    return cmocka_run_group_tests_name("trainer writer", tests, NULL, NULL);
}
