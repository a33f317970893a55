#include "data_impl.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// --- Classification: the best classes of a row as "probability:index:class"

typedef struct {
    float probability;
    size_t index;
} rank_t;

static int by_probability(const void *a, const void *b) {
    const rank_t *x = a, *y = b;
    if (x->probability != y->probability)
        return x->probability < y->probability ? 1 : -1;
    return x->index < y->index ? -1 : 1;
}

typedef void (*text_fn)(buf_t *out, const char *text);

static void put_best(const oip_answer_t *answer, size_t top, buf_t *out, text_fn put) {
    rank_t *ranks = mem_alloc(answer->classes * sizeof *ranks);
    for (size_t row = 0; row < answer->rows; row++) {
        for (size_t i = 0; i < answer->classes; i++)
            ranks[i] = (rank_t){answer->probabilities[row * answer->classes + i], i};
        qsort(ranks, answer->classes, sizeof *ranks, by_probability);
        for (size_t i = 0; i < top; i++) {
            char *text = mem_format("%.9g:%zu:%s", (double)ranks[i].probability, ranks[i].index,
                                    answer->class_names[ranks[i].index]);
            put(out, text);
            free(text);
        }
    }
    free(ranks);
}

static void put_labels(const oip_answer_t *answer, buf_t *out, text_fn put) {
    for (size_t row = 0; row < answer->rows; row++)
        put(out, answer->class_names[answer->labels[row]]);
}

static void put_json_text(buf_t *out, const char *text) {
    buf_json_string(out, text);
    buf_puts(out, ",");
}

static void put_binary_text(buf_t *out, const char *text) {
    uint32_t size = (uint32_t)strlen(text);
    const uint8_t head[4] = {(uint8_t)size, (uint8_t)(size >> 8), (uint8_t)(size >> 16),
                             (uint8_t)(size >> 24)};
    buf_append(out, head, sizeof head);
    buf_append(out, text, size);
}

// --- Outputs
// --------------------------------------------------------------------------------------

static size_t top_of(const oip_output_t *output, const oip_answer_t *answer) {
    return (uint64_t)output->top < answer->classes ? (size_t)output->top : answer->classes;
}

static void put_values(const oip_output_t *output, const oip_answer_t *answer, bool label,
                       buf_t *out) {
    if (label) {
        put_labels(answer, out, put_json_text);
    } else if (output->top) {
        put_best(answer, top_of(output, answer), out, put_json_text);
    } else {
        for (size_t i = 0; i < answer->rows * answer->classes; i++)
            buf_printf(out, "%.9g,", (double)answer->probabilities[i]);
    }
    if (!out->failed)
        out->size--; // the last comma
}

static void put_bytes(const oip_output_t *output, const oip_answer_t *answer, bool label,
                      buf_t *out) {
    if (label)
        put_labels(answer, out, put_binary_text);
    else if (output->top)
        put_best(answer, top_of(output, answer), out, put_binary_text);
    else
        buf_append(out, answer->probabilities, answer->rows * answer->classes * sizeof(float));
}

static void put_output(const oip_output_t *output, const oip_answer_t *answer, bool label,
                       buf_t *json, buf_t *binary) {
    bool text = label || output->top;
    buf_printf(json, "{\"name\":\"%s\",\"datatype\":\"%s\",\"shape\":[%zu",
               label ? "label" : "probabilities", text ? "BYTES" : "FP32", answer->rows);
    if (!label)
        buf_printf(json, ",%zu", output->top ? top_of(output, answer) : answer->classes);
    if (output->binary) {
        size_t begin = binary->size;
        put_bytes(output, answer, label, binary);
        buf_printf(json, "],\"parameters\":{\"binary_data_size\":%zu}}", binary->size - begin);
        return;
    }
    buf_puts(json, "],\"data\":[");
    put_values(output, answer, label, json);
    buf_puts(json, "]}");
}

void oip_write(const oip_request_t *request, const oip_answer_t *answer, buf_t *out,
               int64_t *json_size) {
    locale_t before = uselocale(data_locale());
    size_t begin = out->size;
    buf_t binary;
    buf_init(&binary, out->ceiling);
    buf_puts(out, "{\"model_name\":");
    buf_json_string(out, answer->model);
    buf_printf(out, ",\"model_version\":\"%" PRIu64 "\"", answer->version);
    if (request->id[0]) {
        buf_puts(out, ",\"id\":");
        buf_json_string(out, request->id);
    }
    buf_puts(out, ",\"outputs\":[");
    if (request->probabilities.wanted)
        put_output(&request->probabilities, answer, false, out, &binary);
    if (request->probabilities.wanted && request->label.wanted)
        buf_puts(out, ",");
    if (request->label.wanted)
        put_output(&request->label, answer, true, out, &binary);
    buf_puts(out, "]}");
    *json_size = binary.size ? (int64_t)(out->size - begin) : -1;
    buf_append(out, binary.data, binary.size);
    out->failed = out->failed || binary.failed;
    buf_release(&binary);
    uselocale(before);
}
