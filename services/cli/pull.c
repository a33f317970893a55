// models pull: a model comes here.
#include "base/fs.h"
#include "upload_impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define ROOT "model.json" // as model/model.h has it, which would bring the engine along

// A folder of its own, which is there when it is whole.
static err_code_t pull(cli_t *cli, const proto_model_info_t *info, const char *to, err_t *err) {
    blob_t *blob = NULL;
    struct stat there;
    if (lstat(to, &there) == 0) {
        err_set(err, ERR_CONFLICT, "%s is there already", to);
        return err_remedy(err, "name another folder with --dir, or remove that one");
    }
    if (!info->digest || !info->digest[0])
        return err_set(err, ERR_UNSUPPORTED, "the model was registered without a digest");
    char *beside = mem_format("%s.tmp-%ld", to, (long)getpid());
    cli_catch_interrupts();
    err_code_t code = fs_mkdirs(beside, err);
    if (code == ERR_OK)
        code = fetch_open(cli, &blob, err);
    if (code == ERR_OK)
        code = blob_fetch_folder(blob, info->path, ROOT, info->digest, beside, err);
    if (code == ERR_OK)
        code = fs_rename(beside, to, err);
    if (code)
        fs_remove_all(beside, NULL);
    blob_close(&blob);
    free(beside);
    return code;
}

err_code_t verb_models_pull(cli_t *cli, int *exit_code, err_t *err) {
    (void)exit_code;
    char name[PROTO_NAME_MAX + 1];
    const char *dir = call_text(&cli->call, "dir");
    proto_model_show_t question = {.name = name};
    proto_model_t answer;
    err_code_t code = cli_reference(cli->call.arguments[0], "model", name, &question.version, err);
    if (code == ERR_OK)
        code = cli_ask(cli, PROTO_model_show, &question, PROTO_model, &answer, err);
    if (code == ERR_NOT_FOUND && !err->remedy[0])
        err_remedy(err, "`inkling models` lists them");
    if (code)
        return code;
    const proto_model_info_t *info = answer.model;
    char *own = mem_format("%s@%llu", info->name, (unsigned long long)info->version);
    char *to = cli_absolute(dir ? dir : own);
    code = pull(cli, info, to, err);
    if (code == ERR_OK && say_is_json())
        say_json(json_pack("{s:s, s:I, s:s, s:o}", "model", info->name, "version",
                           (json_int_t)info->version, "digest", info->digest, "dir",
                           say_json_text(to)));
    else if (code == ERR_OK)
        printf("%s is in %s\n", own, to);
    free(own);
    free(to);
    return code;
}
