// Bodies of multipart/form-data, whole and damaged in every way.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "http/http.h"

#include <stdlib.h>
#include <string.h>

#define TYPE "multipart/form-data; boundary=XyZ"
#define FILE_HEAD                                                                                  \
    "--XyZ\r\nContent-Disposition: form-data; name=\"n\"; filename=\"f\"\r\n"                      \
    "Content-Type: image/png\r\n\r\n"

// Parts as text: name|file|bytes; a part without a file has - for it.
static err_code_t put_part(void *arg, const http_part_t *part, err_t *err) {
    buf_t *out = arg;
    if (strcmp(part->name, "stop") == 0)
        return err_set(err, ERR_FULL, "stop");
    buf_printf(out, "%s|%s|", part->name, part->has_file ? part->file : "-");
    buf_append(out, part->data, part->size);
    buf_puts(out, ";");
    return ERR_OK;
}

// In memory of exactly its size, so that a sanitizer sees a read behind it.
static err_code_t read_parts(const char *type, const char *body, size_t size, buf_t *out,
                             err_t *err) {
    char *copy = mem_alloc(size ? size : 1);
    if (size)
        memcpy(copy, body, size);
    buf_init(out, 1 << 20);
    err_code_t code = http_parts(type, copy, size, put_part, out, err);
    buf_puts(out, "");
    free(copy);
    return code;
}

static void expect_parts(const char *type, const char *body, const char *expected) {
    buf_t out;
    err_t err;
    if (read_parts(type, body, strlen(body), &out, &err) != ERR_OK)
        fail_msg("%s\n%s", err.message, body);
    assert_string_equal(out.data ? out.data : "", expected);
    buf_release(&out);
}

static void expect_invalid(const char *type, const char *body) {
    buf_t out;
    err_t err;
    if (read_parts(type, body, strlen(body), &out, &err) != ERR_INVALID)
        fail_msg("taken: %s\n%s", type ? type : "(no type)", body);
    assert_true(err.message[0] && err.remedy[0]);
    buf_release(&out);
}

static void good_bodies(void **state) {
    (void)state;
    expect_parts(TYPE, FILE_HEAD "abc\r\n--XyZ--\r\n", "n|f|abc;");
    expect_parts(TYPE, FILE_HEAD "abc\r\n--XyZ--", "n|f|abc;"); // as some send it
    expect_parts(TYPE, FILE_HEAD "abc\r\n--XyZ--\r\nepilogue", "n|f|abc;");
    expect_parts(TYPE, "preamble\r\n" FILE_HEAD "abc\r\n--XyZ--", "n|f|abc;");
    expect_parts(TYPE, FILE_HEAD "abc\r\n" FILE_HEAD "\r\n" FILE_HEAD "d\r\n--XyZ--",
                 "n|f|abc;n|f|;n|f|d;"); // an empty one is one
    expect_parts(TYPE, FILE_HEAD "--XyZ--", "n|f|;");
    expect_parts(TYPE, "--XyZ \t\r\n\r\nabc\r\n--XyZ--", "|-|abc;"); // without any field
    expect_parts(TYPE, "--XyZ--\r\n", "");
    expect_parts(TYPE, FILE_HEAD "a\r\n--XyZa\r\n--Xy\r\n\r\n\r\n--XyZ--",
                 "n|f|a\r\n--XyZa\r\n--Xy\r\n\r\n;"); // nearly a boundary
    expect_parts(TYPE, FILE_HEAD "\r\n--Xy\r\n--XyZ--", "n|f|\r\n--Xy;");
    expect_parts(TYPE,
                 "--XyZ\r\ncontent-disposition:form-data;NAME=n;FileName=f.png\r\n"
                 "Content-Transfer-Encoding: BINARY\r\n\r\nabc\r\n--XyZ--",
                 "n|f.png|abc;");
    expect_parts(TYPE,
                 "--XyZ\r\nContent-Disposition: form-data; name=\"a\\\"b\"; "
                 "filename=\"C:\\dir\\\\f;x.png\"; other=1\r\n\r\nabc\r\n--XyZ--",
                 "a\"b|C:\\dir\\f;x.png|abc;");
    expect_parts(
        TYPE,
        "--XyZ\r\nContent-Disposition: form-data; name=\"\xc3\xa9\"; filename*=UTF-8''x\r\n"
        "\r\nabc\r\n--XyZ--",
        "\xc3\xa9|-|abc;");
    expect_parts("Multipart/Form-Data ; charset=x; boundary=\"X;y Z\"",
                 "--X;y Z\r\n\r\nabc\r\n--X;y Z--", "|-|abc;");
}

