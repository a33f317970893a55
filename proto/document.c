// Writes PROTOCOL.md: the text of intro.md, with the reference made from the declaration and the
// examples in the places it marks by {{…}} lines.
//
//   proto_document FOLDER PAGE           reads FOLDER/intro.md and FOLDER/examples, writes PAGE
//   proto_document --check FOLDER PAGE   says whether PAGE is what would be written
#include "base/buf.h"
#include "base/fs.h"
#include "proto/codec.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAGE_BYTES_MAX (4u << 20)

// --- Tables
// --------------------------------------------------------------------------------------

static void put_cell(buf_t *out, const char *text) {
    for (; *text; text++)
        if (*text == '|' || *text == '<')
            buf_puts(out, *text == '|' ? "\\|" : "&lt;");
        else
            buf_append(out, text, 1);
}

// Heading "job.submit" has the anchor "jobsubmit" on the sites that show Markdown.
static void put_link(buf_t *out, const char *wire) {
    buf_printf(out, "[%s](#", wire);
    for (const char *c = wire; *c; c++)
        if (*c != '.')
            buf_append(out, c, 1);
    buf_puts(out, ")");
}

static void put_number(buf_t *out, double value) {
    if (value == PROTO_U64_MAX)
        buf_puts(out, "2^53");
    else if (value == floor(value) && fabs(value) < 1e15)
        buf_printf(out, "%.0f", value);
    else
        buf_printf(out, "%g", value);
}

static void put_range(buf_t *out, const proto_field_t *field) {
    put_number(out, field->min);
    buf_puts(out, " … ");
    put_number(out, field->max);
}

static void put_type(buf_t *out, const proto_field_t *field) {
    switch (field->kind) {
    case PROTO_STR:
        buf_puts(out, "text, ");
        if (field->min == field->max)
            put_number(out, field->max);
        else
            put_range(out, field);
        buf_puts(out, " bytes");
        break;
    case PROTO_U64:
        buf_puts(out, "integer, ");
        put_range(out, field);
        break;
    case PROTO_F64:
        buf_puts(out, "number, ");
        put_range(out, field);
        break;
    case PROTO_BOOL:
        buf_puts(out, "true or false");
        break;
    case PROTO_BIN:
    case PROTO_MAP:
        buf_printf(out, "%s, up to %.0f bytes", field->kind == PROTO_MAP ? "map" : "binary",
                   field->max);
        break;
    case PROTO_STRS:
        buf_puts(out, "list of text, ");
        put_range(out, field);
        buf_puts(out, " entries");
        break;
    case PROTO_NESTED:
        put_link(out, proto_message(field->nested)->wire);
        break;
    case PROTO_LIST:
        buf_puts(out, "list of ");
        put_link(out, proto_message(field->nested)->wire);
        buf_printf(out, ", up to %.0f", field->max);
        break;
    }
}

static void put_need(buf_t *out, const proto_field_t *field) {
    if (field->required)
        buf_puts(out, "**required**");
    else if (field->kind == PROTO_STR && field->text && field->text[0])
        buf_printf(out, "`\"%s\"`", field->text);
    else if (field->kind == PROTO_U64 || (field->kind == PROTO_F64 && field->number <= field->max))
        put_number(out, field->number);
    else if (field->kind == PROTO_BOOL)
        buf_puts(out, field->number != 0 ? "true" : "false");
    else
        buf_puts(out, "–");
}

static void put_fields(buf_t *out, const proto_message_t *about) {
    if (about->field_count == 0) {
        buf_puts(out, "No fields: the body is an empty map.\n\n");
        return;
    }
    buf_puts(out, "| field | type | default | meaning |\n|---|---|---|---|\n");
    for (size_t i = 0; i < about->field_count; i++) {
        const proto_field_t *field = &about->fields[i];
        buf_printf(out, "| `%s` | ", field->name);
        put_type(out, field);
        buf_puts(out, " | ");
        put_need(out, field);
        buf_puts(out, " | ");
        put_cell(out, field->doc);
        buf_puts(out, " |\n");
    }
    buf_puts(out, "\n");
}

