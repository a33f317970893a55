// export: a model becomes a file that other programs run.
#include "base/fs.h"
#include "onnx/onnx.h"
#include "upload_impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static err_code_t write_onnx(const model_t *model, uint64_t version, const char *to, size_t *size,
                             err_t *err) {
    const float *tensors[NN_TENSORS_MAX];
    nn_tensor_t *list = mem_zero(NN_TENSORS_MAX, sizeof *list);
    onnx_source_t source = {.info = model_info(model),
                            .tensors = tensors,
                            .version = version,
                            .digest = model_digest(model)};
    int count = nn_spec_tensors(&source.info->spec, list);
    void *bytes = NULL;
    for (int i = 0; i < count; i++)
        tensors[i] = model_tensor(model, i);
    free(list);
    err_code_t code = onnx_pack(&source, &bytes, size, err);
    if (code == ERR_OK)
        code = fs_write(to, bytes, *size, err);
    free(bytes);
    return code;
}

// The artefact stands beside the file for as long as this takes.
static err_code_t export(cli_t *cli, const proto_model_info_t *info, const char *to, size_t *size,
                         err_t *err) {
    model_t *model = NULL;
    char *beside = mem_format("%s.tmp-%ld", to, (long)getpid());
    err_code_t code = fetch_model(cli, info, beside, err);
    if (code == ERR_OK) {
        code = model_open(beside, info->digest, &model, err);
        if (code == ERR_OK)
            code = write_onnx(model, info->version, to, size, err);
        model_close(&model);
        fs_remove_all(beside, NULL);
    }
    free(beside);
    return code ? err_context(err, "%s@%llu", info->name, (unsigned long long)info->version) : code;
}

err_code_t verb_export(cli_t *cli, int *exit_code, err_t *err) {
    (void)exit_code;
    const char *out = call_text(&cli->call, "out"); // --format: there is one, as verbs.def has it
    const proto_model_info_t *info = NULL;
    size_t size = 0;
    err_code_t code = fetch_model_info(cli, cli->call.arguments[0], &info, err);
    if (code)
        return code;
    char *usual = mem_format("%s.onnx", info->name);
    char *to = NULL;
    code = cli_place(out ? out : usual, &to, err);
    if (code == ERR_OK)
        code = export(cli, info, to, &size, err);
    if (code == ERR_OK && say_is_json())
        say_json(json_pack("{s:s, s:I, s:s, s:s, s:o, s:I}", "model", info->name, "version",
                           (json_int_t)info->version, "digest", info->digest, "format", "onnx",
                           "out", say_json_text(to), "bytes", (json_int_t)size));
    else if (code == ERR_OK)
        printf("%s@%llu is in %s\n", info->name, (unsigned long long)info->version, to);
    free(usual);
    free(to);
    return code;
}
