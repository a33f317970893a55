// Settings that a stack which runs already does not have: compared with the command line and the
// environment of its dispatcher, and with the age of its processes.
#include "stack/stack.h"

#include "base/fs.h"
#include "commands_impl.h"
#include "pidfile_impl.h"

#include <ctype.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define WORDS_MAX (1 << 20) // of a command line or an environment

// /proc/PID/FILE: words, each ended by a NUL.
typedef struct {
    char *text;
    size_t size;
} words_t;

static words_t read_words(pid_t pid, const char *file) {
    char path[64];
    words_t words = {.text = mem_alloc(WORDS_MAX)};
    snprintf(path, sizeof path, "/proc/%ld/%s", (long)pid, file);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    for (ssize_t got; fd >= 0 && words.size < WORDS_MAX - 1; words.size += (size_t)got)
        if ((got = read(fd, words.text + words.size, WORDS_MAX - 1 - words.size)) <= 0)
            break;
    if (fd >= 0)
        close(fd);
    words.text[words.size] = 0;
    return words;
}

// The word behind this one ("" at the end), or NULL: it is not there.
static const char *find_word(const words_t *words, const char *word) {
    for (size_t at = 0; at < words->size; at += strlen(words->text + at) + 1)
        if (strcmp(words->text + at, word) == 0) {
            size_t next = at + strlen(word) + 1;
            return next < words->size ? words->text + next : "";
        }
    return NULL;
}

static void name_change(buf_t *changes, const char *name) {
    buf_printf(changes, "%s%s", changes->size ? ", " : "", name);
}

static void compare_options(const stack_up_t *up, const words_t *words, buf_t *changes) {
    const char *files = find_word(words, "--files");
    for (char *const *setting = up->settings; setting && *setting; setting++)
        if (command_hands_on(*setting) && !find_word(words, *setting))
            name_change(changes, *setting);
    if (files && strcmp(files, up->conf->files) != 0)
        name_change(changes, "the folder for files");
}

static void compare_environment(const words_t *words, buf_t *changes) {
#define S(type, field, def, min, max, doc) #field,
    static const char *const names[] = {CONF_SETTINGS(S)};
#undef S
    static const char places[] =
        "home stack name files redis idle_exit_s"; // the options say where they are
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char name[64];
        snprintf(name, sizeof name, "INKLING_%s", names[i]);
        for (char *c = name; *c; c++)
            *c = (char)toupper((unsigned char)*c);
        const char *value = getenv(name);
        if (!value || strstr(places, names[i]))
            continue;
        char *wanted = mem_format("%s=%s", name, value);
        if (!find_word(words, wanted))
            name_change(changes, name);
        free(wanted);
    }
}

static bool younger(const struct stat *a, const struct stat *b) {
    return a->st_mtim.tv_sec != b->st_mtim.tv_sec ? a->st_mtim.tv_sec > b->st_mtim.tv_sec
                                                  : a->st_mtim.tv_nsec > b->st_mtim.tv_nsec;
}

// A service has read the file when it began, which is when its pid file was written.
static void compare_file(const char *home, buf_t *changes) {
    struct stat file, began;
    char *path = fs_join(home, "inkling.conf");
    bool changed = false, there = stat(path, &file) == 0;
    for (int i = STACK_DISPATCHER; i < STACK_COUNT && there && !changed; i++) {
        char *pid_path = mem_format("%s/pids/%s.pid", home, stack_rows[i].name);
        changed = stat(pid_path, &began) == 0 && younger(&file, &began);
        free(pid_path);
    }
    if (changed)
        name_change(changes, path);
    free(path);
}

void stack_changes(const stack_up_t *up, buf_t *changes) {
    pidfile_t dispatcher;
    if (!pidfile_alive(up->conf->home, stack_rows[STACK_DISPATCHER].name, &dispatcher) ||
        dispatcher.pid == 0)
        return;
    words_t options = read_words(dispatcher.pid, "cmdline");
    words_t environment = read_words(dispatcher.pid, "environ");
    if (options.size > 0) // else it belongs to somebody else, or has just died
        compare_options(up, &options, changes);
    if (environment.size > 0)
        compare_environment(&environment, changes);
    compare_file(up->conf->home, changes);
    free(options.text);
    free(environment.text);
}
