// Does the codec take what the declaration allows, refuse everything else, and say why?
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "make.h"
#include "proto/json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROUNDS 40 // random messages of each type

static err_t err;

static int new_arena(void **state) {
    *state = proto_arena_new();
    return 0;
}

static int end_arena(void **state) {
    proto_arena_t *arena = *state;
    proto_arena_destroy(&arena);
    return 0;
}

// Of raw bytes, given as a C string; SIZE takes the literal's own length, NULs in it and all.
#define DECODE(type, literal, message, arena)                                                      \
    proto_decode(type, literal, sizeof(literal) - 1, arena, message, &err)

static void encode(proto_type_t type, const void *message, buf_t *out) {
    buf_init(out, PROTO_MESSAGE_MAX);
    if (proto_encode(type, message, out, &err) != ERR_OK)
        fail_msg("%s", err.message);
}

static void assert_same_bytes(const buf_t *a, const buf_t *b) {
    assert_int_equal(a->size, b->size);
    assert_memory_equal(a->data, b->data, a->size);
}

// --- What is allowed
// -----------------------------------------------------------------------------

static void random_messages_come_back_as_they_went(void **state) {
    proto_arena_t *arena = *state;
    uint64_t random = 1;
    for (unsigned type = 0; type < PROTO_TYPE_COUNT; type++)
        for (int round = 0; round < ROUNDS; round++) {
            proto_arena_reset(arena);
            buf_t bytes, again, from_json;
            encode(type, make_message(type, MAKE_RANDOM, &random, arena), &bytes);
            void *message = proto_arena_alloc(arena, proto_message(type)->size);
            if (proto_decode(type, bytes.data, bytes.size, arena, message, &err) != ERR_OK)
                fail_msg("%s", err.message);
            encode(type, message, &again);
            assert_same_bytes(&bytes, &again);
            json_t *json = proto_to_json(type, message);
            if (proto_from_json(type, json, arena, message, &err) != ERR_OK)
                fail_msg("%s", err.message);
            encode(type, message, &from_json);
            assert_int_equal(bytes.size, from_json.size); // maps inside may come in other order
            json_decref(json);
            buf_release(&bytes), buf_release(&again), buf_release(&from_json);
        }
}

static void fields_with_their_default_are_left_out(void **state) {
    (void)state;
    proto_job_submit_t submit;
    proto_defaults(PROTO_job_submit, &submit);
    submit.kind = "k";
    buf_t bytes;
    encode(PROTO_job_submit, &submit, &bytes);
    assert_int_equal(bytes.size, 1 + 5 + 2);
    assert_memory_equal(bytes.data, "\x81\xa4kind\xa1k", bytes.size);
    buf_release(&bytes);
}

static void an_empty_body_is_an_empty_map(void **state) {
    proto_job_list_t list;
    assert_int_equal(proto_decode(PROTO_job_list, NULL, 0, *state, &list, &err), ERR_OK);
    assert_int_equal(list.limit, 100);
    assert_string_equal(list.state, "");
    proto_job_show_t show;
    assert_int_equal(proto_decode(PROTO_job_show, NULL, 0, *state, &show, &err), ERR_INVALID);
    assert_string_equal(err.message, "job.show: job is missing");
}

static void unknown_keys_and_nil_are_ignored(void **state) {
    proto_job_submit_t submit;
    assert_int_equal(DECODE(PROTO_job_submit,
                            "\x88\xa4kind\xa1k\xa3new\x91\xc0\xa3new\xc3" // twice, too
                            "\x07\x80\xc0\xc0\x92\x01\x02\xd4\x01z\xa2\xff\xfe\x01\xa3key\xc0",
                            &submit, *state),
                     ERR_OK);
    assert_string_equal(submit.kind, "k");
    assert_string_equal(submit.key, "");
    assert_int_equal(DECODE(PROTO_job_submit, "\x81\xa4kind\xc0", &submit, *state), ERR_INVALID);
    assert_non_null(strstr(err.message, "kind"));
}

