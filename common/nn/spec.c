#include "nn/spec.h"

#include "base/buf.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const kind_words[] = {
#define X(kind, word) [NN_##kind] = word,
    NN_KINDS(X)
#undef X
};
enum { KIND_COUNT = sizeof kind_words / sizeof kind_words[0] };

// --- Building

static void push(nn_spec_t *spec, nn_layer_t layer) {
    if (spec->layer_count < NN_LAYERS_MAX) {
        spec->layers[spec->layer_count] = layer;
    }
    spec->layer_count++; // past the limit nn_spec_check refuses it
}

static void push_conv_bn_relu(nn_spec_t *spec, int filters) {
    push(spec, (nn_layer_t){.kind = NN_CONV, .units = filters, .kernel = 3});
    push(spec, (nn_layer_t){.kind = NN_BATCH_NORM, .momentum = 0.99f, .epsilon = 1e-3f});
    push(spec, (nn_layer_t){.kind = NN_RELU});
}

err_code_t nn_spec_vgg(const nn_vgg_t *vgg, nn_spec_t *spec, err_t *err) {
    *spec = (nn_spec_t){.height = vgg->height,
                        .width = vgg->width,
                        .channels = vgg->channels,
                        .classes = vgg->classes};
    if (vgg->blocks < 1 || vgg->blocks > 10) {
        return err_set(err, ERR_INVALID, "blocks is %d, not within 1 to 10", vgg->blocks);
    }
    if (vgg->width_first < 1 || vgg->width_first > NN_UNITS_MAX >> (vgg->blocks - 1)) {
        err_set(err, ERR_INVALID, "width %d of the first of %d blocks is not within 1 to %d",
                vgg->width_first, vgg->blocks, NN_UNITS_MAX >> (vgg->blocks - 1));
        return err_remedy(err, "each block doubles the filters: use fewer of either");
    }
    if (vgg->height >> vgg->blocks < 1 || vgg->width >> vgg->blocks < 1) {
        err_set(err, ERR_INVALID, "an image of %dx%d is too small for %d blocks", vgg->height,
                vgg->width, vgg->blocks);
        return err_remedy(err, "each block halves the image: use fewer blocks or larger images");
    }
    nn_layer_t dropout = {.kind = NN_DROPOUT, .rate = vgg->dropout};
    for (int block = 0; block < vgg->blocks; block++) {
        push_conv_bn_relu(spec, vgg->width_first << block);
        push_conv_bn_relu(spec, vgg->width_first << block);
        push(spec, (nn_layer_t){.kind = NN_MAX_POOL});
        push(spec, dropout);
    }
    bool binary = vgg->classes == 2;
    push(spec, (nn_layer_t){.kind = NN_FLATTEN});
    push(spec, (nn_layer_t){.kind = NN_DENSE, .units = vgg->dense, .bias = true});
    push(spec, (nn_layer_t){.kind = NN_RELU});
    push(spec, dropout);
    push(spec, (nn_layer_t){.kind = NN_DENSE, .units = binary ? 1 : vgg->classes, .bias = true});
    push(spec, (nn_layer_t){.kind = binary ? NN_SIGMOID : NN_SOFTMAX});
    return nn_spec_check(spec, err);
}

// --- Checking

// How far the check has come: the shape in front of the layer, and what was seen.
typedef struct {
    nn_shape_t shape;
    bool flat;
    int64_t parameters;
} progress_t;

static err_code_t bad_layer(const nn_spec_t *spec, int index, const char *what, err_t *err) {
    return err_set(err, ERR_INVALID, "layer %d (%s): %s", index,
                   kind_words[spec->layers[index].kind], what);
}

static nn_shape_t shape_behind(const nn_layer_t *layer, nn_shape_t in) {
    switch (layer->kind) {
    case NN_CONV:
        return (nn_shape_t){in.height, in.width, layer->units};
    case NN_MAX_POOL:
        return (nn_shape_t){in.height / 2, in.width / 2, in.channels};
    case NN_FLATTEN:
        return (nn_shape_t){1, 1, in.height * in.width * in.channels};
    case NN_DENSE:
        return (nn_shape_t){1, 1, layer->units};
    default:
        return in;
    }
}

