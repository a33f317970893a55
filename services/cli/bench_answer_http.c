// Answers over HTTP: the list of /v1/classify, tensors of the Open Inference Protocol as JSON or
// behind it, errors.
#include "bench_answer_impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// --- Errors: {"error": "what and what to do", "code": "FULL", …}

static void read_refusal(const load_answer_t *answer, bench_reading_t *reading) {
    char kind[48];
    json_t *body = json_loadb(answer->body.data, answer->body.size, 0, NULL);
    const char *code = json_string_value(json_object_get(body, "code"));
    const char *text = json_string_value(json_object_get(body, "error"));
    snprintf(kind, sizeof kind, "HTTP %d%s%.32s", answer->reply->status, code ? " " : "",
             code ? code : "");
    bench_put_error(reading, kind, text);
    json_decref(body);
}

// --- /v1/classify

static err_code_t read_result(const json_t *result, size_t row, bench_reading_t *reading,
                              err_t *err) {
    const json_t *error = json_object_get(result, "error");
    const char *label = json_string_value(json_object_get(result, "label"));
    const char *model = json_string_value(json_object_get(result, "model"));
    const json_t *probability = json_object_get(result, "probability");
    const json_t *version = json_object_get(result, "version");
    if (error) {
        const char *code = json_string_value(json_object_get(error, "code"));
        bench_put_error(reading, code ? code : "error",
                        json_string_value(json_object_get(error, "message")));
        return ERR_OK;
    }
    if (!label || !model || !json_is_number(probability) || !json_is_integer(version))
        return err_set(err, ERR_PROTOCOL, "result %zu has no label, probability, model or version",
                       row);
    double value = json_number_value(probability);
    err_code_t code = bench_put_version(reading, model, (uint64_t)json_integer_value(version), err);
    if (code == ERR_OK)
        bench_put_row(reading, row, label, &value, sizeof value);
    return code;
}

static err_code_t read_results(const json_t *list, size_t images, bench_reading_t *reading,
                               err_t *err) {
    if (!json_is_array(list))
        return err_set(err, ERR_PROTOCOL, "the answer is no list of results");
    if (json_array_size(list) != images)
        return bench_wrong_count(json_array_size(list), images, err);
    err_code_t code = ERR_OK;
    for (size_t i = 0; i < images && code == ERR_OK; i++)
        code = read_result(json_array_get(list, i), i, reading, err);
    return code;
}

// --- /v2: outputs as JSON data, or as bytes behind the JSON in their order

typedef struct {
    const json_t *data;   // of JSON, or NULL:
    const char *bytes;    // binary
    size_t size, columns; // of bytes; of a row
} output_t;

static bool read_shape(const json_t *output, size_t images, output_t *out) {
    const json_t *shape = json_object_get(output, "shape");
    size_t rank = json_array_size(shape);
    out->columns = rank == 2 ? (size_t)json_integer_value(json_array_get(shape, 1)) : 1;
    return rank >= 1 && rank <= 2 && out->columns > 0 && out->columns <= 65536 &&
           json_integer_value(json_array_get(shape, 0)) == (json_int_t)images;
}

// *rest, *left: what is behind the outputs so far.
static err_code_t read_output(const json_t *output, size_t images, const char **rest, size_t *left,
                              output_t *out, err_t *err) {
    const json_t *size = json_object_get(json_object_get(output, "parameters"), "binary_data_size");
    *out = (output_t){.data = json_object_get(output, "data")};
    if (!read_shape(output, images, out))
        return err_set(err, ERR_PROTOCOL, "an output has not %zu rows", images);
    if (json_is_array(out->data))
        return ERR_OK;
    out->data = NULL;
    if (!json_is_integer(size) || json_integer_value(size) < 0 ||
        (uint64_t)json_integer_value(size) > *left)
        return err_set(err, ERR_PROTOCOL,
                       "an output has neither data nor as many bytes as it says");
    out->bytes = *rest;
    out->size = (size_t)json_integer_value(size);
    *rest += out->size;
    *left -= out->size;
    return ERR_OK;
}

static bool numbers_of_row(const output_t *output, size_t row, float *numbers) {
    size_t first = row * output->columns;
    if (!output->data) {
        if (output->size < (first + output->columns) * sizeof(float))
            return false;
        memcpy(numbers, output->bytes + first * sizeof(float), output->columns * sizeof(float));
        return true;
    }
    for (size_t i = 0; i < output->columns; i++) {
        const json_t *number = json_array_get(output->data, first + i);
        if (!json_is_number(number))
            return false;
        numbers[i] = (float)json_number_value(number);
    }
    return true;
}

