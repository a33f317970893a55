// Requests to infer, right and wrong in every field: what they ask for, what is said about them,
// and that memory is asked for before it is taken, in proportion to the body.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/philox.h"
#include "oip/oip.h"

#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// --- A body, in memory of exactly its size, so that a sanitizer sees a read behind it

typedef struct {
    char *bytes;
    oip_body_t body;
    oip_request_t request;
    err_t err;
    size_t charged, charge_max;
} reading_t;

static err_code_t charge(void *arg, size_t bytes, err_t *err) {
    reading_t *reading = arg;
    if (bytes > reading->charge_max - reading->charged) {
        err_set(err, ERR_FULL, "the budget is full");
        return ERR_FULL;
    }
    reading->charged += bytes;
    return ERR_OK;
}

static err_code_t read_body(reading_t *reading, bool images, const char *json, const void *binary,
                            size_t binary_size, size_t charge_max) {
    size_t json_size = strlen(json), size = json_size + binary_size;
    *reading = (reading_t){.bytes = mem_alloc(size ? size : 1), .charge_max = charge_max};
    memcpy(reading->bytes, json, json_size);
    if (binary_size)
        memcpy(reading->bytes + json_size, binary, binary_size);
    reading->body = (oip_body_t){.body = reading->bytes,
                                 .size = size,
                                 .json_size = binary ? (int64_t)json_size : -1,
                                 .images = images,
                                 .charge = charge,
                                 .arg = reading};
    err_code_t code = oip_read(&reading->body, &reading->request, &reading->err);
    assert_true(reading->charged <= 7 * size);
    if (code) {
        assert_int_equal(code, reading->err.code);
        assert_true(reading->err.message[0] != 0);
        assert_true(reading->err.remedy[0] != 0 || code == ERR_FULL);
    }
    return code;
}

static void end_reading(reading_t *reading) {
    oip_release(&reading->request);
    oip_release(&reading->request); // again is harmless
    free(reading->bytes);
}

static reading_t read_good_binary(bool images, const char *json, const void *binary, size_t size) {
    reading_t reading;
    if (read_body(&reading, images, json, binary, size, SIZE_MAX) != ERR_OK)
        fail_msg("%s: %s", json, reading.err.message);
    return reading;
}

static reading_t read_good(bool images, const char *json) {
    return read_good_binary(images, json, NULL, 0);
}

// The message must name what is wrong.
static void expect_wrong_binary(bool images, const char *json, const void *binary, size_t size,
                                const char *said) {
    reading_t reading;
    err_code_t code = read_body(&reading, images, json, binary, size, SIZE_MAX);
    if (code != ERR_INVALID || !strstr(reading.err.message, said))
        fail_msg("%s: '%s' instead of '%s'", json, code ? reading.err.message : "taken", said);
    end_reading(&reading);
}

// ' stands for ".
static char *quoted(const char *text) {
    char *json = mem_dup(text);
    for (char *at = json; *at; at++)
        *at = *at == '\'' ? '"' : *at;
    return json;
}

static void expect_wrong(bool images, const char *text, const char *said) {
    char *json = quoted(text);
    expect_wrong_binary(images, json, NULL, 0, said);
    free(json);
}

#define PIXELS(shape, datatype, data)                                                              \
    "{\"inputs\":[{\"name\":\"pixels\",\"shape\":" shape ",\"datatype\":\"" datatype               \
    "\",\"data\":" data "}]}"
#define IMAGE(shape, data)                                                                         \
    "{\"inputs\":[{\"name\":\"image\",\"shape\":" shape ",\"datatype\":\"BYTES\",\"data\":" data   \
    "}]}"

// --- Pixels

