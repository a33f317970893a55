// Who may use HTTP: are tokens asked for as soon as there are some, and is a token's rate kept?
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/fs.h"
#include "gateway/auth.h"
#include "sec/sec.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static struct {
    char keys[32];
    auth_t *auth;
    int64_t retry_s;
    err_t err;
} place;

static int open_place(void **state) {
    (void)state;
    snprintf(place.keys, sizeof place.keys, "/tmp/auth-XXXXXX");
    assert_non_null(mkdtemp(place.keys));
    place.auth = auth_new(place.keys);
    return 0;
}

static int close_place(void **state) {
    (void)state;
    auth_destroy(&place.auth);
    return fs_remove_all(place.keys, NULL);
}

static void make(const char *name, double rate, char field[96]) {
    char token[SEC_TOKEN_SIZE];
    assert_int_equal(sec_token_new(place.keys, name, rate, token, &place.err), ERR_OK);
    assert_int_equal(strlen(token), SEC_TOKEN_SIZE - 1);
    snprintf(field, 96, "Bearer %s", token);
}

static err_code_t check(const char *field, int64_t now_us) {
    place.retry_s = 0;
    return auth_check(place.auth, field, now_us, &place.retry_s, &place.err);
}

static err_code_t check_soon(const char *field, err_code_t wanted) {
    int64_t end_ms = clock_mono_ms() + 10000;
    err_code_t code = check(field, 0);
    while (code != wanted && clock_mono_ms() < end_ms) { // a folder's change is seen a moment later
        clock_sleep_ms(20);
        code = check(field, 0);
    }
    return code;
}

static void without_tokens_everybody_may(void **state) {
    (void)state;
    assert_false(auth_has_tokens(place.auth));
    assert_int_equal(check(NULL, 0), ERR_OK);
    assert_int_equal(check("Bearer whatever", 0), ERR_OK);
}

static void with_one_only_who_shows_it(void **state) {
    (void)state;
    char field[96];
    make("web", 0, field);
    assert_int_equal(check_soon(NULL, ERR_DENIED), ERR_DENIED);
    assert_non_null(strstr(place.err.message, "needs a token"));
    static const char *const wrong[] = {"",       "Bearer", "Bearer ",    "Basic eDp5",
                                        "bearer", "ink_",   "Bearer ink_"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_int_equal(check(wrong[i], 0), ERR_DENIED);
    assert_int_equal(check(field + 7, 0), ERR_DENIED); // without its scheme
    assert_int_equal(check(field, 0), ERR_OK);
    memcpy(field, "bEARER", 6); // a scheme has no case
    assert_int_equal(check(field, 0), ERR_OK);
    for (char *at = field + 7; *at; at++) { // every character counts
        *at ^= 1;
        assert_int_equal(check(field, 0), ERR_DENIED);
        *at ^= 1;
    }
    assert_int_equal(check(field, 0), ERR_OK);
    field[strlen(field) - 1] = 0;
    assert_int_equal(check(field, 0), ERR_DENIED);
}

static void a_token_ends_with_its_file(void **state) {
    (void)state;
    char web[96], other[96], path[96];
    make("web", 0, web);
    make("other", 0, other);
    assert_int_equal(check_soon(web, ERR_OK), ERR_OK);
    assert_int_equal(sec_token_new(place.keys, "web", 0, path, &place.err), ERR_CONFLICT);
    snprintf(path, sizeof path, "%s/tokens/web.token", place.keys);
    struct stat info;
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600);
    unlink(path);
    assert_int_equal(check_soon(web, ERR_DENIED), ERR_DENIED);
    assert_int_equal(check(other, 0), ERR_OK);
}

