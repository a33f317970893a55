// A model is data: the shape of its input and a list of layers. No weights, no buffers, no backend.
//
// Shapes flow from input {height, width, channels} through the list; padding of a convolution is
// "same" (kernel odd, stride 1), pooling is 2×2/2 without padding (an odd last row or column is
// dropped, as Keras' "valid" does). The list ends with dense 1 + sigmoid (two classes) or dense K +
// softmax.
//
// Parameters have one canonical form, whatever layout a backend uses inside: float32, convolution
// [out][in][ky][kx], dense [out][in], where `in` of the dense layer after a flatten runs
// channel-major (c, y, x): the forms of PyTorch, so that safetensors files of both sides exchange
// without shuffling.
#ifndef INKLING_NN_SPEC_H
#define INKLING_NN_SPEC_H

#include "base/err.h"

#include <stdint.h>

#define NN_LAYERS_MAX     128
#define NN_TENSORS_MAX    (4 * NN_LAYERS_MAX)
#define NN_SIZE_MAX       1024 // height and width
#define NN_CHANNELS_MAX   4    // of the input
#define NN_UNITS_MAX      8192 // filters, dense units
#define NN_CLASSES_MAX    1000
#define NN_PARAMETERS_MAX (1ll << 30)
#define NN_ELEMENTS_MAX   (1ll << 28) // of one image behind any layer
#define NN_TEXT_MAX       16384       // bytes of the text form

// kind, word in the text form
#define NN_KINDS(X)                                                                                \
    X(CONV, "conv")                                                                                \
    X(BATCH_NORM, "batch-norm")                                                                    \
    X(RELU, "relu")                                                                                \
    X(MAX_POOL, "max-pool")                                                                        \
    X(DROPOUT, "dropout")                                                                          \
    X(FLATTEN, "flatten")                                                                          \
    X(DENSE, "dense")                                                                              \
    X(SIGMOID, "sigmoid")                                                                          \
    X(SOFTMAX, "softmax")

typedef enum {
#define X(kind, word) NN_##kind,
    NN_KINDS(X)
#undef X
} nn_kind_t;

typedef struct {
    nn_kind_t kind;
    int units;  // conv: filters; dense: outputs
    int kernel; // conv: 1, 3, 5 or 7
    bool bias;  // conv, dense
    float rate; // dropout: probability of zero, [0, 1)
    float
        momentum; // batch-norm: of the moving statistics (Keras' sense: new = m·old + (1−m)·batch)
    float epsilon; // batch-norm
} nn_layer_t;

typedef struct {
    int height, width, channels;
    int classes; // 2 with sigmoid, K with softmax
    int layer_count;
    nn_layer_t layers[NN_LAYERS_MAX];
} nn_spec_t;

typedef struct {
    int height, width, channels; // after flatten and dense: 1 × 1 × units
} nn_shape_t;

// What a tensor of parameters is for. Only WEIGHT and BIAS kinds are trained.
typedef enum { NN_WEIGHT, NN_BIAS, NN_GAMMA, NN_BETA, NN_MEAN, NN_VARIANCE } nn_role_t;

typedef struct {
    char name[48]; // "3.weight", "4.running_mean": layer index and PyTorch's word
    int layer;
    nn_role_t role;
    bool trained; // false for the moving statistics of batch-norm
    int rank;
    int64_t dims[4];
    int64_t count;       // product of dims
    int fan_in, fan_out; // of weights, as Glorot's formula counts them (kernel area × channels)
} nn_tensor_t;

typedef struct {
    int height, width, channels, classes;
    int width_first; // filters of the first block; each next block doubles them
    int blocks;
    int dense; // units of the hidden dense layer
    float dropout;
} nn_vgg_t;

// The paper's network: blocks of [conv 3×3 → batch-norm → ReLU] ×2 → max-pool → dropout, then
// flatten → dense ReLU → dropout → dense 1 sigmoid | dense K softmax. A convolution before
// batch-norm has no bias (its gradient would be zero). Defaults of the paper: {96, 96, 1, 2, 64, 4,
// 256, 0.2f}.
err_code_t nn_spec_vgg(const nn_vgg_t *vgg, nn_spec_t *spec, err_t *err);

// Everything the engine relies on: ranges, shapes that fit, convolution and pooling only before the
// one flatten, dense only behind it, one head at the end. ERR_INVALID names the layer.
err_code_t nn_spec_check(const nn_spec_t *spec, err_t *err);

// shapes[i] is the output of layer i; needs a checked spec.
void nn_spec_shapes(const nn_spec_t *spec, nn_shape_t shapes[NN_LAYERS_MAX]);

// The parameter tensors in layer order; returns their number.
int nn_spec_tensors(const nn_spec_t *spec, nn_tensor_t tensors[NN_TENSORS_MAX]);

// Text form, stored in models and checkpoints, stable across versions; one layer a line:
//   input 96x96x1 classes 2
//   conv 64 kernel 3
//   batch-norm momentum 0.99 epsilon 0.001
//   relu … max-pool / dropout 0.2 / flatten / dense 256 bias / sigmoid
// conv and dense take an optional word "bias" at the end.
// Any text is safe to parse: ERR_INVALID names the line. nn_spec_write (of a checked spec) gives a
// malloc'ed string; nn_spec_parse checks what it read. Numbers survive the round trip bit for bit.
char *nn_spec_write(const nn_spec_t *spec);
err_code_t nn_spec_parse(const char *text, nn_spec_t *spec, err_t *err);

#endif
