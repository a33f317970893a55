#include "progress_impl.h"

#include "base/clock.h"
#include "verbs_impl.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define DRAW_MS  100
#define LINE_MS  15000 // without a terminal a line at least so often, while there is progress
#define BAR_MAX  40
#define LINE_MAX 4096

void progress_init(progress_t *progress) {
    *progress = (progress_t){.silent = say_is_json(), .terminal = say_terminal(stderr)};
}

// --- Lines

static struct winsize terminal_size(void) {
    struct winsize size = {0};
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col <= 20)
        size.ws_col = 80;
    if (size.ws_row < 5)
        size.ws_row = 24;
    return size;
}

// To the beginning of the table. A terminal that has become narrower has wrapped its lines.
static void go_up(const progress_t *progress, buf_t *out) {
    size_t width = terminal_size().ws_col, up = 0;
    for (size_t i = 0; i < progress->rows; i++)
        up += progress->columns[i] > width ? (progress->columns[i] - 1) / width + 1 : 1;
    if (up > 1)
        buf_printf(out, "\033[%zuA", up - 1);
    buf_puts(out, "\r");
}

void progress_end(progress_t *progress) {
    if (progress->drawn && progress->rows > 0) {
        buf_t text;
        buf_init(&text, LINE_MAX);
        go_up(progress, &text);
        fprintf(stderr, "%s\033[J", text.data);
        buf_release(&text);
    } else if (progress->drawn) {
        fputs("\r\033[K", stderr);
    }
    progress->drawn = false;
    progress->rows = 0;
}

static void put_line(progress_t *progress, say_style_t style, const char *text) {
    if (progress->silent)
        return;
    progress_end(progress);
    bool styled = style != SAY_PLAIN;
    fprintf(stderr, "%s%s%s\n", styled ? say_style(stderr, style) : "", text,
            styled ? say_style(stderr, SAY_PLAIN) : "");
}