static void a_damaged_file_lets_nobody_in(void **state) {
    (void)state;
    char web[96], path[96];
    void *text;
    size_t size;
    make("web", 0, web);
    snprintf(path, sizeof path, "%s/tokens/web.token", place.keys);
    assert_int_equal(fs_read(path, 4096, &text, &size, &place.err), ERR_OK);
    assert_null(strstr(text, web + 7)); // the token itself is not in it
    snprintf(path, sizeof path, "%s/tokens/web.token", place.keys);
    *strstr(text, "sha256") = 'x';
    assert_int_equal(fs_write(path, text, size, &place.err), ERR_OK);
    free(text);
    assert_int_equal(check_soon(web, ERR_DENIED), ERR_DENIED);
}

static void the_last_one_gone_does_not_open_the_door(void **state) {
    (void)state;
    char web[96], path[96];
    make("web", 0, web);
    assert_int_equal(check_soon(NULL, ERR_DENIED), ERR_DENIED);
    snprintf(path, sizeof path, "%s/tokens/web.token", place.keys);
    unlink(path);
    assert_int_equal(check_soon(web, ERR_DENIED), ERR_DENIED);
    assert_int_equal(check(NULL, 0), ERR_DENIED);
}

// Who takes all descriptors changes nothing about who is let in, now or later.
static void a_folder_that_cannot_be_read_changes_nothing(void **state) {
    (void)state;
    char web[96], late[96];
    struct rlimit before, none;
    make("web", 0, web);
    assert_int_equal(check_soon(NULL, ERR_DENIED), ERR_DENIED);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    make("late", 0, late);
    none = before;
    none.rlim_cur = 0;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    int64_t end_ms = clock_mono_ms() + 300;
    while (clock_mono_ms() < end_ms) {
        assert_int_equal(check(NULL, 0), ERR_DENIED);
        assert_int_equal(check(web, 0), ERR_OK);
        clock_sleep_ms(20);
    }
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(check_soon(late, ERR_OK), ERR_OK);
    assert_int_equal(check(NULL, 0), ERR_DENIED);
}

static void a_rate_is_kept(void **state) {
    (void)state;
    char slow[96], fast[96];
    make("slow", 2, slow);
    make("fast", 1000, fast);
    assert_int_equal(check_soon(NULL, ERR_DENIED), ERR_DENIED);
    assert_int_equal(check(slow, 1000000), ERR_OK); // two in the bucket
    assert_int_equal(check(slow, 1000000), ERR_OK);
    assert_int_equal(check(slow, 1000000), ERR_FULL);
    assert_int_equal(place.retry_s, 1);
    assert_non_null(strstr(place.err.message, "slow"));
    for (int i = 0; i < 1000; i++) // another's bucket is another's
        assert_int_equal(check(fast, 1000000), ERR_OK);
    assert_int_equal(check(fast, 1000000), ERR_FULL);
    assert_int_equal(check(slow, 1499000), ERR_FULL);
    assert_int_equal(check(slow, 1500000), ERR_OK); // half a second fills one
    assert_int_equal(check(slow, 1500000), ERR_FULL);
    assert_int_equal(check(slow, 100000000), ERR_OK); // no more than two, however long it waits
    assert_int_equal(check(slow, 100000000), ERR_OK);
    assert_int_equal(check(slow, 100000000), ERR_FULL);
}

static void over_time_the_rate_is_the_rate(void **state) {
    (void)state;
    char field[96];
    int let_in = 0;
    make("web", 7.5, field);
    assert_int_equal(check_soon(NULL, ERR_DENIED), ERR_DENIED);
    for (int64_t ms = 0; ms < 100000; ms += 3)
        let_in += check(field, ms * 1000) == ERR_OK;
    assert_in_range(let_in, 750, 750 + 8);
}

#define T(name) cmocka_unit_test_setup_teardown(name, open_place, close_place)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(without_tokens_everybody_may),
        T(with_one_only_who_shows_it),
        T(a_token_ends_with_its_file),
        T(a_damaged_file_lets_nobody_in),
        T(the_last_one_gone_does_not_open_the_door),
        T(a_folder_that_cannot_be_read_changes_nothing),
        T(a_rate_is_kept),
        T(over_time_the_rate_is_the_rate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
