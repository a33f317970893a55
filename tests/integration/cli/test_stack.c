// Does a stack come up, stay up whatever dies, and go down without leaving anything?
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/fs.h"
#include "run.h"
#include "support/proc.h"
#include "support/redis.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define LIMIT_MS 60000 // for the supervisor to mend something: much less where nothing else runs

static const char *const names[] = {"dispatcher", "blobs",   "studies",  "ingest-0",
                                    "trainer-0",  "tuner-0", "gateway-0"};
enum { SERVICES = 7, PROCESSES = 9 };

static char home[RUN_HOME_SIZE];

static int make_home(void **state) {
    (void)state;
    run_make_home(home);
    return 0;
}

static int end_homes(void **state) {
    (void)state;
    run_use_programs(NULL);
    run_end_homes();
    return 0;
}

// --- Who runs

typedef struct {
    pid_t pids[PROCESSES]; // supervisor, redis, services
    bool ready;
} seen_t;

static seen_t look(const char *where) {
    run_t status;
    seen_t seen = {0};
    run(&status, where, "status", "--json");
    assert_non_null(status.json);
    assert_true(status.code == 0 || status.code == 4);
    seen.ready = status.code == 0;
    assert_int_equal(seen.ready, json_is_true(run_at(status.json, "ready")));
    seen.pids[0] = (pid_t)run_number_at(status.json, "supervisor/pid");
    seen.pids[1] = (pid_t)run_number_at(status.json, "redis/pid");
    for (int i = 0; i < SERVICES; i++) {
        char path[64];
        snprintf(path, sizeof path, "services/%d/pid", i);
        seen.pids[2 + i] = (pid_t)run_number_at(status.json, path);
    }
    run_release(&status);
    return seen;
}

// One that has ended may wait for init to hear of it.
static bool lives(pid_t pid) {
    char path[64], state = 'Z';
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *file = pid > 0 ? fopen(path, "re") : NULL;
    if (!file)
        return false;
    bool told = fscanf(file, "%*d (%*[^)]) %c", &state) == 1;
    fclose(file);
    return told && state != 'Z' && state != 'X';
}

// Waits until all is ready and process `index` is another one than in `before`.
static seen_t await_mended(const char *where, const seen_t *before, int index) {
    int64_t end_ms = clock_mono_ms() + LIMIT_MS;
    for (;;) {
        seen_t now = look(where);
        if (now.ready && now.pids[index] > 0 && now.pids[index] != before->pids[index])
            return now;
        if (clock_mono_ms() > end_ms)
            fail_msg("process %d of the stack has not come back", index);
        clock_sleep_ms(50);
    }
}

static void await_end(pid_t pid) {
    for (int64_t end_ms = clock_mono_ms() + LIMIT_MS; lives(pid); clock_sleep_ms(10))
        if (clock_mono_ms() > end_ms)
            fail_msg("process %d lives on", (int)pid);
}

static void expect_all_gone(const seen_t *seen) {
    for (int i = 0; i < PROCESSES; i++)
        if (lives(seen->pids[i]))
            fail_msg("process %d of the stack, %d, lives on", i, (int)seen->pids[i]);
}

// --- Up and down

static void check_status(const json_t *status) {
    static const char *const keys[] = {"name",   "pid",       "ready",    "endpoint",
                                       "detail", "uptime_ms", "restarts", "log"};
    assert_string_equal(run_text_at(status, "home"), home);
    assert_int_equal(json_array_size(run_at(status, "services")), SERVICES);
    for (size_t i = 0; i < SERVICES; i++) {
        const json_t *service = json_array_get(run_at(status, "services"), i);
        for (size_t k = 0; k < sizeof keys / sizeof *keys; k++)
            if (!json_object_get(service, keys[k]))
                fail_msg("service %s has no %s", names[i], keys[k]);
        assert_string_equal(run_text_at(service, "name"), names[i]);
        assert_true(json_is_boolean(json_object_get(service, "ready")));
    }
    assert_non_null(run_at(status, "redis/pid"));
    assert_int_equal(run_text_at(status, "redis/socket")[0], '/');
    assert_memory_equal(run_text_at(status, "gateway/zmq"), "ipc://", 6);
    if (json_is_true(run_at(status, "ready")))
        assert_memory_equal(run_text_at(status, "gateway/http"), "http://127.0.0.1:", 17);
    else
        assert_true(json_is_null(run_at(status, "gateway/http")));
}

