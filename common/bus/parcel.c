#include "bus/parcel.h"

#include "bus_impl.h"

#include <czmq.h>
#include <stdlib.h>
#include <string.h>

// msgpack's uint 64: 0xcf and eight bytes, the most significant first. Every id of a parcel has
// this form, so that the header is patched, not encoded.
#define ID_MARK  0xcf
#define ID_BYTES 8

struct bus_parcel {
    unsigned char header[PROTO_HEADER_MAX];
    size_t header_size, id_at; // id_at: of the id's eight bytes
    zmq_msg_t *frames;         // body, attachments
    size_t frame_count;
};

static void put_id(unsigned char *at, uint64_t id) {
    for (int i = 0; i < ID_BYTES; i++)
        at[i] = (unsigned char)(id >> (8 * (ID_BYTES - 1 - i)));
}

// Where in the header the id stands: the one place where the headers of two ids differ.
static err_code_t build_header(bus_parcel_t *parcel, proto_type_t type, uint64_t deadline_ms,
                               err_t *err) {
    const uint64_t id = UINT64_C(0x0012345678abcdef);
    unsigned char mark[1 + ID_BYTES] = {ID_MARK};
    put_id(mark + 1, id);
    proto_header_t head = {.v = PROTO_VERSION,
                           .type = proto_message(type)->wire,
                           .id = id,
                           .deadline_ms = deadline_ms};
    buf_t header;
    buf_init(&header, PROTO_HEADER_MAX);
    err_code_t code = proto_encode(PROTO_header, &head, &header, err);
    if (code == ERR_OK) {
        const char *at = memmem(header.data, header.size, mark, sizeof mark);
        ERR_ASSERT(at);
        memcpy(parcel->header, header.data, header.size);
        parcel->header_size = header.size;
        parcel->id_at = (size_t)(at - header.data) + 1;
    }
    buf_release(&header);
    return code;
}

static err_code_t add_frame(bus_parcel_t *parcel, const void *bytes, size_t size, err_t *err) {
    zmq_msg_t *frame = &parcel->frames[parcel->frame_count];
    if (zmq_msg_init_size(frame, size) != 0)
        return err_set(err, ERR_NO_MEMORY, "no memory for a frame of %zu bytes", size);
    if (size)
        memcpy(zmq_msg_data(frame), bytes, size);
    parcel->frame_count++;
    return ERR_OK;
}

static err_code_t add_body(bus_parcel_t *parcel, proto_type_t type, const void *message,
                           err_t *err) {
    buf_t body;
    buf_init(&body, PROTO_MESSAGE_MAX);
    err_code_t code = proto_encode(type, message, &body, err);
    if (code == ERR_OK)
        code = add_frame(parcel, body.data, body.size, err);
    buf_release(&body);
    return code;
}

err_code_t bus_parcel_new(proto_type_t type, const void *message, uint64_t deadline_ms,
                          const proto_bytes_t *attachments, size_t attachment_count,
                          bus_parcel_t **out, err_t *err) {
    bus_parcel_t *parcel = mem_zero(1, sizeof *parcel);
    parcel->frames = mem_zero(attachment_count + 1, sizeof *parcel->frames);
    err_code_t code = build_header(parcel, type, deadline_ms, err);
    if (code == ERR_OK)
        code = add_body(parcel, type, message, err);
    for (size_t i = 0; i < attachment_count && code == ERR_OK; i++)
        code = add_frame(parcel, attachments[i].data, attachments[i].size, err);
    if (code)
        bus_parcel_destroy(&parcel);
    else
        *out = parcel;
    return code;
}

void bus_parcel_destroy(bus_parcel_t **self) {
    bus_parcel_t *parcel = *self;
    if (!parcel)
        return;
    for (size_t i = 0; i < parcel->frame_count; i++)
        zmq_msg_close(&parcel->frames[i]);
    free(parcel->frames);
    free(parcel);
    *self = NULL;
}

// A copy of a frame shares its bytes with it.
static bool send_shared(void *raw, zmq_msg_t *frame, bool more) {
    zmq_msg_t copy;
    zmq_msg_init(&copy);
    bool sent = zmq_msg_copy(&copy, frame) == 0 &&
                zmq_msg_send(&copy, raw, ZMQ_DONTWAIT | (more ? ZMQ_SNDMORE : 0)) >= 0;
    if (!sent)
        zmq_msg_close(&copy);
    return sent;
}

err_code_t bus_parcel_send(bus_socket_t *socket, bus_parcel_t *parcel, uint64_t id, err_t *err) {
    ERR_ASSERT(id >= BUS_PARCEL_ID_MIN && id <= (uint64_t)PROTO_U64_MAX);
    void *raw = bus_raw_to_send(socket);
    put_id(parcel->header + parcel->id_at, id);
    bool sent = zmq_send(raw, parcel->header, parcel->header_size, ZMQ_DONTWAIT | ZMQ_SNDMORE) >= 0;
    for (size_t i = 0; i < parcel->frame_count && sent; i++)
        sent = send_shared(raw, &parcel->frames[i], i + 1 < parcel->frame_count);
    if (sent)
        return ERR_OK;
    if (errno == EAGAIN)
        return err_set(err, ERR_FULL, "the peer does not take messages: its queue is full");
    return err_set_errno(err, "cannot send");
}
