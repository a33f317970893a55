// Answers: JSON that others read, floats that keep their bits, bytes where the JSON says.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/philox.h"
#include "oip/oip.h"

#include <jansson.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 3, CLASSES = 4 };

static const char *const names[CLASSES] = {"cat", "d\"o\\g\n", "\xc3\xa9\xff", ""};
static const int labels[ROWS] = {2, 0, 1};
static float table[ROWS * CLASSES];

static oip_answer_t make_answer(void) {
    for (uint32_t i = 0; i < ROWS * CLASSES; i++) {
        uint32_t bits = 0x3f7fffff & philox(3, i, 0, 0, 0).v[0]; // in [0, 1)
        memcpy(&table[i], &bits, 4);
    }
    table[2] = table[3] = 0.25f; // equal: in the order of classes
    return (oip_answer_t){.model = "m\"m",
                          .version = UINT64_MAX,
                          .rows = ROWS,
                          .classes = CLASSES,
                          .probabilities = table,
                          .class_names = names,
                          .labels = labels};
}

typedef struct {
    buf_t out;
    json_t *json;
    const char *bytes; // behind the JSON
    size_t byte_count;
} written_t;

// Behind other bytes, to which it must not matter.
static written_t write_answer(const oip_request_t *request, const oip_answer_t *answer) {
    written_t written;
    int64_t json_size;
    json_error_t wrong;
    buf_init(&written.out, 1 << 20);
    buf_puts(&written.out, "before");
    oip_write(request, answer, &written.out, &json_size);
    assert_false(written.out.failed);
    const char *text = written.out.data + 6;
    size_t size = written.out.size - 6;
    if (json_size < 0)
        json_size = (int64_t)size;
    assert_true((uint64_t)json_size <= size);
    written.json = json_loadb(text, (size_t)json_size, JSON_REJECT_DUPLICATES, &wrong);
    if (!written.json)
        fail_msg("%s: %s", wrong.text, text);
    written.bytes = text + json_size;
    written.byte_count = size - (size_t)json_size;
    return written;
}

static void end_writing(written_t *written) {
    json_decref(written->json);
    buf_release(&written->out);
}

static const json_t *output(const written_t *written, size_t index, const char *name,
                            const char *datatype, const int64_t *shape, size_t dimensions) {
    const json_t *out = json_array_get(json_object_get(written->json, "outputs"), index);
    assert_string_equal(json_string_value(json_object_get(out, "name")), name);
    assert_string_equal(json_string_value(json_object_get(out, "datatype")), datatype);
    const json_t *told = json_object_get(out, "shape");
    assert_int_equal(json_array_size(told), dimensions);
    for (size_t i = 0; i < dimensions; i++)
        assert_int_equal(json_integer_value(json_array_get(told, i)), shape[i]);
    return out;
}

static int64_t binary_size(const json_t *out) {
    assert_null(json_object_get(out, "data"));
    return json_integer_value(
        json_object_get(json_object_get(out, "parameters"), "binary_data_size"));
}

static void everything_as_json(void **state) {
    (void)state;
    static const char *const locales[] = {"C", "de_DE.UTF-8"};
    const oip_answer_t answer = make_answer();
    oip_request_t request = {
        .id = "\"i\xc3\xa9\x01\xff", .probabilities = {.wanted = true}, .label = {.wanted = true}};
    for (int i = 0; i < 2; i++) {
        setlocale(LC_ALL, locales[i]); // a missing one changes nothing
        written_t written = write_answer(&request, &answer);
        setlocale(LC_ALL, "C");
        assert_string_equal(json_string_value(json_object_get(written.json, "model_name")), "m\"m");
        assert_string_equal(json_string_value(json_object_get(written.json, "model_version")),
                            "18446744073709551615");
        assert_string_equal(json_string_value(json_object_get(written.json, "id")),
                            "\"i\xc3\xa9\x01\xef\xbf\xbd");
        assert_int_equal(json_array_size(json_object_get(written.json, "outputs")), 2);
        assert_int_equal(written.byte_count, 0);
        const json_t *data = json_object_get(
            output(&written, 0, "probabilities", "FP32", (int64_t[]){ROWS, CLASSES}, 2), "data");
        assert_int_equal(json_array_size(data), ROWS * CLASSES);
        for (size_t k = 0; k < ROWS * CLASSES; k++) {
            float back = (float)json_number_value(json_array_get(data, k));
            assert_memory_equal(&back, &table[k], sizeof back);
        }
        data = json_object_get(output(&written, 1, "label", "BYTES", (int64_t[]){ROWS}, 1), "data");
        assert_int_equal(json_array_size(data), ROWS);
        assert_string_equal(json_string_value(json_array_get(data, 0)), "\xc3\xa9\xef\xbf\xbd");
        assert_string_equal(json_string_value(json_array_get(data, 1)), "cat");
        assert_string_equal(json_string_value(json_array_get(data, 2)), "d\"o\\g\n");
        end_writing(&written);
    }
}

