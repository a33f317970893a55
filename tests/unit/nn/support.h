// What the engine's tests share: handles made from text, inputs from the counter-based generator,
// and one way to say how far two vectors are apart.
#ifndef TEST_NN_SUPPORT_H
#define TEST_NN_SUPPORT_H

#include "nn/nn.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

// Fails the test with the error's message.
void ok_at(err_code_t code, const err_t *err, const char *file, int line);
#define OK(call)                                                                                   \
    do {                                                                                           \
        err_t err = {0};                                                                           \
        ok_at((call), &err, __FILE__, __LINE__);                                                   \
    } while (0)

nn_spec_t support_spec(const char *text);
// The text of the paper's network for size × size images of one channel; malloc'ed.
char *support_paper(int size, int width, int classes);
nn_options_t support_options(const char *backend, const char *precision, int max_batch);
nn_t *support_new(const nn_spec_t *spec, const nn_options_t *options);

// count images; the byte of element i of image n is the upper byte of a word of philox(seed, {i /
// 4, n, 0x9127, 0}). malloc'ed.
uint8_t *support_pixels(const nn_spec_t *spec, int count, uint64_t seed);
// label n = word 0 of philox(seed, {n, 0, 0x1abe, 0}) scaled to classes.
int32_t *support_labels(int classes, int count, uint64_t seed);
// Parameters as a trained model might have: weights and biases from nn_init, then biases and betas
// within ±0.2, gammas in [0.5, 1.5), moving means within ±0.3, moving variances in [0.5, 1.5).
// Element i of tensor t: word i % 4 of philox(seed, {i / 4, 0, 0x7a11, t}).
void support_params(nn_t *nn, uint64_t seed);

float *support_get(nn_t *nn, nn_part_t part, int tensor); // malloc'ed

// Everything that training reads: parameters and moments, one behind the other; malloc'ed.
float *support_state(nn_t *nn, int64_t *count);

double support_norm(const float *data, int64_t count);
// ‖a − b‖.
double support_distance(const float *a, const float *b, int64_t count);

extern const nn_adam_t support_adam; // Keras' defaults

#endif
