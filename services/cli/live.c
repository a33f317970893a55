#include "live_impl.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define RUNNING_MAX 24
#define BAR_CELLS   24
#define LINE_MAX    4096

live_t *live_new(void) {
    return mem_zero(1, sizeof(live_t));
}

void live_free(live_t **self) {
    live_t *live = *self;
    if (!live)
        return;
    for (size_t i = 0; i < live->count; i++)
        free(live->trials[i].parameters);
    free(live->trials);
    free(live);
    *self = NULL;
}

bool live_has(const live_t *live) {
    return live && live->count > 0;
}

// --- Events

static live_trial_t *trial_of(live_t *live, uint64_t number) {
    for (size_t i = live->count; i > 0; i--)
        if (live->trials[i - 1].number == number)
            return &live->trials[i - 1];
    if (live->count == live->room) {
        live->room = live->room ? 2 * live->room : 32;
        live->trials = mem_grow(live->trials, live->room * sizeof *live->trials);
    }
    live_trial_t *trial = &live->trials[live->count++];
    *trial = (live_trial_t){.number = number, .value = NAN, .last = NAN};
    return trial;
}

static const char *text_of(const json_t *data, const char *key) {
    const char *text = json_string_value(json_object_get(data, key));
    return text ? text : "";
}

static double objective_of(const live_t *live, const json_t *data) {
    const json_t *value = NULL;
    static const char *const names[] = {"val_loss", "val_accuracy"};
    if (live->objective[0])
        value = json_object_get(data, live->objective);
    for (size_t i = 0; i < 2 && !value && !live->objective[0]; i++)
        value = json_object_get(data, names[i]);
    return json_is_number(value) ? json_number_value(value) : NAN;
}

static void see(live_t *live, int64_t at_ms) {
    if (live->first_ms == 0)
        live->first_ms = at_ms;
    if (at_ms > live->newest_ms)
        live->newest_ms = at_ms;
}

void live_event(live_t *live, const json_t *data, int64_t at_ms) {
    buf_t parameters;
    json_int_t number = json_integer_value(json_object_get(data, "trial"));
    if (number < 1)
        return;
    see(live, at_ms);
    live_trial_t *trial = trial_of(live, (uint64_t)number);
    const char *state = text_of(data, "state");
    bool runs = strcmp(state, "running") == 0;
    if (runs && trial->ended)
        return; // said again
    snprintf(trial->state, sizeof trial->state, "%s", state);
    snprintf(trial->job, sizeof trial->job, "%s", text_of(data, "job"));
    if (!runs && !trial->ended)
        trial->ended = ++live->ended;
    trial->value = objective_of(live, data);
    buf_init(&parameters, LINE_MAX);
    say_pairs(&parameters, data, "trial state val_loss val_accuracy why job");
    free(trial->parameters);
    trial->parameters = mem_dup(parameters.data ? parameters.data : "");
    buf_release(&parameters);
}

void live_progress(live_t *live, double done, double total, int64_t at_ms) {
    live->done = done;
    live->total = total;
    if (live->first_ms)
        see(live, at_ms);
}

void live_metric(live_t *live, live_trial_t *trial, const json_t *data) {
    json_int_t epoch = json_integer_value(json_object_get(data, "epoch"));
    if (epoch <= (json_int_t)trial->epoch)
        return; // of an attempt that is repeated
    trial->epoch = (uint64_t)epoch;
    trial->last = objective_of(live, data);
}

// --- Figures

static const live_trial_t *best_of(const live_t *live) {
    const live_trial_t *best = NULL;
    double sign = strcmp(live->objective, "val_accuracy") == 0 ? -1 : 1;
    for (size_t i = 0; i < live->count; i++) {
        const live_trial_t *trial = &live->trials[i];
        if (strcmp(trial->state, "done") == 0 && !isnan(trial->value) &&
            (!best || sign * trial->value < sign * best->value))
            best = trial;
    }
    return best;
}

static size_t count_of(const live_t *live, const char *state) {
    size_t count = 0;
    for (size_t i = 0; i < live->count; i++)
        count += strcmp(live->trials[i].state, state) == 0;
    return count;
}

// A trial that ended has done its part, however early; of those that run a part is done. Those that
// run when the time is over are not cut short.
double live_left_ms(const live_t *live) {
    double parts = live->done, running = 0;
    for (size_t i = 0; i < live->count; i++)
        if (!live->trials[i].ended) {
            parts += live->trials[i].share;
            running++;
        }
    double elapsed_ms = (double)(live->newest_ms - live->first_ms);
    if (parts < 0.5 || elapsed_ms <= 1000 || live->total <= parts)
        return 0;
    double left_ms = elapsed_ms * (live->total - parts) / parts;
    if (live->budget_ms > 0) {
        double trial_ms = elapsed_ms * fmax(running, 1) / parts;
        left_ms = fmin(left_ms, fmax(live->budget_ms - elapsed_ms, 0) + trial_ms);
    }
    return left_ms;
}

