// inkling-ingest-decoder: one job of kind ingest.
//
// The new version is written to datasets/<name>/<job>-<token>/ below the stack's files and counts
// once the dispatcher has registered it, so that a stale holder can write but not win. The
// registered info of a version is the result without "unchanged", "rejects" and "version", and what
// the pixels are.
#include "base/fs.h"
#include "child/child.h"
#include "ingest/ingest.h"

#include <ctype.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct {
    child_t *child;
    const child_job_t *job;
    proto_ingest_t body;
    const proto_dataset_info_t *previous; // newest version, or NULL
    char *folder;                         // of all versions
    char *out, *out_relative, *previous_folder;
    listing_t listing; // of the upload, if the body names one
    listing_blobs_t blobs;
    ingest_result_t result;
} decoder_t;

// --- What to do
// ---------------------------------------------------------------------------------

static err_code_t check_body(const proto_ingest_t *body, err_t *err) {
    if (body->dir[0] != '/') {
        err_set(err, ERR_INVALID, "dir: '%s' is no absolute path", body->dir);
        return err_remedy(err, "write the whole path, as the worker's host sees it");
    }
    if (body->name[0] == '.' || strchr(body->name, '/')) {
        err_set(err, ERR_INVALID, "name: '%s' cannot name a data set", body->name);
        return err_remedy(err, "use letters, digits, '.', '_' and '-'");
    }
    return ERR_OK;
}

static err_code_t find_previous(decoder_t *decoder, err_t *err) {
    const proto_dataset_show_t show = {.name = decoder->body.name};
    proto_dataset_t found;
    err_t absent;
    err_code_t code =
        child_ask(decoder->child, PROTO_dataset_show, &show, PROTO_dataset, &found, &absent);
    if (code == ERR_NOT_FOUND)
        return ERR_OK;
    if (code) {
        *err = absent;
        return code;
    }
    decoder->previous = found.dataset;
    decoder->previous_folder = fs_join(decoder->job->files, found.dataset->path);
    return child_fetch_folder(decoder->child, found.dataset->path, SHARD_MANIFEST,
                              found.dataset->digest, err);
}

static err_code_t name_folders(decoder_t *decoder, err_t *err) {
    const child_job_t *job = decoder->job;
    decoder->folder = mem_format("%s/datasets/%s", job->files, decoder->body.name);
    decoder->out_relative = mem_format("datasets/%s/%s-%llu", decoder->body.name, job->id,
                                       (unsigned long long)job->token);
    decoder->out = fs_join(job->files, decoder->out_relative);
    return fs_mkdirs(decoder->folder, err);
}

static err_code_t locate(void *context, const char *digest, uint64_t bytes, char **path,
                         err_t *err) {
    const decoder_t *decoder = context;
    (void)bytes;
    return child_fetch_upload(decoder->child, digest, path, err);
}

static err_code_t open_upload(decoder_t *decoder, err_t *err) {
    const char *upload = decoder->body.upload;
    decoder->blobs = (listing_blobs_t){locate, decoder};
    return upload[0] ? listing_blobs_open(&decoder->blobs, upload, &decoder->listing, err) : ERR_OK;
}

static err_code_t read_options(const decoder_t *decoder, ingest_options_t *options, err_t *err) {
    const proto_ingest_t *body = &decoder->body;
    const conf_t *conf = child_conf(decoder->child);
    ingest_options_init(options);
    options->folder = body->dir;
    options->listing = body->upload[0] ? &decoder->listing : NULL;
    options->blobs = decoder->blobs;
    options->out = decoder->out;
    options->previous = decoder->previous_folder;
    options->name = body->name;
    options->classes = body->classes.count ? body->classes.items : NULL;
    options->class_count = (int)body->classes.count;
    options->recipe.size = (int)body->size;
    options->recipe.channels = body->color ? 3 : 1;
    options->recipe.mean_subtract = body->subtract_mean;
    options->limits.bytes = (size_t)conf->image_bytes;
    options->limits.pixels = (uint64_t)conf->image_pixels;
    options->seed = body->seed;
    options->strict = body->strict;
    options->rehash = body->rehash;
    options->threads = (int)conf->threads;
    err_code_t code = prep_fit_parse(body->fit, &options->recipe.fit, err);
    if (code == ERR_OK)
        code = ingest_group_parse(body->group_by, &options->group_by, err);
    return code;
}

