// Do the commands keep the contract on a real stack: keys, exit codes, what is refused and how?
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/fs.h"
#include "run.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char home[RUN_HOME_SIZE];
static char *images; // photos and comics

// One stack, one data set and one model for all tests.
static int bring_up(void **state) {
    (void)state;
    run_make_home(home);
    images = fs_join(home, "images");
    expect(0, home, "up", "--detach");
    expect(0, home, "demo-data", images, "--count", "60", "--seed", "1");
    expect(0, home, "ingest", images, "--name", "demo", "--size", "16");
    expect(0, home, "train", "demo", "--width", "2", "--dense", "4", "--epochs", "1");
    return 0;
}

static int take_down(void **state) {
    (void)state;
    free(images);
    run_end_homes();
    return 0;
}

static void expect_keys(const json_t *document, const char *keys) {
    char *copy = mem_dup(keys), *rest = copy, *key;
    while ((key = strsep(&rest, " ")) != NULL)
        if (!run_at(document, key)) {
            char *text = json_dumps(document, 0);
            fail_msg("no %s in %s", key, text);
        }
    free(copy);
}

static void results_have_the_keys_of_the_contract(void **state) {
    (void)state;
    const run_t *r = expect(0, home, "ingest", images, "--name", "keys", "--size", "16", "--json");
    expect_keys(r->json, "job state dataset version images rejected duplicates classes splits "
                         "splits/train splits/val splits/test");
    assert_string_equal(run_text_at(r->json, "state"), "succeeded");
    assert_string_equal(run_text_at(r->json, "classes/0"), "comics");
    assert_int_equal(run_number_at(r->json, "images"), 60);
    r = expect(0, home, "train", "keys", "--width", "2", "--dense", "4", "--epochs", "2", "--json");
    expect_keys(r->json, "job state model version best_epoch images_per_second exact "
                         "weights_sha256 history history/1/epoch history/1/loss "
                         "history/1/accuracy history/1/val_loss history/1/val_accuracy "
                         "test/accuracy test/loss test/auc test/confusion");
    assert_string_equal(run_text_at(r->json, "model"), "keys"); // the data set's name
    assert_int_equal(run_number_at(r->json, "version"), 1);
    assert_int_equal(json_array_size(run_at(r->json, "history")), 2);
    assert_int_equal(strlen(run_text_at(r->json, "weights_sha256")), 64);
    char job[64];
    snprintf(job, sizeof job, "%s", run_text_at(r->json, "job"));
    r = expect(0, home, "job", "show", job, "--json");
    expect_keys(r->json, "id kind state attempts progress reason");
    assert_string_equal(run_text_at(r->json, "id"), job);
    r = expect(0, home, "job", "follow", job, "--json");
    expect_keys(r->json, "job state weights_sha256");
    expect(0, home, "job", "why", job, "--json");
    assert_true(json_is_array(expect(0, home, "job", "logs", job, "--json")->json));
    r = expect(0, home, "evaluate", "keys@1", "keys", "--json");
    expect_keys(r->json, "job state accuracy loss auc confusion");
}

static void lists_are_documents(void **state) {
    (void)state;
    assert_true(json_array_size(expect(0, home, "jobs", "--json")->json) >= 2);
    assert_int_equal(json_array_size(expect(0, home, "workers", "--json")->json), 3);
    expect_keys(json_array_get(expect(0, home, "datasets", "--json")->json, 0), "name version");
    expect_keys(expect(0, home, "dataset", "show", "demo", "--json")->json, "name version images");
    expect_keys(json_array_get(expect(0, home, "models", "demo", "--json")->json, 0),
                "name version promoted");
    expect_keys(expect(0, home, "model", "show", "demo", "--json")->json, "name version promoted");
    assert_non_null(run_at(expect(0, home, "--help", "--json")->json, "help"));
    assert_non_null(run_at(expect(0, home, "version", "--json")->json, "version"));
}