static void pixels_in_every_nesting(void **state) {
    (void)state;
    static const char *const bodies[] = {
        PIXELS("[1,2,2,1]", "UINT8", "[0,7,99,255]"),
        PIXELS("[1,2,2,1]", "UINT8", "[[[[0],[7]],[[99],[255]]]]"),
        PIXELS("[ 1 , 2,\t2,\r\n1 ]", "UINT8", " [ [0 , 7], [ 99,255 ] ] "),
        // As other servers do: what counts is how many there are, and their order.
        PIXELS("[1,2,2,1]", "UINT8", "[[0],[[],7,[99]],255]"),
        " \n{\"outputs\":[],\"unknown\":{\"a\":[null,true,1e3]},\"inputs\":[{\"data\":[0,7,99,255],"
        "\"parameters\":{},\"datatype\":\"UINT8\",\"shape\":[1,2,2,1],\"name\":\"pixels\"}]}\n ",
        "{\"inp\\u0075ts\":[{\"name\":\"pi\\u0078els\",\"shape\":[1,2,2,1],\"datatype\":"
        "\"UINT\\u0038\","
        "\"data\":[0,7,99,255]}]}",
    };
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
        reading_t reading = read_good(false, bodies[i]);
        const oip_request_t *request = &reading.request;
        const int64_t shape[4] = {1, 2, 2, 1};
        assert_memory_equal(request->shape, shape, sizeof shape);
        assert_false(request->is_float);
        assert_int_equal(request->tensor_size, 4);
        assert_memory_equal(request->tensor, "\0\x07\x63\xff", 4);
        assert_true(request->probabilities.wanted && request->label.wanted);
        assert_false(request->probabilities.binary || request->label.binary);
        assert_int_equal(request->probabilities.top, 0);
        assert_string_equal(request->id, "");
        end_reading(&reading);
    }
}

static void floats_keep_their_bits(void **state) {
    (void)state;
    enum { COUNT = 500 };
    float sent[COUNT] = {0, -0.0f, 1, 0.1f, 3.4028235e38f, -1.1754944e-38f, 1e-45f, 16777216};
    for (uint32_t i = 8; i < COUNT;) {
        uint32_t bits = philox(1, i, 0, 0, 0).v[0];
        if ((bits & 0x7f800000) == 0x7f800000)
            bits ^= 0x40000000;
        memcpy(&sent[i++], &bits, 4);
    }
    buf_t json;
    buf_init(&json, 1 << 20);
    buf_puts(&json, "{\"inputs\":[{\"name\":\"pixels\",\"shape\":[500,1,1,1],\"datatype\":\"FP32\","
                    "\"data\":[");
    for (int i = 0; i < COUNT; i++) // whatever the digits, the nearest float
        buf_printf(&json,
                   i % 3 == 0   ? "%s%.9g"
                   : i % 3 == 1 ? "%s%.70g"
                                : "%s%.17E",
                   i ? "," : "", (double)sent[i]);
    buf_puts(&json, "]}]}");
    static const char *const locales[] = {"C", "de_DE.UTF-8", "fr_FR.UTF-8"};
    for (int i = 0; i < 3; i++) {
        setlocale(LC_ALL, locales[i]); // a missing one changes nothing
        reading_t reading = read_good(false, json.data);
        assert_true(reading.request.is_float);
        assert_int_equal(reading.request.tensor_size, sizeof sent);
        assert_memory_equal(reading.request.tensor, sent, sizeof sent);
        end_reading(&reading);
    }
    setlocale(LC_ALL, "C");
    buf_release(&json);
    reading_t reading = read_good(
        false, PIXELS("[1,1,1,6]", "FP32", "[1E2,1e+2,100,-1.5e-3,1e-999,0.0000000000000000001]"));
    const float expected[] = {100, 100, 100, -1.5e-3f, 0, 1e-19f};
    assert_memory_equal(reading.request.tensor, expected, sizeof expected);
    end_reading(&reading);
}

