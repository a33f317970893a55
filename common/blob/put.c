#include "pipe_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ROUNDS_MAX 5 // in a row that bring a file no further

// --- What is there
// --------------------------------------------------------------------------------

// Both lists are in the same order.
static void mark(const char (*digests)[DIGEST_HEX_SIZE], size_t count, const proto_strs_t *absent,
                 bool *missing) {
    size_t at = 0;
    for (size_t i = 0; i < count; i++) {
        missing[i] = at < absent->count && strcmp(absent->items[at], digests[i]) == 0;
        at += missing[i];
    }
}

err_code_t blob_missing(blob_t *blob, const char (*digests)[DIGEST_HEX_SIZE], size_t count,
                        bool *missing, err_t *err) {
    const char *batch[PROTO_BLOBS_MAX];
    err_code_t code = pipe_wait(blob, 0, err);
    for (size_t from = 0; from < count && code == ERR_OK; from += PROTO_BLOBS_MAX) {
        size_t some = count - from < PROTO_BLOBS_MAX ? count - from : PROTO_BLOBS_MAX;
        for (size_t i = 0; i < some; i++)
            batch[i] = digests[from + i];
        request_t *request = request_new(PROTO_blob_stat, PROTO_blob_missing, NULL, NULL, NULL, 0);
        request->message.stat.digests = (proto_strs_t){batch, some};
        proto_blob_missing_t answer;
        code = pipe_ask(blob, request, &answer, sizeof answer, err);
        if (code == ERR_OK)
            mark(digests + from, some, &answer.digests, missing + from);
    }
    return code;
}

// --- Pieces
// ---------------------------------------------------------------------------------------

static request_t *piece(const char digest[DIGEST_HEX_SIZE], uint64_t whole, uint64_t offset,
                        answered_fn answered, void *arg, const void *bytes, size_t size) {
    request_t *request = request_new(PROTO_blob_put, PROTO_blob_stored, answered, arg, bytes, size);
    memcpy(request->digest, digest, DIGEST_HEX_SIZE);
    request->message.put =
        (proto_blob_put_t){.digest = request->digest, .size = whole, .offset = offset};
    return request;
}

static void refuse(blob_t *blob, const request_t *request, const err_t *err) {
    if (blob->refused.code)
        return;
    blob->refused = *err;
    err_context(&blob->refused, "blob %.12s…", request->digest);
}

static void small_answered(blob_t *blob, request_t *request, const void *answer,
                           proto_bytes_t attachment, const err_t *err) {
    (void)attachment;
    const proto_blob_stored_t *stored = answer;
    err_t odd;
    if (!stored) {
        refuse(blob, request, err);
    } else if (!stored->whole) {
        err_set(&odd, ERR_PROTOCOL, "the blobs service took a piece and wants another");
        refuse(blob, request, &odd);
    }
}

err_code_t blob_flush(blob_t *blob, err_t *err) {
    err_code_t code = pipe_wait(blob, 0, err);
    if (code == ERR_OK && blob->refused.code) {
        if (err)
            *err = blob->refused;
        code = blob->refused.code;
    }
    blob->refused = (err_t){0};
    return code;
}

err_code_t blob_sync(blob_t *blob, err_t *err) {
    proto_ok_t ok;
    err_code_t code = blob_flush(blob, err);
    if (code == ERR_OK)
        code = pipe_ask(blob, request_new(PROTO_blob_sync, PROTO_ok, NULL, NULL, NULL, 0), &ok,
                        sizeof ok, err);
    return code;
}

err_code_t blob_place(blob_t *blob, const char digest[DIGEST_HEX_SIZE], const char *path,
                      err_t *err) {
    proto_ok_t ok;
    err_code_t code = pipe_wait(blob, 0, err);
    if (code)
        return code;
    request_t *request = request_new(PROTO_blob_place, PROTO_ok, NULL, NULL, NULL, 0);
    request->message.place = (proto_blob_place_t){.digest = digest, .path = path};
    return pipe_ask(blob, request, &ok, sizeof ok, err);
}

err_code_t blob_remove(blob_t *blob, const char *path, err_t *err) {
    proto_ok_t ok;
    err_code_t code = pipe_wait(blob, 0, err);
    if (code)
        return code;
    request_t *request = request_new(PROTO_blob_remove, PROTO_ok, NULL, NULL, NULL, 0);
    request->message.remove = (proto_blob_remove_t){.path = path};
    return pipe_ask(blob, request, &ok, sizeof ok, err);
}

// --- A file in pieces
// -----------------------------------------------------------------------------

typedef struct {
    const char *path, *digest;
    const unsigned char *bytes; // of it, or NULL: they are in the file
    int fd;
    uint64_t size, next; // next: where the service says to go on
    bool whole, astray;  // astray: a piece did not fit where the blob ended
    err_t refused;
} sending_t;

