// Does the registry keep what jobs made: numbered, promoted, and never taken from under a job?
#include "scene.h"

#include "base/clock.h"
#include "base/fs.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static hand_t ann; // serves every built-in kind

static void open(void) {
    scene_open(NULL, NULL);
    hand_open(&ann, "ann", "ingest", 1);
    ann.kinds[1] = "train";
    ann.kinds[2] = "evaluate";
    hand_hello(&ann, NULL, 0);
}

// --- What jobs make

static const proto_worker_assign_t *begin(const char *kind, const char *body) {
    const char *job = scene_submit(kind, body);
    const proto_worker_assign_t *assign = hand_take(&ann);
    assert_string_equal(assign->job, job);
    return assign;
}

static const proto_worker_assign_t *begin_ingest(void) {
    return begin("ingest", "{\"dir\":\"/photos\",\"name\":\"demo\"}");
}

static const proto_worker_assign_t *begin_train(void) {
    return begin("train", "{\"dataset\":\"demo\"}");
}

// Contents are told apart by one letter.
static const char *digest_of(char letter) {
    char text[65];
    memset(text, letter, 64);
    text[64] = 0;
    return proto_arena_text(scene.arena, text);
}

// A folder with a file in it; its path relative to the stack's files.
static const char *make_folder(const char *parent, char letter) {
    char path[64], full[256];
    err_t err;
    snprintf(path, sizeof path, "%s/demo/%c", parent, letter);
    snprintf(full, sizeof full, "%s/files/%s", scene.home, path);
    if (fs_mkdirs(full, &err) != ERR_OK)
        fail_msg("%s", err.message);
    snprintf(full, sizeof full, "%s/files/%s/content", scene.home, path);
    if (fs_write(full, &letter, 1, &err) != ERR_OK)
        fail_msg("%s", err.message);
    return proto_arena_text(scene.arena, path);
}

static bool exists(const char *path) {
    char full[256];
    struct stat info;
    snprintf(full, sizeof full, "%s/files/%s", scene.home, path);
    return stat(full, &info) == 0;
}

static void await_gone(const char *path) {
    int64_t end_ms = clock_mono_ms() + PATIENCE_MS;
    while (exists(path) && clock_mono_ms() < end_ms)
        clock_sleep_ms(10);
    assert_false(exists(path));
}

static const proto_job_finished_t *end(const proto_worker_assign_t *job,
                                       const proto_new_dataset_t *dataset,
                                       const proto_new_model_t *model) {
    proto_job_finish_t finish = hand_end(&ann, job, "succeeded");
    finish.dataset = dataset;
    finish.model = model;
    err_t err;
    const proto_job_finished_t *done =
        hand_try(&ann, PROTO_job_finish, &finish, PROTO_job_finished, &err);
    if (!done)
        fail_msg("%s", err.message);
    return done;
}

static const proto_job_finished_t *end_ingest(const proto_worker_assign_t *job, uint64_t base,
                                              char letter) {
    proto_new_dataset_t made = {.name = "demo",
                                .base = base,
                                .path = make_folder("datasets", letter),
                                .digest = digest_of(letter),
                                .info = scene_map("{\"images\":7}")};
    return end(job, &made, NULL);
}

static const proto_job_finished_t *end_train(const proto_worker_assign_t *job, char letter) {
    proto_new_model_t made = {.name = "demo",
                              .path = make_folder("models", letter),
                              .digest = digest_of(letter),
                              .info = scene_map("{\"width\":4}")};
    return end(job, NULL, &made);
}

// --- Questions

static const proto_dataset_info_t *dataset(uint64_t version) {
    proto_dataset_show_t show = {.name = "demo", .version = version};
    return ((proto_dataset_t *)scene_ask(PROTO_dataset_show, &show, PROTO_dataset))->dataset;
}

static const proto_datasets_t *datasets(void) {
    proto_dataset_list_t list = {0};
    return scene_ask(PROTO_dataset_list, &list, PROTO_datasets);
}

static const proto_model_info_t *model(uint64_t version) {
    proto_model_show_t show = {.name = "demo", .version = version};
    return ((proto_model_t *)scene_ask(PROTO_model_show, &show, PROTO_model))->model;
}

