// Does the declaration of the messages agree with itself, and do maps become JSON as json.h says?
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proto/json.h"

#include <stdlib.h>
#include <string.h>

static void check_field(const proto_message_t *about, const proto_field_t *field) {
    bool ranged = field->kind != PROTO_BOOL && field->kind != PROTO_NESTED;
    double least = field->kind == PROTO_F64 ? -PROTO_VALUE_MAX : 0;
    double most = field->kind == PROTO_F64 ? PROTO_VALUE_MAX : PROTO_U64_MAX;
    if (ranged && !(field->min <= field->max && field->min >= least && field->max <= most))
        fail_msg("%s.%s has the range %g … %g", about->wire, field->name, field->min, field->max);
    if (field->required)
        return;
    bool absent = field->kind == PROTO_F64 && field->number == PROTO_NO_VALUE;
    if ((field->kind == PROTO_U64 || field->kind == PROTO_F64) && !absent &&
        !(field->number >= field->min && field->number <= field->max))
        fail_msg("%s.%s: its default %g is out of its range", about->wire, field->name,
                 field->number);
    if (field->kind == PROTO_STR && field->text[0] &&
        !((double)strlen(field->text) >= field->min && (double)strlen(field->text) <= field->max))
        fail_msg("%s.%s: its default is out of its range", about->wire, field->name);
}

static void the_declaration_agrees_with_itself(void **state) {
    (void)state;
    for (unsigned type = 0; type < PROTO_TYPE_COUNT; type++) {
        const proto_message_t *about = proto_message(type);
        proto_type_t found;
        assert_true(proto_type_find(about->wire, &found)); // names are unique
        assert_int_equal(found, type);
        if (about->reply[0] && !proto_type_find(about->reply, &found))
            fail_msg("%s is answered by %s, which does not exist", about->wire, about->reply);
        for (size_t i = 0; i < about->field_count; i++) {
            check_field(about, &about->fields[i]);
            for (size_t k = 0; k < i; k++)
                assert_string_not_equal(about->fields[i].name, about->fields[k].name);
        }
    }
    proto_type_t found;
    assert_false(proto_type_find("no.such", &found));
    assert_false(proto_type_find("", &found));
}

static void maps_become_json_whatever_is_in_them(void **state) {
    (void)state;
    static const char map[] = "\x87\xa1"
                              "b\xc4\x02xy\x05\xa3num\xa1u\xcf\xff\xff\xff\xff\xff\xff\xff\xff"
                              "\xa1n\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00\xa1"
                              "e\xd4\x01z\xa1t\xa2\xff\x41\xa1l\x92\xc0\xc2";
    json_t *json = proto_map_json((proto_bytes_t){map, sizeof map - 1});
    char *text = json_dumps(json, JSON_COMPACT | JSON_SORT_KEYS);
    assert_string_equal(text, "{\"5\":\"num\",\"b\":\"7879\",\"e\":null,\"l\":[null,false],"
                              "\"n\":null,\"t\":\"\\\\xffA\",\"u\":1.8446744073709552e19}");
    free(text);
    json_decref(json);
    assert_null(proto_map_json((proto_bytes_t){NULL, 0}));
    assert_null(proto_map_json((proto_bytes_t){"\xdd\x01\x00\x00\x00", 5}));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_declaration_agrees_with_itself),
        cmocka_unit_test(maps_become_json_whatever_is_in_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