static void numbers_that_are_none(void **state) {
    (void)state;
    static const struct {
        const char *data, *uint8, *fp32; // what is said; NULL: it is right
    } cases[] = {
        {"[256]", "data[0] is 256", NULL},
        {"[-1]", "data[0] is -1", NULL},
        {"[-0]", "data[0] is -0", NULL},
        {"[1.0]", "data[0] is 1.0", NULL},
        {"[1e1]", "data[0] is 1e1", NULL},
        {"[0000]", "wrong at byte", "wrong at byte"},
        {"[1000]", "data[0] is 1000", NULL},
        {"[99999999999999999999999999999999999999999999999999999999999999]", "data[0] is 9999",
         "is 9999"},
        {"[1e999]", "data[0] is 1e999", "data[0] is 1e999"},
        {"[-1e39]", "data[0] is -1e39", "data[0] is -1e39"},
        {"[NaN]", "wrong at byte", "wrong at byte"},
        {"[Infinity]", "wrong at byte", "wrong at byte"},
        {"[-Infinity]", "wrong at byte", "wrong at byte"},
        {"[0x10]", "wrong at byte", "wrong at byte"},
        {"[+1]", "wrong at byte", "wrong at byte"},
        {"[1.]", "wrong at byte", "wrong at byte"},
        {"[.5]", "wrong at byte", "wrong at byte"},
        {"[1,]", "wrong at byte", "wrong at byte"},
        {"['1']", "data[0] is no number", "data[0] is no number"},
        {"[null]", "data[0] is no number", "data[0] is no number"},
        {"[true]", "data[0] is no number", "data[0] is no number"},
        {"[[{}]]", "data[0] is no number", "data[0] is no number"},
        {"[1,'']", "data[1] is no number", "data[1] is no number"},
        {"[]", "shape has room", "shape has room"},
        {"[[]]", "shape has room for 1", "shape has room for 1"},
        {"[1,2]", "data has 2 numbers", "data has 2 numbers"},
        {"[[1],[2]]", "data has 2 numbers", "data has 2 numbers"},
        {"1", "data is no array", "data is no array"},
        {"{}", "data is no array", "data is no array"},
        {"'AA=='", "data is no array", "data is no array"},
        {"null", "data is no array", "data is no array"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int is_float = 0; is_float < 2; is_float++) {
            char *text = mem_format("{'inputs':[{'name':'pixels','shape':[1,1,1,1],'datatype':'%s',"
                                    "'data':%s}]}",
                                    is_float ? "FP32" : "UINT8", cases[i].data);
            const char *said = is_float ? cases[i].fp32 : cases[i].uint8;
            if (said) {
                expect_wrong(false, text, said);
            } else {
                char *json = quoted(text);
                reading_t reading = read_good(false, json);
                end_reading(&reading);
                free(json);
            }
            free(text);
        }
}

static void pixels_in_bytes(void **state) {
    (void)state;
    static const char uint8[] =
        "{\"inputs\":[{\"name\":\"pixels\",\"shape\":[2,1,1,3],\"datatype\":"
        "\"UINT8\",\"parameters\":{\"binary_data_size\":6}}]}",
                      fp32[] = "{\"inputs\":[{\"name\":\"pixels\",\"shape\":[1,1,1,2],\"datatype\":"
                               "\"FP32\",\"parameters\":{\"binary_data_size\":8}}]}";
    reading_t reading = read_good_binary(false, uint8, "\0\1\2\3\4\xff", 6);
    assert_int_equal(reading.charged, 0); // nothing is copied
    assert_ptr_equal(reading.request.tensor, reading.bytes + strlen(uint8));
    assert_int_equal(reading.request.tensor_size, 6);
    end_reading(&reading);
    float floats[2] = {1.5f, -0.0f};
    reading = read_good_binary(false, fp32, floats, sizeof floats);
    assert_memory_equal(reading.request.tensor, floats, sizeof floats);
    end_reading(&reading);
    const uint32_t wrong[] = {0x7f800000, 0xff800000, 0x7fc00000, 0x7f800001, 0xffffffff};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        memcpy(&floats[1], &wrong[i], 4);
        expect_wrong_binary(false, fp32, floats, sizeof floats, "number 1 is not finite");
    }
}