static const proto_models_t *models(bool promoted) {
    proto_model_list_t list;
    proto_defaults(PROTO_model_list, &list);
    list.promoted = promoted;
    return scene_ask(PROTO_model_list, &list, PROTO_models);
}

static const proto_model_info_t *promote_part(uint64_t version, double percent) {
    proto_model_promote_t order = {.name = "demo", .version = version, .percent = percent};
    return ((proto_model_t *)scene_ask(PROTO_model_promote, &order, PROTO_model))->model;
}

static const proto_model_info_t *promote(uint64_t version) {
    return promote_part(version, 100);
}

static err_t promote_refused(uint64_t version, double percent, err_code_t code) {
    proto_model_promote_t order = {.name = "demo", .version = version, .percent = percent};
    return scene_refused(PROTO_model_promote, &order, code);
}

static const proto_model_rolled_back_t *rollback(uint64_t version) {
    proto_model_rollback_t order = {.name = "demo", .version = version};
    return scene_ask(PROTO_model_rollback, &order, PROTO_model_rolled_back);
}

static err_t rollback_refused(uint64_t version, err_code_t code) {
    proto_model_rollback_t order = {.name = "demo", .version = version};
    return scene_refused(PROTO_model_rollback, &order, code);
}

static void expect_text(const char *text, const char *words) {
    if (!strstr(text, words))
        fail_msg("'%s' does not say '%s'", text, words);
}

// --- Data sets

static void test_versions_of_a_data_set(void **state) {
    (void)state;
    open();
    assert_int_equal(datasets()->datasets.count, 0);
    const proto_worker_assign_t *first = begin_ingest();
    assert_int_equal(end_ingest(first, 0, 'a')->version, 1);
    assert_int_equal(end_ingest(begin_ingest(), 1, 'b')->version, 2);
    const proto_dataset_info_t *info = dataset(1);
    assert_string_equal(info->path, "datasets/demo/a");
    assert_string_equal(info->digest, digest_of('a'));
    assert_string_equal(info->job, first->job);
    assert_string_equal(scene_json(info->info), "{\"images\":7}");
    assert_true(info->created_ms > 0);
    assert_int_equal(dataset(0)->version, 2);
    const proto_datasets_t *list = datasets();
    assert_int_equal(list->datasets.count, 1); // the newest of each
    assert_int_equal(list->datasets.items[0].version, 2);
    // The same once more is no new version.
    assert_int_equal(end_ingest(begin_ingest(), 2, 'b')->version, 2);
    // One that was made beside the newest is done again, on top of it.
    const proto_worker_assign_t *late = begin_ingest();
    assert_string_equal(end_ingest(late, 1, 'c')->state, "queued");
    assert_int_equal(dataset(0)->version, 2);
    late = hand_take(&ann);
    assert_int_equal(late->attempt, 2);
    assert_int_equal(end_ingest(late, 2, 'c')->version, 3);
    // Its jobs' ends, told again, register nothing.
    assert_int_equal(end_ingest(late, 2, 'c')->version, 3);
    assert_int_equal(dataset(0)->version, 3);
}

static void test_a_data_set_in_use_stays(void **state) {
    (void)state;
    open();
    end_ingest(begin_ingest(), 0, 'a');
    end_ingest(begin_ingest(), 1, 'b');
    const proto_worker_assign_t *train = begin_train(); // takes the newest
    proto_dataset_rm_t rm = {.name = "demo", .version = 2};
    err_t err = scene_refused(PROTO_dataset_rm, &rm, ERR_CONFLICT);
    expect_text(err.message, "version 2 is needed by job ");
    expect_text(err.remedy, train->job);
    rm.version = 0; // all, of which one is in use: none goes
    scene_refused(PROTO_dataset_rm, &rm, ERR_CONFLICT);
    assert_int_equal(dataset(1)->version, 1);
    rm.version = 1;
    scene_ask(PROTO_dataset_rm, &rm, PROTO_ok);
    await_gone("datasets/demo/a");
    err = scene_refused(PROTO_dataset_rm, &rm, ERR_NOT_FOUND);
    expect_text(err.message, "there is no version 1 of data set demo");
    assert_true(exists("datasets/demo/b"));
    hand_finish(&ann, train, "succeeded", "succeeded");
    rm.version = 0;
    scene_ask(PROTO_dataset_rm, &rm, PROTO_ok);
    await_gone("datasets/demo/b");
    assert_int_equal(datasets()->datasets.count, 0);
    proto_dataset_show_t show = {.name = "demo"};
    scene_refused(PROTO_dataset_show, &show, ERR_NOT_FOUND);
    // A number is never given twice: what was written of demo@2 stays true.
    assert_int_equal(end_ingest(begin_ingest(), 0, 'd')->version, 3);
}