// A mistyped parameter would be a job that silently ignores it.
static void unknown_parameters_of_built_in_kinds_are_refused(void **state) {
    proto_train_t train;
    assert_int_equal(DECODE(PROTO_train,
                            "\x82\xa7"
                            "dataset\xa1"
                            "d\xa6"
                            "epochs\x03",
                            &train, *state),
                     ERR_OK);
    assert_int_equal(DECODE(PROTO_train,
                            "\x82\xa7"
                            "dataset\xa1"
                            "d\xa5"
                            "epoch\x03",
                            &train, *state),
                     ERR_INVALID);
    assert_string_equal(err.message, "the kind train has no parameter 'epoch'");
    assert_string_equal(err.remedy, "did you mean epochs?");
    assert_int_equal(DECODE(PROTO_train,
                            "\x82\xa7"
                            "dataset\xa1"
                            "d\xa5"
                            "xyzzy\xc0",
                            &train, *state),
                     ERR_INVALID);
    assert_string_equal(err.message, "the kind train has no parameter 'xyzzy'");
    assert_string_equal(err.remedy, "");
    assert_int_equal(DECODE(PROTO_train,
                            "\x82\xa7"
                            "dataset\xa1"
                            "d\x07\x03",
                            &train, *state),
                     ERR_INVALID);
    assert_int_equal(DECODE(PROTO_train,
                            "\x82\xa7"
                            "dataset\xa1"
                            "d\xa1\xff\x03",
                            &train, *state),
                     ERR_INVALID);
    char map[2 + 8 + 2 + 2 + 65 + 1] = "\x82\xa7"
                                       "dataset\xa1"
                                       "d\xd9\x41";
    memset(map + 13, 'x', 65);
    map[13 + 65] = 3;
    assert_int_equal(proto_decode(PROTO_train, map, 13 + 65 + 1, *state, &train, &err),
                     ERR_INVALID);
    assert_non_null(strstr(err.message, "more than 64 bytes"));
}

static void every_width_of_a_value_is_read(void **state) {
    proto_lease_t lease;
    // token as uint64 though small, step as int32, step_ms as float32; str32 keys
    assert_int_equal(DECODE(PROTO_lease,
                            "\x84\xdb\x00\x00\x00\x03job\xda\x00\x01j"
                            "\xd9\x05token\xcf\x00\x00\x00\x00\x00\x00\x00\x05"
                            "\xa4step\xd2\x00\x00\x00\x07"
                            "\xa7step_ms\xca\x3f\x00\x00\x00",
                            &lease, *state),
                     ERR_OK);
    assert_int_equal(lease.token, 5);
    assert_int_equal(lease.step, 7);
    assert_true(lease.step_ms == 0.5);
    assert_int_equal(
        DECODE(PROTO_lease, "\x83\xa3job\xa1j\xa5token\x05\xa7step_ms\x0a", &lease, *state),
        ERR_OK);
    assert_true(lease.step_ms == 10);
    assert_int_equal(DECODE(PROTO_lease, "\xdf\x00\x00\x00\x02\xa3job\xa1j\xa5token\x05", &lease,
                            *state), // map32
                     ERR_OK);
}

// --- What is not: fields
// -------------------------------------------------------------------------

// A typical message of that type as JSON, to be spoilt.
static json_t *typical(proto_type_t type, proto_arena_t *arena) {
    uint64_t random = 0;
    return proto_to_json(type, make_message(type, MAKE_TYPICAL, &random, arena));
}

// Decoding it fails, and the error names the field.
static void assert_names(proto_type_t type, json_t *json, const char *field, proto_arena_t *arena) {
    void *message = proto_arena_alloc(arena, proto_message(type)->size);
    err_code_t code = proto_from_json(type, json, arena, message, &err);
    if (code != ERR_INVALID && code != ERR_PROTOCOL) {
        char *text = json_dumps(json, 0);
        fail_msg("%s, %s: %s for %.500s", proto_message(type)->wire, field, err_name(code), text);
    }
    if (!strstr(err.message, field))
        fail_msg("%s: '%s' does not name %s", proto_message(type)->wire, err.message, field);
}

static void spoil(proto_type_t type, const proto_field_t *field, json_t *value,
                  proto_arena_t *arena) {
    json_t *json = typical(type, arena);
    json_object_set_new(json, field->name, value);
    assert_names(type, json, field->name, arena);
    json_decref(json);
}

static void missing_fields_are_named(void **state) {
    proto_arena_t *arena = *state;
    for (unsigned type = 0; type < PROTO_TYPE_COUNT; type++) {
        const proto_message_t *about = proto_message(type);
        for (size_t i = 0; i < about->field_count; i++) {
            if (!about->fields[i].required)
                continue;
            proto_arena_reset(arena);
            json_t *json = typical(type, arena);
            json_object_del(json, about->fields[i].name);
            assert_names(type, json, about->fields[i].name, arena);
            json_decref(json);
        }
    }
}

