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

// Reads on to the log's end; of a study that is not made yet (*study NULL) its about as well.
static err_code_t read_log(child_t *child, const char *name, study_t **study, err_t *err) {
    proto_study_entries_t part = {0};
    err_code_t code = ERR_OK;
    do {
        proto_study_read_t read = {
            .study = name, .after = *study ? study_saved(*study) : 0, .limit = PROTO_ENTRIES_MAX};
        code = child_ask(child, PROTO_study_read, &read, PROTO_study_entries, &part, err);
        if (code == ERR_OK && !*study) {
            json_t *about = proto_map_json(part.study->about);
            code = study_new(about, study, err);
            json_decref(about);
        }
        if (code == ERR_OK)
            code = replay_all(*study, &part, err);
    } while (code == ERR_OK && study_saved(*study) < part.study->entries);
    return code;
}

// What is copied of the earlier study is stored before anything is decided by it.
static err_code_t begin_with_earlier(child_t *child, const char *name, study_t *study, err_t *err) {
    study_t *earlier = NULL;
    const char *other = study_warm_start(study);
    err_code_t code = read_log(child, other, &earlier, err);
    if (code)
        err_context(err, "to begin with study %s", other);
    else
        code = study_begin_with(study, other, earlier, err);
    study_free(&earlier);
    return code ? code : journal_save(child, name, study, err);
}

err_code_t journal_open(child_t *child, const char *name, const json_t *about, study_t **study,
                        err_t *err) {
    proto_arena_t *arena = proto_arena_new();
    proto_study_open_t open = {.study = name};
    proto_study_t opened;
    err_code_t code = study_new(about, study, err);
    if (code == ERR_OK)
        code = proto_map_from_json(about, arena, &open.about, err);
    if (code == ERR_OK)
        code = child_ask(child, PROTO_study_open, &open, PROTO_study, &opened, err);
    if (code == ERR_OK)
        code = read_log(child, name, study, err);
    if (code == ERR_OK && study_wants_earlier(*study))
        code = begin_with_earlier(child, name, *study, err);
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