// --- Models

static void test_which_model_is_served(void **state) {
    (void)state;
    open();
    end_ingest(begin_ingest(), 0, 'a');
    const proto_worker_assign_t *first = begin_train();
    assert_int_equal(end_train(first, 'a')->version, 1);
    assert_true(model(1)->promoted); // the first is
    assert_int_equal(end_train(begin_train(), 'b')->version, 2);
    assert_false(model(2)->promoted);
    assert_int_equal(model(0)->version, 1); // the promoted one, not the newest
    assert_string_equal(model(1)->job, first->job);
    const proto_models_t *list = models(false);
    assert_int_equal(list->models.count, 2);
    assert_int_equal(list->models.items[0].version, 2);
    uint64_t before = list->revision;
    const proto_model_info_t *served = promote(2);
    assert_true(served->promoted);
    assert_true(served->promoted_at > before);
    list = models(true);
    assert_int_equal(list->models.count, 1);
    assert_int_equal(list->models.items[0].version, 2);
    assert_int_equal(list->revision, served->promoted_at);
    assert_false(model(1)->promoted);
    // Again: it is the one promoted last.
    assert_true(promote(2)->promoted_at > served->promoted_at);
    err_t err = promote_refused(3, 100, ERR_NOT_FOUND);
    expect_text(err.message, "there is no version 3 of model demo");
    uint64_t revision = models(true)->revision;
    scene_kill_dispatcher();
    scene_start_dispatcher();
    assert_int_equal(model(0)->version, 2);
    assert_int_equal(models(true)->revision, revision);
}

static void test_a_model_in_use_stays(void **state) {
    (void)state;
    open();
    end_ingest(begin_ingest(), 0, 'a');
    end_train(begin_train(), 'a');
    end_train(begin_train(), 'b');
    proto_model_rm_t rm = {.name = "demo", .version = 1};
    err_t err = scene_refused(PROTO_model_rm, &rm, ERR_CONFLICT);
    expect_text(err.message, "model demo@1 is promoted");
    promote(2);
    const proto_worker_assign_t *job =
        begin("evaluate", "{\"model\":\"demo@1\",\"dataset\":\"demo\"}");
    expect_text(scene_json(job->body), "\"model\":\"demo@1\"");
    expect_text(scene_json(job->body), "\"dataset_version\":1");
    err = scene_refused(PROTO_model_rm, &rm, ERR_CONFLICT);
    expect_text(err.message, "version 1 is needed by job ");
    expect_text(err.remedy, job->job);
    hand_finish(&ann, job, "succeeded", "succeeded");
    scene_ask(PROTO_model_rm, &rm, PROTO_ok);
    await_gone("models/demo/a");
    assert_true(exists("models/demo/b"));
    scene_refused(PROTO_model_rm, &rm, ERR_NOT_FOUND);
    // Named without a version: the one that is served, for every attempt.
    job = begin("evaluate", "{\"model\":\"demo\",\"dataset\":\"demo\"}");
    expect_text(scene_json(job->body), "\"model\":\"demo@2\"");
    hand_finish(&ann, job, "succeeded", "succeeded");
}

static void train_versions_from(int first, int count) {
    for (int i = first; i < first + count; i++)
        assert_int_equal(end_train(begin_train(), (char)('a' + i))->version, i + 1);
}

static void train_versions(int count) {
    end_ingest(begin_ingest(), 0, 'a');
    train_versions_from(0, count);
}

