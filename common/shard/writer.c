#include "base/fs.h"
#include "file_impl.h"
#include "manifest_impl.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct {
    fs_new_t *file; // the shard being written, or NULL
    char *path;
    uint8_t *labels; // little-endian, of its images
    uint8_t *digests;
    int64_t images;
} tail_t;

struct shard_writer {
    char *folder;
    const shard_info_t *info;
    size_t image_bytes;
    int64_t images_max; // of a shard
    tail_t tails[SHARD_SPLIT_COUNT];
    int64_t *class_images[SHARD_SPLIT_COUNT], images[SHARD_SPLIT_COUNT];
    manifest_t manifest; // files only
};

err_code_t shard_writer_open(const char *folder, const shard_info_t *info, shard_writer_t **out,
                             err_t *err) {
    if (info->class_count < 1 || info->class_count > SHARD_CLASSES_MAX)
        return err_set(err, ERR_INVALID, "a data set has 1 to %d classes, not %d",
                       SHARD_CLASSES_MAX, info->class_count);
    shard_writer_t *writer = mem_zero(1, sizeof *writer);
    writer->folder = mem_dup(folder);
    writer->info = info;
    writer->image_bytes = (size_t)info->height * (size_t)info->width * (size_t)info->channels;
    writer->images_max = file_images_max(info->height, info->width, info->channels);
    for (int s = 0; s < SHARD_SPLIT_COUNT; s++)
        writer->class_images[s] = mem_zero((size_t)info->class_count, sizeof(int64_t));
    *out = writer;
    return ERR_OK;
}

static void tail_clear(tail_t *tail) {
    fs_abort(&tail->file);
    free(tail->path);
    free(tail->labels);
    free(tail->digests);
    memset(tail, 0, sizeof *tail);
}

void shard_writer_abort(shard_writer_t **self) {
    if (!*self)
        return;
    for (int s = 0; s < SHARD_SPLIT_COUNT; s++) {
        tail_clear(&(*self)->tails[s]);
        free((*self)->class_images[s]);
    }
    manifest_release(&(*self)->manifest);
    free((*self)->folder);
    free(*self);
    *self = NULL;
}

static err_code_t put(tail_t *tail, const void *bytes, size_t size, err_t *err) {
    if (size && fwrite(bytes, 1, size, fs_stream(tail->file)) != size)
        return err_set_errno(err, "cannot write %s", tail->path);
    return ERR_OK;
}

// The header is written last, when the number of images is known; until then zeros keep its place.
static err_code_t tail_open(shard_writer_t *writer, shard_split_t split, err_t *err) {
    static const uint8_t empty[FILE_HEADER_BYTES];
    tail_t *tail = &writer->tails[split];
    char *name = manifest_shard_name(split, writer->manifest.file_count[split]);
    tail->path = fs_join(writer->folder, name);
    free(name);
    tail->labels = mem_alloc((size_t)writer->images_max * sizeof(uint32_t));
    tail->digests = mem_alloc((size_t)writer->images_max * SHARD_DIGEST_BYTES);
    err_code_t code = fs_open_new(tail->path, &tail->file, err);
    return code ? code : put(tail, empty, sizeof empty, err);
}

static err_code_t hash_back(tail_t *tail, uint64_t size, char hex[DIGEST_HEX_SIZE], err_t *err) {
    enum { CHUNK = 1 << 20 };
    uint8_t *chunk = mem_alloc(CHUNK);
    digest_t *digest = digest_new();
    uint64_t at = 0;
    while (at < size) {
        ssize_t got = pread(fileno(fs_stream(tail->file)), chunk, CHUNK, (off_t)at);
        if (got <= 0)
            break;
        digest_add(digest, chunk, (size_t)got);
        at += (uint64_t)got;
    }
    digest_end(&digest, hex);
    free(chunk);
    return at == size ? ERR_OK : err_set_errno(err, "cannot read %s back", tail->path);
}

