// The engine: trains and evaluates one model on one device.
//
// A handle is used by one thread at a time; several handles may live in a process, and several may
// predict with the same weights (nn_share). Pixels are uint8
// in the order [image][y][x][channel] ("HWC"), as shards and the preprocessing function give them;
// the engine normalises them itself: input = (pixel − mean[channel]) / 255.
//
// Exactness: precision, thread count and algorithm per layer are resolved when the handle is made,
// from the ISA and the options, never by timing, and written down by nn_choices(). A handle made
// from those choices on a machine that can honour them computes the same bits: the same calls give
// the same state, whatever was stopped and resumed between. Random numbers are counter-based
// (base/philox.h):
//   dropout  key = seed, counter = {element / 4, position in the epoch's global batch, step,
//   layer},
//            word element % 4; element = (y·W + x)·C + c; kept if word ≥ rate·2^32, scaled by
//            1/(1−rate)
//   initial weights  key = seed, counter = {element / 4, 0, 0x1417, tensor index}, word element %
//   4,
//            element in the canonical form; Glorot uniform (Glorot, Bengio 2010), biases 0, gamma
//            1, beta 0: limit·(2u − 1) in float, limit = √(6 / (fan_in + fan_out)), u in [0, 1) the
//            word's upper 24 bits
#ifndef INKLING_NN_NN_H
#define INKLING_NN_NN_H

#include "nn/spec.h"

#include <stddef.h>

#define NN_BATCH_MAX    4096
#define NN_CHOICES_SIZE 1024

typedef struct nn nn_t;

typedef struct {
    const char *backend;   // "auto", "ref", "cpu", "cuda"; what is not here is ERR_UNSUPPORTED
    const char *precision; // "auto", "fp32", "bf16"
    int threads;           // 0: all cores this process may use
    int max_batch;         // largest count of any call below, ≤ NN_BATCH_MAX
    bool training;         // false: no gradients, no moments, batch-norm folded
    uint64_t seed;         // dropout
    float mean[4];         // per channel, in pixel units; zeros for none
    const char *choices;   // NULL, or what nn_choices() said earlier: taken over where possible
} nn_options_t;

err_code_t nn_new(const nn_spec_t *spec, const nn_options_t *options, nn_t **nn, err_t *err);
void nn_destroy(nn_t **nn);

// One line "backend=cpu isa=avx512 precision=fp32 threads=2 …"; lives as long as the handle.
const char *nn_choices(const nn_t *nn);
// False if options.choices could not be honoured (other ISA, fewer cores): results then differ in
// rounding.
bool nn_exact(const nn_t *nn);
const nn_spec_t *nn_spec(const nn_t *nn);

// For a program's main() to call before anything else. Threads that wait for each other at the end
// of a loop spin for milliseconds by default, which is a little faster on idle cores and up to a
// hundred times slower where other processes want the cores too. The library that runs the threads
// reads the environment once, while it is loaded: unless OMP_WAIT_POLICY or GOMP_SPINCOUNT is
// there, this sets the former to "passive" and executes the program again. It returns if that is
// done or impossible; impossible is logged, and the environment is left as it was.
void nn_wait_passively(char **argv);

// Which device the backend "auto" means in this process: "auto" (a GPU where one can be used, else
// the CPU), "cpu", "cuda" or "cuda:N", the Nth of the GPUs that the process may see. Forces it,
// whatever stored choices say; to be called before anything else that deals with backends, by one
// thread. ERR_USAGE for another word; ERR_UNSUPPORTED, saying why, for a GPU that cannot be used.
err_code_t nn_device(const char *word, err_t *err);

// The names of the backends in this build, best first; NULL behind the last.
const char *nn_backend_name(int index);
// Cores that this process may use: its affinity mask, or the quota of its control group where that
// is smaller.
int nn_cores(void);
// The best vector ISA of this host, as far as processor and kernel support it: "amx", "avx512",
// "avx2" or "generic". The environment's INKLING_ISA, one of these words, lowers it (for tests and
// comparisons); it never raises it.
const char *nn_isa(void);
// Bytes a handle will need, estimated from spec and options, for refusing what cannot fit; 0 if
// nn_new would refuse spec or options. Without training most of what depends on max_batch and
// threads is what a workspace will need.
uint64_t nn_memory_estimate(const nn_spec_t *spec, const nn_options_t *options);

// --- State
// -------------------------------------------------------------------------------------------
// NN_PARAM: parameters, and the moving statistics of batch-norm. NN_ADAM_M, NN_ADAM_V: moments of
// trained tensors. NN_GRADIENT: of the last step (read only). NN_ESTIMATE: statistics from
// nn_bn_estimate (mean and variance tensors only). data is the canonical form, tensors[index].count
// floats.
typedef enum { NN_PARAM, NN_ADAM_M, NN_ADAM_V, NN_GRADIENT, NN_ESTIMATE } nn_part_t;

int nn_tensor_count(const nn_t *nn);
const nn_tensor_t *nn_tensors(const nn_t *nn);
// ERR_INVALID for a part that the tensor or the handle (training = false) does not have, for
// setting NN_GRADIENT or NN_ESTIMATE, for NN_ESTIMATE while no estimate is in use, and for setting
// numbers that are not finite or a negative variance or second moment.
err_code_t nn_get(nn_t *nn, nn_part_t part, int index, float *data, err_t *err);
err_code_t nn_set(nn_t *nn, nn_part_t part, int index, const float *data, err_t *err);

// Glorot-uniform weights, zero moments, moving mean 0 and variance 1.
err_code_t nn_init(nn_t *nn, uint64_t seed, err_t *err);

