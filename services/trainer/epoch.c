#include "train_impl.h"

#include "base/clock.h"
#include "trainer/augment.h"
#include "trainer/sampler.h"
#include "trainer/schedule.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

// ---- checkpoints ----

static bool make_room(weights_t **weights, const train_t *train, bool trained_only) {
    if (!*weights)
        *weights = weights_new(train->tensors, train->tensor_count, trained_only);
    return *weights;
}

static err_code_t snapshot(train_t *train, checkpoint_t *to, err_t *err) {
    if (!make_room(&to->params, train, false) || !make_room(&to->m, train, true) ||
        !make_room(&to->v, train, true))
        return err_set(err, ERR_NO_MEMORY, "no memory for a snapshot");
    err_code_t code = weights_get(to->params, train->nn, NN_PARAM, err);
    if (code == ERR_OK)
        code = weights_get(to->m, train->nn, NN_ADAM_M, err);
    if (code == ERR_OK)
        code = weights_get(to->v, train->nn, NN_ADAM_V, err);
    if (code)
        return code;
    state_copy(&train->at.state, &to->state);
    to->best = weights_hold(train->at.best);
    return ERR_OK;
}

// Hands the state between two steps to the writer, which must be idle.
static void put_checkpoint(train_t *train) {
    checkpoint_t checkpoint;
    err_t err;
    writer_reuse(train->writer, &checkpoint);
    train->due = false;
    train->put_ms = clock_mono_ms();
    if (snapshot(train, &checkpoint, &err) == ERR_OK) {
        train->put_step = train->at.state.step;
        train->put_epochs = train->at.state.epochs;
        writer_put(train->writer, &checkpoint);
        return;
    }
    child_log(train->child, "warn", "training goes on without a checkpoint: %s", err.message);
    checkpoint_release(&checkpoint);
}

// After every epoch and every checkpoint_s seconds; while the writer is busy with the one before
// it has to wait for a later step.
static err_code_t consider_checkpoint(train_t *train, err_t *err) {
    if (!train_leads(train))
        return ERR_OK;
    err_code_t code = writer_error(train->writer, err);
    if (code)
        return code;
    if (clock_mono_ms() - train->put_ms >= train->options.checkpoint_ms)
        train->due = true;
    if (train->due && writer_idle(train->writer))
        put_checkpoint(train);
    return ERR_OK;
}

void epoch_flush(train_t *train) {
    writer_wait(train->writer);
    if (train->due && writer_error(train->writer, NULL) == ERR_OK)
        put_checkpoint(train);
}

// Given back: what was reached is recorded before.
static void keep_progress(train_t *train) {
    const state_t *state = &train->at.state;
    bool stored = writer_wait(train->writer);
    bool same = stored && state->step == train->put_step && state->epochs == train->put_epochs;
    if (same || state->step == 0 || writer_error(train->writer, NULL))
        return;
    put_checkpoint(train);
    writer_wait(train->writer);
}

// ---- a step ----

// Sample `place` of the global batch as sample `at` of this rank's.
static void fill_sample(train_t *train, int at, int place, uint32_t image) {
    const nn_spec_t *spec = &train->spec;
    const shard_dataset_t *shards = train->dataset.shards;
    size_t bytes = shard_image_bytes(shards);
    augment_move_t move = {.flip = false};
    if (train->options.augment)
        move = augment_draw(train->options.augment, train->options.seed, train->at.state.step,
                            (uint32_t)place, spec->height, spec->width);
    augment_apply(&move, shard_pixels(shards, SHARD_TRAIN, image), spec->height, spec->width,
                  spec->channels, train->pixels + (size_t)at * bytes);
    train->labels[at] = shard_label(shards, SHARD_TRAIN, image);
    if (train->class_weights)
        train->weights[at] = train->class_weights[train->labels[at]];
}

static nn_batch_t fill_batch(train_t *train) {
    const state_t *state = &train->at.state;
    uint64_t left = train->images - state->position;
    int batch = train->options.batch, total = left < (uint64_t)batch ? (int)left : batch;
    int first, own;
    mirror_share(train->mirror, total, &first, &own);
    for (int i = 0; i < own; i++)
        fill_sample(train, i, first + i,
                    train->order[state->position + (uint64_t)first + (uint64_t)i]);
    return (nn_batch_t){.pixels = train->pixels,
                        .labels = train->labels,
                        .weights = train->class_weights ? train->weights : NULL,
                        .count = own,
                        .position = (uint32_t)first,
                        .batch_total = total};
}

static void count_step(train_t *train, int count, const nn_result_t *result, double seconds) {
    state_t *state = &train->at.state;
    state->step++;
    state->position += (uint64_t)count;
    state->loss_sum += result->loss;
    state->correct += (uint64_t)result->correct;
    state->seconds += seconds;
    if (train->warmed_up) { // the first step of an attempt also builds the engine's kernels
        state->timed_images += (uint64_t)count;
        state->timed_seconds += seconds;
    }
    train->warmed_up = true;
}

static void tell_step(train_t *train, int count, double seconds) {
    const state_t *state = &train->at.state;
    pace_t *pace = &train->pace;
    pace->done = (double)state->epochs * train->images + (double)state->position;
    pace->total = (double)train->options.epochs * train->images;
    snprintf(pace->text, sizeof pace->text, "epoch %d/%d, loss %.4f, %.1f images/s",
             state->epochs + 1, train->options.epochs, state->loss_sum / (double)state->position,
             (double)count / seconds);
}