// --- Lines

// Cut between characters: a terminal that wraps a line could not be redrawn. Wide ones count twice.
static void cut(char *text, size_t columns) {
    size_t used = 0, i = 0;
    while (text[i]) {
        unsigned char c = (unsigned char)text[i];
        size_t bytes = c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
        bool drawn = c == 0xe2; // blocks, dots and the like are narrow
        used += bytes < 3 || drawn ? 1 : 2;
        if (used > columns)
            break;
        while (bytes > 0 && text[i])
            i++, bytes--;
    }
    text[i] = 0;
}

typedef struct {
    live_line_t *lines;
    size_t count, most, width;
} page_t;

static void put(page_t *page, say_style_t style, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void put(page_t *page, say_style_t style, const char *format, ...) {
    if (page->count == page->most)
        return;
    live_line_t *line = &page->lines[page->count++];
    va_list args;
    va_start(args, format);
    vsnprintf(line->text, sizeof line->text, format, args);
    va_end(args);
    line->style = style;
    cut(line->text, page->width - 1);
}

static void put_best(page_t *page, const live_t *live) {
    const live_trial_t *best = best_of(live);
    const char *name = live->objective[0] ? live->objective : "value";
    char value[32];
    if (!best) {
        put(page, SAY_BOLD, "no trial has ended well yet");
        return;
    }
    say_number(best->value, value);
    put(page, SAY_GOOD, "best %s %s, trial %llu:  %s", name, value,
        (unsigned long long)best->number, best->parameters);
}

static void put_bar(page_t *page, const live_t *live) {
    static const struct {
        const char *state, *words;
    } parts[] = {{"running", "running"},
                 {"queued", "waiting for a trainer"},
                 {"pruned", "stopped early"},
                 {"failed", "failed"},
                 {"forgotten", "forgotten"}};
    buf_t text;
    buf_init(&text, LINE_MAX);
    bool known = live->total > 0; // else nobody has told yet how many there will be
    double share = known ? live->done / live->total : 0;
    for (int i = 0; i < BAR_CELLS; i++)
        buf_puts(&text, i < (int)(BAR_CELLS * share) ? "█" : "░");
    if (known)
        buf_printf(&text, " %.0f of %.0f trials", live->done, live->total);
    const char *gap = known ? ", " : " ";
    double left_ms = live_left_ms(live);
    if (left_ms > 0) {
        char left[32];
        say_duration(left_ms, left);
        buf_printf(&text, ", about %s left", left);
    }
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        size_t count = count_of(live, parts[i].state);
        if (count == 0)
            continue;
        buf_printf(&text, "%s%zu %s", gap, count, parts[i].words);
        gap = ", ";
    }
    put(page, SAY_PLAIN, "%s", text.data);
    buf_release(&text);
}

static void put_trial(page_t *page, const live_t *live, const live_trial_t *trial) {
    char epoch[48] = "", value[40] = "";
    double number = trial->ended ? trial->value : trial->last;
    if (trial->epoch && live->epochs)
        snprintf(epoch, sizeof epoch, "%llu of %llu", (unsigned long long)trial->epoch,
                 (unsigned long long)live->epochs);
    else if (trial->epoch)
        snprintf(epoch, sizeof epoch, "%llu", (unsigned long long)trial->epoch);
    if (!isnan(number))
        say_number(number, value);
    say_style_t style = strcmp(trial->state, "failed") == 0 ? SAY_BAD
                        : trial->ended                      ? SAY_DIM
                                                            : SAY_PLAIN;
    put(page, style, "%5llu  %-9s  %9s  %12s  %s", (unsigned long long)trial->number,
        strcmp(trial->state, "pruned") == 0 ? "stopped" : trial->state, epoch, value,
        trial->parameters);
}

static const live_trial_t *ended_at(const live_t *live, size_t place) {
    for (size_t i = 0; i < live->count; i++)
        if (live->trials[i].ended == place)
            return &live->trials[i];
    return NULL;
}

size_t live_lines(const live_t *live, size_t width, size_t height,
                  live_line_t lines[LIVE_LINES_MAX]) {
    size_t running = 0, rows = 0;
    page_t page = {.lines = lines,
                   .most = height < LIVE_LINES_MAX ? height : LIVE_LINES_MAX,
                   .width = width > 2 ? width : 2};
    put_best(&page, live);
    put_bar(&page, live);
    put(&page, SAY_BOLD, "%5s  %-9s  %9s  %12s  %s", "trial", "state", "epoch",
        live->objective[0] ? live->objective : "value", "parameters");
    for (size_t i = 0; i < live->count && running < RUNNING_MAX; i++)
        if (!live->trials[i].ended) {
            put_trial(&page, live, &live->trials[i]);
            running++;
        }
    for (size_t place = live->ended; place > 0 && rows < LIVE_ENDED; place--, rows++) {
        const live_trial_t *trial = ended_at(live, place);
        if (trial)
            put_trial(&page, live, trial);
    }
    return page.count;
}
