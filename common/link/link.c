#include "link/link.h"

#include "base/utf8.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define FILL_BYTES 65536
#define KEEP_BYTES (2 * FILL_BYTES) // an empty reader that has grown beyond this gives it back

typedef struct {
    uint32_t size;
    uint16_t type, zero;
    uint64_t id;
} head_t;

_Static_assert(sizeof(head_t) == LINK_HEADER_BYTES, "no padding");

void link_build(char text[LINK_BUILD_SIZE]) {
    snprintf(text, LINK_BUILD_SIZE, "%s/%d", INKLING_VERSION, (int)PROTO_TYPE_COUNT);
}

err_code_t link_append(buf_t *out, proto_type_t type, uint64_t id, proto_bytes_t body, err_t *err) {
    if (body.size > PROTO_MESSAGE_MAX)
        return err_set(err, ERR_TOO_LARGE, "%s: %zu bytes; the limit is %u",
                       proto_message(type)->wire, body.size, PROTO_MESSAGE_MAX);
    head_t head = {.size = (uint32_t)body.size, .type = (uint16_t)type, .id = id};
    if (!buf_reserve(out, sizeof head + body.size))
        return err_set(err, ERR_FULL, "%s: the other half of the worker does not read",
                       proto_message(type)->wire);
    buf_append(out, &head, sizeof head);
    buf_append(out, body.data, body.size);
    return ERR_OK;
}

err_code_t link_encode(buf_t *out, proto_type_t type, uint64_t id, const void *message,
                       err_t *err) {
    buf_t body;
    buf_init(&body, PROTO_MESSAGE_MAX);
    err_code_t code = proto_encode(type, message, &body, err);
    if (code == ERR_OK)
        code = link_append(out, type, id, (proto_bytes_t){body.data, body.size}, err);
    buf_release(&body);
    return code;
}

void link_reader_init(link_reader_t *reader) {
    *reader = (link_reader_t){.start = 0};
    buf_init(&reader->bytes, LINK_HEADER_BYTES + PROTO_MESSAGE_MAX + FILL_BYTES);
}

void link_reader_release(link_reader_t *reader) {
    buf_release(&reader->bytes);
    reader->start = 0;
}

static void compact(link_reader_t *reader) {
    buf_t *bytes = &reader->bytes;
    size_t left = bytes->size - reader->start;
    if (left == 0 && bytes->capacity > KEEP_BYTES)
        buf_release(bytes);
    if (reader->start && left)
        memmove(bytes->data, bytes->data + reader->start, left);
    bytes->size = left;
    reader->start = 0;
}

link_fill_t link_fill(link_reader_t *reader, int fd) {
    compact(reader);
    char *end = buf_reserve(&reader->bytes, FILL_BYTES);
    if (!end)
        return LINK_ENDED;
    ssize_t got;
    do
        got = read(fd, end, FILL_BYTES);
    while (got < 0 && errno == EINTR);
    if (got > 0) {
        reader->bytes.size += (size_t)got;
        return LINK_MORE;
    }
    return got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK) ? LINK_BLOCKED : LINK_ENDED;
}

err_code_t link_next(link_reader_t *reader, link_frame_t *frame, bool *whole, err_t *err) {
    *whole = false;
    const char *at = reader->bytes.data + reader->start;
    size_t left = reader->bytes.size - reader->start;
    head_t head;
    if (left < sizeof head)
        return ERR_OK;
    memcpy(&head, at, sizeof head);
    if (head.size > PROTO_MESSAGE_MAX || head.type >= PROTO_TYPE_COUNT || head.zero != 0)
        return err_set(err, ERR_PROTOCOL, "bytes that are no frame: type %u, size %u", head.type,
                       head.size);
    if (left - sizeof head < head.size)
        return ERR_OK;
    *frame = (link_frame_t){(proto_type_t)head.type, head.id, {at + sizeof head, head.size}};
    reader->start += sizeof head + head.size;
    *whole = true;
    return ERR_OK;
}

void link_clean_text(char *text, size_t max) {
    size_t size = strlen(text), at = 0;
    while (at < size) {
        size_t length = utf8_length(text + at, size - at);
        if (length == 0) {
            text[at] = '?';
            length = 1;
        }
        if (at + length > max)
            break;
        at += length;
    }
    text[at] = 0;
}
