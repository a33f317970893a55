#include "listing_impl.h"
#include "shard/shard.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

void listing_release(listing_t *listing) {
    free(listing->folder);
    for (size_t i = 0; i < listing->folder_count; i++)
        free(listing->folders[i]);
    free(listing->folders);
    for (size_t i = 0; i < listing->count; i++) {
        free(listing->files[i].path);
        free(listing->files[i].reason);
    }
    free(listing->files);
    memset(listing, 0, sizeof *listing);
}

void listing_append(listing_t *listing, size_t *room, const listing_file_t *file) {
    if (listing->count == *room) {
        *room = *room ? 2 * *room : 256;
        listing->files = mem_grow(listing->files, *room * sizeof *listing->files);
    }
    listing->files[listing->count++] = *file;
}

static int compare_names(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

bool listing_has_folder(const listing_t *listing, const char *name) {
    return listing->folder_count > 0 && bsearch(&name, listing->folders, listing->folder_count,
                                                sizeof *listing->folders, compare_names) != NULL;
}

// ---- writing ----

static void put_escaped(buf_t *out, const char *bytes) {
    char *text = shard_name_escape(bytes);
    buf_json_string(out, text);
    free(text);
}

static void write_head(const listing_t *listing, buf_t *out) {
    buf_printf(out, "{\"schema\":%d,\"folder\":", LISTING_SCHEMA);
    put_escaped(out, listing->folder);
    buf_puts(out, ",\"folders\":[");
    for (size_t i = 0; i < listing->folder_count; i++) {
        buf_puts(out, i ? "," : "");
        put_escaped(out, listing->folders[i]);
    }
    buf_puts(out, "]}\n");
}

static void write_file(const listing_file_t *file, buf_t *out) {
    ERR_ASSERT(file->reason || file->digest[0]);
    buf_puts(out, "{\"path\":");
    put_escaped(out, file->path);
    if (!file->reason || file->bytes || file->mtime_ns)
        buf_printf(out, ",\"bytes\":%" PRIu64 ",\"mtime_ns\":\"%" PRId64 "\"", file->bytes,
                   file->mtime_ns);
    if (file->reason) {
        buf_puts(out, ",\"reason\":");
        buf_json_string(out, file->reason);
    } else {
        buf_printf(out, ",\"sha256\":\"%s\"", file->digest);
    }
    buf_puts(out, file->again ? ",\"again\":true}\n" : "}\n");
}

err_code_t listing_write(const listing_t *listing, buf_t *out, err_t *err) {
    write_head(listing, out);
    for (size_t i = 0; i < listing->count; i++)
        write_file(&listing->files[i], out);
    if (out->failed)
        return err_set(err, ERR_TOO_LARGE, "the listing of %zu files has more than %zu bytes",
                       listing->count, out->ceiling);
    return ERR_OK;
}