// Binary strings stand one behind the other: *at is where the next one begins.
static bool label_of_row(const output_t *output, size_t row, size_t *at, char label[260]) {
    if (output->data) {
        const char *text = json_string_value(json_array_get(output->data, row));
        snprintf(label, 260, "%s", text ? text : "");
        return text != NULL;
    }
    if (output->size - *at < 4)
        return false;
    const unsigned char *head = (const unsigned char *)output->bytes + *at;
    size_t size = head[0] | (size_t)head[1] << 8 | (size_t)head[2] << 16 | (size_t)head[3] << 24;
    if (size > 256 || output->size - *at - 4 < size)
        return false;
    memcpy(label, output->bytes + *at + 4, size);
    label[size] = 0;
    *at += 4 + size;
    return true;
}

static err_code_t read_rows(const output_t *probabilities, const output_t *labels, size_t images,
                            bench_reading_t *reading, err_t *err) {
    char label[260];
    size_t at = 0, bytes = probabilities->columns * sizeof(float);
    float *numbers = mem_alloc(bytes);
    err_code_t code = ERR_OK;
    for (size_t i = 0; i < images && code == ERR_OK; i++) {
        if (numbers_of_row(probabilities, i, numbers) && label_of_row(labels, i, &at, label))
            bench_put_row(reading, i, label, numbers, bytes);
        else
            code = err_set(err, ERR_PROTOCOL, "row %zu is not in the outputs", i);
    }
    free(numbers);
    return code;
}

// The sibling answers under its own name.
static err_code_t read_names(const json_t *body, bench_reading_t *reading, err_t *err) {
    const char *name = json_string_value(json_object_get(body, "model_name"));
    const char *version = json_string_value(json_object_get(body, "model_version"));
    char model[PROTO_NAME_MAX + 16];
    if (!name || !version || strspn(version, "0123456789") != strlen(version))
        return err_set(err, ERR_PROTOCOL, "the answer names no model_name or model_version");
    snprintf(model, sizeof model, "%s", name);
    size_t size = strlen(model);
    if (size > 6 && strcmp(model + size - 6, ".image") == 0)
        model[size - 6] = 0;
    return bench_put_version(reading, model, strtoull(version, NULL, 10), err);
}

static err_code_t read_tensors(const json_t *body, const load_answer_t *answer, size_t json_bytes,
                               size_t images, bench_reading_t *reading, err_t *err) {
    output_t probabilities = {0}, labels = {0}, other;
    const char *rest = (const char *)answer->body.data + json_bytes;
    size_t left = answer->body.size - json_bytes, i;
    const json_t *output;
    err_code_t code = read_names(body, reading, err);
    json_array_foreach(json_object_get(body, "outputs"), i, output) {
        const char *name = json_string_value(json_object_get(output, "name"));
        bool numbers = name && strcmp(name, "probabilities") == 0;
        bool texts = name && strcmp(name, "label") == 0;
        if (code == ERR_OK)
            code = read_output(output, images, &rest, &left,
                               numbers ? &probabilities
                               : texts ? &labels
                                       : &other,
                               err);
    }
    if (code)
        return code;
    if (!probabilities.columns || !labels.columns || left)
        return err_set(err, ERR_PROTOCOL, "the outputs are not probabilities and label alone");
    return read_rows(&probabilities, &labels, images, reading, err);
}

err_code_t bench_read_http(bench_form_t form, size_t images, const load_answer_t *answer,
                           bench_reading_t *reading, err_t *err) {
    json_error_t wrong;
    if (answer->reply->status != 200) {
        read_refusal(answer, reading);
        return ERR_OK;
    }
    size_t json_bytes =
        answer->reply->json_bytes == SIZE_MAX ? answer->body.size : answer->reply->json_bytes;
    json_t *body = json_loadb(answer->body.data, json_bytes, JSON_REJECT_DUPLICATES, &wrong);
    if (!body)
        return err_set(err, ERR_PROTOCOL, "the answer is no JSON: %s", wrong.text);
    err_code_t code = form == BENCH_IMAGE
                          ? read_results(body, images, reading, err)
                          : read_tensors(body, answer, json_bytes, images, reading, err);
    json_decref(body);
    return code;
}