static void floats_of_all_sizes(void **state) {
    (void)state;
    enum { COUNT = 2000 };
    static float numbers[COUNT];
    static const char *all[COUNT];
    for (uint32_t i = 0; i < COUNT; i++) {
        uint32_t bits = philox(4, i, 0, 0, 0).v[0];
        bits = (bits & 0x7f800000) == 0x7f800000 ? i : bits; // denormal ones instead
        memcpy(&numbers[i], &bits, 4);
        all[i] = "c";
    }
    const oip_answer_t answer = {.model = "m",
                                 .rows = 1,
                                 .classes = COUNT,
                                 .probabilities = numbers,
                                 .class_names = all,
                                 .labels = labels};
    written_t written = write_answer(&(oip_request_t){.probabilities = {.wanted = true}}, &answer);
    const json_t *data =
        json_object_get(json_array_get(json_object_get(written.json, "outputs"), 0), "data");
    for (size_t i = 0; i < COUNT; i++) {
        char *text = json_dumps(json_array_get(data, i), JSON_ENCODE_ANY);
        float back = (float)json_number_value(json_array_get(data, i));
        assert_memory_equal(&back, &numbers[i], sizeof back);
        free(text);
    }
    assert_null(json_object_get(written.json, "id"));
    end_writing(&written);
}

static void expect_texts(const char *bytes, size_t size, const char *const *texts, size_t count) {
    size_t at = 0;
    for (size_t i = 0; i < count; i++) {
        uint32_t length;
        assert_true(size - at >= 4);
        memcpy(&length, bytes + at, 4);
        at += 4;
        assert_int_equal(length, strlen(texts[i]));
        assert_true(length <= size - at);
        assert_memory_equal(bytes + at, texts[i], length);
        at += length;
    }
    assert_int_equal(at, size);
}

static void bytes_behind_the_json(void **state) {
    (void)state;
    const oip_answer_t answer = make_answer();
    const char *const texts[] = {names[2], names[0], names[1]};
    for (int i = 1; i < 4; i++) { // the first, the second, both
        oip_request_t request = {.probabilities = {.wanted = true, .binary = i & 1},
                                 .label = {.wanted = true, .binary = i & 2}};
        written_t written = write_answer(&request, &answer);
        size_t first = 0;
        const json_t *out =
            output(&written, 0, "probabilities", "FP32", (int64_t[]){ROWS, CLASSES}, 2);
        if (i & 1) {
            first = sizeof table;
            assert_int_equal(binary_size(out), first);
            assert_memory_equal(written.bytes, table, first);
        }
        out = output(&written, 1, "label", "BYTES", (int64_t[]){ROWS}, 1);
        if (i & 2) {
            assert_int_equal(binary_size(out), written.byte_count - first);
            expect_texts(written.bytes + first, written.byte_count - first, texts, ROWS);
        } else {
            assert_int_equal(written.byte_count, first);
        }
        end_writing(&written);
    }
}

static void only_what_is_wanted(void **state) {
    (void)state;
    const oip_answer_t answer = make_answer();
    written_t written = write_answer(&(oip_request_t){.label = {.wanted = true}}, &answer);
    assert_int_equal(json_array_size(json_object_get(written.json, "outputs")), 1);
    output(&written, 0, "label", "BYTES", (int64_t[]){ROWS}, 1);
    end_writing(&written);
}

static void the_best_classes(void **state) {
    (void)state;
    const oip_answer_t answer = make_answer();
    for (int64_t top = 1; top < 7; top++)
        for (int binary = 0; binary < 2; binary++) {
            int64_t shown = top < CLASSES ? top : CLASSES;
            oip_request_t request = {
                .probabilities = {.wanted = true, .binary = binary, .top = top}};
            written_t written = write_answer(&request, &answer);
            const json_t *out =
                output(&written, 0, "probabilities", "BYTES", (int64_t[]){ROWS, shown}, 2);
            if (binary) {
                assert_int_equal(binary_size(out), written.byte_count);
                end_writing(&written);
                continue;
            }
            const json_t *data = json_object_get(out, "data");
            assert_int_equal(json_array_size(data), ROWS * shown);
            for (int64_t i = 0; i < ROWS * shown; i++) {
                const char *text = json_string_value(json_array_get(data, (size_t)i));
                char *end;
                float probability = strtof(text, &end);
                long index = strtol(end + 1, &end, 10);
                assert_true(index >= 0 && index < CLASSES);
                assert_memory_equal(&probability, &table[i / shown * CLASSES + index], 4);
                if (i % shown) {
                    text = json_string_value(json_array_get(data, (size_t)i - 1));
                    float before = strtof(text, &end);
                    long other = strtol(end + 1, NULL, 10);
                    assert_true(before > probability || (before == probability && other < index));
                }
            }
            end_writing(&written);
        }
}

static void too_long_for_the_buffer(void **state) {
    (void)state;
    const oip_answer_t answer = make_answer();
    for (int kind = 0; kind < 6; kind++)
        for (size_t ceiling = 0;; ceiling++) {
            oip_request_t request = {
                .probabilities = {.wanted = true, .binary = kind & 1, .top = kind / 2},
                .label = {.wanted = true, .binary = kind & 1}};
            buf_t out;
            int64_t json_size;
            buf_init(&out, ceiling);
            oip_write(&request, &answer, &out, &json_size);
            bool failed = out.failed;
            assert_true(out.size <= ceiling);
            buf_release(&out);
            if (!failed)
                break;
            assert_true(ceiling < 4096);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_as_json),    cmocka_unit_test(floats_of_all_sizes),
        cmocka_unit_test(bytes_behind_the_json), cmocka_unit_test(only_what_is_wanted),
        cmocka_unit_test(the_best_classes),      cmocka_unit_test(too_long_for_the_buffer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
