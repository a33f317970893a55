// Does the store log in to a Redis that asks for it, with the rights that `inkling keys redis`
// gives, and say what is wrong when it may not?
#include "rig.h"

#include "base/fs.h"
#include "sec/sec.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct { char folder[32], acl[64], password[80]; } keys;

static int make_keys(void **state) {
    bool made;
    err_t err;
    void *bytes;
    size_t size;
    char path[64];
    rig_set_up_bare(state);
    snprintf(keys.folder, sizeof keys.folder, "/tmp/login-XXXXXX");
    assert_non_null(mkdtemp(keys.folder));
    snprintf(keys.acl, sizeof keys.acl, "%s/users.acl", keys.folder);
    snprintf(path, sizeof path, "%s/redis.password", keys.folder);
    if (sec_redis_init(keys.folder, keys.acl, &made, &err) != ERR_OK)
        fail_msg("%s", err.message);
    assert_true(made);
    assert_int_equal(fs_read(path, sizeof keys.password - 1, &bytes, &size, NULL), ERR_OK);
    snprintf(keys.password, sizeof keys.password, "%.*s", (int)strcspn(bytes, "\n"), (char *)bytes);
    free(bytes);
    return 0;
}

static int remove_keys(void **state) {
    rig_tear_down(state);
    return fs_remove_all(keys.folder, NULL);
}

static void open_with(const char *user, const char *password) {
    rig_open_store(rig.redis.socket);
    if (password)
        store_login(rig.store, user, password);
}

static void start(void) {
    rig_start_redis((const char *[]){"--aclfile", keys.acl, NULL});
}

static void everything_that_is_needed_is_allowed(void **state) {
    (void)state;
    start();
    open_with("inkling", keys.password);
    rig_run_until_up(1);
    // Two writes: a transaction in the append-only file, which a start must be allowed to replay.
    assert_int_equal(rig_ask(PAIR, "n", "2"), ERR_OK);
    assert_int_equal(rig.last, 3);
    redis_kill(&rig.redis);
    rig_run_until_down(1);
    err_t err;
    assert_int_equal(redis_restart(&rig.redis, &err), ERR_OK);
    rig_run_until_up(2);
    assert_int_equal(rig_ask(ADD, "n", "4"), ERR_OK);
    assert_int_equal(rig.last, 7);
}

static void refused(const char *user, const char *password, err_code_t code, const char *culprit,
                    const char *remedy) {
    open_with(user, password);
    rig_run_until_down(1);
    assert_int_equal(rig.why.code, code);
    if (!strstr(rig.why.message, culprit) || !strstr(rig.why.remedy, remedy))
        fail_msg("%s; %s", rig.why.message, rig.why.remedy);
    if (password && password[0])
        assert_null(strstr(rig.why.message, password));
    assert_int_equal(rig.ups, 0);
    store_destroy(&rig.store);
    rig.downs = 0;
}

static void wrong_credentials_are_told(void **state) {
    (void)state;
    start();
    refused("inkling", "a guess", ERR_INVALID, "refuses the user inkling", "redis_password_file");
    refused("nobody", keys.password, ERR_INVALID, "refuses the user nobody", "redis_user");
    refused("default", "", ERR_INVALID, "refuses the user default", "redis_user");
    refused(NULL, NULL, ERR_UNAVAILABLE, "NOAUTH", "redis_password_file");
}

static void command(const char *line) {
    char copy[80], *rest = copy, *word;
    store_bytes_t words[8];
    size_t count = 0;
    snprintf(copy, sizeof copy, "%s", line);
    while (count < 8 && (word = strsep(&rest, " ")) != NULL)
        words[count++] = rig_bytes_of(word);
    memset(&rig.err, 0, sizeof rig.err);
    assert_int_equal(store_command(rig.store, words, count, rig_on_answer, (void *)rig.next, NULL),
                     ERR_OK);
    rig_run_until_answered(rig.answered + 1);
}

static void what_harms_others_is_forbidden(void **state) {
    (void)state;
    static const char *const forbidden[] = {"FLUSHALL",
                                            "CONFIG SET appendonly no",
                                            "SHUTDOWN",
                                            "ACL LIST",
                                            "REPLICAOF 127.0.0.1 1",
                                            "KEYS *",
                                            "SWAPDB 0 1",
                                            "CLIENT LIST",
                                            "MODULE LIST"};
    start();
    open_with("inkling", keys.password);
    rig_run_until_up(1);
    command("SET n 1");
    assert_int_equal(rig.err.code, ERR_OK);
    for (size_t i = 0; i < sizeof forbidden / sizeof *forbidden; i++) {
        command(forbidden[i]);
        if (rig.err.code == ERR_OK || !strstr(rig.err.message, "NOPERM"))
            fail_msg("%s: %s", forbidden[i], rig.err.message);
    }
}

static void files_are_made_once(void **state) {
    (void)state;
    bool made;
    void *first, *second;
    size_t size;
    assert_int_equal(fs_read(keys.acl, 4096, &first, &size, NULL), ERR_OK);
    assert_int_equal(remove(keys.acl), 0);
    assert_int_equal(sec_redis_init(keys.folder, keys.acl, &made, NULL), ERR_OK);
    assert_false(made);
    assert_int_equal(fs_read(keys.acl, 4096, &second, &size, NULL), ERR_OK);
    assert_string_equal(first, second);
    assert_null(strstr(first, keys.password));
    free(first);
    free(second);
}

#define T(test) cmocka_unit_test_setup_teardown(test, make_keys, remove_keys)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(everything_that_is_needed_is_allowed),
        T(wrong_credentials_are_told),
        T(what_harms_others_is_forbidden),
        T(files_are_made_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