// What is told of the bytes behind the JSON against how many there are.
static void sizes_that_lie(void **state) {
    (void)state;
    static const struct {
        const char *size, *said; // NULL: right
        size_t bytes;
    } cases[] = {
        {"4", NULL, 4},
        {"4", "3 bytes are behind", 3},
        {"4", "5 bytes are behind", 5},
        {"4", "0 bytes are behind", 0},
        {"3", "4 bytes are behind", 4},
        {"3", "the shape needs 4", 3},
        {"8", "the shape needs 4", 8},
        {"0", "the shape needs 4", 0},
        {"-1", "binary_data_size is no whole number", 4},
        {"-4", "binary_data_size is no whole number", 4},
        {"4.0", "binary_data_size is no whole number", 4},
        {"1e0", "binary_data_size is no whole number", 4},
        {"'4'", "binary_data_size is no whole number", 4},
        {"null", "binary_data_size is no whole number", 4},
        {"[4]", "binary_data_size is no whole number", 4},
        {"1099511627776", "4 bytes are behind", 4},
        {"1099511627777", "binary_data_size is no whole number", 4},
        {"9223372036854775807", "binary_data_size is no whole number", 4},
        {"9223372036854775808", "binary_data_size is no whole number", 4},
        {"18446744073709551620", "binary_data_size is no whole number", 4},
        {"4,'binary_data_size':4", "twice", 4},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *text = mem_format("{'inputs':[{'name':'pixels','shape':[1,2,2,1],'datatype':'UINT8',"
                                "'parameters':{'binary_data_size':%s}}]}",
                                cases[i].size);
        char *json = quoted(text);
        if (cases[i].said) {
            expect_wrong_binary(false, json, "abcdefgh", cases[i].bytes, cases[i].said);
        } else {
            reading_t reading = read_good_binary(false, json, "abcdefgh", cases[i].bytes);
            end_reading(&reading);
        }
        free(json);
        free(text);
    }
    expect_wrong_binary(false, PIXELS("[1,1,1,1]", "UINT8", "[1]"), "a", 1, "that no input has");
    char *both =
             quoted("{'inputs':[{'name':'pixels','shape':[1,1,1,1],'datatype':'UINT8','data':[1],"
                    "'parameters':{'binary_data_size':1}}]}"),
         *none = quoted("{'inputs':[{'name':'pixels','shape':[1,1,1,1],'datatype':'UINT8'}]}");
    expect_wrong_binary(false, both, "a", 1, "either data or");
    expect_wrong_binary(false, none, "a", 1, "either data or");
    expect_wrong_binary(false, none, NULL, 0, "either data or");
    free(both);
    free(none);
}

static void where_the_json_ends(void **state) {
    (void)state;
    static const char json[] = "{\"inputs\":[{\"name\":\"pixels\",\"shape\":[1,1,1,1],\"datatype\":"
                               "\"UINT8\",\"parameters\":{\"binary_data_size\":1}}]}x";
    const int64_t size = (int64_t)sizeof json - 1; // with the byte behind
    for (int64_t told = -1; told <= size + 2; told++) {
        reading_t reading = {.charge_max = 0};
        const oip_body_t body = {.body = json,
                                 .size = (size_t)size,
                                 .json_size = told > size + 1 ? INT64_MAX : told,
                                 .charge = charge,
                                 .arg = &reading};
        err_code_t code = oip_read(&body, &reading.request, &reading.err);
        assert_int_equal(code, told == size - 1 ? ERR_OK : ERR_INVALID);
        if (told > size)
            assert_non_null(strstr(reading.err.message, "Inference-Header-Content-Length"));
        oip_release(&reading.request);
    }
}