static void up_is_ready_and_down_leaves_nothing(void **state) {
    (void)state;
    const run_t *up = expect(0, home, "up", "--detach", "--json");
    check_status(up->json);
    seen_t seen = look(home);
    assert_true(seen.ready);
    for (int i = 0; i < PROCESSES; i++)
        assert_true(lives(seen.pids[i]));
    check_status(expect(0, home, "status", "--json")->json);
    assert_non_null(strstr(expect(0, home, "status")->out, "gateway-0"));
    const run_t *down = expect(0, home, "down", "--json");
    assert_int_equal(run_number_at(down->json, "stopped"), PROCESSES);
    expect_all_gone(&seen);
    down = expect(0, home, "down", "--json");
    assert_int_equal(run_number_at(down->json, "stopped"), 0);
}

static void without_a_stack_status_is_whole_and_others_say_so(void **state) {
    (void)state;
    check_status(expect(4, home, "status", "--json")->json);
    const run_t *jobs = expect(4, home, "jobs", "--json");
    assert_string_equal(run_text_at(jobs->json, "error/code"), "UNAVAILABLE");
    assert_non_null(strstr(jobs->err, "inkling up"));
    char *folder = fs_join(home, "nothing/here");
    expect(4, folder, "status", "--json");
    expect(0, folder, "down");
    assert_int_not_equal(access(folder, F_OK), 0); // to ask makes nothing
    free(folder);
}

static void up_again_is_told_and_changes_nothing(void **state) {
    (void)state;
    expect(0, home, "up", "--detach");
    seen_t before = look(home);
    const run_t *again = expect(0, home, "up", "--detach");
    assert_non_null(strstr(again->out, "runs already"));
    expect(0, home, "up"); // does not stay either
    check_status(expect(0, home, "up", "--detach", "--json")->json);
    seen_t after = look(home);
    assert_memory_equal(before.pids, after.pids, sizeof before.pids);
}

static void up_tells_settings_that_take_no_effect_yet(void **state) {
    (void)state;
    char *file = fs_join(home, "inkling.conf"), *files = fs_join(home, "elsewhere");
    assert_int_equal(fs_write(file, "stall_ms = 70000\n", 17, NULL), ERR_OK);
    setenv("INKLING_KEEP_JOBS", "500", 1);
    expect(0, home, "up", "--detach", "--lease-ms", "9000");
    assert_string_equal(expect(0, home, "up", "--detach", "--lease-ms=9000")->err, "");
    assert_string_equal(expect(0, home, "up", "--json")->err, "");
    const run_t *up = expect(0, home, "up", "--detach", "--lease-ms", "8000", "--json");
    assert_non_null(strstr(up->err, "--lease-ms=8000"));
    assert_non_null(strstr(up->err, "inkling down"));
    up = expect(0, home, "up", "--files", files);
    assert_non_null(strstr(up->err, "files"));
    setenv("INKLING_KEEP_JOBS", "600", 1);
    assert_non_null(strstr(expect(0, home, "up")->err, "INKLING_KEEP_JOBS"));
    unsetenv("INKLING_KEEP_JOBS");
    assert_int_equal(fs_write(file, "stall_ms = 80000\n", 17, NULL), ERR_OK);
    assert_non_null(strstr(expect(0, home, "up")->err, "inkling.conf"));
    expect(0, home, "down");
    assert_string_equal(expect(0, home, "up", "--detach")->err, "");
    free(files);
    free(file);
}

// Services that are no stack of `inkling up`: their Redis may be anywhere.
static void status_of_a_redis_elsewhere_is_the_dispatchers(void **state) {
    (void)state;
    redis_t redis;
    assert_int_equal(redis_start(&redis, NULL, NULL), ERR_OK);
    pid_t pid = fork();
    if (pid == 0) {
        char *program = proc_program("inkling-dispatcher");
        int null = open("/dev/null", O_RDWR);
        dup2(null, 1);
        dup2(null, 2);
        execl(program, program, "--home", home, "--name", "dispatcher", "--redis", redis.socket,
              (char *)NULL);
        _exit(127);
    }
    setenv("INKLING_REDIS", "elsewhere:6379", 1); // cannot be reached from here
    int64_t end_ms = clock_mono_ms() + LIMIT_MS;
    bool ready = false;
    while (!ready && clock_mono_ms() < end_ms)
        ready = json_is_true(run_at(expect(4, home, "status", "--json")->json, "services/0/ready"));
    assert_true(ready);
    const run_t *status = expect(4, home, "status", "--json"); // the others are away
    assert_true(json_is_true(run_at(status->json, "redis/ready")));
    status = expect(4, home, "status");
    assert_null(strstr(status->err, "is down"));
    redis_kill(&redis);
    while (ready && clock_mono_ms() < end_ms)
        ready = json_is_true(run_at(expect(4, home, "status", "--json")->json, "redis/ready"));
    assert_false(ready);
    unsetenv("INKLING_REDIS");
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    assert_non_null(strstr(expect(4, home, "status")->err, "is down"));
    redis_stop(&redis);
}

