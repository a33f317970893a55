// Are files that are no images, or not the ones they were a moment ago, told from the others,
// skipped with the reason, and does the index never say what is not so? And real images, where they
// lie beside the checkout.
#include "base/fs.h"
#include "tree.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static file_t scene(const char *suffix) {
    pixels_t pixels = pixels_scene(64, 48, 3);
    file_t file = make_simple(pixels, suffix);
    pixels_free(&pixels);
    return file;
}

// ---- what is no image ----

static const char *reason_of(const made_t *made, const char *path) {
    const shard_entry_t *entry = made_entry(made, path);
    if (entry->outcome != SHARD_REJECTED)
        fail_msg("%s was not rejected", path);
    return entry->reason;
}

static void check_reason(const made_t *made, const char *path, const char *part) {
    const char *reason = reason_of(made, path);
    if (!strstr(reason, part))
        fail_msg("%s: '%s' is not in: %s", path, part, reason);
}

static void make_bad(const tree_t *tree) {
    file_t file = scene(".jpg");
    file.size /= 2;
    tree_file(tree, "cats/half.jpg", file);
    file = scene(".png");
    file.size -= 30;
    tree_file(tree, "cats/short.png", file);
    file = scene(".png");
    png_resize_header(file, 30000, 30000);
    tree_file(tree, "cats/huge.png", file);
    tree_bytes(tree, "cats/empty.jpg", "", 0);
    tree_bytes(tree, "cats/text.jpg", "this is a note\n", 15);
    tree_bytes(tree, "cats/new\nline.gif", "GIF89a", 6);
    tree_bytes(tree, "cats/pic.svg", "<svg xmlns='http://www.w3.org/2000/svg'/>", 41);
}

static void count_lines(const tree_t *tree, const char *name, int64_t wanted) {
    char *path = mem_format("%s/v1/%s", tree->root, name);
    void *bytes;
    size_t size;
    int64_t lines = 0;
    assert_int_equal(fs_read(path, 1 << 20, &bytes, &size, NULL), ERR_OK);
    for (size_t i = 0; i < size; i++)
        lines += ((char *)bytes)[i] == '\n';
    assert_int_equal(lines, wanted);
    free(bytes);
    free(path);
}

static void bad_files_are_listed(void **state) {
    (void)state;
    tree_t tree = tree_two_classes(12);
    make_bad(&tree);
    made_t made = tree_version(&tree, 1, 0, INGEST_GROUP_NONE);
    assert_int_equal(made.result.images, 24);
    assert_int_equal(made.result.rejected, 7);
    check_reason(&made, "cats/empty.jpg", "empty");
    check_reason(&made, "cats/text.jpg", "text");
    check_reason(&made, "cats/huge.png", "30000");
    reason_of(&made, "cats/half.jpg");
    reason_of(&made, "cats/short.png");
    reason_of(&made, "cats/pic.svg");
    reason_of(&made, "cats/new\nline.gif");
    count_lines(&tree, SHARD_REJECTS, 7);
    count_lines(&tree, SHARD_INDEX, 31);
    made_free(&made);
    tree_end(&tree);
}

// The content decides, not the name.
static void names_do_not_matter(void **state) {
    (void)state;
    static const char *const suffixes[] = {".jpg", ".png", ".webp", ".gif", ".tif"};
    tree_t tree = tree_two_classes(12);
    for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++) {
        char *path = mem_format("cats/image%zu%s", i, suffixes[(i + 1) % 5]);
        tree_file(&tree, path, scene(suffixes[i]));
        free(path);
    }
    made_t made = tree_version(&tree, 1, 0, INGEST_GROUP_NONE);
    assert_int_equal(made.result.rejected, 0);
    assert_int_equal(made.result.images, 29);
    made_free(&made);
    tree_end(&tree);
}

static void limits_are_kept(void **state) {
    (void)state;
    tree_t tree = tree_two_classes(12);
    tree_file(&tree, "cats/wide.png", scene(".png[compression=0]"));
    ingest_options_t options = tree_options(&tree, 1, 0);
    options.limits.pixels = 64 * 48 - 1;
    made_t made = tree_ingest(&options);
    check_reason(&made, "cats/wide.png", "64");
    made_free(&made);
    tree_options_free(&options);
    options = tree_options(&tree, 2, 0);
    options.limits.bytes = 2000;
    made = tree_ingest(&options);
    check_reason(&made, "cats/wide.png", "the limit is 2000");
    made_free(&made);
    tree_options_free(&options);
    // The limit was the file's only fault: under another one it is tried again.
    options = tree_options(&tree, 3, 2);
    made = tree_ingest(&options);
    assert_int_equal(made.result.rejected, 0);
    made_free(&made);
    tree_options_free(&options);
    tree_end(&tree);
}

// Whatever memory there is, at least one large image at a time is decoded, and all come through.
static void large_images(void **state) {
    (void)state;
    enum { WIDTH = 2100, HEIGHT = 2000 };
    tree_t tree = tree_two_classes(12);
    pixels_t pixels = pixels_scene(WIDTH, HEIGHT, 1);
    for (int i = 0; i < 6; i++) {
        char *path = mem_format("cats/large%d.png", i);
        pixels.data[0] = (uint8_t)i;
        tree_file(&tree, path, make_simple(pixels, ".png[compression=1]"));
        free(path);
    }
    pixels_free(&pixels);
    ingest_options_t options = tree_options(&tree, 1, 0);
    options.threads = 6;
    options.memory = 1;
    made_t made = tree_ingest(&options);
    assert_int_equal(made.result.images, 30);
    made_free(&made);
    tree_options_free(&options);
    tree_end(&tree);
}

// ---- what changes meanwhile ----

typedef struct {
    const tree_t *tree;
    file_t small, large;
    atomic_bool stop;
} writer_t;

