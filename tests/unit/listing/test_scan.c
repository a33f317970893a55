// Does a scan find all that is below a folder and nothing else, once, whatever lies there?
#include "base/fs.h"
#include "listing/listing.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

typedef struct {
    const char *path;
    const char *reason; // NULL: a file that can be had
    bool again;
} wanted_t;

static int set_up(void **state) {
    char *folder = mem_dup("/tmp/inkling-listing-XXXXXX");
    assert_non_null(mkdtemp(folder));
    *state = folder;
    return 0;
}

static int tear_down(void **state) {
    assert_int_equal(fs_remove_all(*state, NULL), ERR_OK);
    free(*state);
    return 0;
}

static void put(const char *folder, const char *name, const char *text) {
    char *path = fs_join(folder, name), *end = strrchr(path, '/');
    *end = 0;
    assert_int_equal(fs_mkdirs(path, NULL), ERR_OK);
    *end = '/';
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    assert_int_equal(fputs(text, file) >= 0 && fclose(file) == 0, true);
    free(path);
}

static void make_folder(const char *folder, const char *name) {
    char *path = fs_join(folder, name);
    assert_int_equal(fs_mkdirs(path, NULL), ERR_OK);
    free(path);
}

static void make_link(const char *folder, const char *name, const char *to) {
    char *path = fs_join(folder, name);
    assert_int_equal(symlink(to, path), 0);
    free(path);
}

static void check_files(const listing_t *listing, const wanted_t *wanted, size_t count) {
    for (size_t i = 0; i < listing->count && i < count; i++) {
        const listing_file_t *file = &listing->files[i];
        assert_string_equal(file->path, wanted[i].path);
        assert_int_equal(file->again, wanted[i].again);
        assert_string_equal(file->digest, "");
        assert_string_equal(file->reason ? file->reason : "-",
                            wanted[i].reason ? wanted[i].reason : "-");
    }
    assert_int_equal(listing->count, count);
}

static void check_folders(const listing_t *listing, const char *const *wanted, size_t count) {
    assert_int_equal(listing->folder_count, count);
    for (size_t i = 0; i < count; i++) {
        assert_string_equal(listing->folders[i], wanted[i]);
        assert_true(listing_has_folder(listing, wanted[i]));
    }
    assert_false(listing_has_folder(listing, "no such"));
}

static listing_t scan(const char *folder) {
    listing_t listing;
    err_t err;
    if (listing_scan(folder, &listing, &err) != ERR_OK)
        fail_msg("%s", err.message);
    assert_string_equal(listing.folder, folder);
    return listing;
}

#define COUNT(array) (sizeof(array) / sizeof *(array))

