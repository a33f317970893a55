// study export.
#include "study_view_impl.h"

#include "base/fs.h"

#include <stdlib.h>
#include <string.h>

#define FILE_MAX (1u << 30) // bytes of an export

static void put_quoted(buf_t *out, const char *text) {
    if (!text[strcspn(text, ",\"\r\n")]) {
        buf_puts(out, text);
        return;
    }
    buf_puts(out, "\"");
    for (; *text; text++)
        buf_printf(out, *text == '"' ? "\"\"" : "%c", *text);
    buf_puts(out, "\"");
}

static void put_cell(buf_t *out, const json_t *value) {
    buf_puts(out, ",");
    if (json_is_string(value))
        put_quoted(out, json_string_value(value));
    else if (json_is_integer(value))
        buf_printf(out, "%lld", (long long)json_integer_value(value));
    else if (json_is_real(value))
        say_real(out, json_real_value(value));
}

static void put_csv(buf_t *out, const json_t *study) {
    static const char *const figures[] = {"mean", "sd", "gain", "left"};
    size_t i, n;
    json_t *names = view_names(study), *trial, *name;
    buf_puts(out, "trial,state,value");
    json_array_foreach(names, n, name) put_cell(out, name);
    buf_puts(out, ",reports,kind,mean,sd,gain,left,key,reason\n");
    json_array_foreach(json_object_get(study, "trials"), i, trial) {
        const json_t *params = json_object_get(trial, "params");
        const json_t *why = json_object_get(trial, "why");
        buf_printf(out, "%lld", (long long)view_whole(trial, "trial"));
        put_cell(out, json_object_get(trial, "state"));
        put_cell(out, json_object_get(trial, "value"));
        json_array_foreach(names, n, name)
            put_cell(out, json_object_get(params, json_string_value(name)));
        put_cell(out, json_object_get(trial, "reports"));
        put_cell(out, json_object_get(why, "kind"));
        for (size_t k = 0; k < sizeof figures / sizeof *figures; k++)
            put_cell(out, json_object_get(why, figures[k]));
        put_cell(out, json_object_get(trial, "key"));
        put_cell(out, json_object_get(trial, "reason"));
        buf_puts(out, "\n");
    }
    json_decref(names);
}

// path: as it was given; to: where that is.
static err_code_t write_out(const char *path, const char *to, const buf_t *text, size_t trials,
                            err_t *err) {
    if (!path) {
        fwrite(text->data, 1, text->size, stdout);
        return ERR_OK;
    }
    err_code_t code = fs_write(to, text->data, text->size, err);
    if (code == ERR_OK && say_is_json())
        say_json(json_pack("{s:o, s:I}", "out", say_json_text(path), "trials", (json_int_t)trials));
    else if (code == ERR_OK)
        printf("%zu trials are in %s\n", trials, path);
    return code;
}

err_code_t verb_study_export(cli_t *cli, int *exit_code, err_t *err) {
    (void)exit_code;
    const char *format = call_text(&cli->call, "format"), *path = call_text(&cli->call, "out");
    bool csv = !format || strcmp(format, "csv") == 0;
    char *to = NULL;
    json_t *study = NULL;
    err_code_t code = path ? cli_place(path, &to, err) : ERR_OK;
    if (code == ERR_OK)
        code = view_fetch(cli, cli->call.arguments[0], !csv || say_is_json(), &study, err);
    if (code) {
        free(to);
        return code;
    }
    if (!path && say_is_json()) { // one document, whatever the format
        say_json(study);
        return ERR_OK;
    }
    buf_t text;
    buf_init(&text, FILE_MAX);
    if (csv) {
        put_csv(&text, study);
    } else {
        char *dump = say_dump(study, JSON_INDENT(2));
        buf_puts(&text, dump ? dump : "");
        buf_puts(&text, "\n");
        free(dump);
    }
    if (text.failed)
        code = err_set(err, ERR_TOO_LARGE, "the study has more than %u bytes", FILE_MAX);
    if (code == ERR_OK)
        code = write_out(path, to, &text, json_array_size(json_object_get(study, "trials")), err);
    buf_release(&text);
    json_decref(study);
    free(to);
    return code;
}
