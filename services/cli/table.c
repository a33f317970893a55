#include "table_impl.h"

#include <locale.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

#define COLUMNS_MAX 12
#define VALUE_MAX   (1 << 20)

typedef struct {
    char *text;
    say_style_t style;
} cell_t;

struct table {
    char *heads[COLUMNS_MAX];
    bool right[COLUMNS_MAX], bare; // bare: no line of heads
    size_t columns, count, room;
    cell_t *cells;
};

table_t *table_new(const char *heads) {
    table_t *table = mem_zero(1, sizeof *table);
    table->bare = *heads == 0;
    char *copy = mem_dup(table->bare ? "|" : heads), *rest = copy, *part;
    while ((part = strsep(&rest, "|")) != NULL && table->columns < COLUMNS_MAX) {
        table->right[table->columns] = *part == '>';
        table->heads[table->columns++] = mem_dup(part + (*part == '>'));
    }
    free(copy);
    return table;
}

static void add(table_t *table, say_style_t style, const char *text) {
    if (table->count == table->room) {
        table->room = table->room ? 2 * table->room : 64;
        table->cells = mem_grow(table->cells, table->room * sizeof *table->cells);
    }
    buf_t clean;
    buf_init(&clean, 4 * strlen(text) + 1);
    say_text(&clean, text);
    table->cells[table->count++] = (cell_t){clean.size ? buf_take(&clean) : mem_dup(""), style};
    buf_release(&clean);
}

static void add_formatted(table_t *table, say_style_t style, const char *format, va_list args) {
    va_list again;
    va_copy(again, args);
    int size = vsnprintf(NULL, 0, format, again);
    va_end(again);
    ERR_ASSERT(size >= 0);
    char *text = mem_alloc((size_t)size + 1);
    vsnprintf(text, (size_t)size + 1, format, args);
    add(table, style, text);
    free(text);
}

void table_cell(table_t *table, say_style_t style, const char *format, ...) {
    va_list args;
    va_start(args, format);
    add_formatted(table, style, format, args);
    va_end(args);
}

void table_pair(table_t *table, const char *key, const char *format, ...) {
    add(table, SAY_DIM, key);
    va_list args;
    va_start(args, format);
    add_formatted(table, SAY_PLAIN, format, args);
    va_end(args);
}

void table_value(table_t *table, const char *key, const json_t *value) {
    buf_t text;
    buf_init(&text, VALUE_MAX);
    say_value(&text, value);
    table_pair(table, key, "%s", text.data ? text.data : "");
    buf_release(&text);
}

// Columns of a terminal that the text takes.
static size_t width_of(const char *text) {
    size_t width = 0, left = strlen(text);
    mbstate_t state = {0};
    while (left > 0) {
        wchar_t c;
        size_t length = mbrtowc(&c, text, left, &state);
        if (length == 0 || length > left) {
            state = (mbstate_t){0};
            length = 1;
            width++;
        } else {
            int columns = wcwidth(c);
            width += columns > 0 ? (size_t)columns : 0;
        }
        text += length;
        left -= length;
    }
    return width;
}

static void put_cell(const char *text, say_style_t style, size_t width, bool right, bool last) {
    size_t own = width_of(text), gap = width > own ? width - own : 0;
    if (right)
        printf("%*s", (int)gap, "");
    bool styled = style != SAY_PLAIN;
    printf("%s%s%s", styled ? say_style(stdout, style) : "", text,
           styled ? say_style(stdout, SAY_PLAIN) : "");
    if (!last)
        printf("%*s", (int)(right ? 0 : gap) + 2, "");
}

static void put_rows(const table_t *table) {
    size_t widths[COLUMNS_MAX] = {0}, columns = table->columns;
    ERR_ASSERT(columns > 0);
    for (size_t i = 0; i < columns && !table->bare; i++)
        widths[i] = width_of(table->heads[i]);
    for (size_t i = 0; i < table->count; i++) {
        size_t width = width_of(table->cells[i].text);
        if (width > widths[i % columns])
            widths[i % columns] = width;
    }
    for (size_t i = 0; i < columns && !table->bare; i++)
        put_cell(table->heads[i], SAY_BOLD, widths[i], table->right[i], i + 1 == columns);
    if (!table->bare)
        putchar('\n');
    for (size_t i = 0; i < table->count; i++) {
        bool last = (i + 1) % columns == 0;
        put_cell(table->cells[i].text, table->cells[i].style, widths[i % columns],
                 table->right[i % columns], last);
        if (last)
            putchar('\n');
    }
}

void table_free(table_t **self) {
    table_t *table = *self;
    if (!table)
        return;
    for (size_t i = 0; i < table->columns; i++)
        free(table->heads[i]);
    for (size_t i = 0; i < table->count; i++)
        free(table->cells[i].text);
    free(table->cells);
    free(table);
    *self = NULL;
}

void table_print(table_t **table, const char *empty) {
    setlocale(LC_CTYPE, "C.UTF-8");
    if ((*table)->count > 0)
        put_rows(*table);
    else if (empty)
        fprintf(stderr, "%s\n", empty);
    table_free(table);
}