// --- Doing it
// -----------------------------------------------------------------------------------

static bool on_progress(void *context, const ingest_state_t *state) {
    decoder_t *decoder = context;
    char text[64] = "";
    if (state->written > 0)
        snprintf(text, sizeof text, "writing");
    else if (state->rejected > 0)
        snprintf(text, sizeof text, "%lld rejected", (long long)state->rejected);
    child_progress(decoder->child, (uint64_t)(state->read + state->written), (double)state->read,
                   (double)state->files, text);
    return child_stop(decoder->child) == CHILD_GO;
}

// True for "<job>-<token>…" with a smaller token than ours: left by an earlier attempt that was
// killed, or whose end nobody stored.
static bool is_left_over(const decoder_t *decoder, const char *name) {
    size_t length = strlen(decoder->job->id);
    if (strncmp(name, decoder->job->id, length) != 0 || name[length] != '-' ||
        !isdigit((unsigned char)name[length + 1]))
        return false;
    char *end;
    unsigned long long token = strtoull(name + length + 1, &end, 10);
    return token < decoder->job->token && (*end == 0 || strncmp(end, ".tmp-", 5) == 0);
}

static void remove_left_overs(const decoder_t *decoder) {
    DIR *folder = opendir(decoder->folder);
    if (!folder)
        return;
    for (const struct dirent *entry; (entry = readdir(folder)) != NULL;)
        if (is_left_over(decoder, entry->d_name)) {
            char *path = fs_join(decoder->folder, entry->d_name);
            err_t err;
            if (fs_remove_all(path, &err) != ERR_OK)
                child_log(decoder->child, "warn", "%s stays: %s", entry->d_name, err.message);
            free(path);
        }
    closedir(folder);
}

// A run that fails leaves no rejects.jsonl.
static void tell_refused(const decoder_t *decoder) {
    const ingest_result_t *result = &decoder->result;
    for (int i = 0; i < result->refused_count; i++)
        child_log(decoder->child, "warn", "%s", result->refused[i]);
    int64_t more = result->rejected - result->refused_count;
    if (more > 0)
        child_log(decoder->child, "warn", "and %lld more files were refused", (long long)more);
}

static err_code_t make_version(decoder_t *decoder, err_t *err) {
    ingest_options_t options;
    err_code_t code = read_options(decoder, &options, err);
    if (code == ERR_OK)
        code = prep_init(err);
    if (code)
        return code;
    remove_left_overs(decoder);
    ingest_sweep(decoder->folder);
    code = ingest_run(&options, on_progress, decoder, &decoder->result, err);
    prep_shutdown();
    if (code && code != ERR_CANCELLED)
        tell_refused(decoder);
    if (code == ERR_OK && child_stop(decoder->child) == CHILD_CANCEL) {
        fs_remove_all(decoder->out, NULL);
        code = err_set(err, ERR_CANCELLED, "cancelled");
    }
    return code;
}

// --- What came of it
// ----------------------------------------------------------------------------

static json_t *list_classes(const ingest_result_t *result) {
    json_t *classes = json_array();
    for (int i = 0; i < result->class_count; i++)
        json_array_append_new(classes, json_string(result->classes[i]));
    return classes;
}

static json_t *list_counts(const ingest_result_t *result) {
    json_t *counts = json_array();
    for (int i = 0; i < result->class_count; i++)
        json_array_append_new(counts, json_integer(result->class_images[i]));
    return counts;
}

static json_t *list_splits(const ingest_result_t *result) {
    json_t *splits = json_object();
    for (int i = 0; i < SHARD_SPLIT_COUNT; i++)
        json_object_set_new(splits, shard_split_name((shard_split_t)i),
                            json_integer(result->splits[i]));
    return splits;
}

