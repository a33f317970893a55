// Does the ingest worker turn a job into a registered version, say in the job's result what became
// of the files, and leave nothing of the attempts that were cancelled or killed?
#include "base/clock.h"
#include "base/fs.h"
#include "fake.h"
#include "proto/json.h"
#include "tree.h"
#include "upload.h"

#include <dirent.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define BIG_SIDE 1500 // of images that take a while

typedef struct {
    fake_t fake;
    tree_t tree;
} world_t;

static int set_up(void **state) {
    world_t *world = mem_zero(1, sizeof *world);
    world->tree = tree_begin();
    fake_open(&world->fake, INGEST_WORKER, "ingest");
    fake_listen(&world->fake, world->fake.endpoint);
    *state = world;
    return 0;
}

static int tear_down(void **state) {
    world_t *world = *state;
    fake_close(&world->fake);
    tree_end(&world->tree);
    free(world);
    return 0;
}

static void two_classes(const tree_t *tree, int count) {
    tree_class(tree, "cats", 1, count);
    tree_class(tree, "dogs", 1001, count);
}

// More work than the test waits for: the same large image many times over.
static void much_work(const tree_t *tree) {
    uint8_t *pixels = mem_alloc((size_t)BIG_SIDE * BIG_SIDE);
    void *bytes;
    size_t size;
    for (int i = 0; i < BIG_SIDE * BIG_SIDE; i++)
        pixels[i] = (uint8_t)(i * 7 + i / 1000);
    tree_bytes(tree, "cats/big.png", "", 0);
    char *path = tree_path(tree, "cats/big.png");
    assert_int_equal(prep_write_png(path, pixels, BIG_SIDE, BIG_SIDE, 1, NULL), ERR_OK);
    assert_int_equal(fs_read(path, 64 << 20, &bytes, &size, NULL), ERR_OK);
    for (int i = 0; i < 1000; i++) {
        char *copy = tree_path(tree, i % 2 ? "cats" : "dogs"), *name = mem_format("%s/%d", copy, i);
        if (i == 0)
            assert_int_equal(fs_mkdirs(copy, NULL), ERR_OK);
        assert_int_equal(link(path, name), 0);
        free(copy);
        free(name);
    }
    free(path);
    free(bytes);
    free(pixels);
}

static void assign(world_t *world, const char *job, uint64_t token, const char *options) {
    char *source = world->tree.source;
    char *body = mem_format("{\"dir\": \"%s\", \"name\": \"pets\", \"size\": 8%s%s}", source,
                            options[0] ? ", " : "", options);
    fake_assign(&world->fake, job, token, body);
    free(body);
}

// The decoder asks for the newest version first. NULL: there is none.
static void answer_show(world_t *world, const proto_dataset_info_t *newest) {
    const got_t *got = fake_expect(&world->fake, PROTO_dataset_show);
    const proto_dataset_show_t *show = got->body;
    assert_string_equal(show->name, "pets");
    assert_int_equal(show->version, 0);
    const proto_dataset_t answer = {.dataset = newest};
    if (newest)
        fake_answer(&world->fake, got, PROTO_dataset, &answer);
    else
        fake_error(&world->fake, got, ERR_NOT_FOUND, NULL);
}

static int64_t number(const json_t *json, const char *key) {
    const json_t *value = json_object_get(json, key);
    if (!json_is_integer(value))
        fail_msg("no number '%s'", key);
    return json_integer_value(value);
}

static void check_text(const json_t *json, const char *key, const char *text) {
    const json_t *value = json_object_get(json, key);
    if (!json_is_string(value))
        fail_msg("no text '%s'", key);
    assert_string_equal(json_string_value(value), text);
}

static const proto_job_finish_t *succeed(world_t *world, json_t **result) {
    const proto_job_finish_t *finish = fake_finish(&world->fake, NULL);
    if (strcmp(finish->outcome, "succeeded") != 0)
        fail_msg("%s: %s", finish->outcome, finish->error ? finish->error->message : "");
    *result = proto_map_json(finish->result);
    assert_non_null(*result);
    return finish;
}