static void predictions_come_to_the_file(void **state) {
    (void)state;
    char *out = fs_join(home, "out.csv"), *nowhere = fs_join(home, "no/out.csv");
    const run_t *r = expect(0, home, "predict", images, "--model", "demo", "--out", out, "--json");
    assert_string_equal(run_text_at(r->json, "out"), out);
    void *text;
    size_t size, lines = 0;
    assert_int_equal(fs_read(out, 1 << 20, &text, &size, NULL), ERR_OK);
    for (size_t i = 0; i < size; i++)
        lines += ((char *)text)[i] == '\n';
    assert_int_equal(lines, 61);
    free(text);
    expect(0, home, "predict", "demo", "--model", "demo@1", "--out", out);
    r = expect(3, home, "predict", "demo", "--model", "demo", "--out", nowhere, "--json");
    assert_non_null(strstr(run_text_at(r->json, "error/remedy"), "make the folder"));
    expect(2, home, "predict", "demo", "--model", "demo", "--json");
    expect(3, home, "predict", "demo", "--model", "nothing", "--out", out, "--json");
    // One image that is none: the table is whole all the same.
    char *mixed = fs_join(home, "mixed"), *bad = fs_join(mixed, "bad.jpg"),
         *good = fs_join(mixed, "good.jpg"), *photo = fs_join(images, "photos/1.jpg");
    assert_int_equal(fs_mkdirs(mixed, NULL), ERR_OK);
    assert_int_equal(fs_write(bad, "no image", 8, NULL), ERR_OK);
    assert_int_equal(symlink(photo, good), 0);
    unlink(out);
    r = expect(1, home, "predict", mixed, "--model", "demo", "--out", out, "--json");
    assert_int_equal(run_number_at(r->json, "failed"), 1);
    assert_non_null(strstr(r->err, "1 of "));
    assert_int_equal(access(out, R_OK), 0);
    char job[64];
    snprintf(job, sizeof job, "%s", run_text_at(r->json, "job"));
    expect(1, home, "job", "follow", job, "--json");
    free(photo);
    free(good);
    free(bad);
    free(mixed);
    free(nowhere);
    free(out);
}

static void classify_answers_for_each_file(void **state) {
    (void)state;
    char *odd = fs_join(home, "a name\nwith 漫画.jpg"), *text = fs_join(home, "text.jpg"),
         *empty = fs_join(home, "empty.png"), *photo = fs_join(images, "photos/1.jpg"),
         *cut = fs_join(home, "cut.jpg");
    void *bytes;
    size_t size;
    assert_int_equal(fs_read(photo, 1 << 24, &bytes, &size, NULL), ERR_OK);
    assert_int_equal(fs_write(odd, bytes, size, NULL), ERR_OK);
    assert_int_equal(fs_write(cut, bytes, size / 3, NULL), ERR_OK);
    assert_int_equal(fs_write(text, "no image", 8, NULL), ERR_OK);
    assert_int_equal(fs_write(empty, "", 0, NULL), ERR_OK);
    const run_t *r = expect(0, home, "classify", photo, odd, "--json", "--model", "demo");
    expect_keys(r->json, "0/file 0/label 0/probability 0/model 0/version 1/label");
    assert_string_equal(run_text_at(r->json, "1/file"), odd);
    assert_string_equal(run_text_at(r->json, "0/label"), run_text_at(r->json, "1/label"));
    assert_null(strstr(expect(0, home, "classify", odd)->out, "name\nwith"));
    r = expect(1, home, "classify", text, empty, cut, photo, "--json");
    expect_keys(r->json, "0/file 0/error/code 1/error/message 2/error/remedy 3/label");
    expect(3, home, "classify", photo, "/nowhere/x.jpg", "--json");
    expect(3, home, "classify", photo, "--model", "nothing", "--json");
    expect(3, home, "classify", photo, "--model", "demo@77", "--json");
    expect(2, home, "classify", photo, "--model", "demo@x", "--json");
    expect(2, home, "classify", "--json");
    r = expect(3, home, "classify", "/nowhere/x.jpg");
    assert_string_equal(r->err, "inkling: /nowhere/x.jpg: it cannot be read: No such file or "
                                "directory; check the path\n");
    r = expect(1, home, "classify", "");
    assert_string_equal(r->err, "inkling: '': the path is empty; give image files\n");
    r = expect(1, home, "classify", home, "/dev/null", "--json");
    expect_keys(r->json, "0/error/remedy 1/error/remedy");
    assert_string_equal(run_text_at(r->json, "1/error/message"), "it is no regular file");
    if (geteuid() != 0) { // root reads everything
        assert_int_equal(chmod(text, 0), 0);
        r = expect(1, home, "classify", text, "--json");
        assert_string_equal(run_text_at(r->json, "0/error/code"), "IO");
        assert_non_null(strstr(run_text_at(r->json, "0/error/remedy"), "chmod"));
    }
    free(bytes);
    free(cut);
    free(photo);
    free(empty);
    free(text);
    free(odd);
}