static void types_without_a_boundary(void **state) {
    (void)state;
    static const char *const types[] = {
        NULL,
        "",
        "multipart/form-data",
        "multipart/form-data;",
        "multipart/form-data; boundary",
        "multipart/form-data; boundary=",
        "multipart/form-data; boundary=\"\"",
        "multipart/form-data; boundary=\"XyZ",
        "multipart/form-data; boundary=\"XyZ\"x",
        "multipart/form-data; xboundary=XyZ",
        "multipart/form-databoundary=XyZ",
        "multipart/mixed; boundary=XyZ",
        "; boundary=XyZ",
        "multipart/form-data; boundary="
        "01234567890123456789012345678901234567890123456789012345678901234567890", // 71
    };
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        expect_invalid(types[i], FILE_HEAD "abc\r\n--XyZ--\r\n");
}

static void damaged_bodies(void **state) {
    (void)state;
    static const char *const bodies[] = {
        "",
        "--",
        "--XyZ",
        "--XyZ\r",
        "--XyZ\n\nabc\n--XyZ--\n", // lines end with CR LF
        "--xyz\r\n\r\nabc\r\n--xyz--\r\n",
        "--Other\r\n\r\nabc\r\n--Other--\r\n",
        "--XyZ\r\n\r\nabc--XyZ--", // inside a line
        "--XyZ\r\n\r\nabc\r\n--XyZ",
        "--XyZ\r\n\r\nabc\r\n--XyZ-",
        "--XyZ\r\n\r\nabc\r\n--XyZ\r\n",
        "--XyZ\r\nno colon\r\n\r\nabc\r\n--XyZ--",
        "--XyZ\r\nContent-Disposition: attachment; name=n\r\n\r\nabc\r\n--XyZ--",
        "--XyZ\r\nContent-Disposition: form-data; name=\"n\r\n\r\nabc\r\n--XyZ--",
        "--XyZ\r\nContent-Disposition: form-data; name=\"n\" x\r\n\r\nabc\r\n--XyZ--",
        "--XyZ\r\nContent-Transfer-Encoding: base64\r\n\r\nYWJj\r\n--XyZ--",
        "--XyZ\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nabc\r\n--XyZ--",
    };
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++)
        expect_invalid(TYPE, bodies[i]);
}

static void cut_anywhere(void **state) {
    (void)state;
    static const char whole[] = "pre\r\n" FILE_HEAD "abc\r\n" FILE_HEAD "de\r\n--XyZ--";
    buf_t out;
    err_t err;
    for (size_t size = 0; size < sizeof whole - 1; size++) {
        assert_int_equal(read_parts(TYPE, whole, size, &out, &err), ERR_INVALID);
        buf_release(&out);
    }
    expect_parts(TYPE, whole, "n|f|abc;n|f|de;");
}

static void long_heads_and_names(void **state) {
    (void)state;
    buf_t body, out;
    err_t err;
    buf_init(&body, 1 << 20);
    buf_puts(&body, "--XyZ\r\n");
    for (int i = 0; i < 1000; i++)
        buf_puts(&body, "X-Field: 12345678\r\n");
    buf_puts(&body, "\r\nabc\r\n--XyZ--");
    expect_invalid(TYPE, body.data);
    buf_clear(&body);
    buf_puts(&body, "--XyZ\r\nContent-Disposition: form-data; name=\"");
    for (int i = 0; i < 1000; i++)
        buf_puts(&body, "n");
    buf_puts(&body, "\"\r\n\r\nabc\r\n--XyZ--");
    assert_int_equal(read_parts(TYPE, body.data, body.size, &out, &err), ERR_OK);
    assert_int_equal(strspn(out.data, "n"), 255); // cut off
    buf_release(&out);
    buf_release(&body);
}

static void bytes_are_what_they_are(void **state) {
    (void)state;
    static const char body[] = "--XyZ\r\n\r\n\0\r\n\xff\n\0--XyZ\r\0\r\n--XyZ--";
    buf_t out;
    err_t err;
    assert_int_equal(read_parts(TYPE, body, sizeof body - 1, &out, &err), ERR_OK);
    assert_int_equal(out.size, 17);
    assert_memory_equal(out.data, "|-|\0\r\n\xff\n\0--XyZ\r\0;", 17);
    buf_release(&out);
}

static void a_refusal_ends_it(void **state) {
    (void)state;
    static const char body[] = FILE_HEAD "abc\r\n--XyZ\r\nContent-Disposition: form-data; "
                                         "name=stop\r\n\r\nx\r\n" FILE_HEAD "never\r\n--XyZ--";
    buf_t out;
    err_t err;
    assert_int_equal(read_parts(TYPE, body, sizeof body - 1, &out, &err), ERR_FULL);
    assert_string_equal(out.data, "n|f|abc;");
    buf_release(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_bodies),          cmocka_unit_test(types_without_a_boundary),
        cmocka_unit_test(damaged_bodies),       cmocka_unit_test(cut_anywhere),
        cmocka_unit_test(long_heads_and_names), cmocka_unit_test(bytes_are_what_they_are),
        cmocka_unit_test(a_refusal_ends_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