static void of_many_who_bring_it_up_one_does(void **state) {
    (void)state;
    enum { MANY = 4 };
    run_t runs[MANY];
    long long supervisor = -1;
    for (int i = 0; i < MANY; i++)
        run_begin(&runs[i], home, "up", "--detach", "--json");
    for (int i = 0; i < MANY; i++) {
        run_finish(&runs[i]);
        if (runs[i].code != 0 || !json_is_true(run_at(runs[i].json, "ready")))
            fail_msg("up number %d: %d, %s", i, runs[i].code, runs[i].err);
        supervisor = i ? supervisor : run_number_at(runs[i].json, "supervisor/pid");
        assert_int_equal(run_number_at(runs[i].json, "supervisor/pid"), supervisor);
        run_release(&runs[i]);
    }
}

static void in_the_foreground_it_ends_by_signal(void **state) {
    (void)state;
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
        run_t up;
        run_begin(&up, home, "up");
        run_await_text(&up, "all is ready");
        seen_t seen = look(home);
        assert_true(seen.ready);
        assert_int_equal(seen.pids[0], up.pid);
        kill(up.pid, signals[i]);
        run_finish(&up);
        assert_int_equal(up.code, 0);
        run_release(&up);
        expect_all_gone(&seen);
    }
}

// --- What dies comes back

static void whatever_dies_comes_back(void **state) {
    (void)state;
    expect(0, home, "up", "--detach");
    const run_t *queued = expect(0, home, "submit", "nobodys", "{}", "--detach");
    char job[64];
    snprintf(job, sizeof job, "%.*s", (int)strcspn(queued->out, "\n"), queued->out);
    seen_t before = look(home);
    for (int i = 1; i < PROCESSES; i++) {
        kill(before.pids[i], SIGKILL);
        seen_t after = await_mended(home, &before, i);
        for (int k = 0; k < PROCESSES; k++)
            if (k != i && before.pids[k] != after.pids[k])
                fail_msg("process %d died with process %d", k, i);
        // Redis too has forgotten nothing.
        const run_t *show = expect(0, home, "job", "show", job, "--json");
        assert_string_equal(run_text_at(show->json, "state"), "queued");
        before = after;
    }
    const run_t *status = expect(0, home, "status", "--json");
    assert_int_equal(run_number_at(status->json, "redis/restarts"), 1);
    for (int i = 0; i < SERVICES; i++) {
        char path[64];
        snprintf(path, sizeof path, "services/%d/restarts", i);
        assert_int_equal(run_number_at(status->json, path), 1);
    }
    expect(0, home, "down");
    expect_all_gone(&before);
}

static void all_at_once_come_back(void **state) {
    (void)state;
    expect(0, home, "up", "--detach");
    seen_t before = look(home);
    for (int i = 1; i < PROCESSES; i++)
        kill(before.pids[i], SIGKILL);
    for (int i = 1; i < PROCESSES; i++)
        await_mended(home, &before, i);
}

static void one_that_dies_again_and_again_is_not_started_without_pause(void **state) {
    (void)state;
    expect(0, home, "up", "--detach");
    seen_t before = look(home);
    int64_t began_ms = clock_mono_ms();
    for (int i = 0; i < 5; i++) {
        kill(before.pids[5], SIGKILL);
        before = await_mended(home, &before, 5);
    }
    // Pauses of 0.1, 0.2, 0.4, 0.8 and 1.6 s.
    assert_true(clock_mono_ms() - began_ms >= 3000);
}

static void services_outlive_their_supervisor(void **state) {
    (void)state;
    expect(0, home, "up", "--detach");
    seen_t before = look(home);
    kill(before.pids[0], SIGKILL);
    await_end(before.pids[0]);
    seen_t alone = look(home);
    assert_true(alone.ready);
    assert_int_equal(alone.pids[0], -1);
    expect(0, home, "jobs");
    const run_t *status = expect(0, home, "status");
    assert_non_null(strstr(status->out, "no supervisor"));
    // The next one takes over those that live, and starts those that do not.
    kill(before.pids[4], SIGKILL);
    await_end(before.pids[4]);
    expect(4, home, "status");
    expect(0, home, "up", "--detach");
    seen_t after = look(home);
    for (int i = 1; i < PROCESSES; i++)
        assert_int_equal(before.pids[i] == after.pids[i], i != 4);
    // What it has taken over comes back like the rest.
    kill(after.pids[1], SIGKILL);
    after = await_mended(home, &after, 1);
    expect(0, home, "down");
    expect_all_gone(&after);
}

