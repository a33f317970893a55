// Does a listing come back as it was written, and is every line that cannot be one refused by its
// number?
#include "base/clock.h"
#include "listing/listing.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define D "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

// ---- there and back ----

static void check_same(const listing_t *a, const listing_t *b) {
    assert_string_equal(a->folder, b->folder);
    assert_int_equal(a->folder_count, b->folder_count);
    for (size_t i = 0; i < a->folder_count; i++)
        assert_string_equal(a->folders[i], b->folders[i]);
    assert_int_equal(a->count, b->count);
    for (size_t i = 0; i < a->count; i++) {
        const listing_file_t *left = &a->files[i], *right = &b->files[i];
        assert_string_equal(left->path, right->path);
        assert_int_equal(left->bytes, right->bytes);
        assert_int_equal(left->mtime_ns, right->mtime_ns);
        assert_string_equal(left->digest, right->digest);
        assert_int_equal(left->again, right->again);
        assert_string_equal(left->reason ? left->reason : "-", right->reason ? right->reason : "-");
    }
}

static void round_trip(const listing_t *listing) {
    buf_t text, again;
    listing_t read;
    err_t err;
    buf_init(&text, LISTING_BYTES_MAX);
    buf_init(&again, LISTING_BYTES_MAX);
    assert_int_equal(listing_write(listing, &text, NULL), ERR_OK);
    if (listing_read(text.data, text.size, &read, &err) != ERR_OK)
        fail_msg("%s", err.message);
    check_same(listing, &read);
    assert_int_equal(listing_write(&read, &again, NULL), ERR_OK);
    assert_string_equal(text.data, again.data);
    listing_release(&read);
    buf_release(&text);
    buf_release(&again);
}

static void there_and_back(void **state) {
    (void)state;
    char folder[] = "/home/\xff\n\"\\x41", a[] = "a", b[] = "a-b", c[] = "c\\ \xe9\x01",
         d[] = "caf\xc3\xa9", *folders[] = {a, b, c, d};
    char top[] = "\x7f", *paths[] = {"a", "a-b/\\", "a-b/\\xff", "a/\n\t\"", "c\\ \xe9\x01/\xff"};
    char reason[] = "cannot read it: \"no\"";
    listing_file_t files[6];
    memset(files, 0, sizeof files);
    for (int i = 0; i < 5; i++) {
        files[i].path = paths[i];
        files[i].bytes = i == 1 ? INT64_MAX : (uint64_t)i;
        files[i].mtime_ns = i == 1 ? INT64_MIN : i == 2 ? INT64_MAX : -i;
        files[i].again = i == 3;
        memcpy(files[i].digest, D, sizeof files[i].digest);
    }
    files[5].path = top;
    files[0].digest[0] = files[4].digest[0] = 0;
    files[0].reason = files[4].reason = reason;
    listing_t listing = {
        .folder = folder, .folders = folders, .folder_count = 4, .files = files, .count = 5};
    round_trip(&listing);
    files[5].reason = reason;
    listing.count = 6;
    round_trip(&listing);
    listing.count = 0;
    round_trip(&listing);
    listing.folder_count = 0;
    round_trip(&listing);
}

static void text_as_documented(void **state) {
    (void)state;
    char folder[] = "/p", a[] = "a\xff", *folders[] = {a}, one[] = "a\xff/1", two[] = "a\xff/2",
         reason[] = "not a regular file";
    listing_file_t files[] = {
        {.path = one, .bytes = 12, .mtime_ns = 1700000000000000001, .digest = D, .again = true},
        {.path = two, .reason = reason}};
    const listing_t listing = {
        .folder = folder, .folders = folders, .folder_count = 1, .files = files, .count = 2};
    buf_t text;
    buf_init(&text, 4096);
    assert_int_equal(listing_write(&listing, &text, NULL), ERR_OK);
    assert_string_equal(text.data, "{\"schema\":1,\"folder\":\"/p\",\"folders\":[\"a\\\\xff\"]}\n"
                                   "{\"path\":\"a\\\\xff/1\",\"bytes\":12,\"mtime_ns\":"
                                   "\"1700000000000000001\",\"sha256\":\"" D "\",\"again\":true}\n"
                                   "{\"path\":\"a\\\\xff/2\",\"reason\":\"not a regular file\"}\n");
    buf_release(&text);
    buf_init(&text, 100);
    assert_int_equal(listing_write(&listing, &text, NULL), ERR_TOO_LARGE);
    buf_release(&text);
}

