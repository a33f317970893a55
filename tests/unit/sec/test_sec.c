// Are keys made, read and refused as sec.h says, and are clients let in and out by their files?
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/fs.h"
#include "sec/sec.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct {
    char folder[32], keys[64], file[64];
    err_t err;
} place;

static int open_place(void **state) {
    (void)state;
    snprintf(place.folder, sizeof place.folder, "/tmp/sec-XXXXXX");
    assert_non_null(mkdtemp(place.folder));
    snprintf(place.keys, sizeof place.keys, "%s/keys", place.folder);
    snprintf(place.file, sizeof place.file, "%s/laptop.key", place.folder);
    return 0;
}

static int close_place(void **state) {
    (void)state;
    return fs_remove_all(place.folder, NULL);
}

static unsigned mode_of(const char *path) {
    struct stat info;
    assert_int_equal(stat(path, &info), 0);
    return info.st_mode & 0777;
}

static void init(void) {
    bool made;
    assert_int_equal(sec_init(place.keys, &made, &place.err), ERR_OK);
    assert_true(made);
}

typedef char text_t[4097];

static void read_text(const char *path, text_t text) {
    void *bytes;
    size_t size;
    assert_int_equal(fs_read(path, sizeof(text_t) - 1, &bytes, &size, &place.err), ERR_OK);
    memcpy(text, bytes, size + 1);
    free(bytes);
}

static void write_text(const char *path, const char *text) {
    assert_int_equal(fs_write_secret(path, text, strlen(text), &place.err), ERR_OK);
}

// --- The stack's keys

static void keys_are_made_once_and_private(void **state) {
    (void)state;
    sec_pair_t first, second;
    bool made;
    char path[96];
    assert_int_equal(sec_server(place.keys, &first, &place.err), ERR_NOT_FOUND);
    assert_non_null(strstr(place.err.remedy, "inkling keys init"));
    init();
    assert_int_equal(sec_server(place.keys, &first, &place.err), ERR_OK);
    assert_int_equal(strlen(first.public_key), 40);
    assert_int_equal(strlen(first.secret_key), 40);
    assert_string_not_equal(first.public_key, first.secret_key);
    assert_int_equal(sec_init(place.keys, &made, &place.err), ERR_OK);
    assert_false(made);
    assert_int_equal(sec_server(place.keys, &second, &place.err), ERR_OK);
    assert_memory_equal(&first, &second, sizeof first);
    snprintf(path, sizeof path, "%s/server.key", place.keys);
    assert_int_equal(mode_of(path), 0600);
    assert_int_equal(mode_of(place.keys), 0700);
}

// Not made anew either: whoever has the old public key would be locked out without a word.
static void damaged_keys_of_the_stack_are_told(void **state) {
    (void)state;
    bool made;
    char path[96];
    init();
    snprintf(path, sizeof path, "%s/server.key", place.keys);
    write_text(path, "kind = server\npublic = abc\n");
    assert_int_equal(sec_init(place.keys, &made, &place.err), ERR_CORRUPT);
    assert_false(made);
    assert_non_null(strstr(place.err.message, "server.key: 'public' is missing or damaged"));
}

// --- Clients

static void a_client_gets_a_private_file(void **state) {
    (void)state;
    sec_pair_t server;
    sec_client_t client;
    init();
    assert_int_equal(sec_server(place.keys, &server, NULL), ERR_OK);
    assert_int_equal(sec_client_new(place.keys, "laptop", place.file, &place.err), ERR_OK);
    assert_int_equal(mode_of(place.file), 0600);
    assert_int_equal(sec_client(place.file, &client, &place.err), ERR_OK);
    assert_string_equal(client.name, "laptop");
    assert_string_equal(client.server, server.public_key);
    assert_string_not_equal(client.own.public_key, server.public_key);
    // The stack keeps the public half, and no more.
    char path[96];
    snprintf(path, sizeof path, "%s/clients/laptop.pub", place.keys);
    text_t text;
    read_text(path, text);
    assert_non_null(strstr(text, client.own.public_key));
    assert_null(strstr(text, client.own.secret_key));
}