static void all_kinds(void **state) {
    const char *folder = *state;
    static const char *const folders[] = {"a", "a-b", "empty", "z \n\xff"};
    static const wanted_t wanted[] = {
        {"B.png", NULL, false},
        {"a-b/1", NULL, false},
        {"a/1.jpg", NULL, false},
        {"a/b/c/deep", NULL, false},
        {"a/b/to-file", NULL, false},
        {"a/pipe", "not a regular file", false},
        {"fifo", "not a regular file", false},
        {"nowhere", "cannot read it: No such file or directory", false},
        {"self", "cannot read it: Too many levels of symbolic links", false},
        {"z \n\xff/\\x.\xfe", NULL, false},
        {"zero", "not a regular file", false}};
    put(folder, "B.png", "");
    put(folder, "a/1.jpg", "four");
    put(folder, "a-b/1", "x");
    put(folder, "a/b/c/deep", "x");
    put(folder, "a/.hidden/file", "x");
    put(folder, "a/b/.hidden", "x");
    put(folder, "z \n\xff/\\x.\xfe", "x");
    put(folder, ".hidden", "x");
    put(folder, ".git/config", "x");
    make_folder(folder, "empty");
    make_link(folder, "a/b/to-file", "../1.jpg");
    make_link(folder, "nowhere", "gone");
    make_link(folder, "self", "self");
    make_link(folder, "zero", "/dev/zero");
    char *fifo = fs_join(folder, "fifo"), *pipe = fs_join(folder, "a/pipe");
    assert_int_equal(mkfifo(fifo, 0600), 0);
    assert_int_equal(mkfifo(pipe, 0600), 0);
    char *known = fs_join(folder, "a/1.jpg");
    const struct timespec times[2] = {{.tv_sec = 5}, {.tv_sec = 1700000000, .tv_nsec = 987654321}};
    assert_int_equal(utimensat(0, known, times, 0), 0);
    listing_t listing = scan(folder);
    check_folders(&listing, folders, COUNT(folders));
    check_files(&listing, wanted, COUNT(wanted));
    assert_int_equal(listing.files[0].bytes, 0);
    for (size_t i = 2; i <= 4; i += 2) { // the file and a link to it
        assert_int_equal(listing.files[i].bytes, 4);
        assert_int_equal(listing.files[i].mtime_ns, 1700000000987654321);
    }
    assert_int_equal(listing.files[5].bytes, 0);
    assert_int_equal(listing.files[5].mtime_ns, 0);
    listing_release(&listing);
    char *slash = fs_join(folder, "a/");
    listing = scan(slash);
    assert_string_equal(listing.files[0].path, "1.jpg");
    listing_release(&listing);
    listing_release(&listing);
    free(slash);
    free(known);
    free(fifo);
    free(pipe);
}

// Within a folder of the first level every folder once; what is there again is marked, so that
// without it every folder is there once in all.
static void links_and_loops(void **state) {
    const char *folder = *state;
    static const char *const folders[] = {"a", "b", "c"};
    static const wanted_t wanted[] = {
        {"a/1", NULL, false},         {"a/sub/2", NULL, false},
        {"b/3", NULL, false},         {"b/to-a/1", NULL, true},
        {"b/to-a/sub/2", NULL, true}, {"b/up/0", NULL, true}, // of the folder itself
        {"b/up/c/3", NULL, true},     {"c/3", NULL, false}};
    put(folder, "0", "x");
    put(folder, "a/1", "x");
    put(folder, "a/sub/2", "x");
    make_link(folder, "a/sub/loop", "..");
    make_link(folder, "a/twice", "sub");
    make_link(folder, "a/here", ".");
    put(folder, "b/3", "x");
    make_link(folder, "b/to-a", "../a");
    put(folder, "c/3", "x");
    listing_t listing = scan(folder);
    assert_int_equal(listing.count, 7);
    listing_release(&listing);
    make_link(folder, "b/up", "..");
    listing = scan(folder);
    check_folders(&listing, folders, COUNT(folders));
    assert_string_equal(listing.files[0].path, "0");
    free(listing.files[0].path);
    memmove(listing.files, listing.files + 1, --listing.count * sizeof *listing.files);
    listing.files[listing.count] = (listing_file_t){.path = NULL};
    check_files(&listing, wanted, COUNT(wanted));
    listing_release(&listing);
}

// A link of the first level to a folder that is there: a class of its own.
static void links_of_the_first_level(void **state) {
    const char *folder = *state;
    static const char *const folders[] = {"a", "all", "same"};
    static const wanted_t wanted[] = {
        {"a/1", NULL, false}, {"all/a/1", NULL, true}, {"same/1", NULL, true}};
    put(folder, "a/1", "x");
    make_link(folder, "same", "a");
    make_link(folder, "all", ".");
    listing_t listing = scan(folder);
    check_folders(&listing, folders, COUNT(folders));
    check_files(&listing, wanted, COUNT(wanted));
    listing_release(&listing);
}