// ---- damage ----

#define HEAD            "{\"schema\":1,\"folder\":\"/p\",\"folders\":[\"a\",\"b\"]}\n"
#define PATH(path)      "{\"path\":\"" path "\",\"bytes\":1,\"mtime_ns\":\"5\",\"sha256\":\"" D "\"}\n"
#define FILE_WITH(rest) "{\"path\":\"a/1\"," rest "}\n"
#define SHA             "\"sha256\":\"" D "\""

static void read_text(const char *text, err_code_t code, const char *part, const char *file,
                      int line) {
    listing_t listing;
    err_t err = {0};
    size_t size = strlen(text);
    char *copy = malloc(size ? size : 1); // no byte behind it
    memcpy(copy, text, size);
    if (listing_read(copy, size, &listing, &err) != code)
        fail_msg("%s:%d: %s", file, line, err.message);
    if (code && !strstr(err.message, part))
        fail_msg("%s:%d: %s", file, line, err.message);
    assert_int_equal(err.code, code);
    listing_release(&listing);
    free(copy);
}

#define GOOD(text)         read_text(text, ERR_OK, "", __FILE__, __LINE__)
#define REFUSE(text, part) read_text(text, ERR_CORRUPT, part, __FILE__, __LINE__)

static void damaged_head(void **state) {
    (void)state;
    REFUSE("", "line 1");
    REFUSE("\n", "line 1");
    REFUSE("{}\n", "line 1: it has no schema");
    REFUSE("[]\n", "line 1");
    REFUSE("{\"schema\":0,\"folder\":\"/p\",\"folders\":[]}\n", "line 1: it has no schema");
    REFUSE("{\"schema\":\"1\",\"folder\":\"/p\",\"folders\":[]}\n", "line 1: it has no schema");
    REFUSE("{\"schema\":1,\"folder\":\"/p\",\"folders\":[]}", "line 1: it is cut off");
    REFUSE("{\"schema\":1,\"folders\":[]}\n", "line 1: it names no folder");
    REFUSE("{\"schema\":1,\"folder\":\"\",\"folders\":[]}\n", "line 1: it names no folder");
    REFUSE("{\"schema\":1,\"folder\":\"/p\"}\n", "line 1: it has no folders");
    REFUSE("{\"schema\":1,\"folder\":\"/p\",\"folders\":{}}\n", "line 1: it has no folders");
#define FOLDERS(list)                                                                              \
    REFUSE("{\"schema\":1,\"folder\":\"/p\",\"folders\":[" list "]}\n", "line 1: folders are no")
    FOLDERS("\"b\",\"a\"");
    FOLDERS("\"a\",\"a\"");
    FOLDERS("\"\"");
    FOLDERS("\"a/b\"");
    FOLDERS("\"..\"");
    FOLDERS("\".git\"");
    FOLDERS("1");
    FOLDERS("\"\\\\x61\""); // an a, but not so written
    FOLDERS("\"\\\\x00\"");
    read_text("{\"schema\":2}\n", ERR_UNSUPPORTED, "schema 2", __FILE__, __LINE__);
    GOOD("{\"schema\":1,\"folder\":\"/p\",\"folders\":[],\"new\":[{}]}\n");
    listing_t listing;
    err_t err;
    assert_int_equal(listing_read(HEAD, LISTING_BYTES_MAX + 1ul, &listing, &err), ERR_TOO_LARGE);
}