// Labels, digests, then the header; then into the manifest's list under its final name.
static err_code_t tail_close(shard_writer_t *writer, shard_split_t split, err_t *err) {
    tail_t *tail = &writer->tails[split];
    const shard_info_t *info = writer->info;
    manifest_t *manifest = &writer->manifest;
    file_layout_t layout = file_layout(tail->images, info->height, info->width, info->channels);
    uint64_t pixels_end = layout.pixels_at + (uint64_t)tail->images * writer->image_bytes;
    uint8_t header[FILE_HEADER_BYTES] = {0};
    err_code_t code = put(tail, header, (size_t)(layout.labels_at - pixels_end), err);
    if (!code)
        code = put(tail, tail->labels, (size_t)(layout.digests_at - layout.labels_at), err);
    if (!code)
        code = put(tail, tail->digests, (size_t)(layout.size - layout.digests_at), err);
    file_header_write(&layout, header);
    if (!code && fseek(fs_stream(tail->file), 0, SEEK_SET) != 0)
        code = err_set_errno(err, "cannot write %s", tail->path);
    if (!code)
        code = put(tail, header, sizeof header, err);
    if (!code && fflush(fs_stream(tail->file)) != 0)
        code = err_set_errno(err, "cannot write %s", tail->path);
    manifest_file_t file = {.images = tail->images, .bytes = layout.size};
    if (!code)
        code = hash_back(tail, layout.size, file.sha256, err);
    if (!code)
        code = fs_commit(&tail->file, err);
    if (!code) {
        int count = ++manifest->file_count[split];
        manifest->files[split] = mem_grow(manifest->files[split], (size_t)count * sizeof file);
        manifest->files[split][count - 1] = file;
    }
    tail_clear(tail);
    return code;
}

err_code_t shard_writer_add(shard_writer_t *writer, shard_split_t split, const uint8_t *pixels,
                            int label, const uint8_t digest[SHARD_DIGEST_BYTES], err_t *err) {
    tail_t *tail = &writer->tails[split];
    ERR_ASSERT(label >= 0 && label < writer->info->class_count);
    err_code_t code = tail->file ? ERR_OK : tail_open(writer, split, err);
    if (!code)
        code = put(tail, pixels, writer->image_bytes, err);
    if (code)
        return code;
    for (int i = 0; i < 4; i++)
        tail->labels[tail->images * 4 + i] = (uint8_t)((uint32_t)label >> (8 * i));
    memcpy(tail->digests + tail->images * SHARD_DIGEST_BYTES, digest, SHARD_DIGEST_BYTES);
    tail->images++;
    writer->images[split]++;
    writer->class_images[split][label]++;
    return tail->images == writer->images_max ? tail_close(writer, split, err) : ERR_OK;
}

static err_code_t note_file(const shard_writer_t *writer, const char *name, manifest_file_t *file,
                            err_t *err) {
    char *path = fs_join(writer->folder, name);
    err_code_t code = digest_file(path, file->sha256, &file->bytes, err);
    free(path);
    return code;
}

err_code_t shard_writer_finish(shard_writer_t **self, char manifest_digest[DIGEST_HEX_SIZE],
                               err_t *err) {
    shard_writer_t *writer = *self;
    err_code_t code = ERR_OK;
    for (int s = 0; s < SHARD_SPLIT_COUNT && !code; s++)
        if (writer->tails[s].file)
            code = tail_close(writer, (shard_split_t)s, err);
    if (!code)
        code = note_file(writer, SHARD_INDEX, &writer->manifest.index, err);
    if (!code)
        code = note_file(writer, SHARD_REJECTS, &writer->manifest.rejects, err);
    if (!code) {
        shard_info_t info = *writer->info;
        memcpy(info.images, writer->images, sizeof info.images);
        memcpy(info.class_images, writer->class_images, sizeof info.class_images);
        code = manifest_write(writer->folder, &info, &writer->manifest, err);
    }
    if (!code)
        memcpy(manifest_digest, writer->manifest.digest, DIGEST_HEX_SIZE);
    shard_writer_abort(self);
    return code;
}
