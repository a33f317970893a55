// Files: written to a temporary name in the same folder, fsynced, renamed, the folder fsynced. A
// reader sees the old bytes or the new, never a part, whatever is killed when.
#ifndef INKLING_BASE_FS_H
#define INKLING_BASE_FS_H

#include "base/err.h"

#include <stdint.h>
#include <stdio.h>

// mkdir -p, mode 0700 for what it makes; what it makes outlives a loss of power.
err_code_t fs_mkdirs(const char *path, err_t *err);
// Writes size bytes to path atomically.
err_code_t fs_write(const char *path, const void *bytes, size_t size, err_t *err);
// The same for what nobody else may read: mode 0600.
err_code_t fs_write_secret(const char *path, const void *bytes, size_t size, err_t *err);
// Opens a regular file for reading. What is none (ERR_INVALID) is not opened: a FIFO would wait for
// a writer, a device may do anything.
err_code_t fs_open_regular(const char *path, FILE **file, size_t *size, err_t *err);
// Reads a whole regular file of at most limit bytes (ERR_TOO_LARGE); *bytes is malloc'ed with a NUL
// behind it.
err_code_t fs_read(const char *path, size_t limit, void **bytes, size_t *size, err_t *err);

// A file being written: fs_open_new, fwrite to fs_stream, then fs_commit (fsync, rename) or
// fs_abort.
typedef struct fs_new fs_new_t;
err_code_t fs_open_new(const char *path, fs_new_t **file, err_t *err);
FILE *fs_stream(fs_new_t *file);
// Both free *file and set it to NULL; fs_abort(&NULL) is allowed and removes the temporary file.
err_code_t fs_commit(fs_new_t **file, err_t *err);
void fs_abort(fs_new_t **file);

// Copies a file's bytes, atomically as fs_commit does.
err_code_t fs_copy(const char *from, const char *to, err_t *err);

// rename() with fsync of the target's folder; works for folders as well.
err_code_t fs_rename(const char *from, const char *to, err_t *err);
// Makes the names in the folder of that path durable.
err_code_t fs_sync_folder_of(const char *path, err_t *err);
// rm -r; a missing path is no error. Does not follow symbolic links.
err_code_t fs_remove_all(const char *path, err_t *err);
// The same for a path below root ("a/b", no "..", no leading '/'), none of whose folders may be a
// symbolic link.
err_code_t fs_remove_below(const char *root, const char *path, err_t *err);
// Free bytes for an unprivileged user on the file system of path: 0 when it is full, UINT64_MAX
// when that is unknown.
uint64_t fs_free_bytes(const char *path);
// "a/b" from parts; malloc'ed.
char *fs_join(const char *folder, const char *name);

#endif
