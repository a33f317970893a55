#include "base/fs.h"
#include "spool_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct spool {
    int fd;
    size_t slot_bytes;
    char *folder;
};

err_code_t spool_open(const char *folder, size_t slot_bytes, spool_t **out, err_t *err) {
    char *path = fs_join(folder, "spool-XXXXXX");
    int fd = mkstemp(path);
    err_code_t code = fd < 0 ? err_set_errno(err, "cannot write in %s", folder) : ERR_OK;
    if (!code) {
        unlink(path);
        *out = mem_zero(1, sizeof **out);
        **out = (spool_t){fd, slot_bytes, mem_dup(folder)};
    }
    free(path);
    return code;
}

void spool_close(spool_t **self) {
    if (!*self)
        return;
    close((*self)->fd);
    free((*self)->folder);
    free(*self);
    *self = NULL;
}

err_code_t spool_put(spool_t *spool, int64_t slot, const uint8_t *pixels, err_t *err) {
    size_t done = 0;
    while (done < spool->slot_bytes) {
        off_t at = (off_t)(slot * (int64_t)spool->slot_bytes + (int64_t)done);
        ssize_t put = pwrite(spool->fd, pixels + done, spool->slot_bytes - done, at);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0) {
            err_set_errno(err, "cannot keep pixels in %s", spool->folder);
            return err_remedy(err, "make room on that disk");
        }
        done += (size_t)put;
    }
    return ERR_OK;
}

err_code_t spool_get(spool_t *spool, int64_t slot, uint8_t *pixels, err_t *err) {
    size_t done = 0;
    while (done < spool->slot_bytes) {
        off_t at = (off_t)(slot * (int64_t)spool->slot_bytes + (int64_t)done);
        ssize_t got = pread(spool->fd, pixels + done, spool->slot_bytes - done, at);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0) {
            errno = got ? errno : EIO;
            return err_set_errno(err, "cannot read pixels back from %s", spool->folder);
        }
        done += (size_t)got;
    }
    return ERR_OK;
}
