#include "stage.h"

#include "base/clock.h"
#include "base/fs.h"
#include "images.h"
#include "proto/json.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define PATIENCE_MS 120000

// ---- life ----

void stage_dataset(stage_t *stage, const char *name, const char *const *classes, int class_count,
                   int size, int per_split) {
    const int per[SHARD_SPLIT_COUNT] = {5 * per_split, per_split, per_split};
    proto_arena_t *arena = stage->fake.arena;
    char digest[DIGEST_HEX_SIZE], *relative = mem_format("datasets/%s/1", name);
    char *folder = stage_path(stage, relative);
    images_write(folder, classes, class_count, size, per, digest);
    proto_dataset_info_t *info = &stage->datasets[stage->dataset_count++];
    *info = (proto_dataset_info_t){.name = proto_arena_text(arena, name),
                                   .version = 1,
                                   .path = proto_arena_text(arena, relative),
                                   .digest = proto_arena_text(arena, digest)};
    free(folder);
    free(relative);
}

void stage_open(stage_t *stage, int size) {
    static const char *const classes[] = {"comics", "faces"};
    memset(stage, 0, sizeof *stage);
    fake_open(&stage->fake, TRAINER, "train");
    fake_listen(&stage->fake, stage->fake.endpoint);
    stage_dataset(stage, "toy", classes, 2, size, 12);
}

void stage_close(stage_t *stage) {
    fake_close(&stage->fake);
}

void stage_worker(stage_t *stage, const char *const *extra) {
    fake_run(&stage->fake, 20); // what the worker before had still sent
    stage->fake.hellos = 0;
    fake_worker(&stage->fake, extra);
}

char *stage_path(stage_t *stage, const char *relative) {
    return mem_format("%s/files/%s", stage->fake.home, relative);
}

// ---- a job ----

static void assign(stage_t *stage) {
    fake_t *fake = &stage->fake;
    err_t err;
    json_t *body = json_loads(stage->body, 0, NULL);
    assert_non_null(body);
    proto_worker_assign_t message = {
        .job = stage->job, .token = stage->token, .kind = stage->kind, .attempt = stage->attempt};
    if (proto_map_from_json(body, fake->arena, &message.body, &err) != ERR_OK)
        fail_msg("%s", err.message);
    json_decref(body);
    if (stage->checkpoint.path)
        message.checkpoint = &stage->checkpoint;
    stage->renews = fake->renews;
    fake_send(fake, PROTO_worker_assign, &message);
}

static bool holds_job(const stage_t *stage) {
    const proto_worker_renew_t *renew = &stage->fake.renew;
    for (size_t i = 0; i < renew->leases.count; i++)
        if (renew->leases.items[i].token == stage->token)
            return true;
    return false;
}

// While the test was busy with other things the worker may have taken the dispatcher for lost, and
// the order have gone to the connection before: it is sent again until the worker's heartbeats
// tell of the job, as a dispatcher does. A worker that has it takes no notice.
static void assign_again(stage_t *stage) {
    if (stage->job && !stage->finish && stage->fake.renews >= stage->renews + 3 &&
        !holds_job(stage))
        assign(stage);
}

static void begin(stage_t *stage) {
    stage->attempt++;
    stage->finish = NULL;
    stage->unanswered = NULL;
    assign(stage);
}

void stage_submit(stage_t *stage, const char *job, const char *kind, const char *body) {
    stage->job = job;
    stage->kind = kind;
    stage->body = body;
    stage->token++;
    stage->attempt = 0;
    stage->checkpoint.path = NULL;
    stage->checkpoints = stage->metrics = stage->progresses = stage->warnings = 0;
    begin(stage);
}

void stage_again(stage_t *stage) {
    stage->token++;
    begin(stage);
}

// ---- answers ----

static void take_events(stage_t *stage, const proto_report_t *events, size_t count) {
    for (size_t i = 0; i < count; i++) {
        json_t *data = proto_map_json(events[i].data);
        const char *level = json_string_value(json_object_get(data, "level"));
        stage->metrics += strcmp(events[i].type, "metric") == 0;
        stage->progresses += strcmp(events[i].type, "progress") == 0;
        if (level && strcmp(level, "warn") == 0) {
            stage->warnings++;
            snprintf(stage->warning, sizeof stage->warning, "%s",
                     json_string_value(json_object_get(data, "text")));
        }
        json_decref(data);
    }
}

static void take_checkpoint(stage_t *stage, const got_t *got) {
    const proto_job_checkpoint_t *message = got->body;
    assert_string_equal(message->job, stage->job);
    if (message->token != stage->token)
        fake_error(&stage->fake, got, ERR_STALE, NULL);
    else if (stage->deaf_to_checkpoints)
        stage->unanswered = got;
    else if (stage->refuse_checkpoints) {
        fake_error(&stage->fake, got, stage->refuse_checkpoints, NULL);
        stage->refuse_checkpoints = ERR_OK;
    } else {
        char *path = stage_path(stage, message->checkpoint->path), digest[DIGEST_HEX_SIZE];
        assert_int_equal(digest_file(path, digest, NULL, NULL), ERR_OK);
        assert_string_equal(digest, message->checkpoint->digest);
        free(path);
        stage->checkpoint = *message->checkpoint;
        stage->checkpoints++;
        fake_ok(&stage->fake, got);
    }
}

