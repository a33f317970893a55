// study compare: studies side by side.
#include "study_view_impl.h"

#include "table_impl.h"

#include <math.h>
#include <string.h>

#define STUDIES_MAX 8
#define ROWS_MAX    32

typedef struct {
    size_t count;
    json_t *studies[STUDIES_MAX]; // as view_fetch gives them
    json_t *counts[STUDIES_MAX];  // trials by state
} comparison_t;

static const char *name_of(const comparison_t *c, size_t i) {
    return view_text(c->studies[i], "study");
}

static const json_t *about_of(const comparison_t *c, size_t i) {
    return json_object_get(c->studies[i], "about");
}

static const json_t *trials_of(const comparison_t *c, size_t i) {
    return json_object_get(c->studies[i], "trials");
}

static bool maximises(const comparison_t *c, size_t i) {
    return strcmp(view_text(about_of(c, i), "direction"), "maximise") == 0;
}

// --- The best so far

// Of the trials up to number n that ran to their end; NaN: none did.
static double best_at(const comparison_t *c, size_t i, size_t n) {
    size_t index;
    json_t *trial;
    double best = NAN, sign = maximises(c, i) ? -1 : 1;
    json_array_foreach((json_t *)(uintptr_t)trials_of(c, i), index, trial) {
        const json_t *value = json_object_get(trial, "value");
        if (index >= n)
            break;
        if (strcmp(view_text(trial, "state"), "done") != 0 || !json_is_number(value))
            continue;
        double v = json_number_value(value);
        if (isnan(best) || sign * v < sign * best)
            best = v;
    }
    return best;
}

// Numbers of trials to compare at: 1, 2, 5, 10 …, and what each of the studies has.
static size_t rows_of(const comparison_t *c, size_t rows[ROWS_MAX]) {
    static const size_t steps[] = {1, 2, 5};
    size_t count = 0, most = 0;
    for (size_t i = 0; i < c->count; i++) {
        size_t own = json_array_size(trials_of(c, i));
        most = own > most ? own : most;
    }
    for (size_t ten = 1; ten <= most; ten *= 10)
        for (size_t k = 0; k < 3 && ten * steps[k] <= most; k++)
            rows[count++] = ten * steps[k];
    for (size_t i = 0; i < c->count; i++) { // where it belongs
        size_t own = json_array_size(trials_of(c, i)), at = 0;
        while (at < count && rows[at] < own)
            at++;
        if (own == 0 || (at < count && rows[at] == own))
            continue;
        memmove(rows + at + 1, rows + at, (count++ - at) * sizeof *rows);
        rows[at] = own;
    }
    return count;
}

// --- For people

static table_t *columns(const comparison_t *c, const char *first, const char *side) {
    buf_t heads;
    buf_init(&heads, 4096);
    buf_puts(&heads, first);
    for (size_t i = 0; i < c->count; i++)
        buf_printf(&heads, "|%s%s", side, name_of(c, i));
    table_t *table = table_new(heads.data);
    buf_release(&heads);
    return table;
}

static void put_number(table_t *table, double value) {
    char text[32] = "-";
    if (isfinite(value))
        say_number(value, text);
    table_cell(table, SAY_PLAIN, "%s", text);
}

static void put_texts(table_t *table, const comparison_t *c, const char *key, const char *usual) {
    table_cell(table, SAY_DIM, "%s", key);
    for (size_t i = 0; i < c->count; i++) {
        const char *text = view_text(about_of(c, i), key);
        table_cell(table, SAY_PLAIN, "%s", *text ? text : usual);
    }
}

static void print_facts(const comparison_t *c) {
    static const char *const states[] = {"done", "pruned", "failed", "running", "forgotten"};
    table_t *table = columns(c, "", ">");
    put_texts(table, c, "direction", "minimise");
    put_texts(table, c, "strategy", "model");
    put_texts(table, c, "prune", "none");
    put_texts(table, c, "warm_start", "-");
    table_cell(table, SAY_DIM, "trials");
    for (size_t i = 0; i < c->count; i++)
        table_cell(table, SAY_PLAIN, "%zu", json_array_size(trials_of(c, i)));
    for (size_t s = 0; s < sizeof states / sizeof *states; s++) {
        table_cell(table, SAY_DIM, "  %s", states[s]);
        for (size_t i = 0; i < c->count; i++)
            table_cell(table, SAY_PLAIN, "%lld", (long long)view_whole(c->counts[i], states[s]));
    }
    table_cell(table, SAY_DIM, "best");
    for (size_t i = 0; i < c->count; i++)
        put_number(table, best_at(c, i, SIZE_MAX));
    table_cell(table, SAY_DIM, "  at trial");
    for (size_t i = 0; i < c->count; i++) {
        json_int_t best = view_whole(c->studies[i], "best");
        put_number(table, best > 0 ? (double)best : NAN);
    }
    table_cell(table, SAY_DIM, "left to gain, at most");
    for (size_t i = 0; i < c->count; i++)
        put_number(table, view_left(c->studies[i], NULL));
    table_print(&table, NULL);
}

