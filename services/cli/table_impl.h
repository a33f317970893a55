// Tables for people: aligned columns by what a terminal shows, UTF-8 safe.
#ifndef INKLING_CLI_TABLE_IMPL_H
#define INKLING_CLI_TABLE_IMPL_H

#include "say_impl.h"

typedef struct table table_t;

// heads: "name|kind|>progress", '>' before those that are aligned to the right.
table_t *table_new(const char *heads);
// The next cell of the row; a row is full after the last column. Control characters are shown as
// \xNN.
void table_cell(table_t *table, say_style_t style, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
// Prints it, or `empty` on stderr when it has no rows; frees it.
void table_print(table_t **table, const char *empty);
void table_free(table_t **table);

// Two columns, "key  value", for one thing.
void table_pair(table_t *table, const char *key, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void table_value(table_t *table, const char *key, const json_t *value);

#endif