static void damaged_paths(void **state) {
    (void)state;
    GOOD(HEAD PATH("A") PATH("a/1") PATH("a/2") PATH("b/1"));
    REFUSE(HEAD PATH("a/2") PATH("a/1"), "line 3: it is out of order");
    REFUSE(HEAD PATH("a/1") PATH("a/1"), "line 3: its path comes twice");
    REFUSE(HEAD PATH("/a/1"), "line 2: its path is absolute");
    REFUSE(HEAD PATH(""), "line 2: it has no path");
    REFUSE(HEAD PATH("a/"), "line 2: a part of its path is empty");
    REFUSE(HEAD PATH("a//1"), "line 2: a part of its path is empty");
    REFUSE(HEAD PATH("a/../1"), "line 2: a part of its path begins with a dot");
    REFUSE(HEAD PATH(".."), "line 2: a part of its path begins with a dot");
    REFUSE(HEAD PATH("a/1") PATH("a/b/.."), "line 3: a part of its path begins with a dot");
    REFUSE(HEAD PATH("a/./1"), "line 2: a part of its path begins with a dot");
    REFUSE(HEAD PATH("a/.hidden"), "line 2: a part of its path begins with a dot");
    REFUSE(HEAD PATH("a/\\\\x2e\\\\x2e/1"), "line 2: it has no path");
    REFUSE(HEAD PATH("a/1\\\\x00"), "line 2: it has no path");
    REFUSE(HEAD PATH("a/1\\u0000"), "line 2");
    REFUSE(HEAD PATH("a/\xff"), "line 2");
    REFUSE(HEAD PATH("c/1"), "line 2: it is in none of the folders");
    REFUSE(HEAD PATH("a/1") PATH("aa/1"), "line 3: it is in none of the folders");
    REFUSE(HEAD PATH("a"), "line 2: it is a folder and a file");
    GOOD(HEAD "{\"path\":\"a\",\"reason\":\"cannot read the folder: no\"}\n");
    char text[1024], *to = text;
    to += sprintf(to, "%s{\"path\":\"", HEAD);
    for (int i = 0; i < LISTING_DEPTH_MAX; i++)
        to += sprintf(to, "a/");
    char *deepest = to;
    to += sprintf(to, "1\",\"reason\":\"x\"}\n");
    GOOD(text);
    sprintf(deepest, "a/1\",\"reason\":\"x\"}\n");
    REFUSE(text, "line 2: its path is too deep");
}

static void damaged_facts(void **state) {
    (void)state;
    REFUSE(HEAD "x\n", "line 2");
    REFUSE(HEAD "\n", "line 2");
    REFUSE(HEAD "[]\n", "line 2: it has no path");
    REFUSE(HEAD PATH("a/1") "{\"path\":\"a/2\"", "line 3: it is cut off");
    REFUSE(HEAD "{\"path\":\"a/1\",\"path\":\"a/1\"}\n", "line 2");
    REFUSE(HEAD FILE_WITH("\"bytes\":1,\"mtime_ns\":\"5\""), "line 2: it needs one of sha256");
    REFUSE(HEAD FILE_WITH("\"bytes\":1,\"mtime_ns\":\"5\"," SHA ",\"reason\":\"x\""),
           "line 2: it needs one of sha256");
    REFUSE(HEAD FILE_WITH(SHA), "line 2: it has no bytes");
    REFUSE(HEAD FILE_WITH("\"bytes\":1," SHA), "line 2: it has no bytes");
    REFUSE(HEAD FILE_WITH("\"bytes\":1,\"reason\":\"x\""), "line 2: it has no bytes");
    REFUSE(HEAD FILE_WITH("\"bytes\":-1,\"mtime_ns\":\"5\"," SHA), "line 2: bytes is no size");
    REFUSE(HEAD FILE_WITH("\"bytes\":1.5,\"mtime_ns\":\"5\"," SHA), "line 2: bytes is no size");
    REFUSE(HEAD FILE_WITH("\"bytes\":\"1\",\"mtime_ns\":\"5\"," SHA), "line 2: bytes is no size");
    REFUSE(HEAD FILE_WITH("\"bytes\":9223372036854775808,\"mtime_ns\":\"5\"," SHA), "line 2");
#define TIME(time) HEAD FILE_WITH("\"bytes\":1,\"mtime_ns\":" time "," SHA)
    REFUSE(TIME("5"), "line 2: mtime_ns is no time");
    REFUSE(TIME("\"\""), "line 2: mtime_ns is no time");
    REFUSE(TIME("\"-\""), "line 2: mtime_ns is no time");
    REFUSE(TIME("\"-0\""), "line 2: mtime_ns is no time");
    REFUSE(TIME("\"05\""), "line 2: mtime_ns is no time");
    REFUSE(TIME("\" 5\""), "line 2: mtime_ns is no time");
    REFUSE(TIME("\"5x\""), "line 2: mtime_ns is no time");
    REFUSE(TIME("\"9223372036854775808\""), "line 2: mtime_ns is no time");
    REFUSE(TIME("\"-9223372036854775809\""), "line 2: mtime_ns is no time");
    GOOD(TIME("\"0\""));
    GOOD(TIME("\"-9223372036854775808\""));
#define DIGEST(digest) HEAD FILE_WITH("\"bytes\":1,\"mtime_ns\":\"5\",\"sha256\":" digest)
    REFUSE(DIGEST("\"\""), "line 2: sha256 is no digest");
    REFUSE(DIGEST("\"" D "0\""), "line 2: sha256 is no digest");
    REFUSE(DIGEST("\"g123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\""),
           "line 2: sha256 is no digest");
    REFUSE(DIGEST("\"A123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\""),
           "line 2: sha256 is no digest");
    REFUSE(DIGEST("5"), "line 2: sha256 is no digest");
    REFUSE(HEAD FILE_WITH("\"reason\":\"\""), "line 2: reason is no text");
    REFUSE(HEAD FILE_WITH("\"reason\":5"), "line 2: reason is no text");
    REFUSE(HEAD FILE_WITH("\"reason\":\"x\",\"again\":1"), "line 2: again is neither");
    GOOD(HEAD FILE_WITH("\"reason\":\"x\",\"again\":false,\"new\":{\"a\":[]}"));
}