static void spoil_type(proto_type_t type, const proto_field_t *field, proto_arena_t *arena) {
    proto_kind_t kind = field->kind;
    bool number = kind == PROTO_U64 || kind == PROTO_F64;
    bool list = kind == PROTO_STRS || kind == PROTO_LIST;
    if (kind != PROTO_STR)
        spoil(type, field, json_string("x"), arena);
    if (!number)
        spoil(type, field, json_integer(1), arena);
    if (kind != PROTO_F64)
        spoil(type, field, json_real(1.5), arena);
    if (kind != PROTO_BOOL)
        spoil(type, field, json_true(), arena);
    if (kind != PROTO_MAP && kind != PROTO_NESTED)
        spoil(type, field, json_object(), arena);
    if (!list)
        spoil(type, field, json_array(), arena);
    else
        spoil(type, field, json_pack("[i]", 1), arena);
    if (field->required)
        spoil(type, field, json_null(), arena);
}

static void wrong_types_are_named(void **state) {
    for (unsigned type = 0; type < PROTO_TYPE_COUNT; type++) {
        const proto_message_t *about = proto_message(type);
        for (size_t i = 0; i < about->field_count; i++) {
            proto_arena_reset(*state);
            spoil_type(type, &about->fields[i], *state);
        }
    }
}

static json_t *long_text(size_t size) {
    char *text = malloc(size + 1);
    memset(text, 'x', size);
    text[size] = 0;
    json_t *json = json_string(text);
    free(text);
    return json;
}

static void spoil_range(proto_type_t type, const proto_field_t *field, proto_arena_t *arena) {
    switch (field->kind) {
    case PROTO_STR:
        spoil(type, field, long_text((size_t)field->max + 1), arena);
        if (field->min > 0)
            spoil(type, field, long_text((size_t)field->min - 1), arena);
        break;
    case PROTO_U64:
        spoil(type, field, json_integer((json_int_t)field->max + 1), arena);
        spoil(type, field, json_integer((json_int_t)field->min - 1), arena);
        spoil(type, field, json_integer(INT64_MAX), arena);
        spoil(type, field, json_integer(INT64_MIN), arena);
        break;
    case PROTO_F64:
        spoil(type, field, json_real(nextafter(field->max, INFINITY)), arena);
        spoil(type, field, json_real(nextafter(field->min, -INFINITY)), arena);
        break;
    case PROTO_MAP: // {"x": text}
        spoil(type, field, json_pack("{s:o}", "x", long_text((size_t)field->max)), arena);
        break;
    case PROTO_STRS:
    case PROTO_LIST: {
        json_t *list = json_array();
        for (size_t i = 0; i <= (size_t)field->max; i++)
            json_array_append_new(list, json_string("x"));
        spoil(type, field, list, arena);
        if (field->kind == PROTO_STRS && field->min > 0)
            spoil(type, field, json_array(), arena);
        break;
    }
    default:
        break;
    }
}

static void values_out_of_range_are_named(void **state) {
    for (unsigned type = 0; type < PROTO_TYPE_COUNT; type++) {
        const proto_message_t *about = proto_message(type);
        for (size_t i = 0; i < about->field_count; i++) {
            proto_arena_reset(*state);
            spoil_range(type, &about->fields[i], *state);
        }
    }
}

static void two_to_the_53rd_is_the_last_whole_number(void **state) {
    proto_hold_t hold;
    assert_int_equal(DECODE(PROTO_hold,
                            "\x82\xa3job\xa1j\xa5token\xcf\x00\x20\x00\x00\x00\x00\x00\x00", &hold,
                            *state),
                     ERR_OK);
    assert_true(hold.token == 1ull << 53);
    assert_int_equal(DECODE(PROTO_hold,
                            "\x82\xa3job\xa1j\xa5token\xcf\x00\x20\x00\x00\x00\x00\x00\x01", &hold,
                            *state),
                     ERR_INVALID);
    assert_non_null(strstr(err.message, "9007199254740993"));
    assert_int_equal(DECODE(PROTO_hold,
                            "\x82\xa3job\xa1j\xa5token\xcf\xff\xff\xff\xff\xff\xff\xff\xff", &hold,
                            *state),
                     ERR_INVALID);
    buf_t bytes;
    buf_init(&bytes, 1000);
    hold = (proto_hold_t){.job = "j", .token = (1ull << 53) + 1};
    assert_int_equal(proto_encode(PROTO_hold, &hold, &bytes, &err), ERR_INVALID);
    assert_int_equal(bytes.size, 0);
    buf_release(&bytes);
}