static void depth(void **state) {
    char *path = mem_dup("d");
    for (int i = 2; i <= LISTING_DEPTH_MAX + 1; i++) {
        char *deeper = mem_format("%s/d", path);
        free(path);
        path = deeper;
        if (i >= LISTING_DEPTH_MAX) {
            char *file = mem_format("%s/f", path);
            put(*state, file, "x");
            free(file);
        }
    }
    listing_t listing = scan(*state);
    assert_int_equal(listing.count, 2);
    assert_string_equal(listing.files[0].path, path);
    assert_string_equal(listing.files[0].reason, "folders are nested more than 64 deep");
    assert_null(listing.files[1].reason);
    assert_int_equal(strlen(listing.files[1].path), 2 * LISTING_DEPTH_MAX + 1);
    listing_release(&listing);
    free(path);
}

static void some_folders(void **state) {
    const char *folder = *state;
    static const char *const folders[] = {"a", "b", "c"};
    static const wanted_t top[] = {{"0", NULL, false}},
                          some[] = {{"0", NULL, false}, {"a/1", NULL, false}, {"c/3", NULL, false}};
    char a[] = "a", c[] = "c", *names[] = {c, a};
    put(folder, "0", "x");
    put(folder, "a/1", "x");
    put(folder, "b/2", "x");
    put(folder, "c/3", "x");
    listing_t listing;
    assert_int_equal(listing_scan_top(folder, &listing, NULL), ERR_OK);
    check_folders(&listing, folders, COUNT(folders));
    check_files(&listing, top, COUNT(top));
    listing_scan_below(&listing, names, COUNT(names));
    check_files(&listing, some, COUNT(some));
    listing_release(&listing);
}

static void refuse(const char *folder, err_code_t code) {
    listing_t listing;
    err_t err;
    assert_int_equal(listing_scan(folder, &listing, &err), code);
    assert_int_equal(err.code, code);
    assert_non_null(strstr(err.message, folder));
    assert_int_equal(listing.count + listing.folder_count, 0);
    assert_null(listing.folder);
}

static void no_folder(void **state) {
    put(*state, "file", "x");
    char *gone = fs_join(*state, "gone"), *file = fs_join(*state, "file");
    refuse(gone, ERR_NOT_FOUND);
    refuse(file, ERR_NOT_FOUND);
    refuse("", ERR_NOT_FOUND);
    free(gone);
    free(file);
}

static void unreadable(void **state) {
    const char *folder = *state;
    static const wanted_t wanted[] = {
        {"a", "cannot read the folder: Permission denied", false},
        {"b/closed", "cannot read the folder: Permission denied", false},
        {"b/no-look/1", "cannot read it: Permission denied", false}};
    static const char *const closed[] = {"a", "b/closed", "b/no-look"};
    if (geteuid() == 0) {
        // As root nothing is unreadable: for a while this thread is nobody.
        assert_int_equal(chmod(folder, 0777), 0);
        assert_int_equal(seteuid(65534), 0);
    }
    put(folder, "a/1", "x");
    put(folder, "b/closed/1", "x");
    put(folder, "b/no-look/1", "x");
    for (size_t i = 0; i < COUNT(closed); i++) {
        char *path = fs_join(folder, closed[i]);
        assert_int_equal(chmod(path, i == 2 ? 0400 : 0), 0);
        free(path);
    }
    listing_t listing = scan(folder);
    assert_int_equal(listing.folder_count, 2);
    check_files(&listing, wanted, COUNT(wanted));
    listing_release(&listing);
    char *top = fs_join(folder, "a");
    refuse(top, ERR_INVALID);
    free(top);
    for (size_t i = 0; i < COUNT(closed); i++) {
        char *path = fs_join(folder, closed[i]);
        assert_int_equal(chmod(path, 0700), 0);
        free(path);
    }
    if (getuid() == 0)
        assert_int_equal(seteuid(0), 0);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(all_kinds),  TEST(links_and_loops), TEST(links_of_the_first_level),
        TEST(depth),      TEST(some_folders),    TEST(no_folder),
        TEST(unreadable),
    };
    return cmocka_run_group_tests_name("listing scan", tests, NULL, NULL);
}