// What gateways are told: the promoted version and the canary, each with its share.
static void expect_served(uint64_t promoted, uint64_t canary, double percent) {
    const proto_models_t *list = models(true);
    assert_int_equal(list->models.count, canary ? 2 : 1);
    assert_int_equal(list->models.items[0].version, promoted);
    assert_true(list->models.items[0].promoted && list->models.items[0].canary == 0);
    if (canary) {
        const proto_model_info_t *info = &list->models.items[1];
        assert_int_equal(info->version, canary);
        assert_true(!info->promoted && info->canary == percent && info->promoted_at == 0);
    }
}

static void test_a_canary_is_tried_and_completed(void **state) {
    (void)state;
    open();
    train_versions(4);
    uint64_t first_at = model(1)->promoted_at, before = models(true)->revision;
    const proto_model_info_t *info = promote_part(2, 12.5);
    assert_true(!info->promoted && info->canary == 12.5);
    expect_served(1, 2, 12.5);
    assert_true(models(true)->revision > before);      // those who wait for a change are told
    assert_int_equal(model(1)->promoted_at, first_at); // what is promoted has not changed
    assert_int_equal(model(0)->version, 1);
    before = models(true)->revision;
    promote_part(2, 40); // another share
    expect_served(1, 2, 40);
    assert_true(models(true)->revision > before);
    // It stays through the death of the dispatcher.
    scene_kill_dispatcher();
    scene_start_dispatcher();
    hand_hello(&ann, NULL, 0);
    expect_served(1, 2, 40);
    promote_part(3, 5); // another canary takes its place
    expect_served(1, 3, 5);
    assert_int_equal(models(false)->models.count, 4);
    err_t err = promote_refused(1, 10, ERR_CONFLICT);
    expect_text(err.message, "demo@1 is promoted");
    expect_text(err.remedy, "rollback demo");
    err = promote_refused(9, 10, ERR_NOT_FOUND);
    expect_text(err.message, "there is no version 9 of model demo");
    expect_served(1, 3, 5); // refusals change nothing
    proto_model_rm_t rm = {.name = "demo", .version = 3};
    err = scene_refused(PROTO_model_rm, &rm, ERR_CONFLICT);
    expect_text(err.message, "demo@3 is the canary");
    expect_text(err.remedy, "rollback demo");
    promote(3); // in full
    expect_served(3, 0, 0);
    promote_part(4, 50);
    promote(2); // any promotion in full ends a canary
    expect_served(2, 0, 0);
    promote_part(4, 50);
    promote(2);
    expect_served(2, 0, 0);
    // A training that promotes what it makes does so, too.
    promote_part(4, 50);
    proto_new_model_t made = {.name = "demo",
                              .path = make_folder("models", 'z'),
                              .digest = digest_of('z'),
                              .promote = "always"};
    assert_int_equal(end(begin_train(), NULL, &made)->version, 5);
    expect_served(5, 0, 0);
    assert_int_equal(rollback(5)->model->version, 2);
}

static void test_a_canary_needs_a_promoted_version(void **state) {
    (void)state;
    open();
    end_ingest(begin_ingest(), 0, 'a');
    proto_new_model_t made = {.name = "demo",
                              .path = make_folder("models", 'a'),
                              .digest = digest_of('a'),
                              .promote = "never"};
    end(begin_train(), NULL, &made);
    err_t err = promote_refused(1, 10, ERR_CONFLICT);
    expect_text(err.message, "no version of model demo is promoted");
    expect_text(err.remedy, "`inkling promote demo@1`");
    err = rollback_refused(1, ERR_NOT_FOUND);
    expect_text(err.message, "no version of a model demo is promoted");
    assert_int_equal(models(true)->models.count, 0);
    promote(1);
    expect_served(1, 0, 0);
}

