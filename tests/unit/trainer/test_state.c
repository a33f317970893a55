// Does where a training stands survive being written down, to the last bit, and are its decisions
// (which epoch is the best, when to stop) those of the header?
#include "trainer/state.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void end_epoch(state_t *state, double loss) {
    state->loss_sum = 0.1 * 3;
    state->correct = 2;
    state->lr = 1.0 / 3;
    state->seconds = 1e-7 / 3;
    state_end_epoch(state, 3, loss, 1.0 / 7);
}

static state_t make(void) {
    state_t state;
    state_init(&state);
    memset(state.job_digest, 'a', DIGEST_HEX_SIZE - 1);
    state.dataset_version = 3;
    state.init_version = 1ull << 52;
    snprintf(state.choices, sizeof state.choices, "backend=cpu \"quoted\" threads=2");
    state.replicas = 3;
    state.exact = false;
    state.begun = true;
    end_epoch(&state, 0.5);
    end_epoch(&state, 0.1 + 0.2);
    end_epoch(&state, 5e-324);
    state.step = 77;
    state.position = 64;
    state.loss_sum = 1.0 / 9;
    state.correct = 5;
    state.lr = 1e-3;
    state.seconds = 12.25;
    state.timed_images = 1000;
    state.timed_seconds = 0.3;
    return state;
}

// Through text, as a checkpoint has it.
static json_t *through_text(json_t *json) {
    char *text = json_dumps(json, JSON_COMPACT);
    json_t *read = json_loads(text, 0, NULL);
    free(text);
    json_decref(json);
    assert_non_null(read);
    return read;
}

static void test_round_trip(void **unused) {
    (void)unused;
    state_t state = make(), read;
    state.done = json_pack("{s:s}", "path", "models/a");
    json_t *json = through_text(state_json(&state));
    assert_int_equal(state_parse(json, &read, NULL), ERR_OK);
    assert_int_equal(read.epochs, 3);
    assert_memory_equal(read.history, state.history, 3 * sizeof *state.history);
    assert_true(json_equal(read.done, state.done));
    // all the rest is plain
    free(read.history);
    json_decref(read.done);
    read.history = state.history;
    read.done = state.done;
    assert_string_equal(read.choices, state.choices);
    memcpy(read.choices, state.choices, sizeof state.choices);
    assert_memory_equal(&read, &state, sizeof state);
    json_decref(json);
    state_release(&state);
}

static void test_copy(void **unused) {
    (void)unused;
    state_t state = make(), copy, empty;
    state_copy(&state, &copy);
    json_t *a = state_json(&state), *b = state_json(&copy);
    assert_true(json_equal(a, b));
    end_epoch(&copy, 1); // of its own memory
    assert_int_equal(state.epochs, 3);
    state_release(&state);
    state_init(&empty);
    state_copy(&empty, &state);
    assert_true(state.epochs == 0 && state.best == -1 && state.exact);
    state_release(&copy);
    state_release(&state);
    json_decref(a);
    json_decref(b);
}

static void test_best(void **unused) {
    (void)unused;
    static const double losses[] = {0.9, 0.5, 0.7, 0.5, 0.6, 0.55};
    static const int best[] = {0, 1, 1, 3, 3, 3}; // of equal ones the latest
    state_t state;
    state_init(&state);
    assert_false(state_is_stuck(&state, 1));
    for (int i = 0; i < 6; i++) {
        state.loss_sum = 6;
        state.correct = 2;
        state.position = 4;
        state.seconds = 2;
        bool is_best = state_end_epoch(&state, 4, losses[i], 0.25);
        assert_int_equal(state.best, best[i]);
        assert_int_equal(is_best, best[i] == i);
        assert_true(state.history[i].loss == 1.5 && state.history[i].accuracy == 0.5);
        assert_true(state.position == 0 && state.loss_sum == 0 && state.seconds == 0);
        assert_int_equal(state_is_stuck(&state, 1), i - best[i] >= 1);
        assert_int_equal(state_is_stuck(&state, 2), i - best[i] >= 2);
        assert_false(state_is_stuck(&state, 0));
    }
    state_release(&state);
}

static void test_history(void **unused) {
    (void)unused;
    state_t state;
    state_init(&state);
    for (int i = 0; i < 1000; i++)
        end_epoch(&state, fabs(i - 517.0));
    json_t *all = state_history(&state, 1000, true), *some = state_history(&state, 100, false);
    assert_int_equal(json_array_size(all), 1000);
    assert_non_null(json_object_get(json_array_get(all, 0), "lr"));
    assert_true(json_array_size(some) <= 102);
    int last = 0;
    bool best = false;
    for (size_t i = 0; i < json_array_size(some); i++) {
        int epoch = (int)json_integer_value(json_object_get(json_array_get(some, i), "epoch"));
        assert_true(epoch > last);
        best = best || epoch == 518;
        last = epoch;
    }
    assert_true(best && last == 1000);
    assert_null(json_object_get(json_array_get(some, 0), "lr"));
    json_decref(all);
    json_decref(some);
    state_release(&state);
}

// Every field missing, and every field of another type, is refused.
static void test_damage(void **unused) {
    (void)unused;
    state_t state = make(), read;
    json_t *good = state_json(&state);
    const char *key;
    json_t *value;
    json_object_foreach(good, key, value) {
        json_t *without = json_copy(good), *other = json_copy(good);
        json_object_del(without, key);
        json_object_set_new(other, key, json_pack("{s:i}", "x", 1));
        assert_int_equal(state_parse(without, &read, NULL), ERR_CORRUPT);
        assert_int_equal(state_parse(other, &read, NULL), ERR_CORRUPT);
        assert_true(read.epochs == 0 && read.history == NULL);
        if (json_is_integer(value)) {
            json_object_set_new(without, key, json_integer(-1));
            assert_int_equal(state_parse(without, &read, NULL), ERR_CORRUPT);
        }
        json_decref(without);
        json_decref(other);
    }
    json_t *history = json_object_get(good, "history");
    json_array_append_new(json_array_get(history, 1), json_real(1));
    assert_int_equal(state_parse(good, &read, NULL), ERR_CORRUPT);
    assert_int_equal(state_parse(NULL, &read, NULL), ERR_CORRUPT);
    json_decref(good);
    state_release(&state);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip), cmocka_unit_test(test_copy),
        cmocka_unit_test(test_best),       cmocka_unit_test(test_history),
        cmocka_unit_test(test_damage),
    };
    return cmocka_run_group_tests_name("trainer state", tests, NULL, NULL);
}
