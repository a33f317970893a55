// Do errors, buffers, files and the random generator keep what their headers promise?
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/nearest.h"
#include "base/philox.h"
#include "base/utf8.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

static void error_names_go_both_ways(void **state) {
    (void)state;
    for (unsigned i = 0; i < ERR_CODE_COUNT; i++)
        assert_int_equal(err_from_name(err_name((err_code_t)i)), i);
    assert_int_equal(err_from_name("NO_SUCH_NAME"), ERR_INTERNAL);
    assert_int_equal(err_from_name(NULL), ERR_INTERNAL);
}

static void errors_carry_context_and_remedy(void **state) {
    (void)state;
    err_t err;
    assert_int_equal(err_set(&err, ERR_INVALID, "lr is %d", -1), ERR_INVALID);
    err_remedy(&err, "use a positive number");
    assert_int_equal(err_context(&err, "job %s", "7"), ERR_INVALID);
    assert_string_equal(err.message, "job 7: lr is -1");
    assert_string_equal(err.remedy, "use a positive number");
    errno = ENOENT;
    assert_int_equal(err_set_errno(&err, "cannot read %s", "x"), ERR_NOT_FOUND);
    assert_string_equal(err.remedy, "");
    assert_int_equal(err_set(NULL, ERR_IO, "nobody listens"), ERR_IO);
}

static void error_texts_stay_utf8_when_cut(void **state) {
    (void)state;
    err_t err;
    for (size_t pad = 0; pad < 4; pad++) {
        char text[2000];
        memset(text, 'a', pad);
        for (size_t i = pad; i + 3 <= sizeof text - 1; i += 3)
            memcpy(text + i, "\xe2\x82\xac", 4); // the euro sign
        err_set(&err, ERR_INVALID, "%s", text);
        assert_true(strlen(err.message) > 700);
        assert_true(utf8_valid(err.message, strlen(err.message)));
    }
    err_set(&err, ERR_INVALID, "\xff\xc3");
    assert_string_equal(err.message, "??");
}