static void test_rollback_goes_back_step_by_step(void **state) {
    (void)state;
    open();
    train_versions(4);
    uint64_t first_at = model(1)->promoted_at;
    err_t err = rollback_refused(1, ERR_CONFLICT);
    expect_text(err.message, "no version of model demo was promoted before demo@1");
    promote(2);
    promote(2); // again is no step
    promote(3);
    promote_part(4, 30);
    err = rollback_refused(3, ERR_CONFLICT);
    expect_text(err.message, "demo@4 is tried beside demo@3");
    expect_text(err.remedy, "`inkling rollback demo@4`");
    const proto_model_rolled_back_t *done = rollback(4); // the canary goes first
    assert_true(done->canary && done->version == 4 && done->model->version == 3);
    expect_served(3, 0, 0);
    // Asked again it is answered, and not done again.
    uint64_t revision = models(true)->revision;
    done = rollback(4);
    assert_true(done->canary && done->version == 4 && done->model->version == 3);
    assert_int_equal(models(true)->revision, revision);
    done = rollback(3);
    assert_true(!done->canary && done->version == 3 && done->model->version == 2);
    expect_served(2, 0, 0);
    assert_true(models(true)->revision > revision);
    done = rollback(3);
    assert_true(!done->canary && done->version == 3 && done->model->version == 2);
    err = rollback_refused(4, ERR_CONFLICT); // not the last thing that was rolled back
    expect_text(err.message, "demo@4 is not served; promoted is demo@2");
    scene_kill_dispatcher(); // the history is kept, and so is what was done last
    scene_start_dispatcher();
    hand_hello(&ann, NULL, 0);
    assert_int_equal(rollback(3)->model->version, 2);
    assert_int_equal(rollback(2)->model->version, 1);
    assert_int_equal(model(1)->promoted_at, first_at); // as it was then
    err = rollback_refused(1, ERR_CONFLICT);
    expect_text(err.message, "was promoted before demo@1");
    expect_served(1, 0, 0);
}

static void test_rollback_to_what_was_removed_is_refused(void **state) {
    (void)state;
    open();
    train_versions(3);
    promote(2);
    promote(3);
    proto_model_rm_t rm = {.name = "demo", .version = 2};
    scene_ask(PROTO_model_rm, &rm, PROTO_ok);
    err_t err = rollback_refused(3, ERR_CONFLICT);
    expect_text(err.message, "demo@2, which was promoted before demo@3, has been removed");
    expect_text(err.remedy, "`inkling promote demo@1`");
    expect_served(3, 0, 0);
    rm.version = 1;
    scene_ask(PROTO_model_rm, &rm, PROTO_ok);
    err = rollback_refused(3, ERR_CONFLICT);
    expect_text(err.remedy, "`inkling promote demo@VERSION`");
    assert_int_equal(models(true)->models.count, 1);
    // The history has an end.
    train_versions_from(3, 2);
    for (int i = 0; i < 40; i++)
        promote(4 + (uint64_t)i % 2);
    for (int i = 0; i < 16; i++)
        rollback(5 - (uint64_t)i % 2);
    rollback_refused(5, ERR_CONFLICT);
    expect_served(5, 0, 0);
}

// The gateway waits for a change so.
static void test_who_waits_for_a_change_is_told(void **state) {
    (void)state;
    open();
    end_ingest(begin_ingest(), 0, 'a');
    end_train(begin_train(), 'a');
    end_train(begin_train(), 'b');
    proto_model_list_t list;
    proto_defaults(PROTO_model_list, &list);
    list.promoted = true;
    list.after = models(true)->revision;
    list.wait_ms = 60000;
    err_t err;
    if (bus_send(ann.dealer, NULL, 900, 0, PROTO_model_list, &list, NULL, 0, &err) != ERR_OK)
        fail_msg("%s", err.message);
    hand_renew(&ann, NULL, 0); // was taken after it
    assert_int_equal(ann.got_count, 0);
    promote(2);
    int64_t end_ms = clock_mono_ms() + PATIENCE_MS;
    while (ann.got_count == 0 && clock_mono_ms() < end_ms)
        hand_next(&ann, PROTO_worker_cancel, 10); // only receives
    assert_int_equal(ann.got_count, 1);
    assert_int_equal(ann.got[0].type, PROTO_models);
    const proto_models_t *changed = ann.got[0].body;
    assert_true(changed->revision > list.after);
    assert_int_equal(changed->models.items[0].version, 2);
}

// --- Bodies

static void refuse(const char *kind, const char *body, err_code_t code, const char *words) {
    proto_job_submit_t submit = scene_wish(kind, body);
    err_t err = scene_refused(PROTO_job_submit, &submit, code);
    expect_text(err.message, words);
}