// Names in the folder of all versions.
static int count_versions(const world_t *world) {
    char *path = mem_format("%s/files/datasets/pets", world->fake.home);
    DIR *folder = opendir(path);
    int count = 0;
    for (const struct dirent *entry; folder && (entry = readdir(folder)) != NULL;)
        count += entry->d_name[0] != '.';
    if (folder)
        closedir(folder);
    free(path);
    return count;
}

// ---- jobs ----

static void check_version(const world_t *world, const proto_new_dataset_t *dataset) {
    shard_dataset_t *ds;
    err_t err;
    char *folder = mem_format("%s/files/%s", world->fake.home, dataset->path);
    if (shard_open(folder, &ds, &err) != ERR_OK)
        fail_msg("%s", err.message);
    assert_string_equal(shard_digest(ds), dataset->digest);
    assert_string_equal(shard_info(ds)->name, "pets");
    shard_close(&ds);
    free(folder);
}

static void check_result(const json_t *result) {
    check_text(result, "dataset", "pets");
    assert_int_equal(number(result, "images"), 40);
    assert_int_equal(number(result, "rejected"), 1);
    assert_int_equal(number(result, "duplicates"), 1);
    assert_int_equal(number(result, "conflicts"), 0);
    const json_t *classes = json_object_get(result, "classes");
    assert_int_equal(json_array_size(classes), 2);
    assert_string_equal(json_string_value(json_array_get(classes, 0)), "cats");
    assert_string_equal(json_string_value(json_array_get(classes, 1)), "dogs");
    const json_t *splits = json_object_get(result, "splits");
    assert_int_equal(json_object_size(splits), 3);
    assert_int_equal(number(splits, "train"), 32);
    assert_int_equal(number(splits, "val"), 4);
    assert_int_equal(number(splits, "test"), 4);
}

static void a_version_and_the_same_again(void **state) {
    world_t *world = *state;
    json_t *result;
    two_classes(&world->tree, 20);
    tree_image(&world->tree, "cats/copy.png", 3);
    tree_bytes(&world->tree, "dogs/notes.jpg", "woof", 4);
    fake_worker(&world->fake, NULL);
    assign(world, "j1", 5, "\"seed\": 3");
    answer_show(world, NULL);
    const proto_job_finish_t *finish = succeed(world, &result);
    check_result(result);
    assert_false(json_boolean_value(json_object_get(result, "unchanged")));
    char *rejects = mem_format("%s/files/datasets/pets/j1-5/rejects.jsonl", world->fake.home);
    check_text(result, "rejects", rejects);
    assert_int_equal(access(rejects, R_OK), 0);
    json_decref(result);
    free(rejects);
    const proto_new_dataset_t *dataset = finish->dataset;
    assert_non_null(dataset);
    assert_string_equal(dataset->name, "pets");
    assert_string_equal(dataset->path, "datasets/pets/j1-5");
    assert_int_equal(dataset->base, 0);
    check_version(world, dataset);
    json_t *info = proto_map_json(dataset->info);
    check_result(info);
    assert_int_equal(number(info, "size"), 8);
    assert_int_equal(number(info, "channels"), 1);
    assert_int_equal(number(info, "seed"), 3);
    json_decref(info);
    // The same folder again: no new version.
    const proto_dataset_info_t newest = {
        .name = "pets", .version = 7, .path = dataset->path, .digest = dataset->digest};
    assign(world, "j2", 6, "\"seed\": 3");
    answer_show(world, &newest);
    finish = succeed(world, &result);
    check_result(result);
    assert_true(json_boolean_value(json_object_get(result, "unchanged")));
    assert_int_equal(number(result, "version"), 7);
    assert_null(finish->dataset);
    json_decref(result);
    // Another option: the next one.
    assign(world, "j3", 7, "\"seed\": 4");
    answer_show(world, &newest);
    finish = succeed(world, &result);
    assert_int_equal(finish->dataset->base, 7);
    check_version(world, finish->dataset);
    json_decref(result);
    assert_int_equal(count_versions(world), 2);
}

