#include "data_impl.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

// Members of an object by their names.
typedef struct {
    const char *name;
    span_t *value;
} wanted_t;

typedef struct {
    span_t name, shape, datatype, parameters, data;
} input_t;

typedef struct {
    const oip_body_t *body;
    oip_request_t *request;
    size_t json_size;
    size_t binary_used; // bytes behind the JSON that inputs have taken
    bool all_binary;    // binary_data_output of the request
} reader_t;

static err_code_t invalid(err_t *err, const char *what, const char *remedy) {
    err_set(err, ERR_INVALID, "%s", what);
    return err_remedy(err, "%s", remedy);
}

// Finds the wanted members (others are for other servers, and ignored).
static err_code_t members(span_t object, const char *where, const wanted_t *wanted, size_t count,
                          err_t *err) {
    span_t name, value;
    if (scan_kind(object) != '{') {
        err_set(err, ERR_INVALID, "%s is no object", where);
        return err_remedy(err, "give {…}");
    }
    while (scan_member(&object, &name, &value))
        for (size_t i = 0; i < count; i++) {
            if (!scan_is(name, wanted[i].name))
                continue;
            if (wanted[i].value->at) {
                err_set(err, ERR_INVALID, "%s has %s twice", where, wanted[i].name);
                return err_remedy(err, "give it once");
            }
            *wanted[i].value = value;
        }
    return ERR_OK;
}

#define MEMBERS(object, where, wanted, err)                                                        \
    members(object, where, wanted, sizeof(wanted) / sizeof *(wanted), err)

static err_code_t optional_int(span_t value, const char *name, int64_t max, int64_t *out,
                               err_t *err) {
    if (!value.at)
        return ERR_OK;
    if (scan_int(value, out) && *out >= 0 && *out <= max)
        return ERR_OK;
    err_set(err, ERR_INVALID, "%s is no whole number from 0 to %" PRId64, name, max);
    return err_remedy(err, "correct it, or leave it out");
}

static err_code_t optional_bool(span_t value, const char *name, bool *out, err_t *err) {
    if (!value.at || scan_bool(value, out))
        return ERR_OK;
    err_set(err, ERR_INVALID, "%s is neither true nor false", name);
    return err_remedy(err, "correct it, or leave it out");
}

// --- The input
// ------------------------------------------------------------------------------------

static err_code_t read_shape(reader_t *reader, span_t shape, err_t *err) {
    bool images = reader->body->images;
    const char *remedy = images ? "image takes [n]" : "pixels takes [n, height, width, channels]";
    int64_t *out = reader->request->shape;
    span_t element;
    int count = 0;
    if (scan_kind(shape) != '[')
        return invalid(err, "shape is missing, or no array", remedy);
    while (scan_element(&shape, &element)) {
        if (count == 4)
            return invalid(err, "shape has more than four dimensions", remedy);
        if (!scan_int(element, &out[count]) || out[count] < 1 || out[count] > OIP_ROWS_MAX) {
            err_set(err, ERR_INVALID, "shape[%d] is no whole number from 1 to %d", count,
                    OIP_ROWS_MAX);
            return err_remedy(err, "%s", remedy);
        }
        count++;
    }
    if (images ? count == 1 || (count == 2 && out[1] == 1) : count == 4)
        return ERR_OK;
    err_set(err, ERR_INVALID, "shape has %d dimensions", count);
    return err_remedy(err, "%s", remedy);
}

static err_code_t read_datatype(reader_t *reader, span_t datatype, err_t *err) {
    reader->request->is_float = scan_is(datatype, "FP32");
    bool right = reader->body->images ? scan_is(datatype, "BYTES")
                                      : reader->request->is_float || scan_is(datatype, "UINT8");
    char given[24] = "";
    if (right)
        return ERR_OK;
    scan_text(datatype, given, sizeof given);
    err_set(err, ERR_INVALID, "datatype is '%s'", given);
    return err_remedy(err, "%s",
                      reader->body->images ? "image takes BYTES"
                                           : "pixels takes UINT8, or FP32 when normalised already");
}

static err_code_t take(reader_t *reader, size_t size, int slot, err_t *err) {
    err_code_t code = reader->body->charge(reader->body->arg, size, err);
    if (code)
        return code;
    reader->request->owned[slot] = malloc(size ? size : 1);
    return reader->request->owned[slot]
               ? ERR_OK
               : err_set(err, ERR_NO_MEMORY, "no memory for %zu bytes of a request", size);
}

// The bytes of an input behind the JSON.
static err_code_t take_binary(reader_t *reader, int64_t said, const char **bytes, err_t *err) {
    size_t behind = reader->body->size - reader->json_size;
    *bytes = reader->body->body + reader->json_size;
    reader->binary_used = (size_t)said;
    if (reader->binary_used == behind)
        return ERR_OK;
    err_set(err, ERR_INVALID, "binary_data_size is %" PRId64 "; %zu bytes are behind the JSON",
            said, behind);
    return err_remedy(err, "it must be all of them; Inference-Header-Content-Length says where the "
                           "JSON ends");
}