void progress_note(progress_t *progress, say_style_t style, const char *format, ...) {
    char text[LINE_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    put_line(progress, style, text);
}

// --- The bar

// Per second, over the last figures; 0: not known yet.
static double rate_of(const progress_t *progress) {
    if (progress->seen < 2)
        return 0;
    size_t newest = (progress->seen - 1) % PROGRESS_WINDOW;
    size_t oldest = progress->seen > PROGRESS_WINDOW ? progress->seen % PROGRESS_WINDOW : 0;
    double ms = (double)(progress->window[newest].at_ms - progress->window[oldest].at_ms);
    double done = progress->window[newest].done - progress->window[oldest].done;
    return ms > 0 && done > 0 ? 1000 * done / ms : 0;
}

static void describe(const progress_t *progress, const char *text, buf_t *out) {
    char number[32], total[32];
    say_number(progress->done, number);
    say_number(progress->total, total);
    buf_printf(out, "%3.0f %%  %s of %s", 100 * progress->done / progress->total, number, total);
    double rate = rate_of(progress);
    if (rate > 0 && progress->done < progress->total) {
        say_number(rate, number);
        say_duration(1000 * (progress->total - progress->done) / rate, total);
        if (!text || !strstr(text, "/s")) // the worker's own rate, where it tells one
            buf_printf(out, "  %s/s", number);
        buf_printf(out, "  %s left", total);
    }
    if (text && *text) {
        buf_puts(out, "  ");
        say_text(out, text);
    }
}

static void draw(progress_t *progress, const char *text) {
    size_t width = terminal_size().ws_col, room = width > 60 + BAR_MAX ? BAR_MAX : width / 4;
    size_t full = (size_t)((double)room * progress->done / progress->total);
    buf_t line;
    buf_init(&line, LINE_MAX);
    for (size_t i = 0; i < room; i++)
        buf_puts(&line, i < full ? "█" : "░");
    buf_puts(&line, " ");
    describe(progress, text, &line);
    // A line that wraps could not be redrawn. Cut between characters; each bar cell has 3 bytes.
    size_t limit = width - 1 + 2 * room;
    while (line.size > limit && line.size > 0 && ((unsigned char)line.data[limit] & 0xc0) == 0x80)
        limit--;
    if (line.size > limit)
        line.data[limit] = 0;
    fprintf(stderr, "\r%s\033[K", line.data);
    fflush(stderr);
    progress->drawn = true;
    buf_release(&line);
}

// --- The table

static size_t columns_of(const char *text) {
    size_t columns = 0;
    for (; *text; text++)
        columns += ((unsigned char)*text & 0xc0) != 0x80;
    return columns;
}

// All at once, line over line: what is redrawn does not flicker.
static void draw_table(progress_t *progress) {
    struct winsize size = terminal_size();
    live_line_t *lines = mem_alloc(LIVE_LINES_MAX * sizeof *lines);
    size_t count = live_lines(progress->live, size.ws_col, (size_t)size.ws_row - 1, lines);
    buf_t text;
    buf_init(&text, 1 << 17);
    if (progress->drawn && progress->rows > 0)
        go_up(progress, &text);
    else if (progress->drawn)
        buf_puts(&text, "\r");
    for (size_t i = 0; i < count; i++) {
        bool styled = lines[i].style != SAY_PLAIN;
        buf_printf(&text, "%s%s%s%s\033[K", i ? "\n" : "",
                   styled ? say_style(stderr, lines[i].style) : "", lines[i].text,
                   styled ? say_style(stderr, SAY_PLAIN) : "");
        progress->columns[i] = columns_of(lines[i].text);
    }
    buf_puts(&text, "\033[J");
    fwrite(text.data, 1, text.size, stderr);
    fflush(stderr);
    progress->drawn = true;
    progress->rows = count;
    buf_release(&text);
    free(lines);
}

void progress_table(progress_t *progress) {
    int64_t now = clock_mono_ms();
    if (progress->silent || !progress->terminal || !live_has(progress->live) ||
        now - progress->drawn_ms < DRAW_MS)
        return;
    progress->drawn_ms = now;
    draw_table(progress);
}

// --- Lines instead of it

static void tell(progress_t *progress, const char *text) {
    int tenth = (int)(10 * progress->done / progress->total);
    int64_t now = clock_mono_ms();
    bool due = tenth != progress->tenth || now - progress->drawn_ms >= LINE_MS;
    if (!due)
        return;
    progress->tenth = tenth;
    progress->drawn_ms = now;
    buf_t line;
    buf_init(&line, LINE_MAX);
    describe(progress, text, &line);
    put_line(progress, SAY_PLAIN, line.data);
    buf_release(&line);
}

void progress_show(progress_t *progress, double done, double total, const char *text,
                   int64_t at_ms) {
    progress->done = done;
    progress->total = total;
    if (progress->silent || !(progress->total > 0))
        return;
    if (progress->done > progress->total)
        progress->done = progress->total;
    int64_t now = clock_mono_ms();
    size_t newest = progress->seen % PROGRESS_WINDOW;
    if (progress->seen > 0 &&
        progress->done < progress->window[(progress->seen - 1) % PROGRESS_WINDOW].done)
        progress->seen = newest = 0; // another attempt, or another phase
    progress->window[newest].done = progress->done;
    progress->window[newest].at_ms = at_ms; // when it happened: history comes all at once
    progress->seen++;
    if (!progress->terminal) {
        tell(progress, text);
    } else if (live_has(progress->live)) {
        live_progress(progress->live, progress->done, progress->total, at_ms);
        progress_table(progress);
    } else if (now - progress->drawn_ms >= DRAW_MS) {
        progress->drawn_ms = now;
        draw(progress, text);
    }
}

static void on_progress(progress_t *progress, const json_t *data, int64_t at_ms) {
    progress_show(progress, json_number_value(json_object_get(data, "done")),
                  json_number_value(json_object_get(data, "total")),
                  json_string_value(json_object_get(data, "text")), at_ms);
}

// --- Events

static void on_log(progress_t *progress, const json_t *data) {
    const char *level = json_string_value(json_object_get(data, "level"));
    const char *text = json_string_value(json_object_get(data, "text"));
    bool bad = level && (strcmp(level, "warn") == 0 || strcmp(level, "error") == 0);
    buf_t line;
    buf_init(&line, LINE_MAX);
    say_text(&line, text ? text : "");
    put_line(progress, bad ? SAY_WARN : SAY_PLAIN, line.data ? line.data : "");
    buf_release(&line);
}

static void on_other(progress_t *progress, const char *type, const json_t *data) {
    buf_t line;
    buf_init(&line, LINE_MAX);
    const json_t *state = json_object_get(data, "state");
    bool is_state = strcmp(type, "state") == 0 && json_is_string(state);
    bool metric = strcmp(type, "metric") == 0;
    if (is_state)
        say_text(&line, json_string_value(state));
    else if (!metric)
        say_text(&line, type);
    if (line.size > 0)
        buf_puts(&line, "  ");
    const json_t *outcome = json_object_get(data, "outcome");
    bool twice = is_state && json_equal(state, outcome); // succeeded, outcome succeeded
    say_pairs(&line, data,
              twice      ? "state token outcome"
              : is_state ? "state token"
                         : "path digest info");
    put_line(progress,
             is_state ? say_state_style(json_string_value(state))
             : metric ? SAY_PLAIN
                      : SAY_DIM,
             line.data ? line.data : "");
    buf_release(&line);
}

// It takes the place of the bar.
static void on_trial(progress_t *progress, const json_t *data, int64_t at_ms) {
    live_event(progress->live, data, at_ms);
    live_progress(progress->live, progress->done, progress->total, at_ms);
    progress_table(progress);
}

void progress_event(progress_t *progress, const proto_event_t *event) {
    json_t *data = proto_map_json(event->data);
    if (!data)
        data = json_object();
    if (strcmp(event->type, "progress") == 0)
        on_progress(progress, data, (int64_t)event->at_ms);
    else if (strcmp(event->type, "log") == 0)
        on_log(progress, data);
    else if (strcmp(event->type, "trial") == 0 && progress->live && progress->terminal)
        on_trial(progress, data, (int64_t)event->at_ms);
    else if (strcmp(event->type, "checkpoint") != 0 || !progress->terminal ||
             !live_has(progress->live)) // the table is what a search has come to
        on_other(progress, event->type, data);
    json_decref(data);
}