// What is wrong with the layer's own numbers, or NULL.
static const char *wrong_numbers(const nn_layer_t *layer) {
    switch (layer->kind) {
    case NN_CONV:
        if (layer->kernel < 1 || layer->kernel > 7 || layer->kernel % 2 == 0) {
            return "the kernel is not 1, 3, 5 or 7";
        }
        return layer->units < 1 || layer->units > NN_UNITS_MAX ? "filters not within 1 to 8192"
                                                               : NULL;
    case NN_DENSE:
        return layer->units < 1 || layer->units > NN_UNITS_MAX ? "units not within 1 to 8192"
                                                               : NULL;
    case NN_DROPOUT:
        return layer->rate >= 0 && layer->rate < 1 ? NULL : "the rate is not within [0, 1)";
    case NN_BATCH_NORM:
        if (!(layer->momentum >= 0 && layer->momentum < 1)) {
            return "the momentum is not within [0, 1)";
        }
        return layer->epsilon > 0 && layer->epsilon <= 1 ? NULL : "epsilon is not within (0, 1]";
    default:
        return NULL;
    }
}

// What is wrong with the layer's place in the list, or NULL.
static const char *wrong_place(const nn_spec_t *spec, int index, const progress_t *at) {
    nn_kind_t kind = spec->layers[index].kind;
    bool head = kind == NN_SIGMOID || kind == NN_SOFTMAX;
    if (head != (index == spec->layer_count - 1)) {
        return head ? "only the last layer may be a head" : "the last layer must be a head";
    }
    if (at->flat && (kind == NN_CONV || kind == NN_MAX_POOL || kind == NN_FLATTEN)) {
        return "not possible behind a flatten";
    }
    if (!at->flat && kind == NN_DENSE) {
        return "needs a flatten before it";
    }
    if (kind == NN_MAX_POOL && (at->shape.height < 2 || at->shape.width < 2)) {
        return "needs at least two rows and columns";
    }
    if (head) {
        const nn_layer_t *before = index > 0 ? &spec->layers[index - 1] : NULL;
        if (kind == NN_SIGMOID && spec->classes != 2) {
            return "means two classes: use softmax for more";
        }
        if (!before || before->kind != NN_DENSE ||
            before->units != (kind == NN_SIGMOID ? 1 : spec->classes)) {
            return kind == NN_SIGMOID ? "needs a dense layer of 1 unit before it"
                                      : "needs a dense layer of as many units as classes before it";
        }
    }
    return NULL;
}

// Parameters of a layer whose numbers are in range: at most 7·7·2^13·2^28, far from overflow.
static int64_t parameters_of(const nn_layer_t *layer, nn_shape_t in) {
    int64_t bias = layer->bias ? layer->units : 0;
    switch (layer->kind) {
    case NN_CONV:
        return (int64_t)layer->kernel * layer->kernel * in.channels * layer->units + bias;
    case NN_DENSE:
        return (int64_t)in.channels * layer->units + bias;
    case NN_BATCH_NORM:
        return (int64_t)in.channels * 4;
    default:
        return 0;
    }
}

static err_code_t check_layer(const nn_spec_t *spec, int index, progress_t *at, err_t *err) {
    const nn_layer_t *layer = &spec->layers[index];
    if ((unsigned)layer->kind >= KIND_COUNT) {
        return err_set(err, ERR_INVALID, "layer %d: unknown kind %d", index, (int)layer->kind);
    }
    const char *wrong = wrong_numbers(layer);
    if (!wrong) {
        wrong = wrong_place(spec, index, at);
    }
    if (wrong) {
        return bad_layer(spec, index, wrong, err);
    }
    at->parameters += parameters_of(layer, at->shape);
    at->flat = at->flat || layer->kind == NN_FLATTEN;
    at->shape = shape_behind(layer, at->shape);
    int64_t elements = (int64_t)at->shape.height * at->shape.width * at->shape.channels;
    if (elements > NN_ELEMENTS_MAX) {
        return bad_layer(spec, index, "its output is larger than 2^28 numbers an image", err);
    }
    if (at->parameters > NN_PARAMETERS_MAX) {
        return bad_layer(spec, index, "the model has more than 2^30 parameters here", err);
    }
    return ERR_OK;
}

static err_code_t check_range(const char *name, int value, int low, int high, err_t *err) {
    if (value < low || value > high) {
        return err_set(err, ERR_INVALID, "%s is %d, not within %d to %d", name, value, low, high);
    }
    return ERR_OK;
}

err_code_t nn_spec_check(const nn_spec_t *spec, err_t *err) {
    if (check_range("the input's height", spec->height, 1, NN_SIZE_MAX, err) ||
        check_range("the input's width", spec->width, 1, NN_SIZE_MAX, err) ||
        check_range("the input's channels", spec->channels, 1, NN_CHANNELS_MAX, err) ||
        check_range("the number of classes", spec->classes, 2, NN_CLASSES_MAX, err) ||
        check_range("the number of layers", spec->layer_count, 1, NN_LAYERS_MAX, err)) {
        return ERR_INVALID;
    }
    progress_t at = {.shape = {spec->height, spec->width, spec->channels}};
    for (int i = 0; i < spec->layer_count; i++) {
        if (check_layer(spec, i, &at, err)) {
            return ERR_INVALID;
        }
    }
    return ERR_OK;
}

