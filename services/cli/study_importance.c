// study importance.
#include "study_view_impl.h"

#include "table_impl.h"

#include <math.h>

static double share_of(const json_t *shares, const char *which) {
    return fmax(json_number_value(json_object_get(shares, which)), 0);
}

static void put_share(table_t *table, double share) {
    table_cell(table, SAY_PLAIN, share > 0 && share < 0.005 ? "< 1 %%" : "%.0f %%", 100 * share);
}

void view_print_importance(const json_t *study) {
    const char *name;
    json_t *shares;
    table_t *table = table_new("parameter|>importance|>with interactions");
    json_object_foreach(json_object_get(study, "importance"), name, shares) {
        double main = share_of(shares, "main");
        table_cell(table, SAY_BOLD, "%s", name);
        put_share(table, main);
        put_share(table, fmax(main, share_of(shares, "total")));
    }
    table_print(&table, NULL);
}

static json_int_t ended(const json_t *counts) {
    return view_whole(counts, "done") + view_whole(counts, "pruned") + view_whole(counts, "failed");
}

// What of the trials went into it, and how.
static void print_ground(const json_t *study, const json_t *counts) {
    static const struct {
        const char *state, *how;
    } parts[] = {{"done", "that ran to their end"},
                 {"pruned", "stopped early, by what they were going to have"},
                 {"failed", "that failed, as bad values"}};
    const char *gap = ": ";
    printf("\nIt rests on %lld trials", (long long)ended(counts));
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        json_int_t count = view_whole(counts, parts[i].state);
        if (count > 0)
            printf("%s%lld %s", gap, (long long)count, parts[i].how);
        gap = count > 0 ? "; " : gap;
    }
    puts(".");
    json_int_t rests = view_whole(study, "rests");
    if (rests < ended(counts))
        printf("The model looks at %lld of them: the best, and a sample of the others.\n",
               (long long)rests);
    const char *begun_with = view_text(json_object_get(study, "about"), "warm_start");
    if (*begun_with)
        printf("It began with what the study %s had seen; some twenty trials on, its own alone "
               "count.\n",
               begun_with);
    puts("A share is how much of the model's variance over the whole space a parameter accounts "
         "for.");
}

err_code_t verb_study_importance(cli_t *cli, int *exit_code, err_t *err) {
    (void)exit_code;
    const char *name = cli->call.arguments[0];
    json_t *study = NULL;
    err_code_t code = view_fetch(cli, name, false, &study, err);
    if (code)
        return code;
    json_t *counts = view_counts(study), *importance = json_object_get(study, "importance");
    if (json_object_size(importance) == 0) {
        err_set(err, ERR_NOT_FOUND, "study %s has no model yet: %lld trials have ended well", name,
                (long long)(view_whole(counts, "done") + view_whole(counts, "pruned")));
        code = err_remedy(err, "it needs some trials that ended with different values");
    } else if (say_is_json()) {
        say_json(json_pack("{s:s, s:O, s:I, s:O}", "study", name, "trials", counts, "rests",
                           view_whole(study, "rests"), "importance", importance));
    } else {
        view_print_importance(study);
        print_ground(study, counts);
    }
    json_decref(counts);
    json_decref(study);
    return code;
}