static void shapes(void **state) {
    (void)state;
    static const struct {
        const char *shape, *said;
    } cases[] = {
        {"[]", "shape has 0 dimensions"},
        {"[1]", "shape has 1 dimensions"},
        {"[1,1]", "shape has 2 dimensions"},
        {"[1,1,1]", "shape has 3 dimensions"},
        {"[1,1,1,1,1]", "more than four dimensions"},
        {"[0,1,1,1]", "shape[0] is no whole number"},
        {"[1,0,1,1]", "shape[1] is no whole number"},
        {"[-1,1,1,1]", "shape[0] is no whole number"},
        {"[1,1,1,1.0]", "shape[3] is no whole number"},
        {"[1,1,1,1e0]", "shape[3] is no whole number"},
        {"[1,1,'1',1]", "shape[2] is no whole number"},
        {"[[1,1,1,1]]", "shape[0] is no whole number"},
        {"[1,1,1,null]", "shape[3] is no whole number"},
        {"[65537,1,1,1]", "shape[0] is no whole number"},
        {"[18446744073709551617,1,1,1]", "shape[0] is no whole number"},
        {"[65536,65536,65536,65536]", "more numbers than any request"},
        {"[65536,65536,1,1]", "more numbers than any request"},
        {"[65535,65535,1,1]", "fewer numbers than its shape"},
        {"[2,1,1,1]", "fewer numbers than its shape"},
        {"4", "shape is missing, or no array"},
        {"{}", "shape is missing, or no array"},
        {"null", "shape is missing, or no array"},
        {"'1,1,1,1'", "shape is missing, or no array"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *text =
            mem_format("{'inputs':[{'name':'pixels','shape':%s,'datatype':'UINT8','data':[1]}]}",
                       cases[i].shape);
        expect_wrong(false, text, cases[i].said);
        free(text);
    }
    expect_wrong(false, "{'inputs':[{'name':'pixels','datatype':'UINT8','data':[1]}]}",
                 "shape is missing");
}

// --- Image files

static void expect_files(const reading_t *reading, const char *const *files, size_t count) {
    assert_int_equal(reading->request.shape[0], count);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(reading->request.files[i].size, strlen(files[i]));
        assert_memory_equal(reading->request.files[i].data, files[i], strlen(files[i]));
    }
}

static void files_as_base64(void **state) {
    (void)state;
    static const char *const files[] = {"a", "bc", "def", "", "?\x3f>>\xff\xef"};
    static const char *const bodies[] = {
        IMAGE("[5]", "[\"YQ==\",\"YmM=\",\"ZGVm\",\"\",\"Pz8+Pv/v\"]"),
        IMAGE("[5,1]", "[ \"YQ==\" , \"YmM=\",\n\"ZGVm\",\"\",\"Pz8+Pv/v\" ]"),
        // As some writers of JSON escape it.
        IMAGE("[5]", "[\"YQ\\u003d=\",\"YmM\\u003D\",\"\\u005aGVm\",\"\",\"Pz8\\u002bPv\\/v\"]"),
    };
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
        reading_t reading = read_good(true, bodies[i]);
        expect_files(&reading, files, 5);
        end_reading(&reading);
    }
}

static void strings_that_are_no_base64(void **state) {
    (void)state;
    static const char *const wrong[] = {
        "'Y'",
        "'YQ'",
        "'YQ='",
        "'YQ=='  ,1",
        "'Y==='",
        "'===='",
        "'YQ==YQ=='",
        "'=Q=='",
        "'YQ=Q'",
        "'Y Q='",
        "'YWI\\n'",
        "'YWJ\\u00e9'",
        "'YW\xc3\xa9'",
        "'YW-_'",
        "'YWJ\\\\'",
        "1",
        "null",
        "['YWJj']",
        "{}",
        "'data:;base64,YWJj'",
        "'YWJ\\ud83d\\ude00'",
        "'\\u0000\\u0000\\u0000\\u0000'",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        char *text = mem_format("{'inputs':[{'name':'image','shape':[2],'datatype':'BYTES',"
                                "'data':['YWJj',%s]}]}",
                                wrong[i]);
        expect_wrong(true, text, i == 3 ? "data has 3 elements" : "data[1] is no base64 string");
        free(text);
    }
}

