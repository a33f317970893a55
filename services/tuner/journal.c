#include "tuner/journal.h"

#include <stdlib.h>

static err_code_t replay_all(study_t *study, const proto_study_entries_t *part, err_t *err) {
    err_code_t code = ERR_OK;
    for (size_t i = 0; i < part->entries.count && code == ERR_OK; i++) {
        json_t *entry = proto_map_json(part->entries.items[i].data);
        code = study_replay(study, entry, err);
        json_decref(entry);
    }
    return code;
}

err_code_t journal_open(child_t *child, const char *name, const json_t *about, study_t **study,
                        err_t *err) {
    proto_arena_t *arena = proto_arena_new();
    proto_study_open_t open = {.study = name};
    proto_study_t opened;
    proto_study_entries_t part;
    err_code_t code = study_new(about, study, err);
    if (code == ERR_OK)
        code = proto_map_from_json(about, arena, &open.about, err);
    if (code == ERR_OK)
        code = child_ask(child, PROTO_study_open, &open, PROTO_study, &opened, err);
    uint64_t entries = code ? 0 : opened.study->entries;
    while (code == ERR_OK && study_saved(*study) < entries) {
        proto_study_read_t read = {
            .study = name, .after = study_saved(*study), .limit = PROTO_ENTRIES_MAX};
        code = child_ask(child, PROTO_study_read, &read, PROTO_study_entries, &part, err);
        if (code == ERR_OK)
            code = replay_all(*study, &part, err);
    }
    proto_arena_destroy(&arena);
    if (code)
        study_free(study);
    return code;
}

err_code_t journal_check(child_t *child, const char *name, const study_t *study, err_t *err) {
    const proto_study_read_t read = {.study = name, .after = study_saved(study), .limit = 1};
    proto_study_entries_t part;
    err_code_t code = child_ask(child, PROTO_study_read, &read, PROTO_study_entries, &part, err);
    if (code == ERR_OK && part.entries.count > 0)
        code = err_set(err, ERR_STALE, "somebody else has written to study %s", name);
    return code;
}

err_code_t journal_save(child_t *child, const char *name, study_t *study, err_t *err) {
    size_t count;
    const json_t *const *entries = study_unsaved(study, &count);
    if (count == 0)
        return ERR_OK;
    if (count > PROTO_ENTRIES_MAX)
        count = PROTO_ENTRIES_MAX;
    proto_arena_t *arena = proto_arena_new();
    proto_study_entry_t *items = proto_arena_alloc(arena, count * sizeof *items);
    proto_study_appended_t appended;
    err_code_t code = ERR_OK;
    for (size_t i = 0; i < count && code == ERR_OK; i++)
        code = proto_map_from_json(entries[i], arena, &items[i].data, err);
    const proto_study_append_t append = {
        .study = name, .at = study_saved(study), .entries = {items, count}};
    if (code == ERR_OK)
        code = child_ask(child, PROTO_study_append, &append, PROTO_study_appended, &appended, err);
    proto_arena_destroy(&arena);
    if (code == ERR_CONFLICT)
        return err_set(err, ERR_STALE, "somebody else has written to study %s", name);
    if (code)
        return code;
    study_save(study, count);
    return journal_save(child, name, study, err);
}
