// What a search is doing, as a table: the best so far, running trials and how far they are, those
// that ended last. It is made of the search's own events, so whoever begins to follow later has the
// same table; how far trainings are it reads from theirs.
#ifndef INKLING_CLI_LIVE_IMPL_H
#define INKLING_CLI_LIVE_IMPL_H

#include "cli_impl.h"

#define LIVE_LINES_MAX 64
#define LIVE_ENDED     6 // of the trials that ended last, so many are in the table

typedef struct {
    uint64_t number;
    char state[16]; // as in study.trial; a running one's: what its training is, "queued"
    char job[PROTO_NAME_MAX + 1];
    double value;     // at its end, else NaN
    double last;      // of the objective after `epoch`; NaN: not known
    uint64_t epoch;   // newest that has ended; 0: not known
    double share;     // of its training that is done
    uint64_t seen;    // its training's events that were read
    bool read;        // all of them, after its end
    size_t ended;     // the how-manieth to end; 0: it runs
    char *parameters; // "lr 0.001  dropout 0.2"
} live_trial_t;

typedef struct {
    char objective[32];   // "": not asked for yet
    uint64_t epochs;      // of a training; 0: not known
    double budget_ms;     // after so long no trial is begun; 0: there is no end
    live_trial_t *trials; // in the order of their coming
    size_t count, room, ended;
    double done, total;          // trials
    int64_t first_ms, newest_ms; // by the clock of the events
    int64_t looked_ms;           // by this host's
} live_t;

typedef struct {
    say_style_t style;
    char text[512]; // cut to the width
} live_line_t;

live_t *live_new(void);
void live_free(live_t **live); // allows NULL in it

// Of the search's job: an event "trial", and of its progress.
void live_event(live_t *live, const json_t *data, int64_t at_ms);
void live_progress(live_t *live, double done, double total, int64_t at_ms);
// Of a trial's training: what was measured after an epoch.
void live_metric(live_t *live, live_trial_t *trial, const json_t *data);
// From the first trial on there is a table.
bool live_has(const live_t *live);
// How long until the end, as it has gone so far; 0: not known.
double live_left_ms(const live_t *live);
// The table, in at most `height` lines that are less than `width` columns wide; returns how many.
size_t live_lines(const live_t *live, size_t width, size_t height,
                  live_line_t lines[LIVE_LINES_MAX]);

// Asks how far the running trials are, at most once a second; the arena's answers are gone then. A
// dispatcher that is away is asked again later. True: it has asked.
bool live_look(live_t *live, cli_t *cli, const char *job);

#endif
