// Do the bytes on the wire stay what they are? proto/golden/messages.jsonl holds, for every type of
// message, what its encoder wrote when the line was made: {"type", "case", "hex", "value"}. Another
// implementation of msgpack reads the same file in golden.py.
//
//   test_proto_golden          compares
//   test_proto_golden --write  writes the file anew, after the declaration has changed
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/fs.h"
#include "make.h"
#include "proto/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const cases[] = {
    [MAKE_LEAST] = "least", [MAKE_TYPICAL] = "typical", [MAKE_EDGE] = "edge"};

static void put_hex(buf_t *out, const buf_t *bytes) {
    for (size_t i = 0; i < bytes->size; i++)
        buf_printf(out, "%02x", (unsigned char)bytes->data[i]);
}

static void encode(proto_type_t type, const void *message, buf_t *out) {
    err_t err;
    if (proto_encode(type, message, out, &err) != ERR_OK)
        fail_msg("%s", err.message);
}

// The line of one type and case.
static void put_line(buf_t *out, proto_type_t type, make_t how, proto_arena_t *arena) {
    uint64_t random = 0;
    buf_t bytes;
    buf_init(&bytes, PROTO_MESSAGE_MAX);
    encode(type, make_message(type, how, &random, arena), &bytes);
    json_t *value = proto_map_json((proto_bytes_t){bytes.data, bytes.size});
    char *text = json_dumps(value, JSON_COMPACT | JSON_ENSURE_ASCII);
    buf_printf(out, "{\"type\":\"%s\",\"case\":\"%s\",\"hex\":\"", proto_message(type)->wire,
               cases[how]);
    put_hex(out, &bytes);
    buf_printf(out, "\",\"value\":%s}\n", text);
    free(text);
    json_decref(value);
    buf_release(&bytes);
}

static void put_all(buf_t *out) {
    proto_arena_t *arena = proto_arena_new();
    for (unsigned type = 0; type < PROTO_TYPE_COUNT; type++)
        for (unsigned how = MAKE_LEAST; how <= MAKE_EDGE; how++)
            put_line(out, (proto_type_t)type, (make_t)how, arena);
    proto_arena_destroy(&arena);
}

static void the_encoder_writes_the_golden_bytes(void **state) {
    (void)state;
    buf_t made;
    void *golden;
    size_t size;
    err_t err;
    buf_init(&made, 64u << 20);
    put_all(&made);
    if (fs_read(PROTO_GOLDEN, 64u << 20, &golden, &size, &err) != ERR_OK)
        fail_msg("%s", err.message);
    char *ours = made.data, *theirs = golden, *a, *b;
    while ((a = strsep(&ours, "\n")) != NULL && (b = strsep(&theirs, "\n")) != NULL)
        if (strcmp(a, b) != 0)
            fail_msg("made   %.300s\ngolden %.300s\nif the declaration was meant to change: "
                     "test_proto_golden --write",
                     a, b);
    assert_null(ours);
    assert_null(theirs);
    free(golden);
    buf_release(&made);
}

static void from_hex(const char *hex, buf_t *out) {
    for (; hex[0] && hex[1]; hex += 2) {
        unsigned byte;
        assert_int_equal(sscanf(hex, "%2x", &byte), 1);
        char c = (char)byte;
        buf_append(out, &c, 1);
    }
}

// Every field of the decoded message that the line has is what it has; the others are defaults.
static void compare_value(proto_type_t type, const void *message, json_t *value) {
    json_t *whole = proto_to_json(type, message);
    const char *key;
    json_t *item;
    proto_arena_t *arena = proto_arena_new();
    void *again = proto_arena_alloc(arena, proto_message(type)->size);
    err_t err;
    json_object_foreach(value, key, item) {
        assert_non_null(json_object_get(whole, key));
    }
    assert_int_equal(proto_from_json(type, value, arena, again, &err), ERR_OK);
    json_t *other = proto_to_json(type, again);
    assert_true(json_equal(whole, other));
    json_decref(whole);
    json_decref(other);
    proto_arena_destroy(&arena);
}

static void the_decoder_reads_the_golden_bytes(void **state) {
    (void)state;
    void *golden;
    size_t size, lines = 0;
    err_t err;
    assert_int_equal(fs_read(PROTO_GOLDEN, 64u << 20, &golden, &size, &err), ERR_OK);
    char *rest = golden, *line;
    proto_arena_t *arena = proto_arena_new();
    while ((line = strsep(&rest, "\n")) != NULL && *line) {
        json_t *entry = json_loads(line, 0, NULL);
        proto_type_t type;
        assert_true(proto_type_find(json_string_value(json_object_get(entry, "type")), &type));
        buf_t bytes, again;
        buf_init(&bytes, PROTO_MESSAGE_MAX);
        buf_init(&again, PROTO_MESSAGE_MAX);
        from_hex(json_string_value(json_object_get(entry, "hex")), &bytes);
        void *message = proto_arena_alloc(arena, proto_message(type)->size);
        if (proto_decode(type, bytes.data, bytes.size, arena, message, &err) != ERR_OK)
            fail_msg("%s: %s", line, err.message);
        encode(type, message, &again);
        assert_int_equal(again.size, bytes.size);
        assert_memory_equal(again.data, bytes.data, bytes.size);
        compare_value(type, message, json_object_get(entry, "value"));
        buf_release(&bytes);
        buf_release(&again);
        json_decref(entry);
        lines++;
    }
    assert_int_equal(lines, 3 * PROTO_TYPE_COUNT);
    proto_arena_destroy(&arena);
    free(golden);
}

static int write_golden(void) {
    buf_t made;
    err_t err;
    buf_init(&made, 64u << 20);
    put_all(&made);
    err_code_t code = fs_write(PROTO_GOLDEN, made.data, made.size, &err);
    buf_release(&made);
    if (code)
        fprintf(stderr, "%s\n", err.message);
    return code ? 1 : 0;
}

int main(int argc, char **argv) {
    if (argc == 2 && strcmp(argv[1], "--write") == 0)
        return write_golden();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_encoder_writes_the_golden_bytes),
        cmocka_unit_test(the_decoder_reads_the_golden_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
