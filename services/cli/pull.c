// models pull: a model comes here.
#include "base/fs.h"
#include "upload_impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

// A folder of its own, which is there when it is whole.
static err_code_t pull(cli_t *cli, const proto_model_info_t *info, const char *to, err_t *err) {
    struct stat there;
    if (lstat(to, &there) == 0) {
        err_set(err, ERR_CONFLICT, "%s is there already", to);
        return err_remedy(err, "name another folder with --dir, or remove that one");
    }
    char *beside = mem_format("%s.tmp-%ld", to, (long)getpid());
    err_code_t code = fetch_model(cli, info, beside, err);
    if (code == ERR_OK && (code = fs_rename(beside, to, err)) != ERR_OK)
        fs_remove_all(beside, NULL);
    free(beside);
    return code;
}

err_code_t verb_models_pull(cli_t *cli, int *exit_code, err_t *err) {
    (void)exit_code;
    const char *dir = call_text(&cli->call, "dir");
    const proto_model_info_t *info = NULL;
    err_code_t code = fetch_model_info(cli, cli->call.arguments[0], &info, err);
    if (code)
        return code;
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