static void numbers_that_are_none_are_refused(void **state) {
    proto_lease_t lease;
    assert_int_equal(DECODE(PROTO_lease,
                            "\x83\xa3job\xa1j\xa5token\x01\xa7step_ms"
                            "\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00",
                            &lease, *state),
                     ERR_INVALID);
    assert_int_equal(DECODE(PROTO_lease,
                            "\x83\xa3job\xa1j\xa5token\x01\xa7step_ms"
                            "\xcb\x7f\xf0\x00\x00\x00\x00\x00\x00",
                            &lease, *state),
                     ERR_INVALID);
}

static void a_field_given_twice_is_refused(void **state) {
    proto_hold_t hold;
    assert_int_equal(
        DECODE(PROTO_hold, "\x83\xa3job\xa1j\xa5token\x01\xa5token\x01", &hold, *state),
        ERR_INVALID);
    assert_string_equal(err.message, "hold: token is given twice");
}

static void texts_are_utf8_without_nul(void **state) {
    proto_job_show_t show;
    assert_int_equal(DECODE(PROTO_job_show, "\x81\xa3job\xa2\xc3\xa4", &show, *state), ERR_OK);
    assert_int_equal(DECODE(PROTO_job_show, "\x81\xa3job\xa1\xc3", &show, *state), ERR_INVALID);
    assert_int_equal(DECODE(PROTO_job_show,
                            "\x81\xa3job\xa3"
                            "a\0b",
                            &show, *state),
                     ERR_INVALID);
    assert_int_equal(DECODE(PROTO_job_show, "\x81\xa3job\xa3\xed\xa0\x80", &show, *state),
                     ERR_INVALID); // a surrogate
    assert_int_equal(DECODE(PROTO_job_show, "\x81\xa3job\xc4\x01j", &show, *state),
                     ERR_INVALID); // binary is no text
}

static void an_error_deep_inside_tells_the_way(void **state) {
    proto_worker_renew_t renew;
    assert_int_equal(DECODE(PROTO_worker_renew,
                            "\x83\xa6worker\xa1w\xa4"
                            "boot\xa1"
                            "b\xa6leases\x91\x81\xa3job\xa1j",
                            &renew, *state),
                     ERR_INVALID);
    assert_string_equal(err.message, "worker.renew: leases: lease: token is missing");
}

// --- What is not: frames
// -------------------------------------------------------------------------

static err_code_t check(const char *bytes, size_t size) {
    return proto_check(bytes, size, &err);
}
#define CHECK(literal) check(literal, sizeof(literal) - 1)

static void counts_that_the_bytes_do_not_bear_out_are_refused(void **state) {
    (void)state;
    assert_int_equal(CHECK("\xdd\x01\x00\x00\x00"), ERR_PROTOCOL); // 16 M values, none there
    assert_int_equal(CHECK("\xdd\xff\xff\xff\xff"), ERR_PROTOCOL);
    assert_int_equal(CHECK("\xdf\xff\xff\xff\xff"), ERR_PROTOCOL);
    assert_int_equal(CHECK("\xdf\x80\x00\x00\x00"), ERR_PROTOCOL); // twice that is 0 in 32 bits
    assert_int_equal(CHECK("\xde\xff\xff\x01"), ERR_PROTOCOL);
    assert_int_equal(CHECK("\xdb\xff\xff\xff\xff"), ERR_PROTOCOL);
    assert_int_equal(CHECK("\xc6\xff\xff\xff\xff"
                           "a"),
                     ERR_PROTOCOL);
    assert_int_equal(CHECK("\xc9\xff\xff\xff\xff\x01"), ERR_PROTOCOL);
    assert_int_equal(CHECK("\x92\x01"), ERR_PROTOCOL);
    assert_int_equal(CHECK("\x93\x01\xdd\x00\x00\x00\x03\x01\x02\x03"), ERR_PROTOCOL);
    assert_int_equal(CHECK("\xc1"), ERR_PROTOCOL);
    assert_int_equal(CHECK(""), ERR_PROTOCOL);
    assert_int_equal(CHECK("\x80\x80"), ERR_PROTOCOL); // something behind it
    assert_int_equal(CHECK("\x92\x01\xdd\x00\x00\x00\x01\x01"), ERR_OK);
}