static void put_way(buf_t *out, const proto_message_t *about) {
    static const char *const ways[] = {[PROTO_BY_CLIENT] = "client → dispatcher",
                                       [PROTO_BY_WORKER] = "worker → dispatcher",
                                       [PROTO_BY_DISPATCHER] = "dispatcher →",
                                       [PROTO_BY_GATEWAY_CLIENT] = "client → gateway",
                                       [PROTO_BY_GATEWAY] = "gateway →",
                                       [PROTO_BY_BLOB_CLIENT] = "client or worker → blobs",
                                       [PROTO_BY_BLOBS] = "blobs →",
                                       [PROTO_BY_STUDY_CLIENT] = "client → studies",
                                       [PROTO_BY_STUDIES] = "studies →",
                                       [PROTO_BY_ADMIN] = "anybody → the service's own socket",
                                       [PROTO_BY_ANY] = "anybody →",
                                       [PROTO_BY_PART] = "",
                                       [PROTO_BY_BODY] = ""};
    if (!ways[about->sender][0])
        return;
    buf_printf(out, "*%s*", ways[about->sender]);
    if (about->reply[0]) {
        buf_puts(out, ", answered by ");
        put_link(out, about->reply);
    }
    buf_puts(out, ". ");
}

static void put_message(buf_t *out, const proto_message_t *about) {
    buf_printf(out, "### %s\n\n", about->wire);
    put_way(out, about);
    put_cell(out, about->doc);
    buf_puts(out, "\n\n");
    put_fields(out, about);
}

// --- What the marks stand for
// --------------------------------------------------------------------

static const char *heading_of(proto_sender_t sender) {
    switch (sender) {
    case PROTO_BY_CLIENT:
        return "## Reference: clients and the dispatcher";
    case PROTO_BY_WORKER:
        return "## Reference: workers and the dispatcher";
    case PROTO_BY_GATEWAY_CLIENT:
        return "## Reference: the gateway";
    case PROTO_BY_BLOB_CLIENT:
        return "## Reference: blobs";
    case PROTO_BY_STUDY_CLIENT:
        return "## Reference: studies";
    case PROTO_BY_ADMIN:
        return "## Reference: every service's own socket";
    case PROTO_BY_ANY:
        return "## Reference: any endpoint";
    default:
        return NULL; // answers stand under their requests
    }
}

static void put_messages(buf_t *out) {
    const char *heading = NULL;
    for (unsigned i = 0; i < PROTO_TYPE_COUNT; i++) {
        const proto_message_t *about = proto_message((proto_type_t)i);
        if (about->sender == PROTO_BY_PART || about->sender == PROTO_BY_BODY)
            continue;
        const char *next = heading_of(about->sender);
        bool answer = about->sender == PROTO_BY_ANY && heading;
        if (next && !answer && (!heading || strcmp(heading, next) != 0)) {
            heading = next;
            buf_printf(out, "%s\n\n", heading);
        }
        put_message(out, about);
    }
}

static void put_all_by(buf_t *out, proto_sender_t sender) {
    for (unsigned i = 0; i < PROTO_TYPE_COUNT; i++)
        if (proto_message((proto_type_t)i)->sender == sender && i != PROTO_header)
            put_message(out, proto_message((proto_type_t)i));
}

static void put_errors(buf_t *out) {
    buf_puts(out, "| code | meaning | retryable |\n|---|---|---|\n");
    for (unsigned i = ERR_OK + 1; i < ERR_CODE_COUNT; i++)
        buf_printf(out, "| `%s` | %s | %s |\n", err_name((err_code_t)i), err_text((err_code_t)i),
                   err_retryable((err_code_t)i) ? "yes" : "no");
    buf_puts(out, "\n");
}

static void put_limits(buf_t *out) {
    buf_printf(
        out,
        "| what | limit |\n|---|---|\n"
        "| header | %u bytes |\n| body | %u MiB |\n| nesting inside one frame | %d levels |\n"
        "| values inside one frame, keys counted | %u |\n"
        "| names and ids | %d bytes |\n| texts for people | %d bytes |\n"
        "| body of a job | %d bytes |\n| leases of one worker | %d |\n"
        "| piece of a blob | %d bytes |\n\n",
        PROTO_HEADER_MAX, PROTO_MESSAGE_MAX >> 20, PROTO_DEPTH_MAX, PROTO_VALUES_MAX,
        PROTO_NAME_MAX, PROTO_TEXT_MAX, PROTO_BODY_MAX, PROTO_LEASES_MAX, PROTO_PIECE_MAX);
}