// --- Shapes and tensors

void nn_spec_shapes(const nn_spec_t *spec, nn_shape_t shapes[NN_LAYERS_MAX]) {
    nn_shape_t shape = {spec->height, spec->width, spec->channels};
    for (int i = 0; i < spec->layer_count; i++) {
        shape = shape_behind(&spec->layers[i], shape);
        shapes[i] = shape;
    }
}

static nn_tensor_t make_tensor(int layer, nn_role_t role) {
    static const char *const words[] = {
        [NN_WEIGHT] = "weight", [NN_BIAS] = "bias",         [NN_GAMMA] = "weight",
        [NN_BETA] = "bias",     [NN_MEAN] = "running_mean", [NN_VARIANCE] = "running_var",
    };
    nn_tensor_t tensor = {.layer = layer, .role = role};
    tensor.trained = role != NN_MEAN && role != NN_VARIANCE;
    snprintf(tensor.name, sizeof tensor.name, "%d.%s", layer, words[role]);
    return tensor;
}

static nn_tensor_t make_vector(int layer, nn_role_t role, int count) {
    nn_tensor_t tensor = make_tensor(layer, role);
    tensor.rank = 1;
    tensor.dims[0] = count;
    tensor.count = count;
    return tensor;
}

static nn_tensor_t make_weight(int index, const nn_layer_t *layer, int in) {
    nn_tensor_t tensor = make_tensor(index, NN_WEIGHT);
    bool conv = layer->kind == NN_CONV;
    int area = conv ? layer->kernel * layer->kernel : 1;
    tensor.rank = conv ? 4 : 2;
    tensor.dims[0] = layer->units;
    tensor.dims[1] = in;
    tensor.dims[2] = conv ? layer->kernel : 0;
    tensor.dims[3] = conv ? layer->kernel : 0;
    tensor.count = (int64_t)layer->units * in * area;
    tensor.fan_in = in * area;
    tensor.fan_out = layer->units * area;
    return tensor;
}

int nn_spec_tensors(const nn_spec_t *spec, nn_tensor_t tensors[NN_TENSORS_MAX]) {
    nn_shape_t shapes[NN_LAYERS_MAX];
    nn_spec_shapes(spec, shapes);
    int count = 0;
    for (int i = 0; i < spec->layer_count; i++) {
        const nn_layer_t *layer = &spec->layers[i];
        int in = i > 0 ? shapes[i - 1].channels : spec->channels;
        if (layer->kind == NN_CONV || layer->kind == NN_DENSE) {
            tensors[count++] = make_weight(i, layer, in);
            if (layer->bias) {
                tensors[count++] = make_vector(i, NN_BIAS, layer->units);
            }
        } else if (layer->kind == NN_BATCH_NORM) {
            for (nn_role_t role = NN_GAMMA; role <= NN_VARIANCE; role++) {
                tensors[count++] = make_vector(i, role, in);
            }
        }
    }
    return count;
}

// --- Text form

// The shortest decimal that reads back as the same float.
static void put_float(buf_t *buf, const char *word, float value) {
    char text[32];
    int digits = 1;
    do {
        snprintf(text, sizeof text, "%.*g", digits, (double)value);
    } while (strtof(text, NULL) != value && ++digits <= 9);
    buf_printf(buf, " %s%s", word, text);
}

char *nn_spec_write(const nn_spec_t *spec) {
    buf_t buf;
    buf_init(&buf, NN_TEXT_MAX);
    buf_printf(&buf, "input %dx%dx%d classes %d\n", spec->height, spec->width, spec->channels,
               spec->classes);
    for (int i = 0; i < spec->layer_count; i++) {
        const nn_layer_t *layer = &spec->layers[i];
        buf_puts(&buf, kind_words[layer->kind]);
        if (layer->kind == NN_CONV) {
            buf_printf(&buf, " %d kernel %d", layer->units, layer->kernel);
        } else if (layer->kind == NN_DENSE) {
            buf_printf(&buf, " %d", layer->units);
        } else if (layer->kind == NN_DROPOUT) {
            put_float(&buf, "", layer->rate);
        } else if (layer->kind == NN_BATCH_NORM) {
            put_float(&buf, "momentum ", layer->momentum);
            put_float(&buf, "epsilon ", layer->epsilon);
        }
        buf_puts(&buf, layer->bias ? " bias\n" : "\n");
    }
    return buf_take(&buf);
}

enum { LINE_SIZE = 128, WORDS_MAX = 6 };

