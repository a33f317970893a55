// Do files of tensors have the very bytes that Python's safetensors reads, and does any other byte
// get noticed?
#include "base/fs.h"
#include "model/tensors.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static char folder[40], path[64];

static int set_up(void **state) {
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/inkling-tensors-XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/t.safetensors", folder);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    return fs_remove_all(folder, NULL);
}

static const float numbers_a[] = {1, 2, -0.5f}, numbers_b[] = {0};
static const tensor_t two[] = {
    {.name = "a.w", .rank = 2, .dims = {1, 3}, .count = 3, .data = numbers_a},
    {.name = "b", .rank = 1, .dims = {1}, .count = 1, .data = numbers_b}};

// safetensors' own layout, written down byte by byte.
#define GOLDEN_HEADER                                                                              \
    "{\"__metadata__\":{\"format\":\"pt\"},"                                                       \
    "\"a.w\":{\"dtype\":\"F32\",\"shape\":[1,3],\"data_offsets\":[0,12]},"                         \
    "\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[12,16]}}"
static const char golden[] = "\x98\0\0\0\0\0\0\0" GOLDEN_HEADER "       "
                             "\0\0\x80\x3f\0\0\0\x40\0\0\0\xbf"
                             "\0\0\0\0";

static void bytes_are_those_of_the_format(void **state) {
    (void)state;
    static const char *const metadata[] = {"format", "pt", NULL};
    char sha256[DIGEST_HEX_SIZE], wanted[DIGEST_HEX_SIZE];
    void *bytes;
    size_t size;
    assert_int_equal((sizeof GOLDEN_HEADER - 1 + 7) / 8 * 8, 0x98);
    assert_int_equal(tensors_write(path, two, 2, metadata, sha256, NULL), ERR_OK);
    assert_int_equal(fs_read(path, 1 << 20, &bytes, &size, NULL), ERR_OK);
    assert_int_equal(size, sizeof golden - 1);
    assert_memory_equal(bytes, golden, size);
    digest_bytes(golden, sizeof golden - 1, wanted);
    assert_string_equal(sha256, wanted);
    free(bytes);
}

static void comes_back(void **state) {
    (void)state;
    static const char *const metadata[] = {"state", "{\"x\":[1,2]}\n\xc3\xa9", "", "empty", NULL};
    char sha256[DIGEST_HEX_SIZE];
    tensors_t *tensors;
    assert_int_equal(tensors_write(path, two, 2, metadata, sha256, NULL), ERR_OK);
    assert_int_equal(tensors_open(path, sha256, &tensors, NULL), ERR_OK);
    assert_int_equal(tensors_count(tensors), 2);
    for (int i = 0; i < 2; i++) {
        const tensor_t *found = tensors_find(tensors, two[i].name);
        assert_ptr_equal(found, tensors_at(tensors, i));
        assert_int_equal(found->rank, two[i].rank);
        assert_memory_equal(found->dims, two[i].dims, sizeof *found->dims * (size_t)found->rank);
        assert_memory_equal(found->data, two[i].data, sizeof(float) * (size_t)two[i].count);
    }
    assert_null(tensors_find(tensors, "c"));
    assert_null(tensors_find(tensors, "__metadata__"));
    assert_string_equal(tensors_metadata(tensors, "state"), metadata[1]);
    assert_string_equal(tensors_metadata(tensors, ""), "empty");
    assert_null(tensors_metadata(tensors, "other"));
    tensors_close(&tensors);
    tensors_close(&tensors);
}

static void every_changed_byte_and_cut_is_noticed(void **state) {
    (void)state;
    char sha256[DIGEST_HEX_SIZE], bytes[sizeof golden];
    tensors_t *tensors;
    digest_bytes(golden, sizeof golden - 1, sha256);
    for (size_t i = 0; i < sizeof golden - 1; i++) {
        memcpy(bytes, golden, sizeof golden);
        bytes[i] ^= 4;
        assert_int_equal(fs_write(path, bytes, sizeof golden - 1, NULL), ERR_OK);
        assert_int_equal(tensors_open(path, sha256, &tensors, NULL), ERR_CORRUPT);
        if (tensors_open(path, NULL, &tensors, NULL) == ERR_OK) // must not crash
            tensors_close(&tensors);
    }
    for (size_t size = 0; size < sizeof golden - 1; size++) {
        err_t err;
        assert_int_equal(fs_write(path, golden, size, NULL), ERR_OK);
        assert_int_equal(tensors_open(path, NULL, &tensors, &err), ERR_CORRUPT);
        assert_non_null(strstr(err.message, path));
        assert_null(tensors);
    }
}

// A file with that header, its right size, and data_bytes zeros.
static err_code_t open_made(const char *header, size_t data_bytes) {
    size_t text = strlen(header), padded = (text + 7) / 8 * 8, size = 8 + padded + data_bytes;
    char *bytes = mem_zero(size, 1);
    uint64_t length = padded;
    tensors_t *tensors;
    memset(bytes + 8, ' ', padded);
    memcpy(bytes, &length, sizeof length);
    for (size_t i = 0; i < text; i++)
        bytes[8 + i] = header[i];
    assert_int_equal(fs_write(path, bytes, size, NULL), ERR_OK);
    free(bytes);
    err_code_t code = tensors_open(path, NULL, &tensors, NULL);
    tensors_close(&tensors);
    return code;
}