static void piece_answered(blob_t *blob, request_t *request, const void *answer,
                           proto_bytes_t attachment, const err_t *err) {
    (void)blob, (void)attachment;
    sending_t *sending = request->arg;
    const proto_blob_stored_t *stored = answer;
    if (!stored) {
        if (!sending->refused.code)
            sending->refused = *err;
        sending->astray = true;
        return;
    }
    sending->next = stored->next;
    sending->whole = sending->whole || stored->whole;
    if (!stored->whole && stored->next != request->message.put.offset + request->size)
        sending->astray = true;
}

static err_code_t read_piece(const sending_t *sending, void *bytes, size_t size, uint64_t offset,
                             err_t *err) {
    for (size_t got = 0; got < size;) {
        ssize_t some = pread(sending->fd, (char *)bytes + got, size - got, (off_t)(offset + got));
        if (some < 0 && errno == EINTR)
            continue;
        if (some < 0)
            return err_set_errno(err, "cannot read %s", sending->path);
        if (some == 0)
            return err_set(err, ERR_CORRUPT, "%s became shorter while it was sent", sending->path);
        got += (size_t)some;
    }
    return ERR_OK;
}

static err_code_t send_pieces(blob_t *blob, sending_t *sending, uint64_t *sent, err_t *err) {
    unsigned char *bytes = sending->bytes ? NULL : mem_alloc(PROTO_PIECE_MAX);
    err_code_t code = ERR_OK;
    for (uint64_t at = sending->next; at < sending->size && !sending->astray && code == ERR_OK;) {
        size_t some = sending->size - at < PROTO_PIECE_MAX ? sending->size - at : PROTO_PIECE_MAX;
        const void *from = sending->bytes ? sending->bytes + at : bytes;
        code = sending->bytes ? ERR_OK : read_piece(sending, bytes, some, at, err);
        if (code == ERR_OK)
            code = pipe_send(
                blob,
                piece(sending->digest, sending->size, at, piece_answered, sending, from, some),
                err);
        at += some;
        if (sent)
            *sent += some;
    }
    // Also after a failure: the answers that are to come know `sending`.
    if (code)
        pipe_reset(blob);
    else
        code = pipe_wait(blob, 0, err);
    free(bytes);
    return code;
}

// Asks how far it is, with a piece of nothing, and sends the rest; again when somebody else was at
// it as well.
static err_code_t send_file(blob_t *blob, sending_t *sending, uint64_t *sent, err_t *err) {
    uint64_t best = 0;
    for (int rounds = 0; rounds < ROUNDS_MAX; rounds++) {
        sending->astray = false;
        sending->refused = (err_t){0};
        uint64_t at = sending->next;
        err_code_t code = pipe_send(
            blob, piece(sending->digest, sending->size, at, piece_answered, sending, NULL, 0), err);
        if (code == ERR_OK)
            code = pipe_wait(blob, 0, err);
        if (code)
            return code;
        if (!sending->refused.code && !sending->whole) {
            sending->astray = false;
            code = send_pieces(blob, sending, sent, err);
            if (code)
                return code;
        }
        if (sending->refused.code) {
            if (err)
                *err = sending->refused;
            return sending->refused.code;
        }
        if (sending->whole)
            return ERR_OK;
        rounds = sending->next > best ? 0 : rounds;
        best = sending->next > best ? sending->next : best;
    }
    return err_set(err, ERR_CONFLICT, "the blobs service does not get further than byte %llu of %s",
                   (unsigned long long)best, sending->path);
}

err_code_t blob_put_file(blob_t *blob, const char *path, const char digest[DIGEST_HEX_SIZE],
                         uint64_t *sent, err_t *err) {
    err_code_t code = blob_flush(blob, err);
    if (code)
        return code;
    struct stat info;
    sending_t sending = {.path = path, .digest = digest};
    sending.fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (sending.fd < 0 || fstat(sending.fd, &info) != 0) {
        code = err_set_errno(err, "cannot read %s", path);
    } else if (!S_ISREG(info.st_mode)) {
        code = err_set(err, ERR_INVALID, "%s is not a regular file", path);
    } else {
        sending.size = (uint64_t)info.st_size;
        code = send_file(blob, &sending, sent, err);
        if (code == ERR_CORRUPT)
            err_context(err, "%s", path);
    }
    if (sending.fd >= 0)
        close(sending.fd);
    return code;
}

err_code_t blob_put_bytes(blob_t *blob, const char digest[DIGEST_HEX_SIZE], const void *bytes,
                          size_t size, err_t *err) {
    if (size <= PROTO_PIECE_MAX)
        return pipe_send(blob, piece(digest, size, 0, small_answered, NULL, bytes, size), err);
    sending_t sending = {
        .path = "the bytes", .digest = digest, .bytes = bytes, .fd = -1, .size = size};
    err_code_t code = blob_flush(blob, err);
    return code ? code : send_file(blob, &sending, NULL, err);
}