// --- Training
// ----------------------------------------------------------------------------------------
typedef struct {
    const uint8_t *pixels; // count × height × width × channels
    const int32_t *labels; // count, 0 … classes − 1
    const float *weights;  // count, weight of each sample's loss, or NULL for ones
    int count;
    uint32_t position; // of the first sample in the global batch
    int batch_total;   // samples in the global batch: gradients and loss are sums divided by it
} nn_batch_t;          // count may be 0 (pixels and labels NULL) for one of several replicas

// Adam (Kingma, Ba 2015) in Keras' form: θ −= lr·√(1−β2^t)/(1−β1^t) · m/(√v + ε), t = step + 1.
typedef struct {
    float lr, beta1, beta2, epsilon;
} nn_adam_t;

// Replicas: handles of one training, one a process, each with a share of every global batch, shares
// of any sizes. Made with the same spec, equal nn_choices and the same max_batch, and begun with
// the same state, they have the same bits of state after every step. All call the same functions in
// the same order; so these callbacks, too, are called alike on every rank.

// During the backward pass, bucket by bucket from the last layer to the first, with the gradients
// of this rank (of the backend's kind of memory, in its own layout). They must be replaced by the
// sums over all ranks, the same bits on all: when this returns or, if there is a finish, when that
// does.
typedef err_code_t (*nn_reduce_fn)(void *arg, int bucket, float *gradients, size_t count,
                                   err_t *err);
typedef err_code_t (*nn_finish_fn)(void *arg, err_t *err);
// Few numbers, replaced by the sums over all ranks, the same bits on all.
typedef err_code_t (*nn_sums_fn)(void *arg, double *values, size_t count, err_t *err);

typedef struct {
    int rank, world;
    // Batch-norm by the statistics of the global batch, forward and back: with it world replicas
    // compute what one would, but for rounding. Without it each normalises by its own samples', and
    // the moving statistics take the average over replicas, weighted by their samples (as Keras'
    // MirroredStrategy does, whose shares are equal).
    bool sync_bn;
    nn_reduce_fn gradients;
    nn_finish_fn finish; // or NULL
    nn_sums_fn sums;
    void *arg;
} nn_replicas_t;

typedef struct {
    double loss; // sum of weighted losses (not divided), of all replicas' samples
    int correct; // of these, samples whose label was the most probable class
} nn_result_t;

// One optimiser step: forward with dropout and batch statistics, loss, backward, sums over the
// replicas (NULL: there is but this one), Adam, moving statistics. step counts from 0 over the
// whole job. A loss that is not finite is ERR_INVALID, on every rank, and leaves result set; so
// does an error of a callback: the state is then undefined and must be restored.
err_code_t nn_step(nn_t *nn, const nn_batch_t *batch, uint64_t step, const nn_adam_t *adam,
                   const nn_replicas_t *replicas, nn_result_t *result, err_t *err);

// --- Evaluation
// -------------------------------------------------------------------------------------- Batch-norm
// statistics re-estimated with the current weights over count images (any number; cut into chunks
// of min(32, max_batch), each normalised by its own moments, dropout off; means and second moments
// are merged over all chunks by image count). Kept beside the moving statistics and used by
// nn_predict from then until the next nn_step, nn_set or nn_use_moving. Changes nothing that
// training reads. Needs a handle made for training. With replicas (or NULL) all give the same
// pixels, each computes its part of the chunks, and all get the same bits.
err_code_t nn_bn_estimate(nn_t *nn, const uint8_t *pixels, int64_t count,
                          const nn_replicas_t *replicas, err_t *err);
void nn_use_moving(nn_t *nn);

// probabilities: count × classes (two classes: {1 − p, p}). The bits for an image depend on the
// image alone, not on count or its place in the batch.
err_code_t nn_predict(nn_t *nn, const uint8_t *pixels, int count, float *probabilities, err_t *err);

// One image of nn_predict_samples: its pixels or, where that is NULL, its input: height × width ×
// channels floats in the order of pixels, normalised already. Neither needs any alignment.
typedef struct {
    const void *pixels, *input;
    float *probabilities; // room for one a class
} nn_sample_t;

// The memory of activations, for one thread at a time: a thread needs one, whatever it predicts
// with. It grows to what the largest prediction needs, and never shrinks.
typedef struct nn_workspace nn_workspace_t;
err_code_t nn_workspace_new(nn_workspace_t **workspace, err_t *err);
void nn_workspace_destroy(nn_workspace_t **workspace); // allows *workspace == NULL
uint64_t nn_workspace_bytes(const nn_workspace_t *workspace);

// The same for images that lie apart. workspace: NULL for the handle's own, which one from nn_share
// has not. Input that is the float next to (pixel − mean)/255 (computed in double and rounded once)
// gives the bits of the pixels. Of an image whose numbers overflow the probabilities mean nothing,
// and need not be finite; that is no error here and does not touch the other images.
err_code_t nn_predict_samples(nn_t *nn, nn_workspace_t *workspace, const nn_sample_t *samples,
                              int count, err_t *err);

// A handle that predicts with nn's weights, which are in memory once, and gives the same bits,
// whatever threads (0: nn's) and max_batch are. It must be gone before nn is.
//
// nn was made without training. From the first call on it only holds the weights: all that
// predicts or changes is ERR_INVALID for it, as all but predicting is for those that share it, and
// what is not needed for predicting is freed. All that can be made beforehand is made here; handles
// that share nn already may predict meanwhile.
err_code_t nn_share(nn_t *nn, int threads, int max_batch, nn_t **shared, err_t *err);

// Cross-entropy of one prediction, probabilities clipped to [1e-7, 1 − 1e-7] as Keras does.
double nn_loss(const float *probabilities, int classes, int32_t label);

#endif