#define ENTRY(shape, offsets) "{\"dtype\":\"F32\",\"shape\":" shape ",\"data_offsets\":" offsets "}"

static void foreign_headers_are_read(void **state) {
    (void)state;
    // Python writes tensors in its own order, and need not write metadata
    assert_int_equal(
        open_made("{\"b\":" ENTRY("[2]", "[4,12]") ",\"a\":" ENTRY("[1,1]", "[0,4]") "}", 12),
        ERR_OK);
    assert_int_equal(open_made("{}", 0), ERR_OK);
}

static void hostile_headers_are_refused(void **state) {
    (void)state;
    static const struct {
        const char *header;
        size_t data;
    } cases[] = {
        {"", 8},
        {"[]", 0},
        {" {}", 0},
        {"{} x", 0},
        {"{}", 4},
        {"{\"a\":" ENTRY("[1]", "[0,4]") "}", 8}, // data left over
        {"{\"a\":" ENTRY("[1]", "[4,8]") "}", 8}, // gap
        {"{\"a\":" ENTRY("[2]", "[0,4]") "}", 4}, // shape and range differ
        {"{\"a\":" ENTRY("[1]", "[0,4]") ",\"b\":" ENTRY("[1]", "[0,4]") "}", 4}, // overlap
        {"{\"a\":" ENTRY("[1]", "[0,4]") ",\"a\":" ENTRY("[1]", "[4,8]") "}", 8}, // twice
        {"{\"a\":" ENTRY("[2]", "[0,8]") ",\"b\":" ENTRY("[1]", "[4,8]") "}", 8},
        {"{\"a\":" ENTRY("[1]", "[0,8]") "}", 4},
        {"{\"a\":" ENTRY("[1]", "[-4,0]") "}", 4},
        {"{\"a\":" ENTRY("[1]", "[4,0]") "}", 4},
        {"{\"a\":" ENTRY("[1]", "[0,4,8]") "}", 4},
        {"{\"a\":" ENTRY("[1]", "[0,4.0]") "}", 4},
        {"{\"a\":" ENTRY("[]", "[0,4]") "}", 4},
        {"{\"a\":" ENTRY("[0]", "[0,0]") "}", 0},
        {"{\"a\":" ENTRY("[-1]", "[0,4]") "}", 4},
        {"{\"a\":" ENTRY("[1,1,1,1,1]", "[0,4]") "}", 4},
        {"{\"a\":" ENTRY("[4294967296,4294967296,4]", "[0,4]") "}", 4}, // product overflows
        {"{\"a\":" ENTRY("[99999999999999999999]", "[0,4]") "}", 4},
        {"{\"a\":" ENTRY("[1]", "[0,18446744073709551612]") "}", 4},
        {"{\"a\":{\"dtype\":\"F16\",\"shape\":[2],\"data_offsets\":[0,4]}}", 4},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4},
        {"{\"a\":3}", 0},
        {"{\"__metadata__\":{\"x\":1}}", 0},
        {"{\"__metadata__\":[]}", 0},
        {"{\"0123456789012345678901234567890123456789012345678901234567890123\":" ENTRY(
             "[1]", "[0,4]") "}",
         4},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (open_made(cases[i].header, cases[i].data) != ERR_CORRUPT)
            fail_msg("taken: %s", cases[i].header);
    char *deep = mem_format("{\"a\":%100000s", "");
    memset(deep + 5, '[', 100000);
    assert_int_equal(open_made(deep, 0), ERR_CORRUPT);
    free(deep);
}

static void wrong_header_sizes_are_refused(void **state) {
    (void)state;
    static const uint64_t sizes[] = {0,         1, 7, 0x97, 0xa0, 0x100, 1ull << 32, UINT64_MAX - 7,
                                     UINT64_MAX};
    char bytes[sizeof golden];
    tensors_t *tensors;
    memcpy(bytes, golden, sizeof golden);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        memcpy(bytes, &sizes[i], 8);
        assert_int_equal(fs_write(path, bytes, sizeof golden - 1, NULL), ERR_OK);
        assert_int_equal(tensors_open(path, NULL, &tensors, NULL), ERR_CORRUPT);
    }
}

static void missing_and_odd_files(void **state) {
    (void)state;
    tensors_t *tensors;
    assert_int_equal(tensors_open(path, NULL, &tensors, NULL), ERR_NOT_FOUND);
    assert_int_equal(tensors_open(folder, NULL, &tensors, NULL), ERR_CORRUPT);
    assert_int_equal(
        tensors_write("/nonexistent/x", two, 2, NULL, (char[DIGEST_HEX_SIZE]){0}, NULL),
        ERR_NOT_FOUND);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(bytes_are_those_of_the_format),
        TEST(comes_back),
        TEST(every_changed_byte_and_cut_is_noticed),
        TEST(foreign_headers_are_read),
        TEST(hostile_headers_are_refused),
        TEST(wrong_header_sizes_are_refused),
        TEST(missing_and_odd_files),
    };
    return cmocka_run_group_tests_name("tensors", tests, NULL, NULL);
}
