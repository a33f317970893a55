#include "nn/ref/ref_impl.h"

void ref_dense_forward(ref_t *ref, ref_layer_t *layer, const ref_pass_t *pass) {
    int ins = layer->in.channels, outs = layer->out.channels;
    const float *weight = ref_tensor(ref, layer, NN_PARAM, 0);
    const float *bias = layer->spec->bias ? ref_tensor(ref, layer, NN_PARAM, 1) : NULL;
    for (int n = 0; n < pass->count; n++) {
        const ref_real_t *in = ref_input(ref, layer) + (int64_t)n * ins;
        for (int o = 0; o < outs; o++) {
            double sum = bias ? (double)bias[o] : 0;
            for (int i = 0; i < ins; i++) {
                sum += (double)weight[(int64_t)o * ins + i] * (double)in[i];
            }
            layer->output[(int64_t)n * outs + o] = (ref_real_t)sum;
        }
    }
}

static void backward_weight(ref_t *ref, const ref_layer_t *layer, const ref_pass_t *pass,
                            const ref_real_t *behind) {
    int ins = layer->in.channels, outs = layer->out.channels;
    const ref_real_t *in = ref_input(ref, layer);
    float *weight = ref_tensor(ref, layer, NN_GRADIENT, 0);
    float *bias = layer->spec->bias ? ref_tensor(ref, layer, NN_GRADIENT, 1) : NULL;
    for (int o = 0; o < outs; o++) {
        for (int i = 0; i < ins; i++) {
            double sum = 0;
            for (int64_t n = 0; n < pass->count; n++) {
                sum += (double)behind[n * outs + o] * (double)in[n * ins + i];
            }
            weight[(int64_t)o * ins + i] = (float)sum;
        }
        double sum = 0;
        for (int64_t n = 0; n < pass->count; n++) {
            sum += (double)behind[n * outs + o];
        }
        if (bias) {
            bias[o] = (float)sum;
        }
    }
}

void ref_dense_backward(ref_t *ref, ref_layer_t *layer, const ref_pass_t *pass,
                        const ref_real_t *behind, ref_real_t *before) {
    int ins = layer->in.channels, outs = layer->out.channels;
    const float *weight = ref_tensor(ref, layer, NN_PARAM, 0);
    for (int64_t n = 0; n < pass->count && before; n++) {
        for (int i = 0; i < ins; i++) {
            double sum = 0;
            for (int o = 0; o < outs; o++) {
                sum += (double)behind[n * outs + o] * (double)weight[(int64_t)o * ins + i];
            }
            before[n * ins + i] = (ref_real_t)sum;
        }
    }
    backward_weight(ref, layer, pass, behind);
}
