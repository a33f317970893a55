// Is it SHA-256 (FIPS 180-4, examples), in one piece, in many, and from a file?
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "digest/digest.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ABC "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"

static void known_answers(void **state) {
    (void)state;
    char hex[DIGEST_HEX_SIZE];
    digest_bytes("abc", 3, hex);
    assert_string_equal(hex, ABC);
    digest_t *digest = digest_new();
    digest_add(digest, "a", 1);
    digest_add(digest, "", 0);
    digest_add(digest, "bc", 2);
    digest_end(&digest, hex);
    assert_null(digest);
    assert_string_equal(hex, ABC);
}

static void files(void **state) {
    (void)state;
    char path[] = "/tmp/inkling-digest-XXXXXX", hex[DIGEST_HEX_SIZE];
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "abc", 3), 3);
    close(fd);
    uint64_t size = 0;
    err_t err;
    assert_int_equal(digest_file(path, hex, &size, &err), ERR_OK);
    assert_string_equal(hex, ABC);
    assert_int_equal(size, 3);
    unlink(path);
    assert_int_equal(digest_file(path, hex, NULL, &err), ERR_NOT_FOUND);
    assert_non_null(strstr(err.message, path));
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(known_answers), cmocka_unit_test(files)};
    return cmocka_run_group_tests_name("digest", tests, NULL, NULL);
}
