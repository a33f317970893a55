// What is made of what else lies in folders: places that cannot be read, special files, links,
// strange names, and too many folders in each other?
#include "base/fs.h"
#include "listing/listing.h"
#include "part.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

// As root nothing is unreadable: the part gives that up.
static bool be_nobody(const tree_t *tree) {
    return geteuid() != 0 ||
           (chown(tree->root, 65534, 65534) == 0 && setgid(65534) == 0 && setuid(65534) == 0);
}

static int expect(const tree_t *tree, err_code_t code, const char *part) {
    if (!be_nobody(tree))
        return 3;
    ingest_options_t options = tree_options(tree, 1, 0);
    ingest_result_t result;
    err_t err = {0};
    err_code_t got = ingest_run(&options, NULL, NULL, &result, &err);
    ingest_result_release(&result);
    tree_options_free(&options);
    if (got == code && (!code || strstr(err.message, part)))
        return 0;
    fprintf(stderr, "%s instead of %s: %s\n", err_name(got), err_name(code), err.message);
    return 2;
}

static int refuse_class_folder(const tree_t *tree) {
    return expect(tree, ERR_INVALID, "cannot read the class folder");
}

static int skip_what_is_closed(const tree_t *tree) {
    return expect(tree, ERR_OK, "");
}

static void unreadable_places(void **state) {
    (void)state;
    tree_t tree = tree_two_classes(12);
    char *folder = tree_path(&tree, "dogs");
    assert_int_equal(chmod(tree.root, 0755), 0);
    assert_int_equal(chmod(tree.source, 0755), 0);
    char *cats = tree_path(&tree, "cats");
    assert_int_equal(chmod(cats, 0755), 0);
    assert_int_equal(chmod(folder, 0), 0);
    assert_int_equal(part_start("refuse_class_folder", &tree), 0);
    assert_int_equal(chmod(folder, 0755), 0);
    tree_image(&tree, "dogs/closed/1.png", 7777);
    tree_image(&tree, "dogs/closed.png", 7778);
    char *closed = tree_path(&tree, "dogs/closed"), *file = tree_path(&tree, "dogs/closed.png");
    assert_int_equal(chmod(closed, 0), 0);
    assert_int_equal(chmod(file, 0), 0);
    assert_int_equal(part_start("skip_what_is_closed", &tree), 0);
    char *out = fs_join(tree.root, "v1");
    shard_index_t index;
    assert_int_equal(shard_index_read(out, &index, NULL), ERR_OK);
    made_t made = {.index = index};
    assert_non_null(strstr(made_entry(&made, "dogs/closed")->reason, "Permission denied"));
    assert_non_null(strstr(made_entry(&made, "dogs/closed.png")->reason, "Permission denied"));
    shard_index_release(&index);
    // What could not be read is tried again although nothing seems to have changed.
    assert_int_equal(chmod(file, 0644), 0);
    made = tree_version(&tree, 2, 1, INGEST_GROUP_NONE);
    assert_false(made.result.unchanged);
    assert_int_equal(made_entry(&made, "dogs/closed.png")->outcome, SHARD_KEPT);
    made_free(&made);
    assert_int_equal(chmod(closed, 0755), 0);
    free(folder);
    free(cats);
    free(closed);
    free(file);
    free(out);
    tree_end(&tree);
}

static void make_special(const tree_t *tree) {
    char *fifo = tree_path(tree, "cats/fifo.png"), *place = tree_path(tree, "cats/socket.png");
    char *loop = tree_path(tree, "cats/loop"), *up = tree_path(tree, "dogs/up");
    char *self = tree_path(tree, "dogs/self.png"), *link = tree_path(tree, "dogs/link.png");
    char *null = tree_path(tree, "dogs/null.png");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int server = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(mkfifo(fifo, 0600), 0);
    snprintf(address.sun_path, sizeof address.sun_path, "%s", place);
    assert_int_equal(bind(server, (struct sockaddr *)&address, sizeof address), 0);
    close(server);
    assert_int_equal(symlink(".", loop), 0);
    assert_int_equal(symlink("../dogs", up), 0);
    assert_int_equal(symlink("self.png", self), 0);
    assert_int_equal(symlink("1001.png", link), 0);
    assert_int_equal(symlink("/dev/zero", null), 0);
    free(fifo);
    free(place);
    free(loop);
    free(up);
    free(self);
    free(link);
    free(null);
}