// Text on the wire is UTF-8, whatever the folders' names are made of: escaped once, as the manifest
// has it.
static void odd_class_names(void **state) {
    world_t *world = *state;
    json_t *result;
    tree_class(&world->tree, "a\\b\xff", 1, 10);
    tree_class(&world->tree, "caf\xc3\xa9 \n", 101, 10);
    fake_worker(&world->fake, NULL);
    assign(world, "j1", 1, "");
    answer_show(world, NULL);
    succeed(world, &result);
    const json_t *classes = json_object_get(result, "classes");
    assert_string_equal(json_string_value(json_array_get(classes, 0)), "a\\\\b\\xff");
    assert_string_equal(json_string_value(json_array_get(classes, 1)), "caf\xc3\xa9 \n");
    json_decref(result);
}

static void expect_failure(world_t *world, const char *code, const char *part) {
    const proto_job_finish_t *finish = fake_finish(&world->fake, NULL);
    assert_string_equal(finish->outcome, "failed");
    assert_string_equal(finish->error->code, code);
    assert_false(finish->error->retryable);
    if (!strstr(finish->error->message, part))
        fail_msg("'%s' is not in: %s", part, finish->error->message);
    assert_true(finish->error->remedy[0] != 0);
}

static void failures_name_the_culprit(void **state) {
    world_t *world = *state;
    two_classes(&world->tree, 12);
    tree_bytes(&world->tree, "dogs/notes.jpg", "woof", 4);
    fake_worker(&world->fake, NULL);
    fake_assign(&world->fake, "j1", 1, "{\"dir\": \"pets\", \"name\": \"pets\"}");
    expect_failure(world, "INVALID", "'pets' is no absolute path");
    fake_assign(&world->fake, "j2", 2, "{\"dir\": \"/\", \"name\": \"../pets\"}");
    expect_failure(world, "INVALID", "'../pets'");
    fake_assign(&world->fake, "j3", 3, "{\"dir\": \"/no/such\", \"name\": \"pets\"}");
    answer_show(world, NULL);
    expect_failure(world, "NOT_FOUND", "/no/such");
    assign(world, "j4", 4, "\"strict\": true");
    answer_show(world, NULL);
    expect_failure(world, "INVALID", "dogs/notes.jpg");
    assign(world, "j5", 5, "\"classes\": [\"cats\", \"birds\"]");
    answer_show(world, NULL);
    expect_failure(world, "NOT_FOUND", "'birds'");
    assign(world, "j6", 6, "\"fit\": \"squeeze\"");
    answer_show(world, NULL);
    expect_failure(world, "INVALID", "squeeze");
    assert_false(fake_has_file(&world->fake, "datasets/pets"));
}

// ---- uploads ----

static upload_t upload(const world_t *world) {
    char *files = mem_format("%s/files", world->fake.home);
    upload_t made = upload_make(world->tree.source, files);
    free(files);
    return made;
}

static void assign_upload(world_t *world, const char *job, uint64_t token, const char *digest,
                          const char *options) {
    char *all = mem_format("\"upload\": \"%s\"%s%s", digest, options[0] ? ", " : "", options);
    assign(world, job, token, all);
    free(all);
}