#define MOVING 12

static void moving_path(char path[32], int i) {
    snprintf(path, 32, "cats/moving%d.png", i);
}

static void overwrite(const char *path, file_t file) {
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    size_t half = file.size / 2;
    assert_int_equal(write(fd, file.bytes, half), half);
    usleep(200);
    assert_int_equal(write(fd, file.bytes + half, file.size - half), file.size - half);
    close(fd);
}

static void *keep_writing(void *context) {
    writer_t *writer = context;
    for (unsigned round = 0; !atomic_load(&writer->stop); round++) {
        char name[32];
        moving_path(name, (int)(round % MOVING));
        char *path = tree_path(writer->tree, name);
        overwrite(path, round / MOVING % 2 ? writer->small : writer->large);
        free(path);
        usleep(1000);
    }
    return NULL;
}

// Whoever finds a file with size and time of the index must find the bytes of the index, too.
static void check_no_lie(const tree_t *tree, const shard_entry_t *entry) {
    char *path = tree_path(tree, entry->path), hex[DIGEST_HEX_SIZE], said[DIGEST_HEX_SIZE];
    struct stat info;
    assert_int_equal(stat(path, &info), 0);
    int64_t mtime_ns = (int64_t)info.st_mtim.tv_sec * 1000000000 + info.st_mtim.tv_nsec;
    if (entry->has_digest && (uint64_t)info.st_size == entry->bytes &&
        mtime_ns == entry->mtime_ns) {
        assert_int_equal(digest_file(path, hex, NULL, NULL), ERR_OK);
        for (int i = 0; i < SHARD_DIGEST_BYTES; i++)
            snprintf(said + 2 * i, 3, "%02x", entry->digest[i]);
        assert_string_equal(hex, said);
    }
    free(path);
}

static void check_moving(const tree_t *tree, const made_t *made, const writer_t *writer) {
    for (int i = 0; i < MOVING; i++) {
        char path[32];
        moving_path(path, i);
        const shard_entry_t *entry = made_entry(made, path);
        check_no_lie(tree, entry);
        if (entry->outcome == SHARD_REJECTED)
            continue;
        assert_true(entry->bytes == writer->small.size || entry->bytes == writer->large.size);
    }
}

static void files_in_motion(void **state) {
    (void)state;
    tree_t tree = tree_two_classes(40);
    pixels_t pixels = pixels_scene(300, 300, 3);
    writer_t writer = {
        .tree = &tree, .small = scene(".png"), .large = make_simple(pixels, ".png[compression=0]")};
    pixels_free(&pixels);
    for (int i = 0; i < MOVING; i++) {
        char path[32];
        moving_path(path, i);
        tree_bytes(&tree, path, writer.small.bytes, writer.small.size);
    }
    uint64_t newest = 0;
    for (uint64_t version = 1; version <= 6; version++) {
        pthread_t thread;
        atomic_store(&writer.stop, false);
        assert_int_equal(pthread_create(&thread, NULL, keep_writing, &writer), 0);
        ingest_options_t options = tree_options(&tree, version, newest);
        made_t made = tree_ingest(&options);
        atomic_store(&writer.stop, true);
        pthread_join(thread, NULL);
        newest = made.result.unchanged ? newest : version;
        check_moving(&tree, &made, &writer);
        made_free(&made);
        tree_options_free(&options);
    }
    file_free(&writer.small);
    file_free(&writer.large);
    tree_end(&tree);
}

// ---- real images ----

#define REAL "../shared/data/face2comics-v1"

static char *find_real(void) {
    char *path = fs_join(SOURCE_ROOT, REAL);
    if (access(path, R_OK) == 0)
        return path;
    free(path);
    return NULL;
}

static void pairs_of_real_images(void **state) {
    (void)state;
    char *folder = find_real();
    if (!folder) {
        print_message("SKIP: no real images at " REAL "\n");
        skip();
    }
    tree_t tree = tree_begin();
    ingest_options_t options = tree_options(&tree, 1, 0);
    options.folder = folder;
    options.recipe.size = 96;
    options.group_by = INGEST_GROUP_STEM;
    made_t made = tree_ingest(&options);
    int64_t pairs = 0;
    assert_int_equal(made.result.class_count, 2);
    for (int64_t i = 0; i < made.index.count; i++)
        for (int64_t k = 0; k < i; k++) {
            const shard_entry_t *a = &made.index.entries[i], *b = &made.index.entries[k];
            if (a->outcome != SHARD_KEPT || b->outcome != SHARD_KEPT || a->label == b->label ||
                strcmp(strrchr(a->path, '/'), strrchr(b->path, '/')) != 0)
                continue;
            assert_int_equal(a->split, b->split);
            pairs++;
        }
    const shard_info_t *info = shard_info(made.ds);
    print_message("%lld images, %lld pairs, train %lld, val %lld, test %lld\n",
                  (long long)made.result.images, (long long)pairs, (long long)info->images[0],
                  (long long)info->images[1], (long long)info->images[2]);
    assert_int_equal(pairs, 115);
    for (int c = 0; c < 2; c++)
        for (int s = 1; s < SHARD_SPLIT_COUNT; s++) {
            int64_t tenth = made.result.class_images[c] / 10;
            assert_in_range(info->class_images[s][c], tenth - 1, tenth + 2);
        }
    made_free(&made);
    tree_options_free(&options);
    tree_end(&tree);
    free(folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_files_are_listed), cmocka_unit_test(names_do_not_matter),
        cmocka_unit_test(limits_are_kept),      cmocka_unit_test(large_images),
        cmocka_unit_test(files_in_motion),      cmocka_unit_test(pairs_of_real_images),
    };
    return cmocka_run_group_tests(tests, setup_prep, teardown_prep);
}
