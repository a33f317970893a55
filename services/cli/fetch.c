// Files of the stack that come to a place of the user's.
#include "upload_impl.h"

#include "base/fs.h"
#include "model/model.h"

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

err_code_t fetch_model_info(cli_t *cli, const char *reference, const proto_model_info_t **info,
                            err_t *err) {
    char name[PROTO_NAME_MAX + 1];
    proto_model_show_t question = {.name = name};
    proto_model_t answer;
    err_code_t code = cli_reference(reference, "model", name, &question.version, err);
    if (code == ERR_OK)
        code = cli_ask(cli, PROTO_model_show, &question, PROTO_model, &answer, err);
    if (code == ERR_NOT_FOUND && !err->remedy[0])
        err_remedy(err, "`inkling models` lists them");
    if (code == ERR_OK)
        *info = answer.model;
    return code;
}

err_code_t fetch_model(cli_t *cli, const proto_model_info_t *info, const char *folder, err_t *err) {
    blob_t *blob = NULL;
    if (!info->digest || !info->digest[0]) {
        err_set(err, ERR_UNSUPPORTED, "the model was registered without a digest");
        return err_remedy(err, "take a version that has one: `inkling model show MODEL@V`");
    }
    cli_catch_interrupts();
    err_code_t code = fs_mkdirs(folder, err);
    if (code == ERR_OK)
        code = fetch_open(cli, &blob, err);
    if (code == ERR_OK)
        code = blob_fetch_folder(blob, info->path, MODEL_FILE, info->digest, folder, err);
    if ((code == ERR_NOT_FOUND || code == ERR_CORRUPT) && !err->remedy[0])
        err_remedy(err, "a file of the stack is gone or damaged: train the model again, or restore "
                        "its folder there");
    if (code)
        fs_remove_all(folder, NULL);
    blob_close(&blob);
    return code;
}