static void orphans_are_ended_too(void **state) {
    (void)state;
    expect(0, home, "up", "--detach");
    seen_t seen = look(home);
    kill(seen.pids[0], SIGKILL);
    await_end(seen.pids[0]);
    const run_t *down = expect(0, home, "down", "--json");
    assert_int_equal(run_number_at(down->json, "stopped"), PROCESSES - 1);
    expect_all_gone(&seen);
}

// A dispatcher that hangs is no reason to hang with it.
static void a_hanging_service_is_told_and_ended(void **state) {
    (void)state;
    expect(0, home, "up", "--detach");
    seen_t seen = look(home);
    kill(seen.pids[2], SIGSTOP);
    const run_t *status = expect(4, home, "status", "--json");
    assert_true(json_is_false(run_at(status->json, "services/0/ready")));
    assert_int_equal(run_number_at(status->json, "services/0/pid"), seen.pids[2]);
    assert_true(json_is_true(run_at(status->json, "services/3/ready")));
    const run_t *jobs = expect(4, home, "jobs", "--json");
    assert_string_equal(run_text_at(jobs->json, "error/code"), "UNAVAILABLE");
    expect(0, home, "down"); // it is killed when its time is up
    expect_all_gone(&seen);
}

// The file is read again by whoever is asked, and it was whole when the stack came up.
static void a_broken_setting_locks_nobody_out(void **state) {
    (void)state;
    char *file = fs_join(home, "inkling.conf"), *images = fs_join(home, "images");
    static const char *const texts[] = {"lease_ms = soon\n", "leas_ms = 1\n", "lease_ms\n"};
    expect(0, home, "up", "--detach");
    seen_t seen = look(home);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        assert_int_equal(fs_write(file, texts[i], strlen(texts[i]), NULL), ERR_OK);
        assert_non_null(strstr(expect(0, home, "status", "--json")->err, "inkling.conf:1"));
        assert_non_null(strstr(expect(2, home, "jobs", "--json")->err, "inkling.conf:1"));
    }
    assert_non_null(strstr(expect(0, home, "help")->out, "Commands:"));
    expect(0, home, "help", "up", "--json");
    expect(0, home, "version");
    expect(0, home, "completion", "bash");
    expect(0, home, "completion", "datasets");
    expect(0, home, "demo-data", images, "--count", "2");
    const run_t *down = expect(0, home, "down", "--json");
    assert_int_equal(run_number_at(down->json, "stopped"), PROCESSES);
    expect_all_gone(&seen);
    setenv("INKLING_SLOTS", "many", 1);
    assert_int_equal(unlink(file), 0);
    assert_non_null(strstr(expect(0, home, "down")->err, "INKLING_SLOTS"));
    assert_non_null(strstr(expect(4, home, "status", "--json")->err, "INKLING_SLOTS"));
    expect(0, home, "help");
    expect(2, home, "up", "--detach");
    unsetenv("INKLING_SLOTS");
    free(images);
    free(file);
}

// --- Homes

static void stacks_do_not_know_of_each_other(void **state) {
    (void)state;
    char other[RUN_HOME_SIZE];
    run_make_home(other);
    expect(0, home, "up", "--detach");
    expect(0, other, "up", "--detach");
    expect(0, home, "submit", "nobodys", "--detach");
    assert_int_equal(json_array_size(expect(0, home, "jobs", "--json")->json), 1);
    assert_int_equal(json_array_size(expect(0, other, "jobs", "--json")->json), 0);
    seen_t mine = look(home), others = look(other);
    expect(0, other, "down");
    expect_all_gone(&others);
    seen_t still = look(home);
    assert_true(still.ready);
    assert_memory_equal(mine.pids, still.pids, sizeof mine.pids);
}

