// study list, stop, continue, rm.
#include "study_view_impl.h"

#include "table_impl.h"

// --- list

err_code_t verb_study_list(cli_t *cli, int *exit_code, err_t *err) {
    (void)exit_code;
    const proto_study_list_t question = {0};
    proto_studies_t answer;
    err_code_t code = cli_ask(cli, PROTO_study_list, &question, PROTO_studies, &answer, err);
    if (code)
        return code;
    json_t *list = json_array();
    table_t *table = table_new("study|>entries|created");
    for (size_t i = 0; i < answer.studies.count; i++) {
        const proto_study_info_t *info = &answer.studies.items[i];
        char when[32];
        say_when(info->created_ms, when);
        table_cell(table, SAY_BOLD, "%s", info->study);
        table_cell(table, SAY_PLAIN, "%llu", (unsigned long long)info->entries);
        table_cell(table, SAY_DIM, "%s", when);
        json_t *document = proto_to_json(PROTO_study_info, info);
        json_object_del(document, "about"); // lists have none
        json_array_append_new(list, document);
    }
    if (say_is_json())
        say_json(json_incref(list));
    else
        table_print(&table,
                    "There are no studies: PROTOCOL.md, \"Studies\", says how to make one.");
    json_decref(list);
    table_free(&table);
    return ERR_OK;
}

// --- stop, continue, rm

static void said(const char *key, const char *study, const char *sentence) {
    if (say_is_json())
        say_json(json_pack("{s:b, s:s}", "ok", true, key, study));
    else
        printf("study %s %s\n", study, sentence);
}

err_code_t verb_study_stop(cli_t *cli, int *exit_code, err_t *err) {
    (void)exit_code;
    const char *study = cli->call.arguments[0], *reason = call_text(&cli->call, "reason");
    const proto_study_stop_t question = {.study = study,
                                         .reason = reason ? reason : "by `inkling study stop`"};
    proto_ok_t answer;
    err_code_t code = view_ask(cli, PROTO_study_stop, &question, PROTO_ok, &answer, err);
    if (code == ERR_OK)
        said("stopped", study, "gives out no more trials");
    return code;
}

err_code_t verb_study_continue(cli_t *cli, int *exit_code, err_t *err) {
    (void)exit_code;
    const char *study = cli->call.arguments[0];
    const proto_study_continue_t question = {.study = study};
    proto_ok_t answer;
    err_code_t code = view_ask(cli, PROTO_study_continue, &question, PROTO_ok, &answer, err);
    if (code == ERR_OK)
        said("continued", study, "gives out trials again");
    return code;
}

err_code_t verb_study_rm(cli_t *cli, int *exit_code, err_t *err) {
    (void)exit_code;
    const char *study = cli->call.arguments[0];
    const proto_study_rm_t question = {.study = study};
    proto_ok_t answer;
    err_code_t code = cli_ask(cli, PROTO_study_rm, &question, PROTO_ok, &answer, err);
    if (code == ERR_OK)
        said("removed", study, "is removed");
    return code;
}
