// What people see of a running job, on stderr: a bar that is redrawn on a terminal, of a search a
// table, plain lines elsewhere, nothing with --json.
#ifndef INKLING_CLI_PROGRESS_IMPL_H
#define INKLING_CLI_PROGRESS_IMPL_H

#include "live_impl.h"
#include "proto/json.h"
#include "say_impl.h"

enum { PROGRESS_WINDOW = 16 };

typedef struct {
    bool silent, terminal, drawn;
    double done, total;
    struct {
        double done;
        int64_t at_ms;
    } window[PROGRESS_WINDOW]; // the newest figures, a ring; for the rate
    size_t seen;
    int64_t drawn_ms;
    int tenth;    // last tenth that was told as a line
    live_t *live; // of a search, from its first trial on; NULL: no table is wanted
    size_t rows, columns[LIVE_LINES_MAX]; // of the table that is drawn: its lines, and how wide
                                          // they are
} progress_t;

void progress_init(progress_t *progress);
// An event of the job.
void progress_event(progress_t *progress, const proto_event_t *event);
// A figure of the command's own, or of an event: at_ms is when that was, by a clock of its own.
void progress_show(progress_t *progress, double done, double total, const char *text,
                   int64_t at_ms);
// A line of the command's own, above the bar.
void progress_note(progress_t *progress, say_style_t style, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
// Draws the table as it is now, if there is one and it is time.
void progress_table(progress_t *progress);
// Takes the bar or the table away.
void progress_end(progress_t *progress);

#endif