static void numbers_of_files(void **state) {
    (void)state;
    static const struct {
        const char *shape, *data, *said;
    } cases[] = {
        {"[1]", "[]", "fewer elements"},
        {"[2]", "['YQ==']", "data has 1 elements; its shape has 2"},
        {"[1]", "['YQ==','YQ==']", "data has 2 elements; its shape has 1"},
        {"[65536]", "['']", "fewer elements"},
        {"[1]", "'YQ=='", "data is no array"},
        {"[0]", "[]", "shape[0] is no whole number"},
        {"[]", "[]", "shape has 0 dimensions"},
        {"[1,2]", "['YQ==','YQ==']", "shape has 2 dimensions"},
        {"[1,1,1]", "['YQ==']", "shape has 3 dimensions"},
        {"[1,1,1,1]", "['YQ==']", "shape has 4 dimensions"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *text =
            mem_format("{'inputs':[{'name':'image','shape':%s,'datatype':'BYTES','data':%s}]}",
                       cases[i].shape, cases[i].data);
        expect_wrong(true, text, cases[i].said);
        free(text);
    }
}

static char *binary_images(size_t count, size_t size) {
    char *text = mem_format("{'inputs':[{'name':'image','shape':[%zu],'datatype':'BYTES',"
                            "'parameters':{'binary_data_size':%zu}}]}",
                            count, size);
    char *json = quoted(text);
    free(text);
    return json;
}

static void files_as_bytes_cut_anywhere(void **state) {
    (void)state;
    static const char bytes[] = "\3\0\0\0abc\0\0\0\0\5\0\0\0defgh";
    static const char *const files[] = {"abc", "", "defgh"};
    const size_t whole = sizeof bytes - 1;
    for (size_t size = 0; size <= whole; size++) {
        char *json = binary_images(3, size);
        if (size == whole) {
            reading_t reading = read_good_binary(true, json, bytes, size);
            expect_files(&reading, files, 3);
            end_reading(&reading);
        } else {
            expect_wrong_binary(true, json, bytes, size,
                                size < 12   ? "fewer elements"
                                : size < 15 ? "end before element 2 of 3"
                                            : "are left");
        }
        free(json);
    }
    char *json = binary_images(2, whole);
    expect_wrong_binary(true, json, bytes, whole, "bytes are left behind element 1");
    free(json);
    json = binary_images(1, 8);
    expect_wrong_binary(true, json,
                        "\xff\xff\xff\xff"
                        "abcd",
                        8, "says 4294967295 bytes; 4 are left");
    free(json);
    json = binary_images(65536, 8);
    expect_wrong_binary(true, json, bytes, 8, "fewer elements");
    free(json);
}

// --- Everything else of a request

static void names_and_types(void **state) {
    (void)state;
    static const struct {
        bool images;
        const char *text, *said;
    } cases[] = {
        {false, "", "JSON is wrong at byte 0"},
        {false, "{", "JSON is wrong at byte 1"},
        {false, "{}x", "JSON is wrong at byte 2"},
        {false, "[]", "the request is no object"},
        {false, "null", "the request is no object"},
        {false, "{}", "inputs is missing"},
        {false, "{'inputs':[]}", "inputs is missing, or has no element"},
        {false, "{'inputs':{}}", "inputs is missing"},
        {false, "{'inputs':null}", "inputs is missing"},
        {false, "{'inputs':[1]}", "inputs[0] is no object"},
        {false, "{'inputs':[{},{}]}", "more than one element"},
        {false, "{'inputs':[{}],'inputs':[{}]}", "has inputs twice"},
        {false, "{'inputs':[{}],'\\u0069nputs':[{}]}", "has inputs twice"},
        {false, "{'inputs':[{}]}", "inputs[0] has the name ''"},
        {false, "{'inputs':[{'name':1}]}", "inputs[0] has the name ''"},
        {false, "{'inputs':[{'name':'pixel'}]}", "the name 'pixel'"},
        {false, "{'inputs':[{'name':'pixels\\u0000'}]}", "the name 'pixels'"},
        {false, "{'inputs':[{'name':'\\ud800pixels'}]}", "the name '\xef\xbf\xbdpixels'"},
        {false, "{'inputs':[{'name':'image'}]}", "the name 'image'"},
        {true, "{'inputs':[{'name':'pixels'}]}", "the name 'pixels'"},
        {false, "{'inputs':[{'name':'pixels','name':'pixels'}]}", "has name twice"},
        {false, "{'inputs':[{'name':'pixels'}]}", "datatype is ''"},
        {false, "{'inputs':[{'name':'pixels','datatype':'uint8'}]}", "datatype is 'uint8'"},
        {false, "{'inputs':[{'name':'pixels','datatype':'INT8'}]}", "datatype is 'INT8'"},
        {false, "{'inputs':[{'name':'pixels','datatype':'FP64'}]}", "datatype is 'FP64'"},
        {false, "{'inputs':[{'name':'pixels','datatype':'BYTES'}]}", "datatype is 'BYTES'"},
        {false, "{'inputs':[{'name':'pixels','datatype':['UINT8']}]}", "datatype is ''"},
        {true, "{'inputs':[{'name':'image','datatype':'UINT8'}]}", "datatype is 'UINT8'"},
        {false,
         "{'inputs':[{'name':'pixels','datatype':'UINT8','shape':[1,1,1,1],'data':[1],'data':[1]}]"
         "}",
         "has data twice"},
        {false,
         "{'inputs':[{'name':'pixels','datatype':'UINT8','shape':[1,1,1,1],'parameters':[]}]}",
         "inputs[0].parameters is no object"},
        {false, "{'id':5}", "id is no text"},
        {false, "{'id':'a\\u0000b'}", "id is no text"},
        {false, "{'id':'a','id':'a'}", "has id twice"},
        {false, "{'parameters':1}", "parameters is no object"},
        {false, "{'parameters':{'binary_data_output':1}}", "binary_data_output is neither"},
        {false, "{'parameters':{'binary_data_output':'true'}}", "binary_data_output is neither"},
        {false, "{'parameters':{'priority':4}}", "priority is no whole number from 0 to 3"},
        {false, "{'parameters':{'priority':-1}}", "priority is no whole number"},
        {false, "{'parameters':{'priority':'1'}}", "priority is no whole number"},
        {false, "{'parameters':{'timeout':-1}}", "timeout is no whole number"},
        {false, "{'parameters':{'timeout':86400000001}}", "timeout is no whole number"},
        {false, "{'parameters':{'timeout':1.5}}", "timeout is no whole number"},
        {false, "{'outputs':1}", "outputs is no array"},
        {false, "{'outputs':{}}", "outputs is no array"},
        {false, "{'outputs':[1]}", "an element of outputs is no object"},
        {false, "{'outputs':[{}]}", "outputs asks for ''"},
        {false, "{'outputs':[{'name':'logits'}]}", "outputs asks for 'logits'"},
        {false, "{'outputs':[{'name':'label'},{'name':'label'}]}", "the same output twice"},
        {false, "{'outputs':[{'name':'label','parameters':1}]}",
         "parameters of an output is no object"},
        {false, "{'outputs':[{'name':'label','parameters':{'binary_data':0}}]}",
         "binary_data is neither"},
        {false, "{'outputs':[{'name':'label','parameters':{'classification':1}}]}",
         "classification is for probabilities"},
        {false, "{'outputs':[{'name':'probabilities','parameters':{'classification':-1}}]}",
         "classification is no whole number"},
        {false, "{'outputs':[{'name':'probabilities','parameters':{'classification':65537}}]}",
         "classification is no whole number"},
        {false, "{'outputs':[{'name':'probabilities','parameters':{'classification':true}}]}",
         "classification is no whole number"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        expect_wrong(cases[i].images, cases[i].text, cases[i].said);
}

static reading_t read_wishes(const char *wishes) {
    char *text = mem_format("{%s,'inputs':[{'name':'pixels','shape':[1,1,1,1],'datatype':'UINT8',"
                            "'data':[1]}]}",
                            wishes);
    char *json = quoted(text);
    reading_t reading = read_good(false, json);
    free(json);
    free(text);
    return reading;
}

static void wishes(void **state) {
    (void)state;
    reading_t reading = read_wishes(
        "'id':'a\\u00e9\\ud83d\\ude00\\ud800','parameters':{'priority':3,'timeout':86400000000,"
        "'sequence_id':7,'binary_data_output':true},'outputs':[{'name':'label','parameters':"
        "{'binary_data':false}},{'name':'probabilities','parameters':{'classification':65536}}]");
    assert_string_equal(reading.request.id, "a\xc3\xa9\xf0\x9f\x98\x80\xef\xbf\xbd");
    assert_int_equal(reading.request.priority, 3);
    assert_int_equal(reading.request.timeout_us, INT64_C(86400000000));
    assert_true(reading.request.label.wanted && !reading.request.label.binary);
    assert_true(reading.request.probabilities.wanted && reading.request.probabilities.binary);
    assert_int_equal(reading.request.probabilities.top, 65536);
    end_reading(&reading);
    reading = read_wishes("'outputs':[{'name':'label'}]");
    assert_true(reading.request.label.wanted && !reading.request.probabilities.wanted);
    end_reading(&reading);
    reading = read_wishes("'outputs':[],'parameters':{'binary_data_output':true}");
    assert_true(reading.request.label.binary && reading.request.probabilities.binary);
    end_reading(&reading);
    char longest[OIP_ID_MAX + 2] = "";
    memset(longest, 'i', OIP_ID_MAX);
    char *text = mem_format("'id':'%s'", longest);
    reading = read_wishes(text);
    assert_string_equal(reading.request.id, longest);
    end_reading(&reading);
    free(text);
    text = mem_format("{'id':'%si'}", longest);
    expect_wrong(false, text, "id is no text of at most 256 bytes");
    free(text);
}

static void memory_that_is_refused(void **state) {
    (void)state;
    static const char images[] = IMAGE("[3]", "[\"YQ==\",\"YmM=\",\"ZGVm\"]"),
                      pixels[] = PIXELS("[1,1,1,4]", "FP32", "[1,2,3,4]");
    for (int i = 0; i < 2; i++)
        for (size_t budget = 0;; budget++) {
            reading_t reading;
            err_code_t code = read_body(&reading, i, i ? images : pixels, NULL, 0, budget);
            end_reading(&reading);
            if (code == ERR_OK) {
                assert_true(budget > 0);
                break;
            }
            assert_int_equal(code, ERR_FULL);
        }
}

static void depth_is_bounded(void **state) {
    (void)state;
    enum { DEEP = 200000 };
    char *json = mem_zero(1, DEEP + 64);
    for (int object = 0; object < 2; object++) {
        size_t size = (size_t)sprintf(json, "{\"x\":");
        while (size < DEEP)
            size += (size_t)sprintf(json + size, object ? "{\"x\":" : "[");
        expect_wrong_binary(false, json, NULL, 0, "wrong at byte");
    }
    free(json);
}

// Any byte of a good request replaced by any other: read or refused, but never wrongly.
static void every_byte_replaced(void **state) {
    (void)state;
    static const char good[] =
        "{\"id\":\"a\\ud83d\\ude00\",\"inputs\":[{\"name\":\"image\",\"shape\":[2],"
        "\"datatype\":\"BYTES\",\"data\":[\"YQ==\",\"Y\\u006dM=\"]}],\"outputs\":[{"
        "\"name\":\"label\"}]}";
    char *json = mem_dup(good);
    for (size_t at = 0; at < sizeof good - 1; at++)
        for (int byte = 1; byte < 256; byte++) {
            json[at] = (char)byte;
            reading_t reading;
            if (read_body(&reading, true, json, NULL, 0, SIZE_MAX) == ERR_OK)
                for (int64_t i = 0; i < reading.request.shape[0]; i++)
                    assert_true(reading.request.files[i].size <= 6);
            end_reading(&reading);
            json[at] = good[at];
        }
    free(json);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pixels_in_every_nesting),
        cmocka_unit_test(floats_keep_their_bits),
        cmocka_unit_test(numbers_that_are_none),
        cmocka_unit_test(pixels_in_bytes),
        cmocka_unit_test(sizes_that_lie),
        cmocka_unit_test(where_the_json_ends),
        cmocka_unit_test(shapes),
        cmocka_unit_test(files_as_base64),
        cmocka_unit_test(strings_that_are_no_base64),
        cmocka_unit_test(numbers_of_files),
        cmocka_unit_test(files_as_bytes_cut_anywhere),
        cmocka_unit_test(names_and_types),
        cmocka_unit_test(wishes),
        cmocka_unit_test(memory_that_is_refused),
        cmocka_unit_test(depth_is_bounded),
        cmocka_unit_test(every_byte_replaced),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