static void long_line(void **state) {
    (void)state;
    enum { LONG = 1 << 20 };
    buf_t text;
    listing_t listing;
    err_t err;
    buf_init(&text, 4 * LONG);
    buf_puts(&text, HEAD "{\"path\":\"a/");
    char *room = buf_reserve(&text, LONG);
    assert_non_null(room);
    memset(room, 'x', LONG);
    text.size += LONG;
    buf_puts(&text, "\",\"reason\":\"x\"}\n");
    assert_int_equal(listing_read(text.data, text.size, &listing, &err), ERR_CORRUPT);
    assert_non_null(strstr(err.message, "line 2: it is too long"));
    buf_release(&text);
}

// Every cut of a listing but between lines.
static void every_cut(void **state) {
    (void)state;
    static const char text[] = HEAD PATH("a/1") PATH("b/1");
    listing_t listing;
    for (size_t size = 0; size < sizeof text - 1; size++) {
        bool whole = size > 0 && text[size - 1] == '\n';
        assert_int_equal(listing_read(text, size, &listing, NULL), whole ? ERR_OK : ERR_CORRUPT);
        listing_release(&listing);
    }
}

// ---- size ----

static void many(void **state) {
    (void)state;
    enum { FILES = 100000, FOLDERS = 20000 };
    listing_t listing = {.folder = mem_dup("/p"), .folder_count = FOLDERS, .count = FILES};
    listing.folders = mem_zero(FOLDERS, sizeof *listing.folders);
    listing.files = mem_zero(FILES, sizeof *listing.files);
    for (int i = 0; i < FOLDERS; i++)
        listing.folders[i] = mem_format("%06d-a-folder-with-a-name-that-is-not-short-at-all", i);
    for (int i = 0; i < FILES; i++) {
        listing_file_t *file = &listing.files[i];
        file->path = mem_format("%s/%06d.jpg", listing.folders[i / (FILES / FOLDERS)], i);
        file->bytes = (uint64_t)i;
        file->mtime_ns = 1700000000000000000 + i;
        memcpy(file->digest, D, sizeof file->digest);
    }
    int64_t start = clock_mono_ms();
    buf_t text;
    listing_t read;
    buf_init(&text, LISTING_BYTES_MAX);
    assert_int_equal(listing_write(&listing, &text, NULL), ERR_OK);
    int64_t written = clock_mono_ms();
    assert_int_equal(listing_read(text.data, text.size, &read, NULL), ERR_OK);
    int64_t done = clock_mono_ms();
    printf("%d files: written in %lld ms, read in %lld ms\n", FILES, (long long)(written - start),
           (long long)(done - written));
    check_same(&listing, &read);
    buf_release(&text);
    listing_release(&read);
    listing_release(&listing);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(there_and_back), cmocka_unit_test(text_as_documented),
        cmocka_unit_test(damaged_head),   cmocka_unit_test(damaged_paths),
        cmocka_unit_test(damaged_facts),  cmocka_unit_test(long_line),
        cmocka_unit_test(every_cut),      cmocka_unit_test(many),
    };
    return cmocka_run_group_tests_name("listing", tests, NULL, NULL);
}
