// study report: one HTML file that shows all of a study, and needs nothing besides.
#include "report_impl.h"
#include "study_view_impl.h"

#include "base/fs.h"

#include <stdlib.h>
#include <string.h>

#define FILE_MAX (1u << 30) // bytes

// --- Texts of users

static void put_html(buf_t *out, const char *text) {
    static const struct {
        char character;
        const char *entity;
    } special[] = {{'&', "&amp;"}, {'<', "&lt;"}, {'>', "&gt;"}, {'"', "&quot;"}, {'\'', "&#39;"}};
    for (; *text; text++) {
        const char *entity = NULL;
        for (size_t i = 0; i < sizeof special / sizeof *special; i++)
            if (special[i].character == *text)
                entity = special[i].entity;
        if (entity)
            buf_puts(out, entity);
        else
            buf_append(out, text, 1);
    }
}

// In a script element no text may end it, begin a comment or be taken for a reference: in JSON
// these characters stand in strings only, where they may be written otherwise.
static void put_json(buf_t *out, const json_t *document) {
    char *dump = json_dumps(document, JSON_COMPACT | JSON_ENSURE_ASCII);
    const char *rest = dump ? dump : "null";
    while (*rest) {
        size_t plain = strcspn(rest, "<>&");
        buf_append(out, rest, plain);
        rest += plain;
        if (*rest)
            buf_printf(out, "\\u%04x", (unsigned)*rest++);
    }
    free(dump);
}

// --- The page

static void put_script(buf_t *out) {
    const char *const parts[] = {report_base, report_plot, report_params, report_whole};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        buf_puts(out, parts[i]);
}

static void put_place(buf_t *out, const char *name, size_t size, const json_t *study) {
    if (strncmp(name, "title", size) == 0) {
        put_html(out, view_text(study, "study"));
        buf_puts(out, " · Inkling study");
    } else if (strncmp(name, "style", size) == 0) {
        buf_puts(out, report_style);
    } else if (strncmp(name, "study", size) == 0) {
        put_json(out, study);
    } else if (strncmp(name, "script", size) == 0) {
        put_script(out);
    } else {
        ERR_ASSERT(!"page.html has a place that there is nothing for");
    }
}

static void put_page(buf_t *out, const json_t *study) {
    const char *rest = report_page, *place;
    while ((place = strstr(rest, "{{")) != NULL) {
        const char *end = strstr(place, "}}");
        ERR_ASSERT(end);
        buf_append(out, rest, (size_t)(place - rest));
        put_place(out, place + 2, (size_t)(end - place - 2), study);
        rest = end + 2;
    }
    buf_puts(out, rest);
}

// --- The verb

static err_code_t write_page(const char *path, const json_t *study, err_t *err) {
    buf_t page;
    buf_init(&page, FILE_MAX);
    put_page(&page, study);
    err_code_t code =
        page.failed ? err_set(err, ERR_TOO_LARGE, "the report has more than %u bytes", FILE_MAX)
                    : fs_write(path, page.data, page.size, err);
    buf_release(&page);
    return code;
}

err_code_t verb_study_report(cli_t *cli, int *exit_code, err_t *err) {
    (void)exit_code;
    const char *name = cli->call.arguments[0], *out = call_text(&cli->call, "out");
    char *path = out ? mem_dup(out) : mem_format("%s.html", name), *to = NULL;
    json_t *study = NULL;
    err_code_t code = cli_place(path, &to, err);
    if (code == ERR_OK)
        code = view_fetch(cli, name, true, &study, err);
    if (code == ERR_OK)
        code = write_page(to, study, err);
    size_t trials = json_array_size(json_object_get(study, "trials"));
    if (code == ERR_OK && say_is_json())
        say_json(json_pack("{s:o, s:I}", "out", say_json_text(path), "trials", (json_int_t)trials));
    else if (code == ERR_OK)
        printf("%s shows the study %s, %zu trials\n", path, name, trials);
    free(path);
    free(to);
    json_decref(study);
    return code;
}
