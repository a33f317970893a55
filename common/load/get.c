// One question over HTTP, blocking.
#include "address_impl.h"
#include "load/load.h"

#include <errno.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#define READ_BYTES 16384

static err_code_t send_all(int fd, const char *bytes, size_t size, err_t *err) {
    while (size > 0) {
        ssize_t put = send(fd, bytes, size, MSG_NOSIGNAL);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return err_set_errno(err, "cannot send the question");
        bytes += put;
        size -= (size_t)put;
    }
    return ERR_OK;
}

static err_code_t receive(int fd, buf_t *answer, reply_t *reply, err_t *err) {
    bool whole = false;
    err_code_t code = ERR_OK;
    while (code == ERR_OK && !(whole && answer->size >= reply->head_bytes + reply->body_bytes)) {
        char *to = buf_reserve(answer, READ_BYTES);
        if (!to)
            return err_set(err, ERR_TOO_LARGE, "the answer is above %zu bytes", answer->ceiling);
        ssize_t got = recv(fd, to, READ_BYTES, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0 && errno == EAGAIN)
            return err_set(err, ERR_TIMEOUT, "no answer in time");
        if (got < 0)
            return err_set_errno(err, "cannot read the answer");
        if (got == 0)
            return err_set(err, ERR_PROTOCOL, "the other side closed before its answer was whole");
        answer->size += (size_t)got;
        if (!whole)
            code = reply_read(answer->data, answer->size, reply, &whole, err);
    }
    return code;
}

err_code_t load_get(const char *url, const char *path, const char *token, int64_t timeout_ms,
                    reply_t *reply, buf_t *answer, err_t *err) {
    address_t address;
    buf_t question;
    int fd = -1;
    err_code_t code = address_find(url, &address, err);
    if (code == ERR_OK)
        code = address_connect(&address, url, &fd, err);
    if (code)
        return code;
    struct timeval wait = {timeout_ms / 1000, timeout_ms % 1000 * 1000};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof wait);
    buf_init(&question, 65536);
    buf_printf(&question, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n", path,
               url + strlen("http://"));
    if (token)
        buf_printf(&question, "Authorization: Bearer %s\r\n", token);
    buf_puts(&question, "\r\n");
    code = send_all(fd, question.data, question.size, err);
    if (code == ERR_OK)
        code = receive(fd, answer, reply, err);
    buf_release(&question);
    close(fd);
    return code ? err_context(err, "%s%s", url, path) : code;
}
