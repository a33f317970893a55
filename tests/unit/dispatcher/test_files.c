// When does a disk have too little room for new work?
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "dispatcher_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

// Free MB of the disks below "/files" and "/redis"; -1: unknown.
static int files_mb, redis_mb;

int __wrap_statvfs(const char *path, struct statvfs *info);
int __wrap_statvfs(const char *path, struct statvfs *info) {
    int mb = strcmp(path, "/redis") == 0 ? redis_mb : files_mb;
    errno = ENOENT;
    *info = (struct statvfs){.f_frsize = 1 << 20, .f_blocks = 1000};
    info->f_bavail = mb < 0 ? 0 : (fsblkcnt_t)mb;
    return mb < 0 ? -1 : 0;
}

static void a_disk_is_short_below_the_reserve(void **state) {
    (void)state;
    static const struct {
        int files_mb, redis_mb;
        const char *culprit; // NULL: there is room
    } cases[] = {
        {100, 100, NULL},   {99, 100, "99 MB are free below /files"},
        {0, 100, "/files"}, // full to the last byte
        {100, 0, "/redis"}, {0, 0, "only 0 MB are free below /files"},
        {-1, -1, NULL},     {-1, 5, "/redis"},
        {100, -1, NULL},
    };
    conf_t conf = {.files = (char[]){"/files"}, .disk_reserve_mb = 100, .orphan_s = 1};
    files_t *files = files_new(&conf);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        err_t err;
        files_mb = cases[i].files_mb;
        redis_mb = cases[i].redis_mb;
        files_redis_folder(files, "/redis"); // has it ask again at once
        assert_int_equal(files_short(files, &err), cases[i].culprit != NULL);
        if (cases[i].culprit) {
            assert_int_equal(err.code, ERR_FULL);
            assert_non_null(strstr(err.message, cases[i].culprit));
        }
    }
    files_destroy(&files);
    assert_null(files);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_disk_is_short_below_the_reserve),
    };
    return cmocka_run_group_tests_name("dispatcher files", tests, NULL, NULL);
}