static err_code_t read_pixels(reader_t *reader, const input_t *input, int64_t binary, err_t *err) {
    oip_request_t *request = reader->request;
    const int64_t *shape = request->shape;
    size_t count = (size_t)shape[0], each = request->is_float ? sizeof(float) : 1;
    for (int i = 1; i < 4; i++)
        if (__builtin_mul_overflow(count, (size_t)shape[i], &count) || count > UINT32_MAX)
            return invalid(err, "shape has more numbers than any request may have",
                           "send fewer rows at once");
    request->tensor_size = count * each;
    if (binary < 0) {
        // Each number takes two bytes of text at least: what cannot be there is not allocated.
        if (count > (size_t)(input->data.end - input->data.at) / 2)
            return invalid(err, "pixels: data has fewer numbers than its shape has room for",
                           "give rows × height × width × channels of them");
        err_code_t code = take(reader, request->tensor_size, 0, err);
        request->tensor = request->owned[0];
        return code ? code
                    : data_numbers(input->data, request->is_float, count, request->owned[0], err);
    }
    const char *bytes;
    err_code_t code = take_binary(reader, binary, &bytes, err);
    if (code)
        return code;
    request->tensor = bytes;
    if ((size_t)binary != request->tensor_size) {
        err_set(err, ERR_INVALID, "binary_data_size is %" PRId64 "; the shape needs %zu bytes",
                binary, request->tensor_size);
        return err_remedy(err, "shape, datatype and binary_data_size must agree");
    }
    return request->is_float ? data_check_finite(bytes, count, err) : ERR_OK;
}

static err_code_t read_images(reader_t *reader, const input_t *input, int64_t binary, err_t *err) {
    oip_request_t *request = reader->request;
    size_t count = (size_t)request->shape[0];
    const char *bytes = NULL;
    err_code_t code = binary < 0 ? ERR_OK : take_binary(reader, binary, &bytes, err);
    if (code)
        return code;
    // An element takes 4 bytes, or "" and a comma, at least: what cannot be there is not allocated.
    if (count > (bytes ? (size_t)binary / 4 : (size_t)(input->data.end - input->data.at) / 3))
        return invalid(err, "image has fewer elements than its shape tells",
                       "give one for each file");
    code = take(reader, count * sizeof *request->files, 0, err);
    request->files = request->owned[0];
    if (code)
        return code;
    if (bytes)
        return data_files(bytes, (size_t)binary, count, request->files, err);
    code = take(reader, data_strings_size(input->data), 1, err);
    return code ? code : data_strings(input->data, count, request->files, request->owned[1], err);
}

static err_code_t read_input(reader_t *reader, span_t object, err_t *err) {
    input_t input = {0};
    span_t binary_size = {0};
    int64_t binary = -1;
    const char *name = reader->body->images ? "image" : "pixels";
    err_code_t code = MEMBERS(object, "inputs[0]",
                              ((const wanted_t[]){{"name", &input.name},
                                                  {"shape", &input.shape},
                                                  {"datatype", &input.datatype},
                                                  {"parameters", &input.parameters},
                                                  {"data", &input.data}}),
                              err);
    if (code == ERR_OK && !scan_is(input.name, name)) {
        char given[64] = "";
        scan_text(input.name, given, sizeof given);
        err_set(err, ERR_INVALID, "inputs[0] has the name '%s'", given);
        return err_remedy(err, "this model's input is %s", name);
    }
    if (code == ERR_OK)
        code = read_datatype(reader, input.datatype, err);
    if (code == ERR_OK)
        code = read_shape(reader, input.shape, err);
    if (code == ERR_OK && input.parameters.at)
        code = MEMBERS(input.parameters, "inputs[0].parameters",
                       ((const wanted_t[]){{"binary_data_size", &binary_size}}), err);
    if (code == ERR_OK)
        code = optional_int(binary_size, "binary_data_size", INT64_C(1) << 40, &binary, err);
    if (code)
        return code;
    if ((binary >= 0) == (input.data.at != NULL))
        return invalid(err, "inputs[0] needs either data or parameters.binary_data_size",
                       "give one of them");
    if (binary < 0 && scan_kind(input.data) != '[')
        return invalid(err, "inputs[0].data is no array", "give the values in an array");
    return reader->body->images ? read_images(reader, &input, binary, err)
                                : read_pixels(reader, &input, binary, err);
}

static err_code_t read_inputs(reader_t *reader, span_t inputs, err_t *err) {
    span_t first, second;
    const char *remedy = reader->body->images ? "give one, named image" : "give one, named pixels";
    if (scan_kind(inputs) != '[' || !scan_element(&inputs, &first))
        return invalid(err, "inputs is missing, or has no element", remedy);
    if (scan_element(&inputs, &second))
        return invalid(err, "inputs has more than one element", remedy);
    return read_input(reader, first, err);
}

// --- Outputs
// --------------------------------------------------------------------------------------