static void messages_cut_off_anywhere_are_refused(void **state) {
    proto_arena_t *arena = *state;
    uint64_t random = 0;
    for (unsigned type = 0; type < PROTO_TYPE_COUNT; type++) {
        proto_arena_reset(arena);
        buf_t bytes;
        encode(type, make_message(type, MAKE_TYPICAL, &random, arena), &bytes);
        void *message = proto_arena_alloc(arena, proto_message(type)->size);
        for (size_t size = 1; size < bytes.size; size++) {
            char *cut = malloc(size); // of exactly that size, for the sanitizer
            memcpy(cut, bytes.data, size);
            assert_int_equal(proto_decode(type, cut, size, arena, message, &err), ERR_PROTOCOL);
            free(cut);
        }
        buf_release(&bytes);
    }
}

// {"kind": "k", "body": {"x": [[[…]]]}}, with
// that many lists inside each other, the innermost holding a nil.
static err_code_t decode_nested(int lists, proto_arena_t *arena) {
    static const char head[] = "\x82\xa4kind\xa1k\xa4"
                               "body\x81\xa1x";
    buf_t bytes;
    proto_job_submit_t submit;
    buf_init(&bytes, 100000);
    buf_append(&bytes, head, sizeof head - 1);
    for (int i = 0; i < lists; i++)
        buf_puts(&bytes, "\x91");
    buf_puts(&bytes, "\xc0");
    err_code_t code = proto_decode(PROTO_job_submit, bytes.data, bytes.size, arena, &submit, &err);
    buf_release(&bytes);
    return code;
}

static void depth_is_limited(void **state) {
    assert_int_equal(decode_nested(PROTO_DEPTH_MAX - 2, *state), ERR_OK); // and two maps
    assert_int_equal(decode_nested(PROTO_DEPTH_MAX - 1, *state), ERR_PROTOCOL);
    assert_non_null(strstr(err.message, "deeper"));
    assert_int_equal(decode_nested(50000, *state), ERR_PROTOCOL);
}

static void size_and_number_of_values_are_limited(void **state) {
    proto_ok_t ok;
    size_t size = PROTO_MESSAGE_MAX + 1;
    char *bytes = calloc(1, size);
    assert_non_null(bytes);
    memcpy(bytes, "\x81\xa1x\xc6\x00\xff\xff\xf8", 8); // {"x": 16 MiB - 8}: exactly the limit
    assert_int_equal(proto_decode(PROTO_ok, bytes, PROTO_MESSAGE_MAX, *state, &ok, &err), ERR_OK);
    bytes[7]++;
    assert_int_equal(proto_decode(PROTO_ok, bytes, size, *state, &ok, &err), ERR_TOO_LARGE);
    // {"x": [0, 0, …]} with map, key and list counted
    memcpy(bytes, "\x81\xa1x\xdd\x00\x0f\xff\xfd", 8);
    memset(bytes + 8, 0, size - 8);
    assert_int_equal(proto_check(bytes, 8 + PROTO_VALUES_MAX - 3, &err), ERR_OK);
    bytes[7]++;
    assert_int_equal(proto_check(bytes, 8 + PROTO_VALUES_MAX - 2, &err), ERR_TOO_LARGE);
    free(bytes);
}

static void frames_that_are_no_map_are_refused(void **state) {
    proto_ok_t ok;
    assert_int_equal(DECODE(PROTO_ok, "\x90", &ok, *state), ERR_PROTOCOL);
    assert_int_equal(DECODE(PROTO_ok, "\xc0", &ok, *state), ERR_PROTOCOL);
    assert_int_equal(DECODE(PROTO_ok, "\xa2ok", &ok, *state), ERR_PROTOCOL);
    assert_int_equal(DECODE(PROTO_ok, "{\"json\": 1}", &ok, *state), ERR_PROTOCOL);
}

// --- The encoder refuses what the decoder would
// ---------------------------------------------------

