#include "ingest/ingest.h"
#include "base/clock.h"
#include "match_impl.h"
#include "read_impl.h"
#include "sizes_impl.h"
#include "split_impl.h"
#include "stage_impl.h"

#include <stdlib.h>
#include <string.h>

#define PROGRESS_MS 100

static const char *const group_names[INGEST_GROUP_COUNT] = {
#define X(kind, word) word,
    INGEST_GROUPS(X)
#undef X
};

typedef struct {
    const ingest_options_t *options;
    ingest_progress_t *progress;
    void *context;
    ingest_state_t state;
    int64_t told_ms; // last call of progress
    scan_classes_t classes;
    shard_index_t files;
    previous_t *previous;
    stage_t stage;
    spool_t *spool;
    uint8_t *pixels; // of one image
    prep_recipe_t recipe;
} run_t;

// ---- options and result ----

const char *ingest_group_name(ingest_group_t group) {
    return group_names[group];
}

err_code_t ingest_group_parse(const char *word, ingest_group_t *group, err_t *err) {
    for (int i = 0; i < INGEST_GROUP_COUNT; i++)
        if (strcmp(word, group_names[i]) == 0) {
            *group = (ingest_group_t)i;
            return ERR_OK;
        }
    err_set(err, ERR_INVALID, "group_by: '%s' is unknown", word);
    err_remedy(err, "use none or stem");
    return ERR_INVALID;
}

void ingest_options_init(ingest_options_t *options) {
    *options = (ingest_options_t){.recipe = PREP_RECIPE_DEFAULT, .limits = PREP_LIMITS_DEFAULT};
}

void ingest_result_release(ingest_result_t *result) {
    for (int i = 0; i < result->class_count; i++)
        free(result->classes[i]);
    free(result->classes);
    free(result->class_images);
    for (int i = 0; i < result->refused_count; i++)
        free(result->refused[i]);
    free(result->refused);
    memset(result, 0, sizeof *result);
}

static void count_files(const shard_index_t *files, ingest_result_t *result) {
    for (int64_t i = 0; i < files->count; i++) {
        const shard_entry_t *entry = &files->entries[i];
        result->rejected += entry->outcome == SHARD_REJECTED || entry->outcome == SHARD_CONFLICT;
        result->conflicts += entry->outcome == SHARD_CONFLICT;
        result->duplicates += entry->outcome == SHARD_DUPLICATE;
        if (entry->outcome != SHARD_KEPT)
            continue;
        result->images++;
        result->splits[entry->split]++;
        result->class_images[entry->label]++;
    }
}

// All but the digest.
static void fill_result(const run_t *run, ingest_result_t *result) {
    const scan_classes_t *classes = &run->classes;
    *result = (ingest_result_t){.class_count = classes->count};
    result->classes = mem_zero((size_t)classes->count, sizeof *result->classes);
    result->class_images = mem_zero((size_t)classes->count, sizeof *result->class_images);
    for (int i = 0; i < classes->count; i++)
        result->classes[i] = mem_dup(classes->names[i]);
    prep_recipe_hash(&run->recipe, result->recipe_hash);
    count_files(&run->files, result);
}

// ---- writing ----

static err_code_t tell(run_t *run, bool always, err_t *err) {
    int64_t now = clock_mono_ms();
    if (!run->progress || (!always && now - run->told_ms < PROGRESS_MS))
        return ERR_OK;
    run->told_ms = now;
    return run->progress(run->context, &run->state)
               ? ERR_OK
               : err_set(err, ERR_CANCELLED, "the ingest was cancelled");
}

typedef struct {
    uint64_t sums[4];
    int64_t values; // of each channel
} sums_t;

static void add_pixels(const run_t *run, sums_t *sums) {
    int channels = run->recipe.channels;
    size_t bytes = prep_recipe_bytes(&run->recipe);
    for (size_t i = 0; i < bytes; i += (size_t)channels)
        for (int c = 0; c < channels; c++)
            sums->sums[c] += run->pixels[i + (size_t)c];
    sums->values += (int64_t)(bytes / (size_t)channels);
}

static err_code_t write_images(run_t *run, shard_writer_t *writer, sums_t *sums, err_t *err) {
    err_code_t code = ERR_OK;
    for (int64_t i = 0; i < run->files.count && !code; i++) {
        const shard_entry_t *entry = &run->files.entries[i];
        if (entry->outcome != SHARD_KEPT)
            continue;
        code = spool_get(run->spool, i, run->pixels, err);
        if (code)
            break;
        if (entry->split == SHARD_TRAIN)
            add_pixels(run, sums);
        code =
            shard_writer_add(writer, entry->split, run->pixels, entry->label, entry->digest, err);
        run->state.written++;
        if (!code)
            code = tell(run, false, err);
    }
    return code;
}

static void set_mean(prep_recipe_t *recipe, const sums_t *sums) {
    for (int c = 0; c < recipe->channels && recipe->mean_subtract; c++)
        recipe->mean[c] = (float)((double)sums->sums[c] / (double)sums->values);
}