static err_code_t read_output(reader_t *reader, span_t object, err_t *err) {
    span_t name = {0}, parameters = {0}, binary = {0}, top = {0};
    err_code_t code =
        MEMBERS(object, "an element of outputs",
                ((const wanted_t[]){{"name", &name}, {"parameters", &parameters}}), err);
    if (code == ERR_OK && parameters.at)
        code =
            MEMBERS(parameters, "parameters of an output",
                    ((const wanted_t[]){{"binary_data", &binary}, {"classification", &top}}), err);
    if (code)
        return code;
    bool label = scan_is(name, "label");
    if (!label && !scan_is(name, "probabilities")) {
        char given[64] = "";
        scan_text(name, given, sizeof given);
        err_set(err, ERR_INVALID, "outputs asks for '%s'", given);
        return err_remedy(err, "there are probabilities and label");
    }
    oip_output_t *output = label ? &reader->request->label : &reader->request->probabilities;
    if (output->wanted)
        return invalid(err, "outputs asks for the same output twice", "ask once");
    output->wanted = true;
    output->binary = reader->all_binary;
    code = optional_bool(binary, "binary_data", &output->binary, err);
    if (code == ERR_OK)
        code = optional_int(top, "classification", OIP_ROWS_MAX, &output->top, err);
    if (code == ERR_OK && label && output->top)
        code =
            invalid(err, "classification is for probabilities, not for label", "ask for it there");
    return code;
}

static err_code_t read_outputs(reader_t *reader, span_t outputs, err_t *err) {
    oip_request_t *request = reader->request;
    span_t element;
    bool any = false;
    if (outputs.at && scan_kind(outputs) != '[')
        return invalid(err, "outputs is no array", "give an array, or leave it out for all");
    while (outputs.at && scan_element(&outputs, &element)) {
        any = true;
        err_code_t code = read_output(reader, element, err);
        if (code)
            return code;
    }
    if (!any)
        request->probabilities = request->label = (oip_output_t){true, reader->all_binary, 0};
    return ERR_OK;
}

// --- The whole
// ------------------------------------------------------------------------------------

static err_code_t read_parameters(reader_t *reader, span_t parameters, err_t *err) {
    span_t binary = {0}, priority = {0}, timeout = {0};
    if (!parameters.at)
        return ERR_OK;
    err_code_t code = MEMBERS(parameters, "parameters",
                              ((const wanted_t[]){{"binary_data_output", &binary},
                                                  {"priority", &priority},
                                                  {"timeout", &timeout}}),
                              err);
    if (code == ERR_OK)
        code = optional_bool(binary, "binary_data_output", &reader->all_binary, err);
    if (code == ERR_OK)
        code = optional_int(priority, "priority", 3, &reader->request->priority, err);
    if (code == ERR_OK)
        code = optional_int(timeout, "timeout", INT64_C(86400000000), &reader->request->timeout_us,
                            err);
    return code;
}

static err_code_t read_id(reader_t *reader, span_t id, err_t *err) {
    if (!id.at || scan_text(id, reader->request->id, sizeof reader->request->id))
        return ERR_OK;
    reader->request->id[0] = 0;
    err_set(err, ERR_INVALID, "id is no text of at most %d bytes", OIP_ID_MAX);
    return err_remedy(err, "shorten it, or leave it out");
}

err_code_t oip_read(const oip_body_t *body, oip_request_t *request, err_t *err) {
    reader_t reader = {.body = body, .request = request, .json_size = body->size};
    span_t root, id = {0}, parameters = {0}, inputs = {0}, outputs = {0};
    *request = (oip_request_t){0};
    if (body->json_size >= 0) {
        if ((uint64_t)body->json_size > body->size) {
            err_set(err, ERR_INVALID,
                    "Inference-Header-Content-Length is %" PRId64 "; the body has %zu bytes",
                    body->json_size, body->size);
            return err_remedy(err, "it is the size of the JSON in front of the binary data");
        }
        reader.json_size = (size_t)body->json_size;
    }
    err_code_t code = scan_document(body->body, reader.json_size, &root, err);
    if (code == ERR_OK)
        code = MEMBERS(root, "the request",
                       ((const wanted_t[]){{"id", &id},
                                           {"parameters", &parameters},
                                           {"inputs", &inputs},
                                           {"outputs", &outputs}}),
                       err);
    if (code == ERR_OK)
        code = read_id(&reader, id, err);
    if (code == ERR_OK)
        code = read_parameters(&reader, parameters, err);
    if (code == ERR_OK)
        code = read_outputs(&reader, outputs, err);
    if (code == ERR_OK)
        code = read_inputs(&reader, inputs, err);
    if (code == ERR_OK && reader.json_size + reader.binary_used != body->size)
        code = invalid(err, "there are bytes behind the JSON that no input has",
                       "give the input parameters.binary_data_size");
    return code;
}

void oip_release(oip_request_t *request) {
    for (int i = 0; i < 2; i++) {
        free(request->owned[i]);
        request->owned[i] = NULL;
    }
}
