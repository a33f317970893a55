// Pid files and logs of a stack: who runs, who only seems to, and how large may logs grow?
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/fs.h"
#include "stack/logs_impl.h"
#include "stack/pidfile_impl.h"
#include "stack/spawn_impl.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char home[64];

static int make_home(void **state) {
    (void)state;
    snprintf(home, sizeof home, "/tmp/inkling-stack-XXXXXX");
    return mkdtemp(home) ? 0 : -1;
}

static int remove_home(void **state) {
    (void)state;
    return fs_remove_all(home, NULL) == ERR_OK ? 0 : -1;
}

// /bin/sh -c script as NAME; its number, or 0 and err.
static pid_t start(const char *name, const char *script, err_t *err) {
    char *argv[] = {"sh", "-c", (char *)script, NULL};
    spawn_t what = {.home = home,
                    .name = name,
                    .program = "/bin/sh",
                    .argv = argv,
                    .restarts = 7,
                    .extra_fd = -1};
    pid_t pid = 0;
    long long from;
    return spawn(&what, &pid, &from, err) == ERR_OK ? pid : 0;
}

static void end(pid_t pid) {
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

static void a_process_holds_its_name_while_it_lives(void **state) {
    (void)state;
    err_t err;
    pidfile_t found;
    assert_false(pidfile_alive(home, "one", &found));
    pid_t pid = start("one", "exec sleep 1000", &err);
    assert_true(pid > 0);
    assert_true(pidfile_alive(home, "one", &found));
    assert_int_equal(found.pid, pid);
    assert_int_equal(found.restarts, 7);
    assert_int_equal(start("one", "exec sleep 1000", &err), 0);
    assert_int_equal(err.code, ERR_CONFLICT);
    pid_t other = start("two", "exec sleep 1000", &err);
    assert_true(other > 0);
    end(other);
    end(pid);
    assert_false(pidfile_alive(home, "one", &found));
    assert_int_equal(found.pid, 0);
    pid = start("one", "exec sleep 1000", &err);
    assert_true(pid > 0);
    end(pid);
}

// What is left of it is a child with its lock: there is somebody, but not the process in the file.
static void an_orphaned_child_is_not_the_process(void **state) {
    (void)state;
    err_t err;
    pidfile_t found;
    char *path = fs_join(home, "child");
    char script[200];
    snprintf(script, sizeof script, "sleep 1000 & echo $! > %s; wait", path);
    pid_t pid = start("one", script, &err);
    assert_true(pid > 0);
    void *text = NULL;
    size_t size = 0;
    while (size == 0) {
        clock_sleep_ms(5);
        free(text);
        text = NULL;
        if (fs_read(path, 100, &text, &size, NULL) != ERR_OK)
            size = 0;
    }
    pid_t child = (pid_t)atoi(text);
    end(pid);
    assert_true(pidfile_alive(home, "one", &found));
    assert_int_equal(found.pid, 0);
    assert_int_equal(start("one", "exec true", &err), 0);
    assert_int_equal(err.code, ERR_CONFLICT);
    kill(child, SIGKILL);
    while (pidfile_alive(home, "one", &found))
        clock_sleep_ms(5);
    free(text);
    free(path);
}

static void a_reused_number_is_not_taken_for_it(void **state) {
    (void)state;
    int fd;
    err_t err;
    pidfile_t found;
    assert_int_equal(pidfile_take(home, "one", &fd, &err), ERR_OK);
    char text[100];
    int size = snprintf(text, sizeof text, "%d 1 0\n", (int)getpid()); // it began at another time
    assert_int_equal(pwrite(fd, text, (size_t)size, 0), size);
    assert_true(pidfile_alive(home, "one", &found)); // somebody has the lock
    assert_int_equal(found.pid, 0);
    assert_true(pidfile_write(fd, 3));
    assert_true(pidfile_alive(home, "one", &found));
    assert_int_equal(found.pid, getpid());
    assert_true(found.start > 1);
    assert_int_equal(found.restarts, 3);
    close(fd);
    assert_false(pidfile_alive(home, "one", &found));
}

static void a_damaged_file_names_nobody(void **state) {
    (void)state;
    static const char *const texts[] = {"",         "\n",      "x y z\n",
                                        "-1 0 0\n", "0 0 0\n", "99999999999 1 1"};
    int fd;
    pidfile_t found;
    assert_int_equal(pidfile_take(home, "one", &fd, NULL), ERR_OK);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        assert_int_equal(ftruncate(fd, 0), 0);
        assert_true(pwrite(fd, texts[i], strlen(texts[i]), 0) >= 0);
        assert_true(pidfile_alive(home, "one", &found));
        assert_int_equal(found.pid, 0);
    }
    close(fd);
}

