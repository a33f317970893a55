// Does a checkpoint come back as it was, and is a damaged one always noticed?
#include "made.h"

#include "base/fs.h"
#include "base/philox.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void test_round_trip(void **state) {
    const made_t *made = *state;
    char *path = fs_join(made->folder, "a.ckpt"), sha256[DIGEST_HEX_SIZE], found[DIGEST_HEX_SIZE];
    for (int epochs = 0; epochs < 3; epochs++) {
        checkpoint_t written = made_checkpoint(made, 7, epochs), read;
        uint64_t size;
        assert_int_equal(checkpoint_write(path, &written, made->tensors, made->count, sha256, NULL),
                         ERR_OK);
        assert_int_equal(digest_file(path, found, &size, NULL), ERR_OK);
        assert_string_equal(found, sha256);
        assert_true(size <= checkpoint_bytes(&written, made->tensors, made->count));
        assert_int_equal(checkpoint_read(path, sha256, made->tensors, made->count, &read, NULL),
                         ERR_OK);
        assert_true(made_same(made, read.params, written.params));
        assert_true(made_same(made, read.m, written.m) && made_same(made, read.v, written.v));
        assert_true(made_same(made, read.best, written.best));
        json_t *a = state_json(&read.state), *b = state_json(&written.state);
        assert_true(json_equal(a, b));
        json_decref(a);
        json_decref(b);
        checkpoint_release(&read);
        assert_int_equal(checkpoint_read_state(path, sha256, &read.state, NULL), ERR_OK);
        assert_true(read.state.step == 7 && read.state.epochs == epochs);
        state_release(&read.state);
        checkpoint_release(&written);
    }
    free(path);
}

// Before the first step and at the end there are no tensors.
static void test_without_tensors(void **state) {
    const made_t *made = *state;
    char *path = fs_join(made->folder, "a.ckpt"), sha256[DIGEST_HEX_SIZE];
    checkpoint_t written = {.params = NULL}, read;
    state_init(&written.state);
    for (int turn = 0; turn < 2; turn++) {
        assert_int_equal(checkpoint_write(path, &written, made->tensors, made->count, sha256, NULL),
                         ERR_OK);
        assert_int_equal(checkpoint_read(path, sha256, made->tensors, made->count, &read, NULL),
                         ERR_OK);
        assert_null(read.params);
        assert_int_equal(read.state.done != NULL, turn);
        checkpoint_release(&read);
        written.state.begun = true;
        if (turn == 0)
            written.state.done = json_pack("{s:s}", "path", "x");
    }
    checkpoint_release(&written);
    free(path);
}

typedef struct {
    char *path, sha256[DIGEST_HEX_SIZE];
    char *bytes;
    size_t size;
} file_t;

static file_t write_good(const made_t *made) {
    file_t file = {.path = fs_join(made->folder, "a.ckpt")};
    checkpoint_t written = made_checkpoint(made, 7, 2);
    void *bytes;
    assert_int_equal(
        checkpoint_write(file.path, &written, made->tensors, made->count, file.sha256, NULL),
        ERR_OK);
    checkpoint_release(&written);
    assert_int_equal(fs_read(file.path, 1 << 24, &bytes, &file.size, NULL), ERR_OK);
    file.bytes = bytes;
    return file;
}

static err_code_t read_back(const made_t *made, const file_t *file, const char *sha256) {
    checkpoint_t read;
    err_t err;
    err_code_t code = checkpoint_read(file->path, sha256, made->tensors, made->count, &read, &err);
    if (code == ERR_OK)
        checkpoint_release(&read);
    else
        assert_true(read.params == NULL && read.best == NULL && read.state.epochs == 0);
    return code;
}

static void put(const file_t *file, const char *bytes, size_t size) {
    FILE *stream = fopen(file->path, "w");
    assert_int_equal(fwrite(bytes, 1, size, stream), size);
    fclose(stream);
}

static void test_torn(void **state) {
    const made_t *made = *state;
    file_t file = write_good(made);
    for (size_t size = 0; size < file.size; size += 1 + size / 20) {
        put(&file, file.bytes, size);
        assert_int_equal(read_back(made, &file, file.sha256), ERR_CORRUPT);
        assert_int_equal(read_back(made, &file, NULL), ERR_CORRUPT); // by its structure alone
    }
    assert_int_equal(remove(file.path), 0);
    assert_int_equal(read_back(made, &file, file.sha256), ERR_NOT_FOUND);
    free(file.bytes);
    free(file.path);
}

static void test_flipped_bits(void **state) {
    const made_t *made = *state;
    file_t file = write_good(made);
    char *bytes = malloc(file.size);
    for (uint32_t n = 0; n < 300; n++) {
        philox_t random = philox(3, n, 0, 0, 0);
        memcpy(bytes, file.bytes, file.size);
        // half of them in the header
        uint32_t range = (uint32_t)(n % 2 ? file.size : file.size / 4);
        bytes[philox_below(random.v[0], range)] ^= (char)(1 << (random.v[1] & 7));
        put(&file, bytes, file.size);
        assert_int_equal(read_back(made, &file, file.sha256), ERR_CORRUPT);
        read_back(made, &file, NULL); // may pass, must not break
    }
    free(bytes);
    free(file.bytes);
    free(file.path);
}

static void test_other_network(void **state) {
    made_t *made = *state;
    file_t file = write_good(made);
    made->tensors[0].dims[0]++;
    assert_int_equal(read_back(made, &file, file.sha256), ERR_CORRUPT);
    made->tensors[0].dims[0]--;
    snprintf(made->tensors[1].name, sizeof made->tensors[1].name, "other");
    assert_int_equal(read_back(made, &file, file.sha256), ERR_CORRUPT);
    free(file.bytes);
    free(file.path);
}

static void test_finite(void **state) {
    const made_t *made = *state;
    checkpoint_t some = made_checkpoint(made, 1, 0);
    assert_true(weights_finite(some.params, made->tensors));
    assert_true(weights_finite(some.m, made->tensors)); // has no arrays for the statistics
    weights_at(some.params, made->count - 1)[0] = INFINITY;
    assert_false(weights_finite(some.params, made->tensors));
    checkpoint_release(&some);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, made_set_up, made_tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_round_trip),   TEST(test_without_tensors), TEST(test_torn),
        TEST(test_flipped_bits), TEST(test_other_network),   TEST(test_finite),
    };
    return cmocka_run_group_tests_name("trainer checkpoint", tests, NULL, NULL);
}
