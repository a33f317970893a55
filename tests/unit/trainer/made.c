#include "made.h"

#include "base/fs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

int made_set_up(void **state) {
    made_t *made = calloc(1, sizeof *made);
    const nn_vgg_t vgg = {8, 8, 1, 2, 2, 2, 4, 0.5f};
    nn_spec_t spec;
    assert_int_equal(nn_spec_vgg(&vgg, &spec, NULL), ERR_OK);
    made->count = nn_spec_tensors(&spec, made->tensors);
    snprintf(made->folder, sizeof made->folder, "/tmp/inkling-trainer-XXXXXX");
    assert_non_null(mkdtemp(made->folder));
    *state = made;
    return 0;
}

int made_tear_down(void **state) {
    made_t *made = *state;
    assert_int_equal(fs_remove_all(made->folder, NULL), ERR_OK);
    free(made);
    return 0;
}

static weights_t *make_weights(const made_t *made, bool trained_only, float first) {
    weights_t *weights = weights_new(made->tensors, made->count, trained_only);
    for (int t = 0; t < made->count; t++)
        for (int64_t i = 0; weights_at(weights, t) && i < made->tensors[t].count; i++)
            weights_at(weights, t)[i] = first += 0.37f;
    return weights;
}

checkpoint_t made_checkpoint(const made_t *made, uint64_t step, int epochs) {
    checkpoint_t made_up = {.params = make_weights(made, false, (float)step),
                            .m = make_weights(made, true, (float)step + 0.1f),
                            .v = make_weights(made, true, (float)step + 0.2f)};
    state_t *state = &made_up.state;
    state_init(state);
    memset(state->job_digest, 'b', DIGEST_HEX_SIZE - 1);
    state->begun = true;
    state->step = step;
    for (int i = 0; i < epochs; i++)
        state_end_epoch(state, 10, 1.0 / (i + 1), 0.5);
    if (epochs > 0)
        made_up.best = make_weights(made, false, (float)step + 0.3f);
    return made_up;
}

bool made_same(const made_t *made, const weights_t *a, const weights_t *b) {
    bool same = !a == !b;
    for (int t = 0; a && b && same && t < made->count; t++) {
        const float *x = weights_at(a, t), *y = weights_at(b, t);
        same =
            !x == !y && (!x || memcmp(x, y, (size_t)made->tensors[t].count * sizeof(float)) == 0);
    }
    return same;
}