// The folder is gone when its upload becomes what it became.
static void an_upload_is_as_good(void **state) {
    world_t *world = *state;
    json_t *result;
    two_classes(&world->tree, 20);
    tree_image(&world->tree, "cats/copy.png", 3);
    tree_bytes(&world->tree, "dogs/notes.jpg", "woof", 4);
    upload_t made = upload(world);
    fake_worker(&world->fake, NULL);
    assign(world, "j1", 5, "");
    answer_show(world, NULL);
    const proto_new_dataset_t *here = succeed(world, &result)->dataset;
    json_decref(result);
    assert_int_equal(fs_remove_all(world->tree.source, NULL), ERR_OK);
    assign_upload(world, "j2", 6, made.digest, "");
    answer_show(world, NULL);
    const proto_new_dataset_t *there = succeed(world, &result)->dataset;
    check_result(result);
    json_decref(result);
    assert_string_equal(there->path, "datasets/pets/j2-6");
    assert_string_equal(there->digest, here->digest); // of the manifest, and so of everything
    check_version(world, there);
    const proto_dataset_info_t newest = {
        .name = "pets", .version = 7, .path = here->path, .digest = here->digest};
    assign_upload(world, "j3", 7, made.digest, "");
    answer_show(world, &newest);
    assert_null(succeed(world, &result)->dataset);
    assert_true(json_boolean_value(json_object_get(result, "unchanged")));
    json_decref(result);
    upload_free(&made);
}

static void damaged_uploads(void **state) {
    world_t *world = *state;
    char digest[DIGEST_HEX_SIZE];
    two_classes(&world->tree, 12);
    upload_t made = upload(world);
    fake_worker(&world->fake, NULL);
    assign_upload(world, "j1", 1, "../../secret", "");
    expect_failure(world, "INVALID", "upload: '../../secret' is no digest");
    digest_bytes("elsewhere", 9, digest);
    assign_upload(world, "j2", 2, digest, "");
    expect_failure(world, "NOT_FOUND", "the stack does not have the upload's");
    char *blob = upload_path(&made, "dogs/1003.png");
    assert_int_equal(fs_write(blob, "rotten", 6, NULL), ERR_OK);
    assign_upload(world, "j3", 3, made.digest, "");
    answer_show(world, NULL);
    expect_failure(world, "CORRUPT", "dogs/1003.png: the stack's copy");
    assign_upload(world, "j4", 4, made.digest, "");
    answer_show(world, NULL);
    expect_failure(world, "NOT_FOUND", "dogs/1003.png: the stack does not have the upload's");
    assert_false(fake_has_file(&world->fake, "datasets/pets"));
    upload_free(&made);
    free(blob);
}

// ---- what the log tells ----

static int count_lines(const char *text) {
    int lines = 0;
    for (; *text; text++)
        lines += *text == '\n';
    return lines;
}

static void check_log(const world_t *world, const char *part) {
    if (!strstr(world->fake.logs, part))
        fail_msg("'%s' is not in the job's log: %s", part, world->fake.logs);
}

// A failed job leaves no rejects.jsonl: its log says which files and why.
static void refused_files_are_logged(void **state) {
    world_t *world = *state;
    tree_class(&world->tree, "dogs", 1001, 12);
    for (int i = 0; i < 33; i++) {
        char *path = mem_format("cats/%02d.jpg", i);
        tree_bytes(&world->tree, path, "meow", 4);
        free(path);
    }
    fake_worker(&world->fake, NULL);
    assign(world, "j1", 1, "");
    answer_show(world, NULL);
    expect_failure(world, "INVALID", "33 of 33 files were rejected, e.g. cats/00.jpg: ");
    check_log(world, "cats/00.jpg: ");
    check_log(world, "cats/19.jpg: ");
    check_log(world, "and 13 more files were refused\n");
    assert_int_equal(count_lines(world->fake.logs), 21);
    tree_class(&world->tree, "cats", 1, 12);
    tree_image(&world->tree, "cats/dog.png", 1005);
    assign(world, "j2", 2, "\"strict\": true");
    answer_show(world, NULL);
    expect_failure(world, "INVALID", "files were refused, e.g. cats/");
    assert_in_range(count_lines(world->fake.logs), 20, 21);
    assign(world, "j3", 3, "");
    answer_show(world, NULL);
    json_t *result;
    succeed(world, &result);
    json_decref(result);
    assert_int_equal(count_lines(world->fake.logs), 1);
    check_log(world, "35 files were refused: ");
    check_log(world, "/j3-3/rejects.jsonl says why\n");
    // A link that puts every image under two labels.
    char *link = tree_path(&world->tree, "dogs/loop");
    assert_int_equal(symlink("..", link), 0);
    free(link);
    assign(world, "j4", 4, "");
    answer_show(world, NULL);
    expect_failure(world, "INVALID", "stand under another label too");
    check_log(world, "cats/00.jpg: ");
}

