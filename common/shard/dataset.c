#include "base/fs.h"
#include "file_impl.h"
#include "manifest_impl.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "labels are read in place");

typedef struct {
    uint8_t *map; // NULL until mapped
    file_layout_t layout;
} part_t;

struct shard_dataset {
    char *folder;
    manifest_t manifest;
    size_t image_bytes;
    part_t *parts[SHARD_SPLIT_COUNT];
};

static err_code_t damaged(err_t *err, const char *path, const char *how) {
    err_set(err, ERR_CORRUPT, "%s is damaged: %s", path, how);
    return err_remedy(err, "ingest the data set again");
}

static err_code_t map_file(const char *path, uint64_t bytes, uint8_t **map, err_t *err) {
    struct stat info;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0)
        return err_set_errno(err, "cannot read %s", path);
    err_code_t code = ERR_OK;
    if (fstat(fd, &info) != 0 || (uint64_t)info.st_size != bytes) {
        code = damaged(err, path, "its size is not that of the manifest");
    } else {
        void *at = mmap(NULL, bytes, PROT_READ, MAP_SHARED, fd, 0);
        if (at == MAP_FAILED)
            code = err_set_errno(err, "cannot map %s", path);
        else
            *map = at;
    }
    close(fd);
    return code;
}

// Labels in range, and counted into class_images.
static bool labels_good(const part_t *part, int class_count, int64_t *class_images) {
    const uint32_t *labels = (const uint32_t *)(const void *)(part->map + part->layout.labels_at);
    for (int64_t i = 0; i < part->layout.images; i++) {
        if (labels[i] >= (uint32_t)class_count)
            return false;
        class_images[labels[i]]++;
    }
    return true;
}

static err_code_t open_part(const shard_dataset_t *ds, const manifest_file_t *file,
                            const char *path, part_t *part, int64_t *class_images, err_t *err) {
    const shard_info_t *info = &ds->manifest.info;
    char hex[DIGEST_HEX_SIZE];
    uint32_t version;
    if ((uint64_t)file->images > file->bytes / ds->image_bytes)
        return damaged(err, path, "it is too small for its images");
    part->layout = file_layout(file->images, info->height, info->width, info->channels);
    if (file->bytes != part->layout.size)
        return damaged(err, path, "its size is not that of so many images");
    err_code_t code = map_file(path, file->bytes, &part->map, err);
    if (code)
        return code;
    bool good = file_header_matches(&part->layout, part->map, &version);
    if (version > FILE_VERSION) {
        err_set(err, ERR_UNSUPPORTED, "%s has format version %u; this Inkling reads up to %d", path,
                version, FILE_VERSION);
        return err_remedy(err, "use an Inkling at least as new as the one that wrote it");
    }
    if (!good)
        return damaged(err, path, "its header does not fit the manifest");
    digest_bytes(part->map, file->bytes, hex);
    if (strcmp(hex, file->sha256) != 0)
        return damaged(err, path, "its SHA-256 is not that of the manifest");
    if (!labels_good(part, info->class_count, class_images))
        return damaged(err, path, "a label has no class");
    return ERR_OK;
}

static err_code_t open_split(shard_dataset_t *ds, shard_split_t split, err_t *err) {
    const manifest_t *manifest = &ds->manifest;
    const shard_info_t *info = &manifest->info;
    int count = manifest->file_count[split];
    int64_t *class_images = mem_zero((size_t)info->class_count, sizeof *class_images);
    err_code_t code = ERR_OK;
    ds->parts[split] = mem_zero((size_t)count + 1, sizeof *ds->parts[split]);
    for (int i = 0; i < count && !code; i++) {
        char *name = manifest_shard_name(split, i), *path = fs_join(ds->folder, name);
        code = open_part(ds, &manifest->files[split][i], path, &ds->parts[split][i], class_images,
                         err);
        free(name);
        free(path);
    }
    size_t bytes = (size_t)info->class_count * sizeof *class_images;
    if (!code && memcmp(class_images, info->class_images[split], bytes) != 0)
        code = damaged(err, ds->folder, "classes are not as many as the manifest says");
    free(class_images);
    return code;
}