#define UPLOAD "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void test_bodies_are_checked_before_they_wait(void **state) {
    (void)state;
    static const struct {
        const char *kind, *body, *words;
    } wrong[] = {
        {"ingest", "{\"name\":\"demo\"}", "dir"},
        {"ingest", "{\"dir\":\"/p\"}", "name"},
        {"ingest", "{\"dir\":\"p\",\"name\":\"demo\"}", "dir: 'p' is no absolute path"},
        {"ingest", "{\"dir\":\"/p\",\"name\":\"../demo\"}", "name"},
        {"ingest", "{\"dir\":\"/p\",\"name\":\"demo\",\"fit\":\"squeeze\"}", "fit: 'squeeze'"},
        {"ingest", "{\"dir\":\"/p\",\"name\":\"demo\",\"group_by\":\"day\"}", "group_by: 'day'"},
        {"ingest", "{\"dir\":\"/p\",\"name\":\"demo\",\"classes\":[\"cat\"]}", "only 'cat'"},
        {"ingest", "{\"dir\":\"/p\",\"name\":\"demo\",\"upload\":\"../x\"}",
         "upload: '../x' is no digest"},
        {"train", NULL, "dataset"},
        {"train", "{\"dataset\":\"demo\",\"epochs\":0}", "epochs"},
        {"train", "{\"dataset\":\"demo\",\"lr\":-1.0}", "lr"},
        {"train", "{\"dataset\":\"demo\",\"schedule\":\"random\"}", "schedule: 'random'"},
        {"train", "{\"dataset\":\"demo\",\"precision\":\"fp8\"}", "precision: 'fp8'"},
        {"train", "{\"dataset\":\"demo\",\"augment\":\"flip,spin\"}", "augment 'flip,spin'"},
        {"train", "{\"dataset\":\"demo\",\"model\":\"a b\"}", "model"},
        {"train", "{\"dataset\":\"demo\",\"init\":\"demo@zero\"}", "init"},
        {"evaluate", "{\"dataset\":\"demo\"}", "model"},
        {"evaluate", "{\"model\":\"demo\",\"dataset\":\"demo\",\"split\":\"some\"}",
         "split: 'some'"},
        {"predict", "{\"model\":\"demo\"}", "one of dir and dataset"},
        {"predict", "{\"model\":\"demo\",\"dir\":\"/p\",\"dataset\":\"demo\"}", "only one of dir"},
        {"predict", "{\"model\":\"demo\",\"dir\":\"p\"}", "dir: 'p' is no absolute path"},
        {"predict", "{\"model\":\"demo\",\"dir\":\"/p\",\"upload\":\"12\"}",
         "upload: '12' is no digest"},
        {"predict", "{\"model\":\"demo\",\"dataset\":\"demo\",\"upload\":\"" UPLOAD "\"}",
         "upload goes with dir"},
    };
    open();
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        refuse(wrong[i].kind, wrong[i].body, ERR_INVALID, wrong[i].words);
    refuse("train", "{\"dataset\":\"demo\"}", ERR_NOT_FOUND, "there is no data set demo");
    end_ingest(begin_ingest(), 0, 'a');
    refuse("train", "{\"dataset\":\"demo\",\"dataset_version\":9}", ERR_NOT_FOUND,
           "there is no version 9 of data set demo");
    refuse("evaluate", "{\"model\":\"demo\",\"dataset\":\"demo\"}", ERR_NOT_FOUND,
           "there is no model demo");
    assert_int_equal(scene_redis_number("GET ids"), 1); // none of them became a job
}

#define TEST(name) cmocka_unit_test_teardown(name, scene_close)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_versions_of_a_data_set),
        TEST(test_a_data_set_in_use_stays),
        TEST(test_which_model_is_served),
        TEST(test_a_model_in_use_stays),
        TEST(test_a_canary_is_tried_and_completed),
        TEST(test_a_canary_needs_a_promoted_version),
        TEST(test_rollback_goes_back_step_by_step),
        TEST(test_rollback_to_what_was_removed_is_refused),
        TEST(test_who_waits_for_a_change_is_told),
        TEST(test_bodies_are_checked_before_they_wait),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
