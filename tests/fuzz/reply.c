// Heads of HTTP answers: what is read does not depend on the pieces in which it came.
#include "load/reply.h"
#include "fuzz.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const char *bytes = (const char *)data;
    reply_t reply, again;
    bool whole, half;
    err_t err = {0};
    err_code_t code = reply_read(bytes, size, &reply, &whole, &err);
    if (code) {
        ERR_ASSERT(err.code == code && err.message[0]);
        return 0;
    }
    if (!whole) {
        ERR_ASSERT(size < REPLY_HEAD_MAX);
        return 0;
    }
    ERR_ASSERT(reply.status >= 200 && reply.status <= 599);
    ERR_ASSERT(reply.head_bytes <= size && reply.head_bytes <= REPLY_HEAD_MAX);
    ERR_ASSERT(reply.body_bytes <= REPLY_BODY_MAX);
    ERR_ASSERT(reply.json_bytes == SIZE_MAX || reply.json_bytes <= reply.body_bytes);
    ERR_ASSERT(reply_read(bytes, reply.head_bytes, &again, &half, &err) == ERR_OK && half);
    ERR_ASSERT(memcmp(&again.status, &reply.status, sizeof again.status) == 0 &&
               again.body_bytes == reply.body_bytes && again.keeps == reply.keeps);
    ERR_ASSERT(reply_read(bytes, reply.head_bytes - 1, &again, &half, &err) == ERR_OK && !half);
    return 0;
}

static void seed(const char *text) {
    fuzz_seed(text, strlen(text));
}

void fuzz_seeds(void) {
    seed("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\n{}");
    seed("HTTP/1.1 429 \r\nRetry-After: 1\r\ncontent-length: 0\r\nConnection: a, close\r\n\r\n");
    seed(
        "HTTP/1.0 200 OK\r\nInference-Header-Content-Length: 2\r\nContent-Length: 6\r\n\r\n{}....");
    seed("HTTP/1.1 204 No Content\r\n\r\n");
}

void fuzz_end(void) {
}
