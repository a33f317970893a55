#include "support/proc.h"

#include "base/clock.h"
#include "base/fs.h"
#include "client/client.h"
#include "conf/conf.h"
#include "support/spawn.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

extern char **environ;

err_code_t proc_make_home(char home[PROC_HOME_SIZE], err_t *err) {
    snprintf(home, PROC_HOME_SIZE, "/tmp/inkling-home-XXXXXX");
    return mkdtemp(home) ? ERR_OK : err_set_errno(err, "cannot make a folder in /tmp");
}

void proc_remove_home(const char *home) {
    fs_remove_all(home, NULL);
}

char *proc_program(const char *program) {
    const char *folder = getenv("INKLING_BIN");
    return fs_join(folder && *folder ? folder : SUPPORT_BIN, program);
}

// Settings of the person who runs the tests must not reach the programs under test.
static void hide_settings(void) {
    static bool hidden;
    for (size_t i = 0; !hidden && environ[i];) {
        size_t size = strcspn(environ[i], "=");
        char name[64];
        snprintf(name, sizeof name, "%.*s", (int)size, environ[i]);
        bool ours = strncmp(name, "INKLING_", 8) == 0 && strcmp(name, "INKLING_BIN") != 0 &&
                    strcmp(name, "INKLING_PEERS") != 0 && strcmp(name, "INKLING_REDIS_SERVER") != 0;
        if (!ours || unsetenv(name) != 0)
            i++;
    }
    hidden = true;
}

err_code_t proc_start(proc_t *proc, const char *program, const char *name, const char *home,
                      const char *const *args, const char *const *env, err_t *err) {
    memset(proc, 0, sizeof *proc);
    snprintf(proc->name, sizeof proc->name, "%s", name);
    snprintf(proc->home, sizeof proc->home, "%s", home);
    snprintf(proc->log, sizeof proc->log, "%s/%s.log", home, name);
    hide_settings();
    char *path = proc_program(program), home_setting[PROC_HOME_SIZE + 16];
    snprintf(home_setting, sizeof home_setting, "INKLING_HOME=%s", home);
    const char *argv[64] = {path, "--name", name}, *settings[64] = {home_setting};
    for (size_t i = 0; args && args[i] && i < 60; i++)
        argv[3 + i] = args[i];
    for (size_t i = 0; env && env[i] && i < 62; i++)
        settings[1 + i] = env[i];
    err_code_t code = spawn(path, argv, settings, proc->log, &proc->pid, err);
    free(path);
    return code;
}

// Asks the service's own socket; reply lives in the arena.
static err_code_t ask(const proc_t *proc, proto_type_t type, const void *message,
                      proto_type_t reply_type, void *reply, proto_arena_t *arena,
                      int64_t timeout_ms, err_t *err) {
    char *endpoint = conf_control_endpoint(proc->home, proc->name);
    client_t *client = NULL;
    err_code_t code = client_new(endpoint, proc->name, &client, err);
    if (code == ERR_OK)
        code = client_request(client, type, message, NULL, 0, reply_type, reply, arena, timeout_ms,
                              NULL, err);
    client_destroy(&client);
    free(endpoint);
    return code;
}

err_code_t proc_await_ready(proc_t *proc, int64_t timeout_ms, err_t *err) {
    int64_t end_ms = clock_mono_ms() + timeout_ms;
    char said[512] = "nothing";
    while (clock_mono_ms() < end_ms) {
        int status;
        if (spawn_ended(proc->pid, &status)) {
            proc->pid = 0;
            return err_set(err, ERR_UNAVAILABLE, "%s ended with status %d; see %s", proc->name,
                           status, proc->log);
        }
        proto_arena_t *arena = proto_arena_new();
        proto_service_status_t question = {0};
        proto_service_state_t state;
        err_code_t code = ask(proc, PROTO_service_status, &question, PROTO_service_state, &state,
                              arena, 500, NULL);
        bool ready = code == ERR_OK && state.ready;
        if (code == ERR_OK)
            snprintf(said, sizeof said, "%s", state.detail);
        proto_arena_destroy(&arena);
        if (ready)
            return ERR_OK;
        clock_sleep_ms(5);
    }
    return err_set(err, ERR_TIMEOUT, "%s is not ready after %.1f s; it says: %s", proc->name,
                   (double)timeout_ms / 1000, said);
}

void proc_signal(const proc_t *proc, int number) {
    ERR_ASSERT(proc->pid > 0);
    kill(proc->pid, number);
}

void proc_kill(proc_t *proc) {
    spawn_kill(&proc->pid);
}

err_code_t proc_await_end(proc_t *proc, int64_t timeout_ms, int *status, err_t *err) {
    int64_t end_ms = clock_mono_ms() + timeout_ms;
    ERR_ASSERT(proc->pid > 0);
    while (!spawn_ended(proc->pid, status)) {
        if (clock_mono_ms() >= end_ms)
            return err_set(err, ERR_TIMEOUT, "%s does not end within %.1f s", proc->name,
                           (double)timeout_ms / 1000);
        clock_sleep_ms(5);
    }
    proc->pid = 0;
    return ERR_OK;
}

double proc_metric(const proc_t *proc, const char *name) {
    proto_arena_t *arena = proto_arena_new();
    proto_service_metrics_t question = {0};
    proto_service_text_t text;
    double value = -1;
    size_t size = strlen(name);
    if (ask(proc, PROTO_service_metrics, &question, PROTO_service_text, &text, arena, 5000, NULL) ==
        ERR_OK)
        for (const char *line = text.text; line; line = strchr(line, '\n')) {
            line += *line == '\n';
            if (strncmp(line, name, size) == 0 && line[size] == ' ')
                value = strtod(line + size, NULL);
        }
    proto_arena_destroy(&arena);
    return value;
}

char *proc_output(const proc_t *proc) {
    void *text;
    size_t size;
    return fs_read(proc->log, 1 << 24, &text, &size, NULL) == ERR_OK ? text : mem_dup("");
}

int64_t proc_cpu_ms(pid_t pid) {
    char path[64], text[1024];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *file = fopen(path, "r");
    if (!file)
        return -1;
    size_t size = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[size] = 0;
    const char *rest =
        strrchr(text, ')'); // "pid (name) state …": utime, stime are 12th, 13th from here
    unsigned long long user = 0, system = 0;
    if (!rest || sscanf(rest + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu", &user,
                        &system) != 2)
        return -1;
    return (int64_t)((user + system) * 1000 / (unsigned long long)sysconf(_SC_CLK_TCK));
}