// Longer than a socket's address, with blanks, quotes, a line feed and letters of other scripts.
static void any_folder_can_be_the_home(void **state) {
    (void)state;
    char *deep = mem_format("%s/a folder with \"quotes\" and 'more'/漫画\nand a line/%s", home,
                            "which-is-quite-a-bit-longer-than-the-address-of-a-socket-may-be");
    run_guard(deep);
    const run_t *up = expect(0, deep, "up", "--detach", "--json");
    assert_string_equal(run_text_at(up->json, "home"), deep);
    char folder[RUN_HOME_SIZE];
    snprintf(folder, sizeof folder, "%s", run_text_at(up->json, "redis/socket"));
    *strrchr(folder, '/') = 0;
    struct stat info;
    assert_int_equal(stat(folder, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0700);
    expect(0, deep, "submit", "nobodys", "--detach");
    expect(0, deep, "down");
    assert_int_not_equal(access(folder, F_OK), 0); // the sockets were elsewhere, and are gone
    expect(0, deep, "up", "--detach");
    assert_int_equal(json_array_size(expect(0, deep, "jobs", "--json")->json), 1);
    expect(0, deep, "down");
    free(deep);
}

static void a_relative_home_is_that_of_the_caller(void **state) {
    (void)state;
    char before[4096];
    assert_non_null(getcwd(before, sizeof before));
    assert_int_equal(chdir(home), 0);
    const run_t *up =
        expect(0, NULL, "up", "--detach", "--home", "here", "--files", "my files", "--json");
    char *wanted = fs_join(home, "here"), *files = fs_join(home, "my files");
    assert_string_equal(run_text_at(up->json, "home"), wanted);
    assert_int_equal(chdir(before), 0);
    run_guard(wanted);
    seen_t seen = look(wanted);
    assert_true(seen.ready);
    char path[64], words[4096] = "";
    snprintf(path, sizeof path, "/proc/%d/cmdline", (int)seen.pids[3]);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    size_t size = fread(words, 1, sizeof words - 1, file);
    fclose(file);
    assert_non_null(memmem(words, size, files, strlen(files) + 1));
    free(files);
    free(wanted);
}

// --- Nobody else gets in

// Sockets of a process that listen to TCP.
static int listens(pid_t pid, const char *table) {
    char path[300], line[512], link[64];
    FILE *file = fopen(table, "r");
    int found = 0;
    while (file && fgets(line, sizeof line, file)) {
        unsigned state;
        unsigned long inode;
        if (sscanf(line, " %*d: %*s %*s %x %*s %*s %*s %*s %*s %lu", &state, &inode) != 2 ||
            state != 0x0a)
            continue;
        snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
        DIR *folder = opendir(path);
        for (struct dirent *entry; folder && (entry = readdir(folder)) != NULL;) {
            char wanted[64];
            snprintf(wanted, sizeof wanted, "socket:[%lu]", inode);
            snprintf(path, sizeof path, "/proc/%d/fd/%s", (int)pid, entry->d_name);
            ssize_t size = readlink(path, link, sizeof link - 1);
            link[size > 0 ? size : 0] = 0;
            found += strcmp(link, wanted) == 0;
        }
        if (folder)
            closedir(folder);
    }
    if (file)
        fclose(file);
    return found;
}

static void one_port_for_http_and_all_else_is_private(void **state) {
    (void)state;
    static const char *const folders[] = {"", "run", "redis", "logs", "pids"};
    char *fresh = fs_join(home, "fresh");
    run_guard(fresh);
    expect(0, fresh, "up", "--detach");
    seen_t seen = look(fresh);
    for (int i = 0; i < PROCESSES; i++)
        assert_int_equal(listens(seen.pids[i], "/proc/net/tcp") +
                             listens(seen.pids[i], "/proc/net/tcp6"),
                         i == PROCESSES - 1); // the gateway's, on 127.0.0.1
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        struct stat info;
        char *path = fs_join(fresh, folders[i]);
        assert_int_equal(stat(path, &info), 0);
        assert_int_equal(info.st_mode & 077, 0);
        free(path);
    }
    free(fresh);
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, make_home, end_homes)
    const struct CMUnitTest tests[] = {
        TEST(up_is_ready_and_down_leaves_nothing),
        TEST(without_a_stack_status_is_whole_and_others_say_so),
        TEST(up_again_is_told_and_changes_nothing),
        TEST(up_tells_settings_that_take_no_effect_yet),
        TEST(status_of_a_redis_elsewhere_is_the_dispatchers),
        TEST(of_many_who_bring_it_up_one_does),
        TEST(in_the_foreground_it_ends_by_signal),
        TEST(whatever_dies_comes_back),
        TEST(all_at_once_come_back),
        TEST(one_that_dies_again_and_again_is_not_started_without_pause),
        TEST(services_outlive_their_supervisor),
        TEST(orphans_are_ended_too),
        TEST(a_hanging_service_is_told_and_ended),
        TEST(a_broken_setting_locks_nobody_out),
        TEST(stacks_do_not_know_of_each_other),
        TEST(any_folder_can_be_the_home),
        TEST(a_relative_home_is_that_of_the_caller),
        TEST(one_port_for_http_and_all_else_is_private),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
