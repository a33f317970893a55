// How does a run end, and what does it leave behind: done, with nothing to do, cancelled, killed,
// or on a full disk?
#include "base/fs.h"
#include "part.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct {
    int64_t read, written; // cancel once so many were
    int64_t calls, last_read, last_written, files;
} watch_t;

static bool watch(void *context, const ingest_state_t *state) {
    watch_t *seen = context;
    assert_true(state->read >= seen->last_read && state->read <= state->files);
    assert_true(state->written >= seen->last_written);
    seen->last_read = state->read;
    seen->last_written = state->written;
    seen->files = state->files;
    seen->calls++;
    return state->read < seen->read && state->written < seen->written;
}

static void progress_reaches_its_end(void **state) {
    (void)state;
    tree_t tree = tree_two_classes(12);
    ingest_options_t options = tree_options(&tree, 1, 0);
    ingest_result_t result;
    watch_t seen = {.read = INT64_MAX, .written = INT64_MAX};
    assert_int_equal(ingest_run(&options, watch, &seen, &result, NULL), ERR_OK);
    assert_int_equal(seen.last_read, 24);
    assert_int_equal(seen.last_written, 24);
    assert_true(seen.calls >= 2);
    ingest_result_release(&result);
    tree_options_free(&options);
    tree_end(&tree);
}

// A run that writes nothing closes nothing of its caller's.
static void descriptors_stay(void **state) {
    (void)state;
    tree_t tree = tree_two_classes(12);
    int input = dup(STDIN_FILENO); // 0 may be closed already: then it is opened here
    if (input < 0)
        assert_int_equal(open("/dev/null", O_RDONLY), STDIN_FILENO);
    made_t made = tree_version(&tree, 1, 0, INGEST_GROUP_NONE);
    made_free(&made);
    made = tree_version(&tree, 2, 1, INGEST_GROUP_NONE);
    assert_true(made.result.unchanged);
    assert_true(fcntl(STDIN_FILENO, F_GETFD) >= 0);
    made_free(&made);
    ingest_options_t options = tree_options(&tree, 1, 0);
    ingest_result_t result;
    assert_int_equal(ingest_run(&options, NULL, NULL, &result, NULL), ERR_CONFLICT);
    assert_true(fcntl(STDIN_FILENO, F_GETFD) >= 0);
    ingest_result_release(&result);
    if (input >= 0)
        close(input);
    tree_options_free(&options);
    tree_end(&tree);
}

static void cancelled(void **state) {
    (void)state;
    tree_t tree = tree_two_classes(30);
    ingest_options_t options = tree_options(&tree, 1, 0);
    const watch_t ends[] = {
        {0, INT64_MAX, 0, 0, 0, 0}, {60, INT64_MAX, 0, 0, 0, 0}, {INT64_MAX, 60, 0, 0, 0, 0}};
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        watch_t seen = ends[i];
        ingest_result_t result;
        err_t err;
        assert_int_equal(ingest_run(&options, watch, &seen, &result, &err), ERR_CANCELLED);
        ingest_result_release(&result);
        assert_int_equal(tree_left_overs(&tree, &options), 0);
    }
    tree_options_free(&options);
    tree_end(&tree);
}

static bool kill_self(void *context, const ingest_state_t *state) {
    if (state->written >= *(const int64_t *)context)
        raise(SIGKILL);
    return true;
}

static int die(const tree_t *tree, int64_t written) {
    ingest_options_t options = tree_options(tree, 1, 0);
    ingest_result_t result;
    ingest_run(&options, kill_self, &written, &result, NULL);
    return 5;
}

static int die_reading(const tree_t *tree) {
    return die(tree, 0);
}

static int die_when_written(const tree_t *tree) {
    return die(tree, 24);
}

static void age_left_overs(const tree_t *tree) {
    const struct timespec times[2] = {{.tv_sec = 1000000000}, {.tv_sec = 1000000000}};
    DIR *folder = opendir(tree->root);
    assert_non_null(folder);
    for (const struct dirent *entry; (entry = readdir(folder)) != NULL;)
        if (strstr(entry->d_name, ".tmp-")) {
            char *path = fs_join(tree->root, entry->d_name);
            assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
            free(path);
        }
    closedir(folder);
}

// What a run holds is not swept away, however old.
static bool sweep(void *context, const ingest_state_t *state) {
    (void)state;
    age_left_overs(context);
    ingest_sweep(((const tree_t *)context)->root);
    return true;
}

static void held_folders_stay(void **state) {
    (void)state;
    tree_t tree = tree_two_classes(12);
    ingest_options_t options = tree_options(&tree, 1, 0);
    ingest_result_t result;
    assert_int_equal(ingest_run(&options, sweep, &tree, &result, NULL), ERR_OK);
    ingest_result_release(&result);
    tree_options_free(&options);
    tree_end(&tree);
}

static void killed(void **state) {
    (void)state;
    tree_t tree = tree_two_classes(12);
    ingest_options_t options = tree_options(&tree, 1, 0);
    static const char *const parts[] = {"die_reading", "die_when_written"};
    for (int i = 0; i < 2; i++) {
        int status = part_start(parts[i], &tree);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        assert_int_equal(access(options.out, F_OK), -1);
    }
    assert_int_equal(tree_left_overs(&tree, &options), 2); // .tmp-…
    ingest_sweep(tree.root);
    assert_int_equal(tree_left_overs(&tree, &options), 2); // too young
    age_left_overs(&tree);
    ingest_sweep(tree.root);
    assert_int_equal(tree_left_overs(&tree, &options), 0);
    made_t made = tree_ingest(&options);
    ingest_sweep(tree.root);
    assert_int_equal(tree_left_overs(&tree, &options), 1);
    made_free(&made);
    tree_options_free(&options);
    tree_end(&tree);
}

// No file may grow beyond some size: as with a full disk, writing fails in the middle.
static void disk_full(void **state) {
    (void)state;
    tree_t tree = tree_two_classes(200);
    ingest_options_t options = tree_options(&tree, 1, 0);
    struct rlimit before, small;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    signal(SIGXFSZ, SIG_IGN);
    // spool: 400 × 64 bytes; train shard: 4096 + 320 × (64 + 36); index: more than that
    static const rlim_t limits[] = {0, 10000, 26000, 30000};
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        small = (struct rlimit){limits[i], before.rlim_max};
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
        ingest_result_t result;
        err_t err = {0};
        err_code_t code = ingest_run(&options, NULL, NULL, &result, &err);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
        assert_int_equal(code, ERR_IO);
        assert_non_null(strstr(err.message, tree.root));
        ingest_result_release(&result);
        assert_int_equal(tree_left_overs(&tree, &options), 0);
    }
    signal(SIGXFSZ, SIG_DFL);
    tree_options_free(&options);
    tree_end(&tree);
}

static const part_t parts[] = {{"die_reading", die_reading},
                               {"die_when_written", die_when_written}};

int main(int argc, char **argv) {
    if (argc == 3)
        return part_play(parts, sizeof parts / sizeof *parts, argv[1], argv[2]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(progress_reaches_its_end),
        cmocka_unit_test(cancelled),
        cmocka_unit_test(killed),
        cmocka_unit_test(held_folders_stay),
        cmocka_unit_test(disk_full),
        cmocka_unit_test(descriptors_stay),
    };
    return cmocka_run_group_tests(tests, setup_prep, teardown_prep);
}
