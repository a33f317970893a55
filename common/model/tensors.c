#include "model/tensors.h"

#include "base/buf.h"
#include "base/fs.h"

#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "numbers are written and read in place");

#define METADATA    "__metadata__"
#define PREFIX_SIZE 8
#define BYTES_MAX   (1ull << 40) // of a file: sums of sizes cannot overflow

struct tensors {
    uint8_t *map;
    size_t size;
    json_t *header; // owns the metadata's texts
    tensor_t *list;
    int count;
};

// ---- writing ----

static void describe_tensor(buf_t *header, const tensor_t *tensor, uint64_t begin) {
    buf_json_string(header, tensor->name);
    buf_puts(header, ":{\"dtype\":\"F32\",\"shape\":[");
    for (int i = 0; i < tensor->rank; i++)
        buf_printf(header, "%s%" PRId64, i ? "," : "", tensor->dims[i]);
    uint64_t end = begin + (uint64_t)tensor->count * sizeof(float);
    buf_printf(header, "],\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]}", begin, end);
}

static void describe_metadata(buf_t *header, const char *const *metadata) {
    buf_json_string(header, METADATA);
    buf_puts(header, ":{");
    for (int i = 0; metadata[i]; i += 2) {
        buf_puts(header, i ? "," : "");
        buf_json_string(header, metadata[i]);
        buf_puts(header, ":");
        buf_json_string(header, metadata[i + 1]);
    }
    buf_puts(header, "}");
}

static void describe_all(buf_t *header, const tensor_t *tensors, int count,
                         const char *const *metadata) {
    uint64_t at = 0;
    buf_puts(header, "{");
    if (metadata)
        describe_metadata(header, metadata);
    for (int i = 0; i < count; i++) {
        buf_puts(header, i || metadata ? "," : "");
        describe_tensor(header, &tensors[i], at);
        at += (uint64_t)tensors[i].count * sizeof(float);
    }
    buf_puts(header, "}");
    while (header->size % 8 != 0 && !header->failed)
        buf_puts(header, " ");
}

static bool put(FILE *stream, digest_t *digest, const void *bytes, size_t size) {
    digest_add(digest, bytes, size);
    return fwrite(bytes, 1, size, stream) == size;
}

static err_code_t put_all(FILE *stream, const char *path, const buf_t *header,
                          const tensor_t *tensors, int count, char sha256[DIGEST_HEX_SIZE],
                          err_t *err) {
    uint64_t size = header->size;
    digest_t *digest = digest_new();
    bool good =
        put(stream, digest, &size, sizeof size) && put(stream, digest, header->data, header->size);
    for (int i = 0; i < count && good; i++)
        good = put(stream, digest, tensors[i].data, (size_t)tensors[i].count * sizeof(float));
    digest_end(&digest, sha256);
    return good ? ERR_OK : err_set_errno(err, "cannot write %s", path);
}

static err_code_t write_file(const char *path, const buf_t *header, const tensor_t *tensors,
                             int count, char sha256[DIGEST_HEX_SIZE], err_t *err) {
    fs_new_t *file = NULL;
    err_code_t code = fs_open_new(path, &file, err);
    if (code == ERR_OK)
        code = put_all(fs_stream(file), path, header, tensors, count, sha256, err);
    if (code == ERR_OK)
        return fs_commit(&file, err);
    fs_abort(&file);
    return code;
}

err_code_t tensors_write(const char *path, const tensor_t *tensors, int count,
                         const char *const *metadata, char sha256[DIGEST_HEX_SIZE], err_t *err) {
    ERR_ASSERT(count >= 0 && count <= TENSORS_MAX);
    buf_t header;
    buf_init(&header, TENSORS_HEADER_MAX);
    describe_all(&header, tensors, count, metadata);
    err_code_t code = header.failed
                          ? err_set(err, ERR_TOO_LARGE, "%s: its header would pass %u bytes", path,
                                    TENSORS_HEADER_MAX)
                          : write_file(path, &header, tensors, count, sha256, err);
    buf_release(&header);
    return code;
}

// ---- reading ----

static err_code_t damaged(err_t *err, const char *path, const char *how) {
    return err_set(err, ERR_CORRUPT, "%s is damaged: %s", path, how);
}

static err_code_t map_file(tensors_t *tensors, const char *path, err_t *err) {
    struct stat info;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0)
        return err_set_errno(err, "cannot read %s", path);
    err_code_t code = ERR_OK;
    if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode) || info.st_size < PREFIX_SIZE + 2 ||
        (uint64_t)info.st_size > BYTES_MAX) {
        code = damaged(err, path, "it is no file of tensors");
    } else {
        void *at = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (at == MAP_FAILED) {
            code = err_set_errno(err, "cannot map %s", path);
        } else {
            tensors->map = at;
            tensors->size = (size_t)info.st_size;
        }
    }
    close(fd);
    return code;
}

static bool take_shape(const json_t *shape, tensor_t *tensor) {
    size_t rank = json_array_size(shape);
    if (rank < 1 || rank > TENSORS_RANK_MAX)
        return false;
    tensor->rank = (int)rank;
    tensor->count = 1;
    for (size_t i = 0; i < rank; i++) {
        const json_t *number = json_array_get(shape, i);
        int64_t dim = json_is_integer(number) ? json_integer_value(number) : 0;
        if (dim < 1 || (uint64_t)dim > BYTES_MAX / (uint64_t)tensor->count)
            return false;
        tensor->dims[i] = dim;
        tensor->count *= dim;
    }
    return true;
}