static void special_files(void **state) {
    (void)state;
    tree_t tree = tree_two_classes(12);
    make_special(&tree);
    tree_image(&tree, "cats/.hidden.png", 9000);
    tree_image(&tree, ".git/1.png", 9001);
    tree_bytes(&tree, "README", "no class", 8);
    made_t made = tree_version(&tree, 1, 0, INGEST_GROUP_NONE);
    assert_int_equal(made.result.images, 24);
    assert_int_equal(made.result.duplicates, 1); // link.png
    assert_int_equal(made.result.rejected, 4);   // self.png and what is no regular file
    static const char *const others[] = {"cats/fifo.png", "cats/socket.png", "dogs/null.png"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        assert_int_equal(made_entry(&made, others[i])->outcome, SHARD_REJECTED);
        assert_string_equal(made_entry(&made, others[i])->reason, "not a regular file");
    }
    assert_int_equal(made_entry(&made, "dogs/self.png")->outcome, SHARD_REJECTED);
    assert_int_equal(made_entry(&made, "dogs/1001.png")->outcome, SHARD_KEPT);
    made_free(&made);
    made = tree_version(&tree, 2, 1, INGEST_GROUP_NONE);
    assert_true(made.result.unchanged);
    made_free(&made);
    tree_end(&tree);
}

static void strange_names(void **state) {
    (void)state;
    static const char *const names[] = {"new\nline.png",
                                        "caf\xc3\xa9.png",
                                        "bad\xff\xfe.png",
                                        "back\\slash.png",
                                        "sp ace \".png",
                                        "no-extension",
                                        "-rf",
                                        "{}.png"};
    tree_t tree = tree_two_classes(12);
    for (uint32_t i = 0; i < sizeof names / sizeof *names; i++) {
        char *path = mem_format("c l\xff\n/%s", names[i]);
        tree_image(&tree, path, 9000 + i);
        free(path);
    }
    tree_class(&tree, "c l\xff\n", 9100, 12);
    tree_bytes(&tree, "c l\xff\n/rub\nbish", "x", 1);
    made_t made = tree_version(&tree, 1, 0, INGEST_GROUP_STEM);
    assert_string_equal(made.result.classes[0], "c l\\xff\n");
    assert_int_equal(made.result.images, 24 + 8 + 12);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char *path = mem_format("c l\xff\n/%s", names[i]);
        assert_int_equal(made_entry(&made, path)->outcome, SHARD_KEPT);
        free(path);
    }
    made_free(&made);
    made = tree_version(&tree, 2, 1, INGEST_GROUP_STEM);
    assert_true(made.result.unchanged);
    made_free(&made);
    ingest_options_t options = tree_options(&tree, 3, 0);
    options.classes = (const char *const[]){"c l\\xff\n", "dogs"};
    options.class_count = 2;
    made = tree_ingest(&options);
    made_free(&made);
    tree_options_free(&options);
    tree_end(&tree);
}

static void deep_folders(void **state) {
    (void)state;
    tree_t tree = tree_two_classes(12);
    char *path = mem_dup("dogs");
    for (int i = 1; i <= LISTING_DEPTH_MAX; i++) {
        char *deeper = mem_format("%s/d", path);
        free(path);
        path = deeper;
        if (i == LISTING_DEPTH_MAX - 1 || i == LISTING_DEPTH_MAX) {
            char *file = mem_format("%s/%d.png", path, i);
            tree_image(&tree, file, 6000 + (uint32_t)i);
            free(file);
        }
    }
    made_t made = tree_version(&tree, 1, 0, INGEST_GROUP_NONE);
    assert_int_equal(made.result.images, 25);
    assert_non_null(strstr(made_entry(&made, path)->reason, "nested"));
    made_free(&made);
    free(path);
    tree_end(&tree);
}

static const part_t parts[] = {{"refuse_class_folder", refuse_class_folder},
                               {"skip_what_is_closed", skip_what_is_closed}};

int main(int argc, char **argv) {
    if (argc == 3)
        return part_play(parts, sizeof parts / sizeof *parts, argv[1], argv[2]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unreadable_places),
        cmocka_unit_test(special_files),
        cmocka_unit_test(strange_names),
        cmocka_unit_test(deep_folders),
    };
    return cmocka_run_group_tests(tests, setup_prep, teardown_prep);
}
