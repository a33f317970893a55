// --space and --param: what a search may choose, from a file or from the command line.
#include "space_file_impl.h"

#include "base/fs.h"
#include "base/utf8.h"
#include "space/space.h"

#include <stdlib.h>
#include <string.h>

#define FILE_BYTES (1u << 20)

// Where each definition of the space stands: a line of the file, or 0: in an option.
typedef struct {
    const char *path;
    const char *texts[TUNE_PARAMETERS_MAX];
    size_t lines[TUNE_PARAMETERS_MAX];
    size_t count;
} definitions_t;

static size_t name_size(const char *text) {
    return strcspn(text, "= \t");
}

static bool same_name(const char *a, const char *b) {
    size_t size = name_size(a);
    return size == name_size(b) && memcmp(a, b, size) == 0;
}

static err_code_t add(definitions_t *all, const char *text, size_t line, err_t *err) {
    for (size_t i = 0; i < all->count; i++) {
        if (!same_name(all->texts[i], text))
            continue;
        if (line > 0) {
            err_set(err, ERR_USAGE, "%s, line %zu: parameter %.*s is in line %zu, too", all->path,
                    line, (int)name_size(text), text, all->lines[i]);
            return err_remedy(err, "leave one of them out");
        }
        if (all->lines[i] == 0) {
            err_set(err, ERR_USAGE, "option --param: parameter %.*s is there twice",
                    (int)name_size(text), text);
            return err_remedy(err, "leave one of them out");
        }
        all->texts[i] = text; // an option goes before the file
        all->lines[i] = 0;
        return ERR_OK;
    }
    if (all->count == TUNE_PARAMETERS_MAX) {
        err_set(err, ERR_USAGE, "%s: more than the %d parameters that are possible", all->path,
                TUNE_PARAMETERS_MAX);
        return err_remedy(err, "tune those that matter most, and fix the others");
    }
    all->texts[all->count] = text;
    all->lines[all->count++] = line;
    return ERR_OK;
}

// Cuts the comment and blanks around; writes into the line.
static char *trimmed(char *line) {
    line[strcspn(line, "#")] = 0;
    line += strspn(line, " \t\r");
    for (size_t size = strlen(line); size > 0 && strchr(" \t\r", line[size - 1]); size--)
        line[size - 1] = 0;
    return line;
}

static err_code_t read_lines(definitions_t *all, char *text, err_t *err) {
    err_code_t code = ERR_OK;
    size_t number = 0;
    for (char *line = text; line && code == ERR_OK;) {
        char *end = strchr(line, '\n');
        if (end)
            *end = 0;
        number++;
        char *definition = trimmed(line);
        if (*definition)
            code = add(all, definition, number, err);
        line = end ? end + 1 : NULL;
    }
    if (code == ERR_OK && all->count == 0) {
        err_set(err, ERR_USAGE, "%s has no definition", all->path);
        code = err_remedy(err, "write one a line, as lr=log:1e-5..1e-2");
    }
    return code;
}

static err_code_t read_options(definitions_t *all, const json_t *params, err_t *err) {
    size_t i;
    json_t *param;
    err_code_t code = ERR_OK;
    json_array_foreach((json_t *)(uintptr_t)params, i, param) {
        const char *text = json_string_value(param);
        if (code == ERR_OK)
            code = add(all, text + strspn(text, " \t"), 0, err);
    }
    return code;
}

static err_code_t check(const definitions_t *all, err_t *err) {
    tune_space_t *space = mem_zero(1, sizeof *space);
    size_t refused;
    err_code_t code = tune_space_parse_each(all->texts, all->count, space, &refused, err);
    if (code && refused < all->count && all->lines[refused] == 0)
        err_context(err, "option --param");
    else if (code && refused < all->count)
        err_context(err, "%s, line %zu", all->path, all->lines[refused]);
    else if (code)
        err_context(err, "%s", all->path ? all->path : "option --param");
    free(space);
    return code;
}

static err_code_t read_text(const char *path, char **text, err_t *err) {
    void *bytes = NULL;
    size_t size;
    err_code_t code = fs_read(path, FILE_BYTES, &bytes, &size, err);
    if (code)
        return code;
    if (memchr(bytes, 0, size) || !utf8_valid(bytes, size)) {
        free(bytes);
        err_set(err, ERR_USAGE, "%s is no text", path);
        return err_remedy(err, "write definitions, one a line, as lr=log:1e-5..1e-2");
    }
    *text = bytes;
    return ERR_OK;
}

err_code_t space_file_body(const cli_t *cli, json_t *body, err_t *err) {
    definitions_t all = {.path = call_text(&cli->call, "space")};
    char *text = NULL;
    if (!all.path && !json_object_get(body, "param"))
        return ERR_OK;
    err_code_t code = all.path ? read_text(all.path, &text, err) : ERR_OK;
    if (code == ERR_OK && text)
        code = read_lines(&all, text, err);
    if (code == ERR_OK)
        code = read_options(&all, json_object_get(body, "param"), err);
    if (code == ERR_OK)
        code = check(&all, err);
    json_t *params = json_array();
    for (size_t i = 0; i < all.count && code == ERR_OK; i++)
        json_array_append_new(params, json_string(all.texts[i]));
    if (code == ERR_OK)
        json_object_set(body, "param", params);
    json_decref(params);
    free(text);
    return code;
}