static json_t *describe(const decoder_t *decoder) {
    const ingest_result_t *result = &decoder->result;
    return json_pack("{s:s, s:I, s:I, s:I, s:I, s:o, s:o, s:o}", "dataset", decoder->body.name,
                     "images", (json_int_t)result->images, "rejected", (json_int_t)result->rejected,
                     "duplicates", (json_int_t)result->duplicates, "conflicts",
                     (json_int_t)result->conflicts, "classes", list_classes(result), "class_images",
                     list_counts(result), "splits", list_splits(result));
}

// For the registry. The manifest has the classes' names where they are too many for a message.
static err_code_t pack_info(decoder_t *decoder, proto_bytes_t *info, err_t *err) {
    const proto_ingest_t *body = &decoder->body;
    proto_arena_t *arena = child_arena(decoder->child);
    json_t *all = describe(decoder);
    json_t *pixels =
        json_pack("{s:I, s:i, s:s, s:s, s:I, s:s, s:i}", "size", (json_int_t)body->size, "channels",
                  body->color ? 3 : 1, "fit", body->fit, "group_by", body->group_by, "seed",
                  (json_int_t)body->seed, "recipe", decoder->result.recipe_hash, "class_count",
                  decoder->result.class_count);
    json_object_update(all, pixels);
    json_decref(pixels);
    err_code_t code = proto_map_from_json(all, arena, info, err);
    if (code == ERR_OK && info->size > PROTO_BODY_MAX) {
        json_object_del(all, "classes");
        json_object_del(all, "class_images");
        code = proto_map_from_json(all, arena, info, err);
    }
    json_decref(all);
    return code;
}

static err_code_t tell_result(decoder_t *decoder, child_result_t *result, err_t *err) {
    const ingest_result_t *made = &decoder->result;
    proto_arena_t *arena = child_arena(decoder->child);
    char *version = made->unchanged ? decoder->previous_folder : decoder->out;
    char *rejects = fs_join(version, SHARD_REJECTS), *text = shard_name_escape(rejects);
    result->result = describe(decoder);
    json_object_set_new(result->result, "unchanged", json_boolean(made->unchanged));
    json_object_set_new(result->result, "rejects", json_string(text));
    if (made->rejected > 0)
        child_log(decoder->child, "warn", "%lld files were refused: %s says why",
                  (long long)made->rejected, text);
    free(rejects);
    free(text);
    if (made->unchanged) {
        json_object_set_new(result->result, "version",
                            json_integer((json_int_t)decoder->previous->version));
        return ERR_OK;
    }
    proto_new_dataset_t *dataset = proto_arena_alloc(arena, sizeof *dataset);
    proto_defaults(PROTO_new_dataset, dataset);
    dataset->name = decoder->body.name;
    dataset->base = decoder->previous ? decoder->previous->version : 0;
    dataset->path = proto_arena_text(arena, decoder->out_relative);
    dataset->digest = proto_arena_text(arena, made->digest);
    result->dataset = dataset;
    return pack_info(decoder, &dataset->info, err);
}

static err_code_t run(child_t *child, const child_job_t *job, child_result_t *result, err_t *err) {
    decoder_t decoder = {.child = child, .job = job};
    err_code_t code = proto_decode(PROTO_ingest, job->body.data, job->body.size, child_arena(child),
                                   &decoder.body, err);
    if (code == ERR_OK)
        code = check_body(&decoder.body, err);
    if (code == ERR_OK)
        code = open_upload(&decoder, err);
    if (code == ERR_OK)
        code = find_previous(&decoder, err);
    if (code == ERR_OK)
        code = name_folders(&decoder, err);
    if (code == ERR_OK)
        code = make_version(&decoder, err);
    if (code == ERR_OK && !decoder.result.unchanged)
        code = child_publish_folder(child, decoder.out_relative, SHARD_MANIFEST, err);
    if (code == ERR_OK)
        code = tell_result(&decoder, result, err);
    if (code && decoder.folder)
        rmdir(decoder.folder); // stays if there are other versions
    ingest_result_release(&decoder.result);
    listing_release(&decoder.listing);
    free(decoder.folder);
    free(decoder.out);
    free(decoder.out_relative);
    free(decoder.previous_folder);
    return code;
}

int main(int argc, char **argv) {
    return child_main(argc, argv, run);
}