static void utf8_refuses_what_rfc_3629_refuses(void **state) {
    (void)state;
    const char *good[] = {
        "", "a", "\xc3\xa4", "\xe2\x82\xac", "\xf0\x9f\x98\x80", "\xf4\x8f\xbf\xbf"};
    const char *bad[] = {"\x80",         "\xc0\x80",         "\xc1\xbf",         "\xe0\x9f\xbf",
                         "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xe2\x82"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_true(utf8_valid(good[i], strlen(good[i])));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(utf8_valid(bad[i], strlen(bad[i])));
    assert_false(utf8_valid("a\0b", 3));
}

static void a_buffer_stops_at_its_ceiling(void **state) {
    (void)state;
    buf_t buf;
    buf_init(&buf, 10);
    buf_puts(&buf, "12345");
    buf_printf(&buf, "%d", 67890);
    assert_false(buf.failed);
    assert_string_equal(buf.data, "1234567890");
    buf_puts(&buf, "x");
    assert_true(buf.failed);
    assert_int_equal(buf.size, 10);
    buf_puts(&buf, ""); // stays failed
    assert_true(buf.failed);
    assert_null(buf_take(&buf));
    buf_puts(&buf, "again");
    char *taken = buf_take(&buf);
    assert_string_equal(taken, "again");
    free(taken);
    buf_release(&buf);
}

static void json_strings_are_escaped(void **state) {
    (void)state;
    buf_t buf;
    buf_init(&buf, 1000);
    buf_json_string(&buf, "a\"\\\n\x01\xc3\xa4\xff");
    assert_string_equal(buf.data, "\"a\\\"\\\\\\u000a\\u0001\xc3\xa4\\ufffd\"");
    buf_release(&buf);
}

static char folder[64];

static int make_folder(void **state) {
    (void)state;
    strcpy(folder, "/tmp/inkling-base-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state) {
    (void)state;
    return fs_remove_all(folder, NULL) == ERR_OK ? 0 : -1;
}

static void files_are_replaced_as_a_whole(void **state) {
    (void)state;
    err_t err;
    char *path = fs_join(folder, "file");
    assert_int_equal(fs_write(path, "old", 3, &err), ERR_OK);
    fs_new_t *file;
    assert_int_equal(fs_open_new(path, &file, &err), ERR_OK);
    fputs("half", fs_stream(file));
    fflush(fs_stream(file));
    void *bytes;
    size_t size;
    assert_int_equal(fs_read(path, 100, &bytes, &size, &err), ERR_OK);
    assert_string_equal(bytes, "old");
    free(bytes);
    fs_abort(&file);
    assert_null(file);
    assert_int_equal(fs_write(path, "new!", 4, &err), ERR_OK);
    assert_int_equal(fs_read(path, 4, &bytes, &size, &err), ERR_OK);
    assert_int_equal(size, 4);
    assert_string_equal(bytes, "new!");
    free(bytes);
    assert_int_equal(fs_read(path, 3, &bytes, &size, &err), ERR_TOO_LARGE);
    assert_int_equal(fs_read(folder, 3, &bytes, &size, &err), ERR_INVALID);
    char *fifo = fs_join(folder, "fifo");
    assert_int_equal(mkfifo(fifo, 0600), 0);
    assert_int_equal(fs_read(fifo, 3, &bytes, &size, &err), ERR_INVALID); // nobody writes
    assert_non_null(strstr(err.message, "not a regular file"));
    assert_int_equal(fs_read("/dev/null", 3, &bytes, &size, &err), ERR_INVALID);
    free(fifo);
    assert_int_equal(fs_write("/proc/no/such", "x", 1, &err), ERR_NOT_FOUND);
    free(path);
}

// The limits of a control group are read like this.
static void files_of_the_kernel_are_read(void **state) {
    (void)state;
    err_t err;
    void *bytes;
    size_t size;
    assert_int_equal(fs_read("/proc/sys/kernel/ostype", 64, &bytes, &size, &err), ERR_OK);
    assert_string_equal(bytes, "Linux\n");
    assert_int_equal(size, 6);
    free(bytes);
    assert_int_equal(fs_read("/proc/sys/kernel/ostype", 6, &bytes, &size, &err), ERR_OK);
    free(bytes);
    assert_int_equal(fs_read("/proc/sys/kernel/ostype", 5, &bytes, &size, &err), ERR_TOO_LARGE);
    char *path = fs_join(folder, "empty");
    assert_int_equal(fs_write(path, "", 0, &err), ERR_OK);
    assert_int_equal(fs_read(path, 5, &bytes, &size, &err), ERR_OK);
    assert_int_equal(size, 0);
    assert_string_equal(bytes, "");
    free(bytes);
    free(path);
}

// What statvfs() tells.
static struct statvfs disk;
static bool no_disk;

int __wrap_statvfs(const char *path, struct statvfs *info);
int __wrap_statvfs(const char *path, struct statvfs *info) {
    (void)path;
    *info = disk;
    errno = ENOENT;
    return no_disk ? -1 : 0;
}

static void a_full_disk_is_not_an_unknown_one(void **state) {
    (void)state;
    disk = (struct statvfs){.f_frsize = 4096, .f_blocks = 10, .f_bfree = 5, .f_bavail = 3};
    assert_int_equal(fs_free_bytes(folder), 3 * 4096);
    disk.f_bavail = 0;
    assert_int_equal(fs_free_bytes(folder), 0);
    disk.f_blocks = 0; // proc, and what else counts no blocks
    assert_true(fs_free_bytes(folder) == UINT64_MAX);
    no_disk = true;
    assert_true(fs_free_bytes(folder) == UINT64_MAX);
    no_disk = false;
}

// What fsync() was called for.
static ino_t synced[16];
static int synced_count;

int __real_fsync(int fd);
int __wrap_fsync(int fd);
int __wrap_fsync(int fd) {
    struct stat info;
    if (synced_count < 16 && fstat(fd, &info) == 0)
        synced[synced_count++] = info.st_ino;
    return __real_fsync(fd);
}

// A new folder is an entry in the folder above it, and that is what a loss of power takes.
static void new_folders_outlive_a_loss_of_power(void **state) {
    (void)state;
    char *top = fs_join(folder, "s"), *middle = fs_join(top, "t"), *path = fs_join(middle, "u");
    const char *above[] = {folder, top, middle};
    synced_count = 0;
    assert_int_equal(fs_mkdirs(path, NULL), ERR_OK);
    assert_int_equal(synced_count, 3);
    for (int i = 0; i < 3; i++) {
        struct stat info;
        assert_int_equal(stat(above[i], &info), 0);
        assert_int_equal(synced[i], info.st_ino);
    }
    assert_int_equal(fs_mkdirs(path, NULL), ERR_OK);
    assert_int_equal(synced_count, 3); // nothing was made
    free(path);
    free(middle);
    free(top);
}

static void folders_are_made_and_removed(void **state) {
    (void)state;
    err_t err;
    char *deep = fs_join(folder, "a/b/c"), *file = fs_join(folder, "a/b/file");
    assert_int_equal(fs_mkdirs(deep, &err), ERR_OK);
    assert_int_equal(fs_mkdirs(deep, &err), ERR_OK);
    assert_int_equal(fs_write(file, "", 0, &err), ERR_OK);
    char *under = fs_join(file, "x");
    assert_int_not_equal(fs_mkdirs(file, &err), ERR_OK);
    assert_int_not_equal(fs_mkdirs(under, &err), ERR_OK);
    char *top = fs_join(folder, "a");
    assert_int_equal(fs_remove_all(top, &err), ERR_OK);
    assert_int_equal(fs_remove_all(top, &err), ERR_OK);
    assert_int_not_equal(access(top, F_OK), 0);
    free(top);
    free(under);
    free(file);
    free(deep);
}

// Known answers of the authors' distribution (Random123 1.14, kat_vectors, philox4x32 10).
static const char *fields(void *arg, size_t index) {
    static const char *const names[] = {"epochs", "batch", "lr", "dropout", NULL};
    (void)arg;
    return names[index];
}

static const char *none(void *arg, size_t index) {
    (void)arg;
    (void)index;
    return NULL;
}

static const char *long_name(void *arg, size_t index) {
    (void)arg;
    return index ? NULL : "abcdefghijklmnopqrstuvwxyzabcdefg"; // 33 letters
}

static void the_nearest_name_is_found_or_none(void **state) {
    (void)state;
    static const struct {
        const char *word, *meant;
    } cases[] = {{"epoch", "epochs"}, {"epcohs", "epochs"}, {"bacth", "batch"},
                 {"rl", NULL},        {"l", "lr"},          {"drop_out", "dropout"},
                 {"xyzzy", NULL},     {"", NULL},           {"lr", "lr"},
                 {"lrr", "lr"}};
    char best[64];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        strcpy(best, "untouched");
        bool found = nearest(cases[i].word, fields, NULL, best);
        if (found != (cases[i].meant != NULL) ||
            strcmp(best, found ? cases[i].meant : "untouched") != 0)
            fail_msg("'%s': %d, %s", cases[i].word, found, best);
    }
    assert_false(nearest("epochs", none, NULL, best));
    assert_false(nearest("abcdefghijklmnopqrstuvwxyzabcdefg", long_name, NULL, best));
    assert_false(nearest("abcdefghijklmnopqrstuvwxyzabcdef", long_name, NULL, best));
}

static void philox_gives_the_known_answers(void **state) {
    (void)state;
    philox_t zero = philox(0, 0, 0, 0, 0);
    const uint32_t zero_want[] = {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8};
    philox_t ones = philox(UINT64_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX);
    const uint32_t ones_want[] = {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd};
    philox_t pi = philox(0x299f31d0a4093822ull, 0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344);
    const uint32_t pi_want[] = {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1};
    assert_memory_equal(zero.v, zero_want, sizeof zero_want);
    assert_memory_equal(ones.v, ones_want, sizeof ones_want);
    assert_memory_equal(pi.v, pi_want, sizeof pi_want);
    assert_true(philox_float(UINT32_MAX) < 1.0f);
    assert_int_equal(philox_below(UINT32_MAX, 7), 6);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(error_names_go_both_ways),
        cmocka_unit_test(errors_carry_context_and_remedy),
        cmocka_unit_test(error_texts_stay_utf8_when_cut),
        cmocka_unit_test(utf8_refuses_what_rfc_3629_refuses),
        cmocka_unit_test(a_buffer_stops_at_its_ceiling),
        cmocka_unit_test(json_strings_are_escaped),
        cmocka_unit_test(files_are_replaced_as_a_whole),
        cmocka_unit_test(files_of_the_kernel_are_read),
        cmocka_unit_test(a_full_disk_is_not_an_unknown_one),
        cmocka_unit_test(new_folders_outlive_a_loss_of_power),
        cmocka_unit_test(folders_are_made_and_removed),
        cmocka_unit_test(the_nearest_name_is_found_or_none),
        cmocka_unit_test(philox_gives_the_known_answers),
    };
    return cmocka_run_group_tests_name("base", tests, make_folder, remove_folder);
}
