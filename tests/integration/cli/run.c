#include "run.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/fs.h"
#include "support/proc.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATIENCE_MS 300000
#define HOMES_MAX   32

static char *programs;

static char *inkling(void) {
    return programs ? fs_join(programs, "inkling") : proc_program("inkling");
}

void run_use_programs(const char *folder) {
    free(programs);
    programs = folder ? mem_dup(folder) : NULL;
}

// --- Homes

static struct {
    char path[RUN_HOME_SIZE];
    int pipe; // the guard waits for its end
    pid_t guard;
} homes[HOMES_MAX];
static size_t home_count;

static void end_home(const char *program, const char *home) {
    pid_t pid = fork();
    if (pid == 0) {
        int null = open("/dev/null", O_RDWR);
        dup2(null, 1);
        dup2(null, 2);
        execl(program, "inkling", "down", "--home", home, (char *)NULL);
        _exit(127);
    }
    waitpid(pid, NULL, 0);
    fs_remove_all(home, NULL);
}

void run_guard(const char *home) {
    int ends[2];
    assert_true(home_count < HOMES_MAX);
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    char *program = proc_program("inkling");
    pid_t pid = fork();
    if (pid == 0) {
        char byte;
        setsid();
        signal(SIGTERM, SIG_IGN);
        close(ends[1]);
        for (size_t i = 0; i < home_count; i++)
            close(homes[i].pipe);
        while (read(ends[0], &byte, 1) < 0)
            continue;
        end_home(program, home);
        _exit(0);
    }
    free(program);
    close(ends[0]);
    snprintf(homes[home_count].path, RUN_HOME_SIZE, "%s", home);
    homes[home_count].guard = pid;
    homes[home_count++].pipe = ends[1];
}

void run_make_home(char home[RUN_HOME_SIZE]) {
    char folder[PROC_HOME_SIZE];
    assert_int_equal(proc_make_home(folder, NULL), ERR_OK);
    snprintf(home, RUN_HOME_SIZE, "%s", folder);
    run_guard(home);
}

void run_end_homes(void) {
    // The last first: it may lie in one before it.
    while (home_count > 0) {
        close(homes[--home_count].pipe);
        waitpid(homes[home_count].guard, NULL, 0);
    }
}

// --- Running

static char *scratch(void) {
    char path[] = "/tmp/inkling-run-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    return mem_dup(path);
}

void run_begin_words(run_t *run, const char *home, const char *const *words) {
    *run = (run_t){.out_path = scratch(), .err_path = scratch(), .began_ms = clock_mono_ms()};
    char *program = inkling(), *argv[64] = {"inkling"};
    for (int i = 0; words[i] && i < 62; i++)
        argv[i + 1] = (char *)words[i];
    run->pid = fork();
    if (run->pid == 0) {
        if (home)
            setenv("INKLING_HOME", home, 1);
        else
            unsetenv("INKLING_HOME");
        setenv("TERM", "dumb", 1);
        int in = open("/dev/null", O_RDONLY), out = open(run->out_path, O_WRONLY | O_APPEND),
            err = open(run->err_path, O_WRONLY | O_APPEND);
        dup2(in, 0);
        dup2(out, 1);
        dup2(err, 2);
        close_range(3, ~0u, 0);
        execv(program, argv);
        _exit(127);
    }
    free(program);
}

static char *text_of(const char *path) {
    void *text;
    size_t size;
    assert_int_equal(fs_read(path, 1 << 24, &text, &size, NULL), ERR_OK);
    return text;
}

void run_await_text(run_t *run, const char *text) {
    for (int64_t end_ms = clock_mono_ms() + PATIENCE_MS;;) {
        char *err = text_of(run->err_path);
        bool there = strstr(err, text) != NULL;
        if (!there && clock_mono_ms() > end_ms)
            fail_msg("'%s' does not come; only: %s", text, err);
        free(err);
        if (there)
            return;
        clock_sleep_ms(10);
    }
}

void run_finish(run_t *run) {
    int status;
    int64_t end_ms = clock_mono_ms() + PATIENCE_MS;
    while (waitpid(run->pid, &status, WNOHANG) == 0) {
        if (clock_mono_ms() > end_ms) {
            kill(run->pid, SIGKILL);
            waitpid(run->pid, &status, 0);
            fail_msg("inkling does not end; stdout: %s\nstderr: %s", text_of(run->out_path),
                     text_of(run->err_path));
        }
        clock_sleep_ms(2);
    }
    run->ms = clock_mono_ms() - run->began_ms;
    run->code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    run->out = text_of(run->out_path);
    run->err = text_of(run->err_path);
    run->json = json_loads(run->out, JSON_DECODE_ANY, NULL); // refuses anything behind it
    unlink(run->out_path);
    unlink(run->err_path);
}

void run_words(run_t *run, const char *home, const char *const *words) {
    run_begin_words(run, home, words);
    run_finish(run);
}

void run_release(run_t *run) {
    json_decref(run->json);
    free(run->out);
    free(run->err);
    free(run->out_path);
    free(run->err_path);
    *run = (run_t){0};
}

const run_t *expect_words(int code, const char *home, const char *const *words) {
    static run_t last;
    bool json = false;
    char line[2048] = "inkling";
    run_release(&last);
    run_words(&last, home, words);
    for (int i = 0; words[i]; i++) {
        size_t size = strlen(line);
        snprintf(line + size, sizeof line - size, " %s", words[i]);
        json = json || strcmp(words[i], "--json") == 0;
    }
    if (last.code != code)
        fail_msg("%s\nends with %d, not %d; stdout: %s\nstderr: %s", line, last.code, code,
                 last.out, last.err);
    if (json && !last.json)
        fail_msg("%s\nprints no JSON document: %s", line, last.out);
    return &last;
}

// --- Documents

const json_t *run_at(const json_t *document, const char *path) {
    char *copy = mem_dup(path), *rest = copy, *part;
    while (document && (part = strsep(&rest, "/")) != NULL)
        document = json_is_array(document) ? json_array_get(document, (size_t)atoi(part))
                                           : json_object_get(document, part);
    free(copy);
    return document;
}

const char *run_text_at(const json_t *document, const char *path) {
    const char *text = json_string_value(run_at(document, path));
    return text ? text : "";
}

long long run_number_at(const json_t *document, const char *path) {
    const json_t *value = run_at(document, path);
    return json_is_integer(value) ? json_integer_value(value) : -1;
}