static void answer_dataset(stage_t *stage, const got_t *got) {
    const proto_dataset_show_t *show = got->body;
    for (int i = 0; i < stage->dataset_count; i++)
        if (strcmp(show->name, stage->datasets[i].name) == 0) {
            proto_dataset_t dataset = {.dataset = &stage->datasets[i]};
            fake_answer(&stage->fake, got, PROTO_dataset, &dataset);
            return;
        }
    fake_error(&stage->fake, got, ERR_NOT_FOUND, NULL);
}

static void answer_model(stage_t *stage, const got_t *got) {
    const proto_model_show_t *show = got->body;
    for (int i = stage->model_count - 1; i >= 0; i--) {
        const proto_model_info_t *info = &stage->models[i];
        if (strcmp(show->name, info->name) == 0 &&
            (show->version == 0 || show->version == info->version)) {
            proto_model_t model = {.model = info};
            fake_answer(&stage->fake, got, PROTO_model, &model);
            return;
        }
    }
    fake_error(&stage->fake, got, ERR_NOT_FOUND, NULL);
}

void stage_model(stage_t *stage, const char *name, const char *path, const char *digest) {
    proto_arena_t *arena = stage->fake.arena;
    assert_true(stage->model_count < STAGE_MODELS);
    proto_model_info_t *info = &stage->models[stage->model_count++];
    *info = (proto_model_info_t){.name = proto_arena_text(arena, name),
                                 .version = (uint64_t)stage->model_count,
                                 .path = proto_arena_text(arena, path),
                                 .digest = proto_arena_text(arena, digest)};
}

static void take_finish(stage_t *stage, const got_t *got) {
    const proto_job_finish_t *finish = got->body;
    take_events(stage, finish->events.items, finish->events.count);
    if (finish->token != stage->token) {
        fake_error(&stage->fake, got, ERR_STALE, NULL);
        return;
    }
    stage->finish = finish;
    if (finish->model)
        stage_model(stage, finish->model->name, finish->model->path, finish->model->digest);
    fake_finished(&stage->fake, got, NULL);
}

static void take(stage_t *stage, const got_t *got) {
    if (got->type == PROTO_job_report) {
        const proto_job_report_t *report = got->body;
        take_events(stage, report->events.items, report->events.count);
        fake_ok(&stage->fake, got);
    } else if (got->type == PROTO_job_checkpoint) {
        take_checkpoint(stage, got);
    } else if (got->type == PROTO_dataset_show) {
        answer_dataset(stage, got);
    } else if (got->type == PROTO_model_show) {
        answer_model(stage, got);
    } else if (got->type == PROTO_job_finish) {
        take_finish(stage, got);
    } else {
        fake_ok(&stage->fake, got);
    }
}

void stage_pump(stage_t *stage, int64_t ms) {
    fake_t *fake = &stage->fake;
    int64_t end = clock_mono_ms() + ms;
    do {
        if (fake->taken == fake->got_count)
            fake_run(fake, 5);
        assign_again(stage);
        while (fake->taken < fake->got_count)
            take(stage, &fake->got[fake->taken++]);
        fake->taken = fake->got_count = stage->unanswered ? fake->taken : 0;
    } while (!stage->finish && clock_mono_ms() < end);
}

const proto_job_finish_t *stage_finish(stage_t *stage) {
    stage_pump(stage, PATIENCE_MS);
    if (!stage->finish)
        fail_msg("job %s does not end", stage->job);
    return stage->finish;
}

void stage_await(stage_t *stage, const int *counter, int wanted) {
    int64_t end = clock_mono_ms() + PATIENCE_MS;
    while (*counter < wanted && clock_mono_ms() < end && !stage->finish)
        stage_pump(stage, 5);
    if (*counter < wanted)
        fail_msg("waited for %d, have %d", wanted, *counter);
}

json_t *stage_succeed(stage_t *stage) {
    const proto_job_finish_t *finish = stage_finish(stage);
    if (strcmp(finish->outcome, "succeeded") != 0)
        fail_msg("%s: %s", finish->outcome, finish->error ? finish->error->message : "");
    json_t *result = proto_map_json(finish->result);
    assert_non_null(result);
    return result;
}

void stage_fails(stage_t *stage, err_code_t code, const char *words) {
    const proto_job_finish_t *finish = stage_finish(stage);
    if (strcmp(finish->outcome, "failed") != 0)
        fail_msg("it %s", finish->outcome);
    if (strcmp(finish->error->code, err_name(code)) != 0 ||
        (!strstr(finish->error->message, words) && !strstr(finish->error->remedy, words)))
        fail_msg("%s: %s; %s", finish->error->code, finish->error->message, finish->error->remedy);
}

pid_t stage_engine(stage_t *stage) {
    char path[64], text[64] = "";
    int pid = (int)stage->fake.worker;
    int64_t end = clock_mono_ms() + PATIENCE_MS;
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", pid, pid);
    while (!text[0] && clock_mono_ms() < end) {
        FILE *file = fopen(path, "r");
        assert_non_null(file);
        if (!fgets(text, sizeof text, file))
            stage_pump(stage, 5);
        fclose(file);
    }
    return atoi(text);
}