// data_size: bytes behind the header.
static bool take_tensor(const char *name, json_t *entry, const uint8_t *data, size_t data_size,
                        tensor_t *tensor) {
    const char *dtype;
    json_t *shape;
    json_int_t begin, end;
    size_t length = strlen(name);
    if (length > TENSORS_NAME_MAX || json_object_size(entry) != 3 ||
        json_unpack(entry, "{s:s, s:o, s:[I, I!]}", "dtype", &dtype, "shape", &shape,
                    "data_offsets", &begin, &end) ||
        strcmp(dtype, "F32") != 0 || !take_shape(shape, tensor))
        return false;
    memcpy(tensor->name, name, length + 1);
    if (begin < 0 || end < begin || (uint64_t)end > data_size || begin % (json_int_t)sizeof(float))
        return false;
    tensor->data = (const float *)(const void *)(data + begin);
    return (uint64_t)(end - begin) / sizeof(float) == (uint64_t)tensor->count &&
           (uint64_t)(end - begin) % sizeof(float) == 0;
}

static bool metadata_good(json_t *metadata) {
    const char *key;
    json_t *text;
    json_object_foreach(metadata, key, text) {
        if (!json_is_string(text))
            return false;
    }
    return json_is_object(metadata);
}

static int by_place(const void *a, const void *b) {
    const tensor_t *x = a, *y = b;
    return (x->data > y->data) - (x->data < y->data);
}

// The tensors, sorted, follow each other from the first byte of data to the last.
static bool fills_data(const tensors_t *tensors, const uint8_t *data) {
    for (int i = 0; i < tensors->count; i++) {
        if ((const uint8_t *)tensors->list[i].data != data)
            return false;
        data += (size_t)tensors->list[i].count * sizeof(float);
    }
    return data == tensors->map + tensors->size;
}

static err_code_t take_entries(tensors_t *tensors, const char *path, const uint8_t *data,
                               err_t *err) {
    const char *name;
    json_t *entry;
    size_t data_size = tensors->size - (size_t)(data - tensors->map);
    tensors->list = mem_zero(json_object_size(tensors->header) + 1, sizeof *tensors->list);
    json_object_foreach(tensors->header, name, entry) {
        if (strcmp(name, METADATA) == 0) {
            if (!metadata_good(entry))
                return damaged(err, path, METADATA " is no map of texts");
            continue;
        }
        if (!take_tensor(name, entry, data, data_size, &tensors->list[tensors->count]))
            return err_set(err, ERR_CORRUPT, "%s is damaged: the entry of tensor %.63s is wrong",
                           path, name);
        tensors->count++;
    }
    if (tensors->count > 0)
        qsort(tensors->list, (size_t)tensors->count, sizeof *tensors->list, by_place);
    return fills_data(tensors, data) ? ERR_OK
                                     : damaged(err, path, "its tensors overlap or leave gaps");
}

static err_code_t take_file(tensors_t *tensors, const char *path, err_t *err) {
    uint64_t header;
    memcpy(&header, tensors->map, sizeof header);
    if (header > TENSORS_HEADER_MAX || header % 8 != 0 || header > tensors->size - PREFIX_SIZE)
        return damaged(err, path, "the size of its header is wrong");
    const char *text = (const char *)tensors->map + PREFIX_SIZE;
    tensors->header = json_loadb(text, header, JSON_REJECT_DUPLICATES, NULL);
    if (!json_is_object(tensors->header) || text[0] != '{')
        return damaged(err, path, "its header is no JSON object");
    if (json_object_size(tensors->header) > TENSORS_MAX + 1)
        return damaged(err, path, "it has too many tensors");
    return take_entries(tensors, path, tensors->map + PREFIX_SIZE + header, err);
}

static err_code_t check_sha256(const tensors_t *tensors, const char *path, const char *sha256,
                               err_t *err) {
    char found[DIGEST_HEX_SIZE];
    digest_bytes(tensors->map, tensors->size, found);
    return strcmp(found, sha256) == 0 ? ERR_OK
                                      : damaged(err, path, "its SHA-256 is not the recorded one");
}

err_code_t tensors_open(const char *path, const char *sha256, tensors_t **out, err_t *err) {
    tensors_t *tensors = mem_zero(1, sizeof *tensors);
    *out = NULL;
    err_code_t code = map_file(tensors, path, err);
    if (code == ERR_OK && sha256)
        code = check_sha256(tensors, path, sha256, err);
    if (code == ERR_OK)
        code = take_file(tensors, path, err);
    if (code)
        tensors_close(&tensors);
    else
        *out = tensors;
    return code;
}

void tensors_close(tensors_t **self) {
    tensors_t *tensors = *self;
    if (!tensors)
        return;
    if (tensors->map)
        munmap(tensors->map, tensors->size);
    json_decref(tensors->header);
    free(tensors->list);
    free(tensors);
    *self = NULL;
}

int tensors_count(const tensors_t *tensors) {
    return tensors->count;
}

const tensor_t *tensors_at(const tensors_t *tensors, int index) {
    ERR_ASSERT(index >= 0 && index < tensors->count);
    return &tensors->list[index];
}

const tensor_t *tensors_find(const tensors_t *tensors, const char *name) {
    for (int i = 0; i < tensors->count; i++)
        if (strcmp(tensors->list[i].name, name) == 0)
            return &tensors->list[i];
    return NULL;
}

const char *tensors_metadata(const tensors_t *tensors, const char *key) {
    return json_string_value(json_object_get(json_object_get(tensors->header, METADATA), key));
}
