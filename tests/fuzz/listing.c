// Listings of folders, and that what was read is written as it can be read again.
#include "listing/listing.h"
#include "base/buf.h"
#include "fuzz.h"

#include <string.h>

#define TEXT_MAX (1u << 24)

static void check_path(const char *path) {
    ERR_ASSERT(path[0] && path[0] != '/' && path[0] != '.');
    ERR_ASSERT(!strstr(path, "//") && !strstr(path, "/.") && path[strlen(path) - 1] != '/');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    listing_t listing, again;
    buf_t text, other;
    err_t err = {0};
    if (listing_read(data, size, &listing, &err) != ERR_OK) {
        ERR_ASSERT(err.code != ERR_OK && err.message[0]);
        return 0;
    }
    for (size_t i = 0; i < listing.count; i++) {
        check_path(listing.files[i].path);
        ERR_ASSERT(i == 0 || strcmp(listing.files[i - 1].path, listing.files[i].path) < 0);
    }
    buf_init(&text, TEXT_MAX);
    buf_init(&other, TEXT_MAX);
    ERR_ASSERT(listing_write(&listing, &text, &err) == ERR_OK);
    ERR_ASSERT(listing_read(text.data, text.size, &again, &err) == ERR_OK);
    ERR_ASSERT(again.count == listing.count && again.folder_count == listing.folder_count);
    ERR_ASSERT(listing_write(&again, &other, &err) == ERR_OK);
    ERR_ASSERT(text.size == other.size && memcmp(text.data, other.data, text.size) == 0);
    listing_release(&listing);
    listing_release(&again);
    buf_release(&text);
    buf_release(&other);
    return 0;
}

void fuzz_seeds(void) {
    static char folder[] = "/home/ann\xff", comics[] = "comics", photos[] = "ph\xc3\xb6tos\\";
    static char one[] = "comics/1.jpg", two[] = "comics/\xfe/2", three[] = "ph\xc3\xb6tos\\/3.jpg",
                file[] = "README", reason[] = "not a regular file";
    char *folders[] = {comics, photos};
    listing_file_t files[] = {
        {.path = file, .reason = reason},
        {.path = one, .bytes = 1234, .mtime_ns = 1700000000000000000},
        {.path = two, .bytes = 5, .mtime_ns = -1, .reason = reason},
        {.path = three, .bytes = 0, .mtime_ns = 0, .again = true},
    };
    const listing_t listing = {
        .folder = folder, .folders = folders, .folder_count = 2, .files = files, .count = 4};
    buf_t text;
    digest_bytes("1", 1, files[1].digest);
    digest_bytes("", 0, files[3].digest);
    buf_init(&text, TEXT_MAX);
    ERR_ASSERT(listing_write(&listing, &text, NULL) == ERR_OK);
    fuzz_seed(text.data, text.size);
    fuzz_seed(text.data, (size_t)(strchr(text.data, '\n') - text.data) + 1);
    buf_release(&text);
}

void fuzz_end(void) {
}