static void bad_input_has_its_exit_code(void **state) {
    (void)state;
    char *one = fs_join(home, "one"), *class_ = fs_join(one, "class"), *file = fs_join(home, "f");
    assert_int_equal(fs_mkdirs(class_, NULL), ERR_OK);
    assert_int_equal(fs_write(file, "x", 1, NULL), ERR_OK);
    expect(3, home, "train", "nothing", "--json");
    expect(3, home, "train", "demo@9", "--json");
    expect(3, home, "train", "demo", "--init", "nothing", "--json");
    expect(3, home, "evaluate", "nothing", "demo", "--json");
    expect(3, home, "evaluate", "demo", "nothing", "--json");
    expect(3, home, "ingest", "/nowhere", "--name", "x", "--json");
    expect(2, home, "ingest", file, "--name", "x", "--json");
    expect(2, home, "ingest", images, "--name", "a b", "--json");
    expect(2, home, "ingest", images, "--name", "a\nb", "--json");
    expect(2, home, "ingest", images, "--json");
    expect(1, home, "ingest", one, "--name", "x", "--json"); // one class, and that empty
    const run_t *r =
        expect(1, home, "ingest", images, "--name", "x", "--classes", "photos,z", "--json");
    expect_keys(r->json, "error/code error/message error/remedy job state");
    assert_string_equal(run_text_at(r->json, "state"), "failed");
    expect(2, home, "train", "demo", "--lr", "0", "--json");
    expect(2, home, "train", "demo", "--lr", "nan", "--json");
    expect(2, home, "train", "demo", "--dropout", "1", "--json");
    expect(2, home, "train", "demo", "--batch", "0", "--json");
    expect(2, home, "train", "demo", "--epochs", "0", "--json");
    expect(2, home, "frobnicate", "--json");
    expect(3, home, "job", "show", "4711", "--json");
    expect(3, home, "job", "why", "4711", "--json");
    expect(3, home, "job", "follow", "4711", "--json");
    expect(3, home, "job", "cancel", "4711", "--json");
    expect(3, home, "job", "retry", "4711", "--json");
    expect(3, home, "job", "logs", "4711", "--json");
    expect(3, home, "dataset", "show", "nothing", "--json");
    expect(3, home, "dataset", "rm", "nothing", "--json");
    expect(3, home, "model", "show", "nothing", "--json");
    expect(3, home, "model", "rm", "demo@9", "--json");
    expect(2, home, "model", "rm", "demo", "--json");
    expect(3, home, "promote", "demo@9", "--json");
    expect(2, home, "promote", "demo", "--json");
    expect(2, home, "submit", "Train", "--json");
    expect(2, home, "submit", "train", "{", "--json");
    expect(2, home, "submit", "train", "{\"dataset\": \"demo\", \"epochs\": 0}", "--json");
    r = expect(2, home, "submit", "train", "{\"dataset\": \"demo\", \"epoch\": 1}", "--json");
    assert_non_null(strstr(run_text_at(r->json, "error/remedy"), "did you mean epochs?"));
    expect(2, home, "submit", "train", "{\"dataset\": \"demo\", \"bogus\": 1}", "--json");
    r = expect(2, home, "submit", "train", "{\"dataset\": \"demo\", \"epochs\": \"x\"}", "--json");
    assert_non_null(strstr(run_text_at(r->json, "error/remedy"), "inkling help train"));
    r = expect(3, home, "submit", "train", "@/nowhere", "--json");
    assert_non_null(strstr(run_text_at(r->json, "error/remedy"), "JSON"));
    r = expect(1, home, "demo-data", file, "--json");
    assert_non_null(strstr(run_text_at(r->json, "error/remedy"), "folder"));
    r = expect(3, home, "models", "nothing", "--json");
    assert_non_null(strstr(run_text_at(r->json, "error/remedy"), "inkling models"));
    expect(0, home, "status");
    free(file);
    free(class_);
    free(one);
}

static void versions_are_promoted_and_removed(void **state) {
    (void)state;
    expect(0, home, "train", "demo", "--model", "spare", "--width", "2", "--dense", "4", "--epochs",
           "1");
    expect(0, home, "train", "demo", "--model", "spare", "--width", "2", "--dense", "4", "--epochs",
           "1", "--seed", "2");
    const run_t *r = expect(1, home, "model", "rm", "spare@1", "--json");
    assert_string_equal(run_text_at(r->json, "error/code"), "CONFLICT");
    expect_keys(expect(0, home, "promote", "spare@2", "--json")->json, "name version promoted");
    char *photo = fs_join(images, "photos/1.jpg");
    int64_t end_ms = clock_mono_ms() + 60000;
    do { // the one promoted last, as soon as the gateway has loaded it
        r = expect(0, home, "classify", photo, "--json");
        assert_string_equal(run_text_at(r->json, "0/model"), "spare");
    } while (run_number_at(r->json, "0/version") != 2 && clock_mono_ms() < end_ms);
    assert_int_equal(run_number_at(r->json, "0/version"), 2);
    free(photo);
    expect(0, home, "model", "rm", "spare@1", "--json");
    expect(3, home, "model", "show", "spare@1", "--json");
}

