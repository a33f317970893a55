#include "toy.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

int toy_set_up(void **state) {
    stage_t *stage = malloc(sizeof *stage);
    stage_open(stage, TOY_SIZE);
    *state = stage;
    return 0;
}

int toy_tear_down(void **state) {
    stage_close(*state);
    free(*state);
    return 0;
}

void toy_filter(int argc, char **argv) {
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
}

double toy_number(const json_t *json, const char *key) {
    const json_t *value = json_object_get(json, key);
    if (!json_is_number(value))
        fail_msg("no number %s", key);
    return json_number_value(value);
}

const char *toy_text(const json_t *json, const char *key) {
    const char *value = json_string_value(json_object_get(json, key));
    if (!value)
        fail_msg("no text %s", key);
    return value;
}

void toy_check_history(const json_t *result, int epochs) {
    const json_t *history = json_object_get(result, "history");
    double best = INFINITY;
    int best_epoch = 0;
    assert_int_equal(json_array_size(history), epochs);
    for (int i = 0; i < epochs; i++) {
        const json_t *epoch = json_array_get(history, (size_t)i);
        assert_true(toy_number(epoch, "epoch") == i + 1);
        assert_true(toy_number(epoch, "loss") > 0 && toy_number(epoch, "accuracy") >= 0);
        assert_true(toy_number(epoch, "val_accuracy") <= 1);
        if (toy_number(epoch, "val_loss") <= best) {
            best = toy_number(epoch, "val_loss");
            best_epoch = i + 1;
        }
    }
    assert_true(toy_number(result, "best_epoch") == best_epoch);
}

int toy_count_files(stage_t *stage, const char *relative, const char *pattern) {
    char *path = stage_path(stage, relative);
    char *command = mem_format("find %s -name '%s' 2>/dev/null | wc -l", path, pattern);
    FILE *pipe = popen(command, "r");
    int count = -1;
    assert_int_equal(fscanf(pipe, "%d", &count), 1);
    pclose(pipe);
    free(command);
    free(path);
    return count;
}
