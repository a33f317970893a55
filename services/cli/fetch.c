// Files of the stack that come to a place of the user's.
#include "upload_impl.h"

#include "base/fs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool is_interrupted(void *arg) {
    (void)arg;
    return cli_interrupted();
}

err_code_t fetch_open(cli_t *cli, blob_t **blob, err_t *err) {
    const blob_options_t options = {
        .endpoint = cli->conf.blobs, .patience_ms = cli_patience_ms(cli), .stop = is_interrupted};
    err_code_t code = cli_keys(cli, err);
    return code ? code : blob_open(&options, blob, err);
}

// Beside its place first, for what is there now stays until the new one is whole.
static err_code_t get_file(cli_t *cli, const char *path, const char *digest, const char *to,
                           err_t *err) {
    blob_t *blob = NULL;
    char *beside = mem_format("%s.tmp-%ld", to, (long)getpid());
    err_code_t code = fetch_open(cli, &blob, err);
    if (code == ERR_OK)
        code = blob_get_file(blob, digest, path, beside, err);
    if (code == ERR_OK)
        code = fs_rename(beside, to, err);
    if (code) {
        char *part = mem_format("%s.part", beside);
        unlink(part);
        unlink(beside);
        free(part);
    }
    free(beside);
    blob_close(&blob);
    return code;
}

err_code_t fetch_file(cli_t *cli, const char *path, const char *digest, const char *to,
                      err_t *err) {
    char *from = fs_join(cli->conf.files, path);
    bool here = access(from, R_OK) == 0;
    err_code_t code = here ? fs_copy(from, to, err) : get_file(cli, path, digest, to, err);
    free(from);
    return code;
}