// Shards, index, manifest. The recipe's mean is known once the images are written.
static err_code_t write_version(run_t *run, ingest_result_t *result, err_t *err) {
    const ingest_options_t *options = run->options;
    char recipe[PREP_RECIPE_TEXT_MAX], *name = mem_dup(options->name);
    char *source = shard_name_escape(options->folder);
    char *group_by = mem_dup(ingest_group_name(options->group_by));
    shard_info_t info = {.name = name,
                         .source = source,
                         .group_by = group_by,
                         .seed = options->seed,
                         .recipe = recipe,
                         .height = run->recipe.size,
                         .width = run->recipe.size,
                         .channels = run->recipe.channels,
                         .class_count = run->classes.count,
                         .classes = run->classes.names};
    shard_writer_t *writer = NULL;
    sums_t sums = {0};
    err_code_t code = shard_writer_open(run->stage.folder, &info, &writer, err);
    if (!code)
        code = write_images(run, writer, &sums, err);
    if (!code) {
        set_mean(&run->recipe, &sums);
        prep_recipe_write(&run->recipe, recipe);
        fill_result(run, result);
        memcpy(info.recipe_hash, result->recipe_hash, sizeof info.recipe_hash);
        info.rejected = result->rejected;
        info.duplicates = result->duplicates;
        info.conflicts = result->conflicts;
        previous_keep_gone(run->previous, &run->files);
        code = shard_index_write(run->stage.folder, run->classes.names, &run->files, err);
    }
    if (!code)
        code = shard_writer_finish(&writer, result->digest, err);
    shard_writer_abort(&writer);
    free(name);
    free(source);
    free(group_by);
    return code;
}

// ---- all ----

static err_code_t open_stage(run_t *run, err_t *err) {
    size_t bytes = prep_recipe_bytes(&run->recipe);
    run->pixels = mem_alloc(bytes);
    err_code_t code = stage_open(run->options->out, &run->stage, err);
    return code ? code : spool_open(run->stage.folder, bytes, &run->spool, err);
}

static err_code_t read_files(run_t *run, err_t *err) {
    err_code_t code = open_stage(run, err);
    if (code)
        return code;
    const read_all_t job = {.options = run->options,
                            .previous = run->previous,
                            .files = &run->files,
                            .spool = run->spool,
                            .progress = run->progress,
                            .context = run->context};
    code = read_all(&job, err);
    if (code)
        return code;
    match_files(run->options->group_by, &run->files);
    if (run->options->strict)
        code = sizes_check_strict(&run->files, err);
    return code ? code : sizes_check(&run->classes, &run->files, "usable images", err);
}

static err_code_t make_version(run_t *run, ingest_result_t *result, err_t *err) {
    err_code_t code = split_files(run->options, &run->classes, run->previous, &run->files, err);
    run->state.files = run->state.read = run->files.count;
    for (int64_t i = 0; i < run->files.count; i++)
        run->state.rejected += run->files.entries[i].outcome == SHARD_REJECTED;
    if (!code)
        code = write_version(run, result, err);
    if (!code)
        code = tell(run, true, err);
    return code ? code : stage_publish(&run->stage, run->options->out, err);
}

static err_code_t look(run_t *run, err_t *err) {
    const ingest_options_t *options = run->options;
    err_code_t code = prep_recipe_check(&options->recipe, err);
    if (!code)
        code = stage_check(options->out, err);
    if (!code)
        code = scan(options, &run->classes, &run->files, err);
    if (!code)
        code = sizes_check(&run->classes, &run->files, "files", err);
    return code ? code : previous_open(options, &run->previous, err);
}

static err_code_t run_all(run_t *run, ingest_result_t *result, err_t *err) {
    err_code_t code = look(run, err);
    if (code)
        return code;
    bool unchanged = previous_has_files(run->previous, &run->classes, &run->files);
    if (!unchanged) {
        code = read_files(run, err);
        if (code)
            return code;
        unchanged = previous_has_content(run->previous, &run->classes, &run->files);
    }
    if (!unchanged)
        return make_version(run, result, err);
    previous_result(run->previous, result);
    return ERR_OK;
}

err_code_t ingest_run(const ingest_options_t *options, ingest_progress_t *progress, void *context,
                      ingest_result_t *result, err_t *err) {
    run_t run = {.options = options,
                 .progress = progress,
                 .context = context,
                 .stage = STAGE_NONE,
                 .recipe = options->recipe};
    memset(result, 0, sizeof *result);
    err_code_t code = run_all(&run, result, err);
    if (code) {
        ingest_result_release(result);
        sizes_list_refused(&run.files, result);
    }
    spool_close(&run.spool);
    stage_discard(&run.stage);
    previous_close(&run.previous);
    shard_index_release(&run.files);
    scan_classes_release(&run.classes);
    free(run.pixels);
    return code;
}