static void a_program_that_is_not_there_is_an_error(void **state) {
    (void)state;
    err_t err;
    char *argv[] = {"nothing", NULL};
    spawn_t what = {
        .home = home, .name = "one", .program = "/nowhere/nothing", .argv = argv, .extra_fd = -1};
    pid_t pid;
    long long from;
    pidfile_t found;
    assert_int_equal(spawn(&what, &pid, &from, &err), ERR_NOT_FOUND);
    assert_non_null(strstr(err.message, "/nowhere/nothing"));
    assert_false(pidfile_alive(home, "one", &found));
}

// Output of a program that was started as NAME; to be freed.
static char *output_of(const char *name, const char *program, char *const *argv) {
    spawn_t what = {.home = home, .name = name, .program = program, .argv = argv, .extra_fd = -1};
    pid_t pid;
    long long from;
    assert_int_equal(spawn(&what, &pid, &from, NULL), ERR_OK);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    char *path = logs_path(home, name);
    void *text;
    size_t size;
    assert_int_equal(fs_read(path, 10000, &text, &size, NULL), ERR_OK);
    free(path);
    return text;
}

static void a_process_inherits_nothing_else(void **state) {
    (void)state;
    int leak = open("/dev/null", O_RDONLY); // without close-on-exec
    sigset_t set, before;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigprocmask(SIG_BLOCK, &set, &before);
    signal(SIGPIPE, SIG_IGN);
    char *list[] = {"ls", "/proc/self/fd", NULL};
    char *text = output_of("one", "/bin/ls", list);
    assert_string_equal(text, "0\n1\n10\n2\n3\n"); // 10: the lock; 3: the folder that ls reads
    free(text);
    char *find[] = {"grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status", NULL};
    text = output_of("two", "/bin/grep", find);
    assert_string_equal(text, "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
    free(text);
    signal(SIGPIPE, SIG_DFL);
    sigprocmask(SIG_SETMASK, &before, NULL);
    close(leak);
}

// --- Logs

static void write_log(const char *text, size_t times) {
    int fd;
    long long size;
    assert_int_equal(logs_open(home, "one", &fd, &size, NULL), ERR_OK);
    for (size_t i = 0; i < times; i++)
        assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

static void expect_tail(long long from, int lines, const char *expected) {
    buf_t tail;
    buf_init(&tail, 1 << 16);
    logs_tail(home, "one", from, lines, &tail);
    assert_string_equal(tail.data ? tail.data : "", expected);
    buf_release(&tail);
}

static void the_tail_is_of_whole_lines(void **state) {
    (void)state;
    expect_tail(0, 3, "");
    write_log("one\n", 1);
    expect_tail(0, 3, "one\n");
    expect_tail(4, 3, "");
    write_log("two\nthree\nfour\nfive", 1);
    expect_tail(0, 3, "three\nfour\nfive");
    expect_tail(4, 9, "two\nthree\nfour\nfive");
    expect_tail(1000, 1, "five"); // it was rotated: from the beginning
}

static void logs_are_kept_small(void **state) {
    (void)state;
    static char line[1001];
    memset(line, 'x', sizeof line - 2);
    line[sizeof line - 2] = '\n';
    int writer;
    long long size;
    assert_int_equal(logs_open(home, "one", &writer, &size, NULL), ERR_OK);
    for (int round = 0; round < LOGS_KEPT + 2; round++) {
        write_log(line, LOGS_BYTES_MAX / 1000 + 2);
        logs_rotate(home, "one");
        struct stat info;
        char *path = logs_path(home, "one"), *first = mem_format("%s.1", path);
        assert_int_equal(stat(path, &info), 0);
        assert_int_equal(info.st_size, 0);
        assert_int_equal(stat(first, &info), 0);
        assert_true(info.st_size > LOGS_BYTES_MAX);
        free(first);
        free(path);
    }
    assert_int_equal(write(writer, "on\n", 3), 3); // a writer from before goes on at the new end
    expect_tail(0, 5, "on\n");
    logs_rotate(home, "one"); // small: stays
    expect_tail(0, 5, "on\n");
    char *path = logs_path(home, "one"), *last = mem_format("%s.%d", path, LOGS_KEPT),
         *beyond = mem_format("%s.%d", path, LOGS_KEPT + 1);
    assert_int_equal(access(last, F_OK), 0);
    assert_int_not_equal(access(beyond, F_OK), 0);
    free(path);
    free(last);
    free(beyond);
    close(writer);
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, make_home, remove_home)
    const struct CMUnitTest tests[] = {
        TEST(a_process_holds_its_name_while_it_lives),
        TEST(an_orphaned_child_is_not_the_process),
        TEST(a_reused_number_is_not_taken_for_it),
        TEST(a_damaged_file_names_nobody),
        TEST(a_program_that_is_not_there_is_an_error),
        TEST(a_process_inherits_nothing_else),
        TEST(the_tail_is_of_whole_lines),
        TEST(logs_are_kept_small),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
