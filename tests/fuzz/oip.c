// Requests to infer, and answers to those that are right.
//
//   0  how    1 … 2  size of the JSON (unless how % 2 is 0: all is JSON)    3 …  the body
//   how / 2 % 2  the model takes image files    how / 4  classes of the answer, less one
#include "oip/oip.h"
#include "fuzz.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define CLASSES_MAX 64
#define VALUES_MAX  4096 // of an answer

static err_code_t charge(void *arg, size_t bytes, err_t *err) {
    size_t *left = arg;
    if (bytes > *left) {
        err_set(err, ERR_FULL, "no more");
        return ERR_FULL;
    }
    *left -= bytes;
    return ERR_OK;
}

// Every byte of what was read can be read.
static void touch(const void *bytes, size_t size) {
    size_t sum = 0;
    for (size_t i = 0; i < size; i++)
        sum += ((const uint8_t *)bytes)[i];
    ERR_ASSERT(sum <= 255 * size);
}

static void check_request(const oip_body_t *body, const oip_request_t *request) {
    ERR_ASSERT(request->shape[0] >= 1 && request->shape[0] <= OIP_ROWS_MAX);
    ERR_ASSERT(request->probabilities.wanted || request->label.wanted);
    if (!body->images) {
        ERR_ASSERT(request->tensor_size == (size_t)request->shape[0] * (size_t)request->shape[1] *
                                               (size_t)request->shape[2] *
                                               (size_t)request->shape[3] *
                                               (request->is_float ? sizeof(float) : 1));
        touch(request->tensor, request->tensor_size);
        return;
    }
    for (int64_t i = 0; i < request->shape[0]; i++)
        touch(request->files[i].data, request->files[i].size);
}

// The answer is JSON of its own, with as many bytes behind it as it says.
static void check_answer(const oip_request_t *request, size_t classes) {
    static float values[VALUES_MAX];
    static int labels[VALUES_MAX];
    const char *names[CLASSES_MAX];
    size_t rows = (size_t)request->shape[0];
    if (rows * classes > VALUES_MAX)
        return;
    for (size_t i = 0; i < classes; i++)
        names[i] = i % 2 ? "a\"b" : "\xc3\xa9";
    for (size_t i = 0; i < rows * classes; i++) {
        values[i] = 1.0f / (float)(i + 1);
        labels[i] = (int)(i % classes);
    }
    const oip_answer_t answer = {.model = "m",
                                 .version = 7,
                                 .rows = rows,
                                 .classes = classes,
                                 .probabilities = values,
                                 .class_names = names,
                                 .labels = labels};
    buf_t out;
    int64_t json_size;
    buf_init(&out, 1 << 24);
    oip_write(request, &answer, &out, &json_size);
    ERR_ASSERT(!out.failed && json_size <= (int64_t)out.size);
    size_t size = json_size < 0 ? out.size : (size_t)json_size, behind = 0;
    json_t *json = json_loadb(out.data, size, 0, NULL);
    ERR_ASSERT(json != NULL);
    size_t index;
    const json_t *output;
    json_array_foreach(json_object_get(json, "outputs"), index, output) behind +=
        (size_t)json_integer_value(
            json_object_get(json_object_get(output, "parameters"), "binary_data_size"));
    ERR_ASSERT(size + behind == out.size);
    json_decref(json);
    buf_release(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 3)
        return 0;
    size_t left = 7 * size; // a record of 16 bytes for each "" of 3
    const oip_body_t body = {.body = (const char *)data + 3,
                             .size = size - 3,
                             .json_size = data[0] % 2 ? data[1] + 256 * data[2] : -1,
                             .images = data[0] / 2 % 2,
                             .charge = charge,
                             .arg = &left};
    oip_request_t request;
    err_t err;
    err_code_t code = oip_read(&body, &request, &err);
    ERR_ASSERT(code == ERR_OK || (code == ERR_INVALID && err.message[0] && err.remedy[0]));
    if (code == ERR_OK) {
        check_request(&body, &request);
        check_answer(&request, 1 + data[0] / 4);
    }
    oip_release(&request);
    return 0;
}

static void seed(uint8_t how, const char *json, const void *binary, size_t size) {
    size_t json_size = strlen(json);
    buf_t input;
    buf_init(&input, 1 << 16);
    buf_append(&input, (const uint8_t[]){how, (uint8_t)json_size, (uint8_t)(json_size >> 8)}, 3);
    buf_append(&input, json, json_size);
    buf_append(&input, binary, size);
    fuzz_seed(input.data, input.size);
    buf_release(&input);
}

void fuzz_seeds(void) {
    static const float floats[2] = {1.5f, -2};
    seed(4,
         "{\"inputs\":[{\"name\":\"pixels\",\"shape\":[1,2,2,1],\"datatype\":\"UINT8\",\"data\":[["
         "0,7],[99,255]]}]}",
         "", 0);
    seed(4,
         "{\"id\":\"a\\ud83d\\ude00\",\"parameters\":{\"priority\":2,\"timeout\":1000,"
         "\"binary_data_output\":true},\"inputs\":[{\"name\":\"pixels\",\"shape\":[2,1,1,1],"
         "\"datatype\":\"FP32\",\"data\":[1.5e-3,-2]}],\"outputs\":[{\"name\":\"probabilities\","
         "\"parameters\":{\"classification\":2}},{\"name\":\"label\",\"parameters\":{\"binary_"
         "data\":"
         "false}}]}",
         "", 0);
    seed(5,
         "{\"inputs\":[{\"name\":\"pixels\",\"shape\":[1,1,1,2],\"datatype\":\"FP32\","
         "\"parameters\":"
         "{\"binary_data_size\":8}}],\"outputs\":[{\"name\":\"probabilities\",\"parameters\":"
         "{\"binary_data\":true}}]}",
         floats, sizeof floats);
    seed(7,
         "{\"inputs\":[{\"name\":\"image\",\"shape\":[2],\"datatype\":\"BYTES\",\"parameters\":"
         "{\"binary_data_size\":11}}]}",
         "\3\0\0\0abc\0\0\0", 11);
    seed(6,
         "{\"inputs\":[{\"name\":\"image\",\"shape\":[3,1],\"datatype\":\"BYTES\",\"data\":[\"YQ=="
         "\","
         "\"Y\\u006dM=\",\"\\/+v\\/\"]}]}",
         "", 0);
}

void fuzz_end(void) {
}