static err_code_t check_list(const shard_dataset_t *ds, const char *name,
                             const manifest_file_t *file, err_t *err) {
    char *path = fs_join(ds->folder, name), hex[DIGEST_HEX_SIZE];
    uint64_t bytes;
    err_code_t code = digest_file(path, hex, &bytes, err);
    if (!code && (bytes != file->bytes || strcmp(hex, file->sha256) != 0))
        code = damaged(err, path, "its SHA-256 is not that of the manifest");
    free(path);
    return code;
}

// A file that the manifest names is missing: that is damage, not a data set that does not exist.
static err_code_t missing_is_damage(err_code_t code, err_t *err) {
    if (code == ERR_NOT_FOUND && err)
        err->code = ERR_CORRUPT;
    return code == ERR_NOT_FOUND ? ERR_CORRUPT : code;
}

err_code_t shard_open(const char *folder, shard_dataset_t **out, err_t *err) {
    shard_dataset_t *ds = mem_zero(1, sizeof *ds);
    ds->folder = mem_dup(folder);
    err_code_t code = manifest_read(folder, &ds->manifest, err);
    if (!code) {
        const shard_info_t *info = &ds->manifest.info;
        ds->image_bytes = (size_t)info->height * (size_t)info->width * (size_t)info->channels;
        for (int s = 0; s < SHARD_SPLIT_COUNT && !code; s++)
            code = open_split(ds, (shard_split_t)s, err);
        if (!code)
            code = check_list(ds, SHARD_INDEX, &ds->manifest.index, err);
        if (!code)
            code = check_list(ds, SHARD_REJECTS, &ds->manifest.rejects, err);
        code = missing_is_damage(code, err);
    }
    if (code)
        shard_close(&ds);
    else
        *out = ds;
    return code;
}

void shard_close(shard_dataset_t **self) {
    shard_dataset_t *ds = *self;
    if (!ds)
        return;
    for (int s = 0; s < SHARD_SPLIT_COUNT; s++) {
        for (int i = 0; ds->parts[s] && i < ds->manifest.file_count[s]; i++)
            if (ds->parts[s][i].map)
                munmap(ds->parts[s][i].map, ds->parts[s][i].layout.size);
        free(ds->parts[s]);
    }
    manifest_release(&ds->manifest);
    free(ds->folder);
    free(ds);
    *self = NULL;
}

const shard_info_t *shard_info(const shard_dataset_t *ds) {
    return &ds->manifest.info;
}

const char *shard_folder(const shard_dataset_t *ds) {
    return ds->folder;
}

const char *shard_digest(const shard_dataset_t *ds) {
    return ds->manifest.digest;
}

int64_t shard_count(const shard_dataset_t *ds, shard_split_t split) {
    return ds->manifest.info.images[split];
}

size_t shard_image_bytes(const shard_dataset_t *ds) {
    return ds->image_bytes;
}

// The part that holds image *i of the split; *i becomes its number in there.
static const part_t *part_of(const shard_dataset_t *ds, shard_split_t split, int64_t *i) {
    ERR_ASSERT(*i >= 0 && *i < shard_count(ds, split));
    int64_t each = ds->parts[split][0].layout.images, part = *i / each;
    *i %= each;
    return &ds->parts[split][part];
}

const uint8_t *shard_pixels(const shard_dataset_t *ds, shard_split_t split, int64_t i) {
    const part_t *part = part_of(ds, split, &i);
    return part->map + part->layout.pixels_at + (size_t)i * ds->image_bytes;
}

int shard_label(const shard_dataset_t *ds, shard_split_t split, int64_t i) {
    const part_t *part = part_of(ds, split, &i);
    uint32_t label;
    memcpy(&label, part->map + part->layout.labels_at + (size_t)i * sizeof label, sizeof label);
    return (int)label;
}

const uint8_t *shard_source_digest(const shard_dataset_t *ds, shard_split_t split, int64_t i) {
    const part_t *part = part_of(ds, split, &i);
    return part->map + part->layout.digests_at + (size_t)i * SHARD_DIGEST_BYTES;
}