static err_code_t step(train_t *train, err_t *err) {
    state_t *state = &train->at.state;
    int64_t start = clock_mono_us();
    mirror_begin_step(train->mirror);
    nn_batch_t batch = fill_batch(train);
    mirror_has_input(train->mirror);
    uint64_t steps = train->steps * (uint64_t)train->options.epochs;
    state->lr = schedule_lr(train->options.schedule, train->options.lr, state->step, steps);
    const nn_adam_t adam = {
        .lr = (float)state->lr, .beta1 = 0.9f, .beta2 = 0.999f, .epsilon = 1e-7f};
    nn_result_t result;
    err_code_t code = nn_step(train->nn, &batch, state->step, &adam, mirror_replicas(train->mirror),
                              &result, err);
    if (code == ERR_INVALID) {
        err_context(err, "epoch %d", state->epochs + 1);
        err_remedy(err, "lower --lr: it is %g", train->options.lr);
    }
    if (code)
        return code;
    double seconds = (double)(clock_mono_us() - start + 1) / 1e6;
    mirror_end_step(train->mirror);
    count_step(train, batch.batch_total, &result, seconds);
    tell_step(train, batch.batch_total, seconds);
    return ranks_tick(train, err);
}

// ---- an epoch ----

err_code_t epoch_capture(train_t *train, weights_t **out, err_t *err) {
    weights_t *weights = weights_new(train->tensors, train->tensor_count, false);
    if (!weights)
        return err_set(err, ERR_NO_MEMORY, "no memory for the weights of an epoch");
    err_code_t code = weights_get(weights, train->nn, NN_PARAM, err);
    for (int i = 0; i < train->tensor_count && code == ERR_OK; i++)
        if (train->options.estimate_bn && !train->tensors[i].trained)
            code = nn_get(train->nn, NN_ESTIMATE, i, weights_at(weights, i), err);
    if (code)
        weights_release(&weights);
    *out = weights;
    return code;
}

static err_code_t use_statistics(train_t *train, err_t *err) {
    if (train->options.estimate_bn)
        return nn_bn_estimate(train->nn, train->estimate, train->estimate_count,
                              mirror_replicas(train->mirror), err);
    nn_use_moving(train->nn);
    return ERR_OK;
}

// What nn_step cannot see: numbers that its last step has spoilt.
static err_code_t check_finite(const train_t *train, const score_t *score, const weights_t *weights,
                               err_t *err) {
    if (isfinite(score_loss(score)) && weights_finite(weights, train->tensors))
        return ERR_OK;
    err_set(err, ERR_INVALID, "epoch %d: the training has diverged: its weights are not finite",
            train->at.state.epochs + 1);
    return err_remedy(err, "lower --lr: it is %g", train->options.lr);
}

static err_code_t validate(train_t *train, score_t *score, weights_t **weights, err_t *err) {
    err_code_t code = use_statistics(train, err);
    if (code == ERR_OK)
        code = ranks_tick(train, err);
    if (code == ERR_OK)
        code = ranks_validate(train, score, err);
    if (code == ERR_OK)
        code = epoch_capture(train, weights, err);
    if (code == ERR_OK)
        code = check_finite(train, score, *weights, err);
    return code;
}

static void tell_epoch(const train_t *train) {
    const state_t *state = &train->at.state;
    const state_epoch_t *epoch = &state->history[state->epochs - 1];
    child_event(train->child, "metric",
                json_pack("{s:i, s:f, s:f, s:f, s:f, s:f, s:f}", "epoch", state->epochs, "loss",
                          epoch->loss, "accuracy", epoch->accuracy, "val_loss", epoch->val_loss,
                          "val_accuracy", epoch->val_accuracy, "lr", epoch->lr, "seconds",
                          epoch->seconds));
}

static err_code_t end_epoch(train_t *train, err_t *err) {
    state_t *state = &train->at.state;
    int64_t start = clock_mono_us();
    weights_t *weights = NULL;
    score_t *score = score_new(train->spec.classes, shard_count(train->dataset.shards, SHARD_VAL));
    err_code_t code = score ? validate(train, score, &weights, err)
                            : err_set(err, ERR_NO_MEMORY, "no memory for the validation's scores");
    if (code == ERR_OK) {
        state->seconds += (double)(clock_mono_us() - start) / 1e6;
        if (state_end_epoch(state, train->images, score_loss(score), score_accuracy(score))) {
            weights_release(&train->at.best);
            train->at.best = weights_hold(weights);
        }
        weights_release(&train->last);
        train->last = weights_hold(weights);
        train->due = true;
        tell_epoch(train);
    }
    weights_release(&weights);
    score_destroy(&score);
    return code;
}

static err_code_t run_epoch(train_t *train, err_t *err) {
    state_t *state = &train->at.state;
    err_code_t code = ERR_OK;
    if (train->order_epoch != state->epochs)
        sampler_order(train->options.seed, (uint32_t)state->epochs, train->images, train->order);
    train->order_epoch = state->epochs;
    while (state->position < train->images && code == ERR_OK) {
        code = step(train, err);
        if (code == ERR_OK && state->position < train->images)
            code = consider_checkpoint(train, err);
    }
    if (code == ERR_OK)
        code = end_epoch(train, err);
    return code ? code : consider_checkpoint(train, err);
}

err_code_t epoch_run_all(train_t *train, err_t *err) {
    const state_t *state = &train->at.state;
    err_code_t code = ERR_OK;
    train->put_ms = clock_mono_ms();
    while (code == ERR_OK && state->epochs < train->options.epochs &&
           !state_is_stuck(state, train->options.patience))
        code = run_epoch(train, err);
    if (code == ERR_CANCELLED && train_leads(train) && child_stop(train->child) == CHILD_RELEASE)
        keep_progress(train);
    return code;
}
