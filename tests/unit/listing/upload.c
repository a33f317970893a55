#include "upload.h"
#include "base/fs.h"
#include "blob/blob.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void check(err_code_t code, const err_t *err) {
    if (code)
        err_abort(__FILE__, __LINE__, err->message);
}

// Plainly: who waits for the test's answers does not wait for the disk as well.
static void write_plainly(const char *path, const void *bytes, size_t size) {
    FILE *file = fopen(path, "we");
    if (!file || fwrite(bytes, 1, size, file) != size || fclose(file) != 0)
        err_abort(__FILE__, __LINE__, path);
}

void upload_put(const char *files, const void *bytes, size_t size, char digest[DIGEST_HEX_SIZE]) {
    err_t err;
    digest_bytes(bytes, size, digest);
    char *path = blob_path(files, digest), *slash = strrchr(path, '/');
    *slash = 0;
    check(fs_mkdirs(path, &err), &err);
    *slash = '/';
    if (access(path, F_OK) != 0)
        write_plainly(path, bytes, size);
    free(path);
}

static void put_file(const char *folder, const char *files, listing_file_t *file) {
    err_t err;
    void *bytes;
    size_t size;
    char *path = fs_join(folder, file->path);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        file->reason = mem_format("cannot read it: %s", strerror(errno));
    } else {
        close(fd);
        check(fs_read(path, LISTING_BYTES_MAX, &bytes, &size, &err), &err);
        upload_put(files, bytes, size, file->digest);
        free(bytes);
    }
    free(path);
}

upload_t upload_make(const char *folder, const char *files) {
    upload_t upload = {.files = mem_dup(files)};
    buf_t text;
    err_t err;
    check(listing_scan(folder, &upload.listing, &err), &err);
    for (size_t i = 0; i < upload.listing.count; i++)
        if (!upload.listing.files[i].reason)
            put_file(folder, files, &upload.listing.files[i]);
    buf_init(&text, LISTING_BYTES_MAX);
    check(listing_write(&upload.listing, &text, &err), &err);
    upload_put(files, text.data, text.size, upload.digest);
    buf_release(&text);
    return upload;
}

void upload_free(upload_t *upload) {
    listing_release(&upload->listing);
    free(upload->files);
}

static err_code_t locate(void *context, const char *digest, uint64_t bytes, char **path,
                         err_t *err) {
    const upload_t *upload = context;
    (void)bytes;
    *path = blob_path(upload->files, digest);
    return access(*path, F_OK) == 0 ? ERR_OK : err_set(err, ERR_NOT_FOUND, "no blob %s", digest);
}

listing_blobs_t upload_blobs(upload_t *upload) {
    return (listing_blobs_t){locate, upload};
}

char *upload_path(const upload_t *upload, const char *path) {
    for (size_t i = 0; i < upload->listing.count; i++)
        if (strcmp(upload->listing.files[i].path, path) == 0)
            return blob_path(upload->files, upload->listing.files[i].digest);
    err_abort(__FILE__, __LINE__, path);
}