static void a_copy_is_private_and_the_same_key(void **state) {
    (void)state;
    char copy[96];
    sec_client_t client, again;
    init();
    snprintf(copy, sizeof copy, "%s.copy", place.file);
    assert_int_equal(sec_client_new(place.keys, "laptop", place.file, &place.err), ERR_OK);
    assert_int_equal(sec_client_copy(place.file, copy, &place.err), ERR_OK);
    assert_int_equal(mode_of(copy), 0600);
    assert_int_equal(sec_client(place.file, &client, NULL), ERR_OK);
    assert_int_equal(sec_client(copy, &again, &place.err), ERR_OK);
    assert_memory_equal(&client, &again, sizeof client);
    assert_int_equal(sec_client_copy(place.file, copy, &place.err), ERR_CONFLICT);
    unlink(copy);
    assert_int_equal(chmod(place.file, 0644), 0);
    assert_int_equal(sec_client_copy(place.file, copy, &place.err), ERR_INVALID);
    assert_int_equal(access(copy, F_OK), -1);
    snprintf(copy, sizeof copy, "%s/server.key", place.keys);
    assert_int_equal(sec_client_copy(copy, place.file, &place.err), ERR_INVALID);
}

static void nothing_is_written_over(void **state) {
    (void)state;
    char other[96];
    init();
    assert_int_equal(sec_client_new(place.keys, "laptop", place.file, &place.err), ERR_OK);
    text_t before, after;
    read_text(place.file, before);
    assert_int_equal(sec_client_new(place.keys, "desk", place.file, &place.err), ERR_CONFLICT);
    assert_non_null(strstr(place.err.message, place.file));
    snprintf(other, sizeof other, "%s/other.key", place.folder);
    assert_int_equal(sec_client_new(place.keys, "laptop", other, &place.err), ERR_CONFLICT);
    assert_non_null(strstr(place.err.message, "laptop has a key already"));
    assert_int_equal(access(other, F_OK), -1);
    read_text(place.file, after);
    assert_string_equal(before, after);
    sec_guests_t *guests = sec_guests_new(place.keys);
    assert_int_equal(sec_guests_count(guests), 1); // desk was not let in by halves
    sec_guests_destroy(&guests);
    // A place that cannot be written lets nobody in.
    snprintf(other, sizeof other, "%s/no/such/folder/x.key", place.folder);
    assert_int_equal(sec_client_new(place.keys, "desk", other, &place.err), ERR_NOT_FOUND);
    snprintf(other, sizeof other, "%s/clients/desk.pub", place.keys);
    assert_int_equal(access(other, F_OK), -1);
}

#define NAME_OF_65 "01234567890123456789012345678901234567890123456789012345678901234"

static void names_of_clients_are_file_names(void **state) {
    (void)state;
    static const char *const wrong[] = {"",        ".",   "..",  "../x", "a/b",
                                        ".hidden", "a b", "a\n", "ä",    NAME_OF_65};
    init();
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_int_equal(sec_client_new(place.keys, wrong[i], place.file, &place.err), ERR_USAGE);
        assert_int_equal(access(place.file, F_OK), -1);
    }
    assert_int_equal(sec_client_new(place.keys, "A-z_0.9", place.file, &place.err), ERR_OK);
}

// --- Files that are no client's key

static void refused(const char *path, err_code_t code, const char *why) {
    sec_client_t client;
    assert_int_equal(sec_client(path, &client, &place.err), code);
    assert_non_null(strstr(place.err.message, path));
    if (!strstr(place.err.message, why))
        fail_msg("'%s' is not in '%s'", why, place.err.message);
    assert_true(code == ERR_IO || place.err.remedy[0]);
}

static void files_that_others_may_read_are_refused(void **state) {
    (void)state;
    char path[96];
    sec_pair_t pair;
    sec_client_t client;
    init();
    assert_int_equal(sec_client_new(place.keys, "laptop", place.file, &place.err), ERR_OK);
    for (unsigned bit = 1; bit < 0100; bit <<= 1) {
        assert_int_equal(chmod(place.file, 0600 | bit), 0);
        refused(place.file, ERR_INVALID, "others than its owner");
    }
    assert_int_equal(chmod(place.file, 0400), 0);
    assert_int_equal(sec_client(place.file, &client, &place.err), ERR_OK);
    snprintf(path, sizeof path, "%s/server.key", place.keys);
    assert_int_equal(chmod(path, 0640), 0);
    assert_int_equal(sec_server(place.keys, &pair, &place.err), ERR_INVALID);
}

static void swapped_files_are_named(void **state) {
    (void)state;
    char path[96];
    init();
    assert_int_equal(sec_client_new(place.keys, "laptop", place.file, &place.err), ERR_OK);
    snprintf(path, sizeof path, "%s/server.key", place.keys);
    refused(path, ERR_INVALID, "is a stack's own key");
    snprintf(path, sizeof path, "%s/clients/laptop.pub", place.keys);
    refused(path, ERR_INVALID, "is the public key of a client");
    snprintf(path, sizeof path, "%s/nothing.key", place.folder);
    refused(path, ERR_NOT_FOUND, "No such file");
    snprintf(path, sizeof path, "%s/text.key", place.folder);
    write_text(path, "hello\n");
    refused(path, ERR_INVALID, "is no file of keys");
    refused(place.folder, ERR_INVALID, "regular file");
}

