// Tables for spreadsheets, and how much memory there is.
#include "trainer/csv.h"
#include "trainer/memory.h"

#include "base/fs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static int set_up(void **state) {
    char *folder = mem_dup("/tmp/inkling-trainer-XXXXXX");
    assert_non_null(mkdtemp(folder));
    *state = folder;
    return 0;
}

static int tear_down(void **state) {
    assert_int_equal(fs_remove_all(*state, NULL), ERR_OK);
    free(*state);
    return 0;
}

static void put(const char *folder, const char *name, const char *text) {
    char *path = fs_join(folder, name), *end = strrchr(path, '/');
    *end = 0;
    assert_int_equal(fs_mkdirs(path, NULL), ERR_OK);
    *end = '/';
    assert_int_equal(fs_write(path, text, strlen(text), NULL), ERR_OK);
    free(path);
}

static void test_csv(void **state) {
    (void)state;
    static const char *const fields[] = {"plain",     "",           "a,b",
                                         "say \"x\"", "two\nlines", "\xc3\xbc "};
    char *text = NULL;
    size_t size;
    FILE *stream = open_memstream(&text, &size);
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        if (i)
            csv_next(stream);
        csv_field(stream, fields[i]);
    }
    csv_end(stream);
    fclose(stream);
    assert_string_equal(text, "plain,,\"a,b\",\"say \"\"x\"\"\",\"two\nlines\",\xc3\xbc \r\n");
    free(text);
}

static uint64_t available(const char *root) {
    char *proc = fs_join(root, "proc"), *cgroup = fs_join(root, "cgroup");
    uint64_t bytes = memory_available_at(proc, cgroup);
    free(proc);
    free(cgroup);
    return bytes;
}

static void test_memory(void **state) {
    const char *root = *state;
    assert_int_equal(available(root), 0); // unknown
    put(root, "proc/meminfo", "MemTotal: 9000 kB\nMemAvailable:    5000 kB\n");
    assert_int_equal(available(root), 5000 * 1024);
    // a group without a limit, in one that has one
    put(root, "proc/self/cgroup", "1:name=x:/other\n0::/a/b\n");
    put(root, "cgroup/a/b/memory.max", "max\n");
    put(root, "cgroup/a/b/memory.current", "100\n");
    put(root, "cgroup/a/memory.max", "3000000\n");
    put(root, "cgroup/a/memory.current", "2500000\n");
    assert_int_equal(available(root), 500000);
    put(root, "cgroup/a/memory.stat", "anon 1\ninactive_file 1000000\n"); // can be dropped
    assert_int_equal(available(root), 1500000);
    put(root, "cgroup/a/memory.current", "9000000\n"); // above the limit
    assert_int_equal(available(root), 1);              // known to be nothing
    err_t err;
    assert_int_equal(memory_check(1, NULL), ERR_OK);
    assert_int_equal(memory_check(1ull << 60, &err), ERR_TOO_LARGE);
    assert_non_null(strstr(err.remedy, "smaller batch"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_csv),
        cmocka_unit_test_setup_teardown(test_memory, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("trainer files", tests, NULL, NULL);
}
