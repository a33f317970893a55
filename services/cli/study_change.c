// study change.
#include "study_view_impl.h"

#include "table_impl.h"

static void print_changed(const char *study, const json_t *changed) {
    size_t i;
    json_t *remark;
    table_t *table = table_new("");
    table_pair(table, "study", "%s", study);
    table_value(table, "space", json_object_get(changed, "space"));
    json_array_foreach(json_object_get(changed, "remarks"), i, remark)
        table_pair(table, "note", "%s", json_string_value(remark));
    table_print(&table, NULL);
}

err_code_t verb_study_change(cli_t *cli, int *exit_code, err_t *err) {
    (void)exit_code;
    const char *study = cli->call.arguments[0];
    json_t *body = cli->call.message;
    proto_study_change_t question;
    proto_study_changed_t answer;
    proto_arena_t *arena = proto_arena_new();
    json_object_set_new(body, "study", json_string(study));
    err_code_t code = proto_from_json(PROTO_study_change, body, arena, &question, err);
    if (code == ERR_OK)
        code = view_ask(cli, PROTO_study_change, &question, PROTO_study_changed, &answer, err);
    json_t *changed = code ? NULL : proto_to_json(PROTO_study_changed, &answer);
    if (code == ERR_OK && say_is_json())
        say_json(json_incref(changed));
    else if (code == ERR_OK)
        print_changed(study, changed);
    json_decref(changed);
    proto_arena_destroy(&arena);
    return code;
}