// Nobody serves this kind: the job waits, as long as the test wants.
static void ctrl_c_stops_following_only(void **state) {
    (void)state;
    run_t follow;
    run_begin(&follow, home, "submit", "nobodys");
    run_await_text(&follow, "queued  ");
    kill(follow.pid, SIGINT);
    run_finish(&follow);
    assert_int_equal(follow.code, 130);
    const char *hint = strstr(follow.err, "inkling job follow ");
    assert_non_null(hint);
    char job[32];
    assert_int_equal(sscanf(hint, "inkling job follow %30[0-9A-Za-z-]", job), 1);
    run_release(&follow);
    const run_t *r = expect(0, home, "job", "show", job, "--json");
    assert_string_equal(run_text_at(r->json, "state"), "queued");
    assert_non_null(strstr(expect(0, home, "job", "why", job)->out, "nobodys"));
    run_begin(&follow, home, "job", "follow", job, "--json");
    expect(0, home, "job", "cancel", job, "--json");
    run_finish(&follow);
    assert_int_equal(follow.code, 1);
    assert_string_equal(run_text_at(follow.json, "state"), "cancelled");
    assert_non_null(strstr(run_text_at(follow.json, "error/remedy"), "inkling job retry"));
    run_release(&follow);
    r = expect(0, home, "job", "retry", job, "--json");
    assert_string_equal(run_text_at(r->json, "state"), "queued");
    expect(0, home, "job", "cancel", job);
}

static void detached_it_prints_the_id_alone(void **state) {
    (void)state;
    const run_t *r = expect(0, home, "submit", "nobodys", "--detach", "--key", "k");
    char id[32];
    snprintf(id, sizeof id, "%s", r->out);
    assert_int_equal(strspn(id, "0123456789"), strlen(id) - 1);
    r = expect(0, home, "submit", "nobodys", "--detach", "--key", "k", "--json");
    id[strlen(id) - 1] = 0;
    assert_string_equal(run_text_at(r->json, "job"), id);
    assert_true(json_is_true(run_at(r->json, "existing")));
    assert_string_equal(run_text_at(r->json, "state"), "queued");
    r = expect(0, home, "submit", "nobodys", "--detach", "--key", "k");
    assert_non_null(strstr(r->err, "existing"));
    expect(0, home, "job", "cancel", id);
    r = expect(0, home, "submit", "nobodys", "--detach", "--key", "k", "--json");
    assert_string_equal(run_text_at(r->json, "state"), "cancelled");
}

static void groups_and_ranges_are_explained(void **state) {
    (void)state;
    assert_non_null(strstr(expect(0, home, "job")->out, "inkling job why ID"));
    assert_non_null(strstr(expect(0, home, "model", "--help")->out, "inkling model rm"));
    assert_non_null(strstr(expect(0, home, "dataset")->out, "inkling dataset show"));
    assert_non_null(strstr(expect(0, home, "--version")->out, "protocol"));
    assert_non_null(strstr(expect(0, home, "help", "train")->out, "[0 to 9007199254740992]"));
    assert_non_null(strstr(expect(0, home, "help", "up")->out, "return when all is ready"));
    assert_non_null(strstr(expect(0, home, "help", "train")->out, "return at once"));
    assert_null(strstr(expect(0, home, "help")->out, "tunes"));
}

static void every_command_explains_itself(void **state) {
    (void)state;
    static const char *const commands[] = {
        "up",       "down",   "status", "ingest",  "train",   "jobs",     "evaluate", "predict",
        "classify", "models", "submit", "workers", "promote", "datasets", "demo-data"};
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        assert_non_null(strstr(expect(0, home, commands[i], "--help")->out, "--json"));
        assert_non_null(strstr(expect(0, home, "help", commands[i])->out, commands[i]));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(results_have_the_keys_of_the_contract),
        cmocka_unit_test(lists_are_documents),
        cmocka_unit_test(predictions_come_to_the_file),
        cmocka_unit_test(classify_answers_for_each_file),
        cmocka_unit_test(bad_input_has_its_exit_code),
        cmocka_unit_test(versions_are_promoted_and_removed),
        cmocka_unit_test(ctrl_c_stops_following_only),
        cmocka_unit_test(detached_it_prints_the_id_alone),
        cmocka_unit_test(groups_and_ranges_are_explained),
        cmocka_unit_test(every_command_explains_itself),
    };
    return cmocka_run_group_tests(tests, bring_up, take_down);
}
