#include "live_impl.h"

#include "base/clock.h"

#include <string.h>

#define LOOK_MS   1000
#define ANSWER_MS 1500 // of a dispatcher that is there; else later
#define PARTS_MAX 8    // of one training's events at once

// What every trial of the search has in common.
static bool ask_body(live_t *live, cli_t *cli, const char *job) {
    const proto_job_show_t question = {.job = job};
    proto_job_t answer;
    if (cli_ask_once(cli, PROTO_job_show, &question, PROTO_job, &answer, ANSWER_MS, NULL) != ERR_OK)
        return false;
    proto_train_t usual;
    proto_defaults(PROTO_train, &usual);
    json_t *body = proto_map_json(answer.job->body);
    const char *objective = json_string_value(json_object_get(body, "objective"));
    const json_t *epochs = json_object_get(json_object_get(body, "train"), "epochs");
    snprintf(live->objective, sizeof live->objective, "%s", objective ? objective : "val_loss");
    live->epochs = json_is_integer(epochs) ? (uint64_t)json_integer_value(epochs) : usual.epochs;
    live->budget_ms = 1000 * json_number_value(json_object_get(body, "budget_s"));
    json_decref(body);
    return true;
}

static void take(live_t *live, live_trial_t *trial, const proto_event_t *event) {
    json_t *data = proto_map_json(event->data);
    if (strcmp(event->type, "metric") == 0) {
        live_metric(live, trial, data);
    } else if (strcmp(event->type, "progress") == 0) {
        double total = json_number_value(json_object_get(data, "total"));
        double done = json_number_value(json_object_get(data, "done"));
        trial->share = total > 0 && done >= 0 && done <= total ? done / total : 0;
    }
    json_decref(data);
}

static bool look_at(live_t *live, cli_t *cli, live_trial_t *trial) {
    proto_job_events_t question;
    proto_events_t events;
    proto_defaults(PROTO_job_events, &question);
    question.job = trial->job;
    for (int i = 0; i < PARTS_MAX; i++) {
        question.after = trial->seen;
        proto_arena_reset(cli->arena);
        if (cli_ask_once(cli, PROTO_job_events, &question, PROTO_events, &events, ANSWER_MS,
                         NULL) != ERR_OK)
            return false;
        for (size_t k = 0; k < events.events.count; k++) {
            take(live, trial, &events.events.items[k]);
            trial->seen = events.events.items[k].n;
        }
        if (!trial->ended)
            snprintf(trial->state, sizeof trial->state, "%s",
                     strcmp(events.state, "queued") == 0 ? "queued" : "running");
        if (events.events.count == 0 || trial->seen >= events.last) {
            trial->read = trial->ended > 0;
            break;
        }
    }
    return true;
}

// Those that run, and once more those that have just ended.
static bool is_shown(const live_t *live, const live_trial_t *trial) {
    return trial->job[0] && !trial->read &&
           (trial->ended == 0 || trial->ended + LIVE_ENDED > live->ended);
}

bool live_look(live_t *live, cli_t *cli, const char *job) {
    int64_t now = clock_mono_ms();
    if (!live_has(live) || now - live->looked_ms < LOOK_MS)
        return false;
    proto_arena_reset(cli->arena);
    bool there = live->objective[0] || ask_body(live, cli, job);
    for (size_t i = 0; i < live->count && there; i++)
        if (is_shown(live, &live->trials[i]))
            there = look_at(live, cli, &live->trials[i]);
    live->looked_ms = clock_mono_ms();
    return true;
}