// ---- ends ----

// Waits until the decoder has said that it is at work.
static void wait_for_work(world_t *world) {
    const got_t *got = fake_expect(&world->fake, PROTO_job_report);
    fake_ok(&world->fake, got);
}

static void cancel_leaves_nothing(void **state) {
    world_t *world = *state;
    much_work(&world->tree);
    fake_worker(&world->fake, (const char *[]){"--threads", "1", NULL});
    assign(world, "j1", 1, "");
    answer_show(world, NULL);
    wait_for_work(world);
    assert_int_equal(count_versions(world), 1);
    const proto_worker_cancel_t cancel = {.job = "j1", .token = 1};
    int64_t start = clock_mono_ms();
    fake_send(&world->fake, PROTO_worker_cancel, &cancel);
    assert_string_equal(fake_finish(&world->fake, NULL)->outcome, "cancelled");
    assert_true(clock_mono_ms() - start < 5000);
    assert_int_equal(count_versions(world), 0);
}

static void drain_gives_the_job_back(void **state) {
    world_t *world = *state;
    much_work(&world->tree);
    fake_worker(&world->fake, (const char *[]){"--threads", "1", NULL});
    assign(world, "j1", 1, "");
    answer_show(world, NULL);
    wait_for_work(world);
    kill(world->fake.worker, SIGTERM);
    assert_string_equal(fake_finish(&world->fake, NULL)->outcome, "released");
    assert_int_equal(count_versions(world), 0);
    fake_ok(&world->fake, fake_expect(&world->fake, PROTO_worker_bye));
    int status = fake_reap(&world->fake);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

// Killed in the middle: the next attempt clears away what is left, and what an earlier attempt
// finished without anybody hearing of it; nobody else's.
static void the_next_attempt_clears_up(void **state) {
    world_t *world = *state;
    much_work(&world->tree);
    fake_worker(&world->fake, (const char *[]){"--threads", "1", NULL});
    assign(world, "j1", 1, "");
    answer_show(world, NULL);
    wait_for_work(world);
    kill(world->fake.worker, SIGKILL);
    fake_reap(&world->fake);
    assert_int_equal(count_versions(world), 1);
    static const char *const others[] = {"j1-2", "j1-12", "j12-1", "j1-2x", "j1-1.tmp-old"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        char *path = mem_format("%s/files/datasets/pets/%s", world->fake.home, others[i]);
        assert_int_equal(fs_mkdirs(path, NULL), ERR_OK);
        free(path);
    }
    char *all = tree_path(&world->tree, "");
    assert_int_equal(fs_remove_all(all, NULL), ERR_OK);
    free(all);
    two_classes(&world->tree, 12);
    world->fake.hellos = 0;
    fake_worker(&world->fake, NULL);
    assign(world, "j1", 3, "");
    answer_show(world, NULL);
    json_t *result;
    assert_string_equal(succeed(world, &result)->dataset->path, "datasets/pets/j1-3");
    json_decref(result);
    assert_true(fake_has_file(&world->fake, "datasets/pets/j1-12"));
    assert_true(fake_has_file(&world->fake, "datasets/pets/j12-1"));
    assert_true(fake_has_file(&world->fake, "datasets/pets/j1-2x"));
    assert_int_equal(count_versions(world), 4);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_version_and_the_same_again),
        TEST(odd_class_names),
        TEST(failures_name_the_culprit),
        TEST(an_upload_is_as_good),
        TEST(damaged_uploads),
        TEST(refused_files_are_logged),
        TEST(cancel_leaves_nothing),
        TEST(drain_gives_the_job_back),
        TEST(the_next_attempt_clears_up),
    };
    return cmocka_run_group_tests(tests, setup_prep, teardown_prep);
}