static void print_course(const comparison_t *c) {
    size_t rows[ROWS_MAX], count = rows_of(c, rows);
    table_t *table = columns(c, ">best after", ">");
    for (size_t r = 0; r < count; r++) {
        table_cell(table, SAY_DIM, "%zu", rows[r]);
        for (size_t i = 0; i < c->count; i++)
            put_number(table,
                       rows[r] <= json_array_size(trials_of(c, i)) ? best_at(c, i, rows[r]) : NAN);
    }
    table_print(&table, NULL);
}

// Parameters of all studies, in the order of their coming: a new reference, {name: true}.
static json_t *all_names(const comparison_t *c) {
    json_t *all = json_object(), *name;
    size_t n;
    for (size_t i = 0; i < c->count; i++) {
        json_t *names = view_names(c->studies[i]);
        json_array_foreach(names, n, name)
            json_object_set_new(all, json_string_value(name), json_true());
        json_decref(names);
    }
    return all;
}

static void print_space(const comparison_t *c) {
    json_t *names = all_names(c), *value;
    const char *name;
    table_t *table = columns(c, "parameter", "");
    json_object_foreach(names, name, value) {
        table_cell(table, SAY_BOLD, "%s", name);
        for (size_t i = 0; i < c->count; i++) {
            const char *text = view_definition(c->studies[i], name);
            table_cell(table, SAY_PLAIN, "%s", text ? text : "-");
        }
    }
    json_decref(names);
    table_print(&table, NULL);
}

static void print_importance(const comparison_t *c) {
    json_t *names = all_names(c), *value;
    const char *name;
    table_t *table = columns(c, "importance, with interactions", ">");
    json_object_foreach(names, name, value) {
        table_cell(table, SAY_BOLD, "%s", name);
        for (size_t i = 0; i < c->count; i++) {
            const json_t *shares =
                json_object_get(json_object_get(c->studies[i], "importance"), name);
            double total = fmax(json_number_value(json_object_get(shares, "total")), 0);
            table_cell(table, SAY_PLAIN, shares ? "%.0f %%" : "-", 100 * total);
        }
    }
    json_decref(names);
    table_print(&table, NULL);
}

static void print_all(const comparison_t *c) {
    print_facts(c);
    puts("");
    print_course(c);
    puts("");
    print_space(c);
    puts("");
    print_importance(c);
}

// --- For programs

static json_t *document_of(const comparison_t *c) {
    static const char *const keys[] = {"study",   "about",      "space", "best", "stopped",
                                       "settled", "importance", "rests", "noise"};
    size_t rows[ROWS_MAX], count = rows_of(c, rows);
    json_t *at = json_array(), *list = json_array();
    for (size_t r = 0; r < count; r++)
        json_array_append_new(at, json_integer((json_int_t)rows[r]));
    for (size_t i = 0; i < c->count; i++) {
        json_t *own = json_object(), *course = json_array();
        for (size_t k = 0; k < sizeof keys / sizeof *keys; k++)
            json_object_set(own, keys[k], json_object_get(c->studies[i], keys[k]));
        for (size_t r = 0; r < count && rows[r] <= json_array_size(trials_of(c, i)); r++) {
            json_t *value = json_real(best_at(c, i, rows[r]));
            json_array_append_new(course, value ? value : json_null());
        }
        json_object_set(own, "trials", c->counts[i]);
        json_object_set_new(own, "best_so_far", course);
        json_array_append_new(list, own);
    }
    return json_pack("{s:o, s:o}", "at", at, "studies", list);
}

// --- The verb

static void warn_of_goals(const comparison_t *c) {
    err_t told;
    for (size_t i = 1; i < c->count; i++)
        if (maximises(c, i) != maximises(c, 0)) {
            err_set(&told, ERR_INVALID,
                    "%s maximises, %s minimises: their values say nothing of "
                    "which is better",
                    name_of(c, maximises(c, i) ? i : 0), name_of(c, maximises(c, i) ? 0 : i));
            say_warning(&told);
            return;
        }
}

err_code_t verb_study_compare(cli_t *cli, int *exit_code, err_t *err) {
    (void)exit_code;
    comparison_t c = {0};
    err_code_t code = ERR_OK;
    for (; c.count < (size_t)cli->call.count && code == ERR_OK; c.count += code == ERR_OK) {
        code = view_fetch(cli, cli->call.arguments[c.count], false, &c.studies[c.count], err);
        if (code == ERR_OK)
            c.counts[c.count] = view_counts(c.studies[c.count]);
    }
    if (code == ERR_OK) {
        warn_of_goals(&c);
        if (say_is_json())
            say_json(document_of(&c));
        else
            print_all(&c);
    }
    for (size_t i = 0; i < c.count; i++) {
        json_decref(c.studies[i]);
        json_decref(c.counts[i]);
    }
    return code;
}