// Each byte of the file is changed or the file cut before it: it is the same client's or refused.
static void damaged_files_are_refused(void **state) {
    (void)state;
    sec_client_t whole, client;
    char path[96];
    init();
    assert_int_equal(sec_client_new(place.keys, "laptop", place.file, &place.err), ERR_OK);
    assert_int_equal(sec_client(place.file, &whole, &place.err), ERR_OK);
    text_t text;
    read_text(place.file, text);
    size_t size = strlen(text), refusals = 0;
    snprintf(path, sizeof path, "%s/damaged.key", place.folder);
    for (size_t i = 0; i < size; i++)
        for (int cut = 0; cut < 2; cut++) {
            char kept = text[i];
            text[i] = (char)(cut ? 0 : kept ^ 1);
            write_text(path, text);
            text[i] = kept;
            memset(&client, 0, sizeof client);
            if (sec_client(path, &client, &place.err) != ERR_OK) {
                refusals++;
                continue;
            }
            assert_string_equal(client.own.public_key, whole.own.public_key);
            assert_string_equal(client.own.secret_key, whole.own.secret_key);
        }
    assert_true(refusals > size);
}

static void secrets_are_in_no_message(void **state) {
    (void)state;
    sec_client_t client;
    init();
    assert_int_equal(sec_client_new(place.keys, "laptop", place.file, &place.err), ERR_OK);
    assert_int_equal(sec_client(place.file, &client, &place.err), ERR_OK);
    text_t text;
    read_text(place.file, text);
    size_t at = (size_t)(strstr(text, client.own.public_key) - text);
    text[at] = text[at] == '0' ? '1' : '0';
    write_text(place.file, text);
    refused(place.file, ERR_CORRUPT, "its secret is not that of its public key");
    assert_null(strstr(place.err.message, client.own.secret_key));
}

// --- Guests

static void guests_come_and_go_with_their_files(void **state) {
    (void)state;
    sec_client_t laptop, desk;
    char other[96], pub[96];
    init();
    sec_guests_t *guests = sec_guests_new(place.keys);
    assert_int_equal(sec_guests_count(guests), 0);
    assert_int_equal(sec_client_new(place.keys, "laptop", place.file, &place.err), ERR_OK);
    snprintf(other, sizeof other, "%s/desk.key", place.folder);
    assert_int_equal(sec_client_new(place.keys, "desk", other, &place.err), ERR_OK);
    assert_int_equal(sec_client(place.file, &laptop, NULL), ERR_OK);
    assert_int_equal(sec_client(other, &desk, NULL), ERR_OK);
    clock_sleep_ms(150);
    assert_string_equal(sec_guests_find(guests, laptop.own.public_key), "laptop");
    assert_string_equal(sec_guests_find(guests, desk.own.public_key), "desk");
    assert_null(sec_guests_find(guests, laptop.server));
    assert_null(sec_guests_find(guests, ""));
    snprintf(pub, sizeof pub, "%s/clients/laptop.pub", place.keys);
    assert_int_equal(unlink(pub), 0);
    clock_sleep_ms(150);
    assert_null(sec_guests_find(guests, laptop.own.public_key));
    assert_string_equal(sec_guests_find(guests, desk.own.public_key), "desk");
    // What is no key lets nobody in and keeps nobody out.
    write_text(pub, "kind = guest\nname = laptop\npublic = x\n");
    assert_int_equal(sec_guests_count(guests), 1);
    assert_string_equal(sec_guests_at(guests, 0), "desk");
    assert_null(sec_guests_at(guests, 1));
    sec_guests_destroy(&guests);
}

#define T(f) cmocka_unit_test_setup_teardown(f, open_place, close_place)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(keys_are_made_once_and_private),
        T(damaged_keys_of_the_stack_are_told),
        T(a_client_gets_a_private_file),
        T(a_copy_is_private_and_the_same_key),
        T(nothing_is_written_over),
        T(names_of_clients_are_file_names),
        T(files_that_others_may_read_are_refused),
        T(swapped_files_are_named),
        T(damaged_files_are_refused),
        T(secrets_are_in_no_message),
        T(guests_come_and_go_with_their_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