static err_code_t put_example(buf_t *out, const char *folder, const char *name, err_t *err) {
    char *path = mem_format("%s/examples/%s", folder, name);
    void *text = NULL;
    size_t size;
    err_code_t code = fs_read(path, PAGE_BYTES_MAX, &text, &size, err);
    if (code == ERR_OK) {
        buf_puts(out, "```python\n");
        buf_append(out, text, size);
        buf_puts(out, "```\n");
    }
    free(text);
    free(path);
    return code;
}

static err_code_t put_mark(buf_t *out, const char *folder, const char *mark, err_t *err) {
    if (strcmp(mark, "header") == 0)
        put_fields(out, proto_message(PROTO_header));
    else if (strcmp(mark, "errors") == 0)
        put_errors(out);
    else if (strcmp(mark, "limits") == 0)
        put_limits(out);
    else if (strcmp(mark, "messages") == 0)
        put_messages(out);
    else if (strcmp(mark, "parts") == 0)
        put_all_by(out, PROTO_BY_PART);
    else if (strcmp(mark, "bodies") == 0)
        put_all_by(out, PROTO_BY_BODY);
    else if (strncmp(mark, "example ", 8) == 0)
        return put_example(out, folder, mark + 8, err);
    else
        return err_set(err, ERR_INVALID, "intro.md: unknown mark {{%s}}", mark);
    return ERR_OK;
}

// --- The page
// ------------------------------------------------------------------------------------

static err_code_t make_page(const char *folder, buf_t *out, err_t *err) {
    char *path = fs_join(folder, "intro.md");
    void *text = NULL;
    size_t size;
    err_code_t code = fs_read(path, PAGE_BYTES_MAX, &text, &size, err);
    free(path);
    if (code)
        return code;
    char *rest = text, *line;
    while (code == ERR_OK && (line = strsep(&rest, "\n")) != NULL) {
        size_t length = strlen(line);
        if (length > 4 && strncmp(line, "{{", 2) == 0 && strcmp(line + length - 2, "}}") == 0) {
            line[length - 2] = 0;
            code = put_mark(out, folder, line + 2, err);
        } else if (rest || length > 0) {
            buf_printf(out, "%s\n", line);
        }
    }
    free(text);
    while (out->size > 1 && out->data[out->size - 2] == '\n') // one line's end at the end
        out->data[--out->size] = 0;
    if (code == ERR_OK && out->failed)
        code = err_set(err, ERR_TOO_LARGE, "the page is larger than %u bytes", PAGE_BYTES_MAX);
    return code;
}

static err_code_t compare(const buf_t *page, const char *path, err_t *err) {
    void *text = NULL;
    size_t size, at = 0;
    err_code_t code = fs_read(path, PAGE_BYTES_MAX, &text, &size, err);
    if (code)
        return code;
    unsigned line = 1;
    while (at < size && at < page->size && ((char *)text)[at] == page->data[at])
        line += ((char *)text)[at++] == '\n';
    if (at < size || at < page->size) {
        err_set(err, ERR_CONFLICT, "%s:%u is not what the declaration says", path, line);
        code = err_remedy(err, "build the target `protocol`, which writes the page anew");
    }
    free(text);
    return code;
}

int main(int argc, char **argv) {
    bool check = argc == 4 && strcmp(argv[1], "--check") == 0;
    if (!check && argc != 3) {
        fprintf(stderr, "usage: proto_document [--check] FOLDER PAGE\n");
        return 2;
    }
    const char *folder = argv[argc - 2], *path = argv[argc - 1];
    buf_t page;
    err_t err;
    buf_init(&page, PAGE_BYTES_MAX);
    err_code_t code = make_page(folder, &page, &err);
    if (code == ERR_OK)
        code = check ? compare(&page, path, &err) : fs_write(path, page.data, page.size, &err);
    buf_release(&page);
    if (code)
        fprintf(stderr, "%s%s%s\n", err.message, err.remedy[0] ? "\n  " : "", err.remedy);
    return code ? 1 : 0;
}