static void assert_not_encoded(proto_type_t type, const void *message, const char *field) {
    buf_t bytes;
    buf_init(&bytes, PROTO_MESSAGE_MAX);
    buf_puts(&bytes, "before");
    err_code_t code = proto_encode(type, message, &bytes, &err);
    assert_true(code == ERR_INVALID || code == ERR_PROTOCOL);
    if (!strstr(err.message, field))
        fail_msg("'%s' does not name %s", err.message, field);
    assert_string_equal(bytes.data, "before");
    assert_int_equal(bytes.size, 6);
    buf_release(&bytes);
}

static void what_must_not_be_sent_is_not_encoded(void **state) {
    (void)state;
    proto_job_submit_t submit;
    proto_defaults(PROTO_job_submit, &submit);
    assert_not_encoded(PROTO_job_submit, &submit, "kind");
    submit.kind = "\xff";
    assert_not_encoded(PROTO_job_submit, &submit, "kind");
    submit.kind = "k";
    submit.max_attempts = 101;
    assert_not_encoded(PROTO_job_submit, &submit, "max_attempts");
    submit.max_attempts = 1;
    submit.body = (proto_bytes_t){"\x90", 1};
    assert_not_encoded(PROTO_job_submit, &submit, "body");
    submit.body = (proto_bytes_t){"\x81\xa1x", 3};
    assert_not_encoded(PROTO_job_submit, &submit, "body");
    proto_lease_t lease = {.job = "j", .token = 1, .step_ms = NAN};
    assert_not_encoded(PROTO_lease, &lease, "step_ms");
    lease.step_ms = 0;
    lease.token = 0;
    proto_worker_renew_t renew = {.worker = "w", .boot = "b", .leases = {&lease, 1}};
    assert_not_encoded(PROTO_worker_renew, &renew, "token");
    proto_job_checkpoint_t checkpoint = {.worker = "w", .job = "j", .token = 1};
    assert_not_encoded(PROTO_job_checkpoint, &checkpoint, "checkpoint");
}

static void a_map_that_is_too_deep_for_its_place_is_not_encoded(void **state) {
    (void)state;
    // 16 levels alone, 17 inside a message
    buf_t map;
    buf_init(&map, 100);
    for (int i = 0; i < PROTO_DEPTH_MAX; i++)
        buf_puts(&map, "\x81\xa1x");
    buf_puts(&map, "\xc0");
    assert_int_equal(proto_check(map.data, map.size, &err), ERR_OK);
    proto_job_submit_t submit;
    proto_defaults(PROTO_job_submit, &submit);
    submit.kind = "k";
    submit.body = (proto_bytes_t){map.data, map.size};
    assert_not_encoded(PROTO_job_submit, &submit, "job.submit");
    buf_release(&map);
}

static void a_message_larger_than_its_buffer_is_told(void **state) {
    (void)state;
    proto_job_show_t show = {.job = "0123456789"};
    buf_t bytes;
    buf_init(&bytes, 10);
    assert_int_equal(proto_encode(PROTO_job_show, &show, &bytes, &err), ERR_TOO_LARGE);
    buf_release(&bytes);
}

int main(void) {
#define T(f) cmocka_unit_test_setup_teardown(f, new_arena, end_arena)
    const struct CMUnitTest tests[] = {
        T(random_messages_come_back_as_they_went),
        T(fields_with_their_default_are_left_out),
        T(an_empty_body_is_an_empty_map),
        T(unknown_keys_and_nil_are_ignored),
        T(unknown_parameters_of_built_in_kinds_are_refused),
        T(every_width_of_a_value_is_read),
        T(missing_fields_are_named),
        T(wrong_types_are_named),
        T(values_out_of_range_are_named),
        T(two_to_the_53rd_is_the_last_whole_number),
        T(numbers_that_are_none_are_refused),
        T(a_field_given_twice_is_refused),
        T(texts_are_utf8_without_nul),
        T(an_error_deep_inside_tells_the_way),
        T(counts_that_the_bytes_do_not_bear_out_are_refused),
        T(messages_cut_off_anywhere_are_refused),
        T(depth_is_limited),
        T(size_and_number_of_values_are_limited),
        T(frames_that_are_no_map_are_refused),
        T(what_must_not_be_sent_is_not_encoded),
        T(a_map_that_is_too_deep_for_its_place_is_not_encoded),
        T(a_message_larger_than_its_buffer_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
