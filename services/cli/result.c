#include "result_impl.h"

#include "table_impl.h"
#include "verbs_impl.h"

#include <stdlib.h>
#include <string.h>

#define MATRIX_MAX 10 // classes; a larger matrix fits no terminal

// The classes as lines of the truth, what they were taken for as columns.
static void print_confusion(const json_t *rows, const json_t *classes) {
    size_t count = json_array_size(rows), i, j;
    const json_t *row, *cell;
    if (count < 2 || count > MATRIX_MAX || json_array_size(classes) != count)
        return;
    buf_t heads;
    buf_init(&heads, 1 << 16);
    buf_puts(&heads, "is / was taken for");
    json_array_foreach(classes, i, cell) {
        // '|' separates the heads
        char *label = mem_dup(json_string_value(cell) ? json_string_value(cell) : "");
        for (char *c = label; *c; c++)
            *c = *c == '|' ? '/' : *c;
        buf_printf(&heads, "|>%s", label);
        free(label);
    }
    table_t *table = table_new(heads.data);
    json_array_foreach(rows, i, row) {
        table_cell(table, SAY_PLAIN, "%s", json_string_value(json_array_get(classes, i)));
        for (j = 0; j < count; j++)
            table_cell(table, i == j ? SAY_GOOD : SAY_PLAIN, "%lld",
                       (long long)json_integer_value(json_array_get(row, j)));
    }
    putchar('\n');
    table_print(&table, NULL);
    buf_release(&heads);
}

static void put_test(table_t *table, const json_t *test) {
    buf_t text;
    buf_init(&text, 1 << 16);
    say_pairs(&text, test, "confusion");
    table_pair(table, "test", "%s", text.data ? text.data : "");
    buf_release(&text);
}

// A search's trials, the best one marked.
static void print_trials(const json_t *document) {
    const json_t *trials = json_object_get(document, "trials"), *trial;
    json_int_t best =
        json_integer_value(json_object_get(json_object_get(document, "best"), "trial"));
    size_t i;
    if (json_array_size(trials) == 0)
        return;
    table_t *table = table_new(">trial|state|>value|>epochs|proposed by|job|parameters");
    json_array_foreach(trials, i, trial) {
        buf_t params;
        buf_init(&params, 1 << 16);
        say_pairs(&params, json_object_get(trial, "params"), "");
        json_int_t number = json_integer_value(json_object_get(trial, "trial"));
        const json_t *value = json_object_get(trial, "value");
        char text[32] = "";
        if (json_is_number(value))
            say_number(json_number_value(value), text);
        table_cell(table, number == best ? SAY_GOOD : SAY_PLAIN, "%s%lld",
                   number == best ? "best " : "", (long long)number);
        table_cell(table, SAY_PLAIN, "%s", json_string_value(json_object_get(trial, "state")));
        table_cell(table, SAY_PLAIN, "%s", text);
        table_cell(table, SAY_PLAIN, "%lld",
                   (long long)json_integer_value(json_object_get(trial, "epochs")));
        table_cell(table, SAY_DIM, "%s",
                   json_string_value(json_object_get(json_object_get(trial, "why"), "kind")));
        const char *job = json_string_value(json_object_get(trial, "job"));
        table_cell(table, SAY_DIM, "%s", job ? job : "");
        table_cell(table, SAY_PLAIN, "%s", params.data ? params.data : "");
        buf_release(&params);
    }
    putchar('\n');
    table_print(&table, NULL);
    const char *study = json_string_value(json_object_get(document, "study"));
    if (study)
        printf("\n`inkling study report %s` makes a page of it, with charts.\n", study);
}

void result_print(const json_t *document) {
    const char *key;
    const json_t *value, *test = json_object_get(document, "test");
    const json_t *rows = json_object_get(json_is_object(test) ? test : document, "confusion");
    table_t *table = table_new("");
    json_object_foreach((json_t *)document, key, value) {
        if (strcmp(key, "test") == 0 && json_is_object(value))
            put_test(table, value);
        else if (!verb_in_list("job state history confusion trials", key) && !json_is_null(value))
            table_value(table, key, value);
    }
    printf("%sjob %s succeeded%s\n", say_style(stdout, SAY_GOOD),
           json_string_value(json_object_get(document, "job")), say_style(stdout, SAY_PLAIN));
    table_print(&table, NULL);
    print_confusion(rows, json_object_get(document, "classes"));
    print_trials(document);
}