// One line, cut at its blanks.
typedef struct {
    char text[LINE_SIZE];
    char *words[WORDS_MAX];
    int count, next;
    bool wrong; // a number or word was not as it should be
} line_t;

static bool cut_line(const char *text, size_t size, line_t *line) {
    *line = (line_t){.count = 0};
    if (size >= LINE_SIZE || memchr(text, 0, size)) {
        return false;
    }
    memcpy(line->text, text, size);
    char *rest = NULL;
    for (char *word = strtok_r(line->text, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
        if (line->count == WORDS_MAX) {
            return false;
        }
        line->words[line->count++] = word;
    }
    return line->count > 0;
}

static const char *take_word(line_t *line) {
    return line->next < line->count ? line->words[line->next++] : "";
}

static void expect(line_t *line, const char *word) {
    line->wrong |= strcmp(take_word(line), word) != 0;
}

static int to_int(const char *text, line_t *line) {
    size_t size = strlen(text);
    if (size == 0 || size > 6 || strspn(text, "0123456789") != size) {
        line->wrong = true;
        return 0;
    }
    return atoi(text);
}

static float take_float(line_t *line) {
    const char *text = take_word(line);
    char *end = NULL;
    float value = strtof(text, &end);
    if (end == text || *end || strspn(text, "0123456789.e+-") != strlen(text) || !isfinite(value)) {
        line->wrong = true;
    }
    return value;
}

static bool take_bias(line_t *line) {
    if (line->next == line->count) {
        return false;
    }
    expect(line, "bias");
    return true;
}

static void parse_input(line_t *line, nn_spec_t *spec) {
    expect(line, "input");
    char shape[LINE_SIZE];
    snprintf(shape, sizeof shape, "%s", take_word(line));
    int sizes[3] = {0};
    char *rest = shape;
    for (int i = 0; i < 3; i++) {
        char *size = strsep(&rest, "x");
        sizes[i] = to_int(size ? size : "", line);
    }
    line->wrong |= rest != NULL;
    spec->height = sizes[0];
    spec->width = sizes[1];
    spec->channels = sizes[2];
    expect(line, "classes");
    spec->classes = to_int(take_word(line), line);
}

static void parse_layer(line_t *line, nn_layer_t *layer) {
    const char *word = take_word(line);
    int kind = 0;
    while (kind < KIND_COUNT && strcmp(kind_words[kind], word) != 0) {
        kind++;
    }
    line->wrong |= kind == KIND_COUNT;
    *layer = (nn_layer_t){.kind = (nn_kind_t)kind};
    if (kind == NN_CONV) {
        layer->units = to_int(take_word(line), line);
        expect(line, "kernel");
        layer->kernel = to_int(take_word(line), line);
        layer->bias = take_bias(line);
    } else if (kind == NN_DENSE) {
        layer->units = to_int(take_word(line), line);
        layer->bias = take_bias(line);
    } else if (kind == NN_DROPOUT) {
        layer->rate = take_float(line);
    } else if (kind == NN_BATCH_NORM) {
        expect(line, "momentum");
        layer->momentum = take_float(line);
        expect(line, "epsilon");
        layer->epsilon = take_float(line);
    }
}

static err_code_t parse_line(const char *text, size_t size, int number, nn_spec_t *spec,
                             err_t *err) {
    line_t line;
    bool cut = cut_line(text, size, &line);
    if (cut && number == 1) {
        parse_input(&line, spec);
    } else if (cut && spec->layer_count == NN_LAYERS_MAX) {
        return err_set(err, ERR_INVALID, "line %d of the model: more than %d layers", number,
                       NN_LAYERS_MAX);
    } else if (cut) {
        parse_layer(&line, &spec->layers[spec->layer_count++]);
    }
    if (!cut || line.wrong || line.next != line.count) {
        return err_set(err, ERR_INVALID, "line %d of the model is not understood: \"%.*s\"", number,
                       size < 60 ? (int)size : 60, text);
    }
    return ERR_OK;
}

err_code_t nn_spec_parse(const char *text, nn_spec_t *spec, err_t *err) {
    *spec = (nn_spec_t){.height = 0};
    if (strnlen(text, NN_TEXT_MAX + 1) > NN_TEXT_MAX) {
        return err_set(err, ERR_INVALID, "the model's text is longer than %d bytes", NN_TEXT_MAX);
    }
    for (int number = 1; *text; number++) {
        size_t size = strcspn(text, "\n");
        if (parse_line(text, size, number, spec, err)) {
            return ERR_INVALID;
        }
        text += size + (text[size] == '\n');
    }
    return nn_spec_check(spec, err);
}
