// A trained model as an ONNX file, which ONNX Runtime and most other runtimes execute.
//
// The graph (opset 13 and IR version 7, both of 2020; no operator of a vendor):
//   in   pixels         uint8 [batch][height][width][channels], as prep_image gives them for the
//                       model's recipe; RGB where channels is 3
//   out  probabilities  float [batch][classes], in the order of `classes`; two classes: {1 − p, p}
// batch is free. (pixel − mean) / 255 and the order [batch][channels][height][width] of all that
// follows are the first nodes; then one node a layer, but none for dropout, which only training
// has. Batch-norm keeps the statistics to evaluate with. Parameters are initialisers with the names
// of nn_tensor_t, in the canonical form. All is float32: the answers are those of nn_predict up to
// rounding, that of bf16 where an engine has it.
//
// metadata_props, all text:
//   model, version, model_sha256   its name, its version and digest in the registry
//   weights_sha256                 of model.safetensors
//   classes                        a JSON array; label i is the i-th
//   recipe, recipe_sha256          prep's text form: what makes pixels of an image; its digest
// The version is model_version as well.
//
// The same pixels are the caller's part: another program's decoding and resizing comes near prep's,
// a few units of 255 off, and so do the answers.
#ifndef INKLING_ONNX_ONNX_H
#define INKLING_ONNX_ONNX_H

#include "model/model.h"

#define ONNX_INPUT  "pixels"
#define ONNX_OUTPUT "probabilities"

// What readers of protocol buffers accept.
#define ONNX_BYTES_MAX INT32_MAX

typedef struct {
    const model_info_t *info;
    const float *const *tensors; // one array per tensor of info->spec, in its order
    uint64_t version;            // as the registry has it
    const char *digest;          // of model.json
} onnx_source_t;

// *bytes, malloc'ed: the file's. Equal sources give equal bytes. ERR_TOO_LARGE: beyond
// ONNX_BYTES_MAX, found before any parameter is read; ERR_NO_MEMORY.
err_code_t onnx_pack(const onnx_source_t *source, void **bytes, size_t *size, err_t *err);

#endif
