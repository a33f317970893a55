#include "pipe_impl.h"

#include "base/clock.h"
#include "base/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define READ_AT_ONCE 65536
#define LOOK_MS      100 // for the end of another process' fetch

typedef struct {
    blob_t *blob;
    const char *digest, *remote_path;
    char *to, *part;
    int fd;            // of part, locked
    uint64_t at, size; // of part; of the blob, once known
    bool sized, short_piece;
    err_t refused;
    digest_t *sum; // of the bytes up to at
} fetch_t;

// --- The part so far
// ------------------------------------------------------------------------------

// True when `to` has come while we waited for the lock.
static bool is_there(const fetch_t *fetch) {
    struct stat info;
    return stat(fetch->to, &info) == 0;
}

static bool is_current(const fetch_t *fetch) {
    struct stat open_file, named;
    return fstat(fetch->fd, &open_file) == 0 && stat(fetch->part, &named) == 0 &&
           open_file.st_ino == named.st_ino && open_file.st_dev == named.st_dev;
}

// One process fetches, the others wait for it here, and find the file. The lock ends with its
// holder.
static err_code_t lock_part(fetch_t *fetch, err_t *err) {
    const blob_options_t *options = &fetch->blob->options;
    for (;;) {
        if (fetch->fd < 0)
            fetch->fd = open(fetch->part, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
        if (fetch->fd < 0)
            return err_set_errno(err, "cannot write %s", fetch->part);
        if (flock(fetch->fd, LOCK_EX | LOCK_NB) == 0) {
            if (is_there(fetch) || is_current(fetch))
                return ERR_OK;
            close(fetch->fd); // renamed or removed by the one before us
            fetch->fd = -1;
            continue;
        }
        if (errno != EWOULDBLOCK && errno != EINTR)
            return err_set_errno(err, "cannot lock %s", fetch->part);
        if (options->stop && options->stop(options->arg))
            return err_set(err, ERR_CANCELLED, "stopped");
        clock_sleep_ms(LOOK_MS);
    }
}

// What an interrupted fetch left counts as far as it can be read.
static err_code_t take_up(fetch_t *fetch, err_t *err) {
    unsigned char bytes[READ_AT_ONCE];
    fetch->sum = digest_new();
    for (;;) {
        ssize_t got = pread(fetch->fd, bytes, sizeof bytes, (off_t)fetch->at);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return err_set_errno(err, "cannot read %s", fetch->part);
        if (got == 0)
            return ERR_OK;
        digest_add(fetch->sum, bytes, (size_t)got);
        fetch->at += (uint64_t)got;
    }
}

static err_code_t start_over(fetch_t *fetch, err_t *err) {
    if (ftruncate(fetch->fd, 0) != 0)
        return err_set_errno(err, "cannot write %s", fetch->part);
    digest_destroy(&fetch->sum);
    fetch->sum = digest_new();
    fetch->at = 0;
    return ERR_OK;
}

// --- Pieces
// ---------------------------------------------------------------------------------------

static void refuse(fetch_t *fetch, const err_t *err) {
    if (!fetch->refused.code)
        fetch->refused = *err;
}

static err_code_t write_piece(const fetch_t *fetch, proto_bytes_t piece, err_t *err) {
    for (size_t done = 0; done < piece.size;) {
        ssize_t some = pwrite(fetch->fd, (const char *)piece.data + done, piece.size - done,
                              (off_t)(fetch->at + done));
        if (some < 0 && errno != EINTR)
            return err_set_errno(err, "cannot write %s", fetch->part);
        done += some > 0 ? (size_t)some : 0;
    }
    return ERR_OK;
}

// Pieces are asked for in order. One that comes before its turn (its forerunner was lost) is left,
// and asked for again.
static void on_piece(blob_t *blob, request_t *request, const void *answer, proto_bytes_t piece,
                     const err_t *err) {
    (void)blob;
    fetch_t *fetch = request->arg;
    const proto_blob_piece_t *about = answer;
    const proto_blob_get_t *asked = &request->message.get;
    err_t wrong;
    if (!about) {
        refuse(fetch, err);
        return;
    }
    fetch->size = about->size;
    fetch->sized = true;
    if (fetch->refused.code || asked->offset != fetch->at)
        return;
    uint64_t expected = about->size > asked->offset ? about->size - asked->offset : 0;
    expected = expected < asked->size ? expected : asked->size;
    if (piece.size != expected) {
        err_set(&wrong, ERR_PROTOCOL, "a piece has %zu bytes instead of %llu", piece.size,
                (unsigned long long)expected);
        refuse(fetch, &wrong);
        return;
    }
    if (write_piece(fetch, piece, &wrong) != ERR_OK) {
        refuse(fetch, &wrong);
        return;
    }
    if (piece.size)
        digest_add(fetch->sum, piece.data, piece.size);
    fetch->at += piece.size;
}

static err_code_t ask_piece(fetch_t *fetch, uint64_t offset, err_t *err) {
    request_t *request = request_new(PROTO_blob_get, PROTO_blob_piece, on_piece, fetch, NULL, 0);
    request->message.get = (proto_blob_get_t){.digest = fetch->digest,
                                              .path = fetch->remote_path ? fetch->remote_path : "",
                                              .offset = offset,
                                              .size = PROTO_PIECE_MAX};
    return pipe_send(fetch->blob, request, err);
}

// The first piece tells the size; then all the others.
static err_code_t fetch_pieces(fetch_t *fetch, err_t *err) {
    err_code_t code;
    do {
        uint64_t from = fetch->at;
        code = ask_piece(fetch, from, err);
        if (code == ERR_OK)
            code = pipe_wait(fetch->blob, 0, err);
        for (uint64_t at = fetch->at; code == ERR_OK && !fetch->refused.code && at < fetch->size;
             at += PROTO_PIECE_MAX)
            code = ask_piece(fetch, at, err);
        if (code == ERR_OK)
            code = pipe_wait(fetch->blob, 0, err);
    } while (code == ERR_OK && !fetch->refused.code && fetch->at < fetch->size);
    if (code) {
        pipe_reset(fetch->blob); // answers that are to come know `fetch`
        return code;
    }
    if (fetch->refused.code && err)
        *err = fetch->refused;
    return fetch->refused.code;
}

static bool has_digest(fetch_t *fetch) {
    char hex[DIGEST_HEX_SIZE];
    digest_end(&fetch->sum, hex);
    return fetch->at == fetch->size && strcmp(hex, fetch->digest) == 0;
}

static err_code_t fetch_all(fetch_t *fetch, err_t *err) {
    err_code_t code = take_up(fetch, err);
    bool resumed = fetch->at > 0;
    if (code == ERR_OK)
        code = fetch_pieces(fetch, err);
    if (code == ERR_OK && has_digest(fetch))
        return ERR_OK;
    if (code == ERR_OK && resumed) { // what was left of before may be to blame
        code = start_over(fetch, err);
        if (code == ERR_OK)
            code = fetch_pieces(fetch, err);
        if (code == ERR_OK && has_digest(fetch))
            return ERR_OK;
    }
    if (code)
        return code;
    unlink(fetch->part);
    return err_set(err, ERR_CORRUPT, "what came is not the blob %.12s…", fetch->digest);
}

static err_code_t finish(const fetch_t *fetch, err_t *err) {
    if (fsync(fetch->fd) != 0)
        return err_set_errno(err, "cannot write %s", fetch->part);
    return fs_rename(fetch->part, fetch->to, err);
}

err_code_t blob_get_file(blob_t *blob, const char digest[DIGEST_HEX_SIZE], const char *remote_path,
                         const char *to, err_t *err) {
    fetch_t fetch = {
        .blob = blob, .digest = digest, .remote_path = remote_path, .to = mem_dup(to), .fd = -1};
    fetch.part = mem_format("%s.part", to);
    err_code_t code = blob_flush(blob, err);
    if (code == ERR_OK && is_there(&fetch)) {
        free(fetch.to);
        free(fetch.part);
        return ERR_OK;
    }
    if (code == ERR_OK)
        code = lock_part(&fetch, err);
    if (code == ERR_OK && is_there(&fetch)) {
        unlink(fetch.part);
    } else if (code == ERR_OK) {
        code = fetch_all(&fetch, err);
        if (code == ERR_OK)
            code = finish(&fetch, err);
    }
    digest_destroy(&fetch.sum);
    if (fetch.fd >= 0)
        close(fetch.fd);
    free(fetch.to);
    free(fetch.part);
    return code;
}
