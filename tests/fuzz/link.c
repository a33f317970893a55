// The frames between a worker and its child: the same ones however the stream is cut into pieces,
// and an end, without harm, at the first byte that belongs to no frame.
#include "link/link.h"
#include "fuzz.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define FRAMES_MAX 4096
#define STREAM_MAX 60000

typedef struct {
    size_t at, size; // of the body in the stream
    uint64_t id;
    unsigned type;
} expected_t;

static expected_t expected[FRAMES_MAX];
static size_t expected_count;
static bool broken; // then bytes that are no frame
static proto_arena_t *arena;

// The obvious reading of link.h, of all bytes at once.
static void expect(const uint8_t *stream, size_t size) {
    expected_count = 0;
    broken = false;
    for (size_t at = 0; size - at >= LINK_HEADER_BYTES;) {
        uint32_t body;
        uint16_t type, zero;
        expected_t *frame = &expected[expected_count];
        memcpy(&body, stream + at, 4);
        memcpy(&type, stream + at + 4, 2);
        memcpy(&zero, stream + at + 6, 2);
        memcpy(&frame->id, stream + at + 8, 8);
        broken = body > PROTO_MESSAGE_MAX || type >= PROTO_TYPE_COUNT || zero;
        if (broken || size - at - LINK_HEADER_BYTES < body)
            return;
        frame->at = at + LINK_HEADER_BYTES;
        frame->size = body;
        frame->type = type;
        expected_count++;
        at += LINK_HEADER_BYTES + body;
    }
}

// Its body may be anything: a message or an error.
static void check_frame(const link_frame_t *frame, size_t number, const uint8_t *stream) {
    ERR_ASSERT(number < expected_count);
    const expected_t *wanted = &expected[number];
    ERR_ASSERT(frame->type == wanted->type && frame->id == wanted->id &&
               frame->body.size == wanted->size);
    ERR_ASSERT(wanted->size == 0 ||
               memcmp(frame->body.data, stream + wanted->at, wanted->size) == 0);
    proto_arena_reset(arena);
    void *message = proto_arena_alloc(arena, proto_message(frame->type)->size);
    proto_decode(frame->type, frame->body.data, frame->body.size, arena, message, NULL);
}

// False: the reader says that the bytes are no frames.
static bool take(link_reader_t *reader, const uint8_t *stream, size_t *frames) {
    for (;;) {
        link_frame_t frame;
        bool whole = false;
        err_t err = {.code = ERR_OK};
        err_code_t code = link_next(reader, &frame, &whole, &err);
        if (code) {
            ERR_ASSERT(code == ERR_PROTOCOL && err.message[0]);
            return false;
        }
        if (!whole)
            return true;
        check_frame(&frame, (*frames)++, stream);
    }
}

// In pieces of 1, 1 + step, 1 + 2 * step … bytes.
static void read_pieces(const uint8_t *stream, size_t size, size_t step) {
    int pair[2];
    link_reader_t reader;
    size_t sent = 0, frames = 0, piece = 1;
    bool good = true;
    ERR_ASSERT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) == 0);
    link_reader_init(&reader);
    for (; good && sent < size; piece += step) {
        size_t count = piece < size - sent ? piece : size - sent;
        link_fill_t fill = LINK_MORE;
        ERR_ASSERT(write(pair[0], stream + sent, count) == (ssize_t)count);
        sent += count;
        while (good && (fill = link_fill(&reader, pair[1])) == LINK_MORE)
            good = take(&reader, stream, &frames);
        ERR_ASSERT(!good || fill == LINK_BLOCKED);
    }
    ERR_ASSERT(good != broken && frames == expected_count);
    close(pair[0]);
    ERR_ASSERT(!good || link_fill(&reader, pair[1]) == LINK_ENDED);
    close(pair[1]);
    link_reader_release(&reader);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0 || size > STREAM_MAX)
        return 0;
    expect(data + 1, size - 1);
    read_pieces(data + 1, size - 1, 1 + data[0] % 64);
    return 0;
}

static void seed(const buf_t *stream, char step) {
    buf_t input;
    buf_init(&input, 1 << 20);
    buf_append(&input, &step, 1);
    buf_append(&input, stream->data, stream->size);
    fuzz_seed(input.data, input.size);
    buf_release(&input);
}

// One frame, two, three, four; the last one is large.
void fuzz_seeds(void) {
    static uint8_t noise[30000];
    buf_t out;
    proto_lease_t lease = {.job = "1", .token = 2, .step = 3, .step_ms = 0.5};
    proto_report_t report = {.type = "log", .data = {"\x81\xa4text\xa1x", 8}};
    proto_job_finish_t finish = {
        .worker = "w", .job = "1", .token = 2, .outcome = "succeeded", .seq = 1};
    arena = proto_arena_new();
    buf_init(&out, 1 << 20);
    ERR_ASSERT(link_encode(&out, PROTO_lease, 0, &lease, NULL) == ERR_OK);
    seed(&out, 0);
    ERR_ASSERT(link_encode(&out, PROTO_report, 0, &report, NULL) == ERR_OK);
    seed(&out, 3);
    ERR_ASSERT(link_encode(&out, PROTO_job_finish, 7, &finish, NULL) == ERR_OK);
    seed(&out, 20);
    for (size_t i = 0; i < sizeof noise; i++)
        noise[i] = (uint8_t)(i * i >> 4);
    ERR_ASSERT(link_append(&out, PROTO_ok, 9, (proto_bytes_t){noise, sizeof noise}, NULL) == 0);
    seed(&out, 63);
    buf_release(&out);
}

void fuzz_end(void) {
    proto_arena_destroy(&arena);
}
