#include "base/fs.h"
#include "manifest_impl.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

char *manifest_shard_name(shard_split_t split, int number) {
    return mem_format("%s-%05d.shard", shard_split_name(split), number);
}

void shard_info_release(shard_info_t *info) {
    for (int i = 0; i < info->class_count && info->classes; i++)
        free(info->classes[i]);
    for (int s = 0; s < SHARD_SPLIT_COUNT; s++)
        free(info->class_images[s]);
    free(info->classes);
    free(info->name);
    free(info->source);
    free(info->group_by);
    free(info->recipe);
    memset(info, 0, sizeof *info);
}

void manifest_release(manifest_t *manifest) {
    shard_info_release(&manifest->info);
    for (int s = 0; s < SHARD_SPLIT_COUNT; s++)
        free(manifest->files[s]);
    memset(manifest, 0, sizeof *manifest);
}

// ---- writing ----

static json_t *file_json(const char *name, const manifest_file_t *file) {
    json_t *json = json_pack("{s:s, s:I, s:s}", "file", name, "bytes", (json_int_t)file->bytes,
                             "sha256", file->sha256);
    if (file->images)
        json_object_set_new(json, "images", json_integer(file->images));
    return json;
}

static json_t *split_json(const shard_info_t *info, const manifest_t *manifest,
                          shard_split_t split) {
    json_t *files = json_array(), *class_images = json_array();
    for (int i = 0; i < manifest->file_count[split]; i++) {
        char *name = manifest_shard_name(split, i);
        json_array_append_new(files, file_json(name, &manifest->files[split][i]));
        free(name);
    }
    for (int i = 0; i < info->class_count; i++)
        json_array_append_new(class_images, json_integer(info->class_images[split][i]));
    return json_pack("{s:I, s:o, s:o}", "images", (json_int_t)info->images[split], "class_images",
                     class_images, "files", files);
}

static json_t *manifest_json(const shard_info_t *info, const manifest_t *manifest) {
    char seed[24];
    snprintf(seed, sizeof seed, "%" PRIu64, info->seed); // JSON's numbers end at 2^53
    json_t *classes = json_array(), *splits = json_object();
    for (int i = 0; i < info->class_count; i++)
        json_array_append_new(classes, json_string(info->classes[i]));
    for (int s = 0; s < SHARD_SPLIT_COUNT; s++)
        json_object_set_new(splits, shard_split_name((shard_split_t)s),
                            split_json(info, manifest, (shard_split_t)s));
    return json_pack(
        "{s:i, s:s, s:s, s:s, s:s, s:s, s:s, s:i, s:i, s:i, s:o, s:I, s:I, s:I, s:o, s:o, "
        "s:o}",
        "schema", SHARD_SCHEMA, "name", info->name, "source", info->source, "group_by",
        info->group_by, "seed", seed, "recipe", info->recipe, "recipe_sha256", info->recipe_hash,
        "height", info->height, "width", info->width, "channels", info->channels, "classes",
        classes, "rejected", (json_int_t)info->rejected, "duplicates", (json_int_t)info->duplicates,
        "conflicts", (json_int_t)info->conflicts, "splits", splits, "index",
        file_json(SHARD_INDEX, &manifest->index), "rejects",
        file_json(SHARD_REJECTS, &manifest->rejects));
}

err_code_t manifest_write(const char *folder, const shard_info_t *info, manifest_t *manifest,
                          err_t *err) {
    json_t *json = manifest_json(info, manifest);
    char *text = json ? json_dumps(json, JSON_INDENT(2)) : NULL;
    json_decref(json);
    if (!text)
        return err_set(err, ERR_INVALID,
                       "the manifest of %s cannot be written: a name is not UTF-8", folder);
    char *path = fs_join(folder, SHARD_MANIFEST);
    digest_bytes(text, strlen(text), manifest->digest);
    err_code_t code = fs_write(path, text, strlen(text), err);
    free(path);
    free(text);
    return code;
}

// ---- reading ----

static bool take_sha256(const char *text, char hex[DIGEST_HEX_SIZE]) {
    if (strlen(text) != DIGEST_HEX_SIZE - 1 || strspn(text, "0123456789abcdef") != strlen(text))
        return false;
    memcpy(hex, text, DIGEST_HEX_SIZE);
    return true;
}

static bool take_file(json_t *json, const char *name, manifest_file_t *file) {
    json_int_t bytes, images = 0;
    const char *text, *sha256;
    if (json_unpack(json, "{s:s, s:I, s:s, s?I}", "file", &text, "bytes", &bytes, "sha256", &sha256,
                    "images", &images))
        return false;
    file->bytes = (uint64_t)bytes;
    file->images = images;
    return bytes >= 0 && images >= 0 && strcmp(text, name) == 0 &&
           take_sha256(sha256, file->sha256);
}

static bool take_split_files(json_t *files, manifest_t *manifest, shard_split_t split) {
    size_t count = json_array_size(files);
    int64_t images = 0, each = 0;
    if (!json_is_array(files) || count > MANIFEST_FILES_MAX)
        return false;
    manifest->files[split] = mem_zero(count + 1, sizeof *manifest->files[split]);
    manifest->file_count[split] = (int)count;
    for (size_t i = 0; i < count; i++) {
        manifest_file_t *file = &manifest->files[split][i];
        char *name = manifest_shard_name(split, (int)i);
        bool good = take_file(json_array_get(files, i), name, file);
        free(name);
        each = i == 0 ? file->images : each;
        bool last = i + 1 == count;
        // all but the last are equally full: image i is found by a division
        if (!good || file->images < 1 || (last ? file->images > each : file->images != each) ||
            file->images > INT64_MAX / 2 - images)
            return false;
        images += file->images;
    }
    return images == manifest->info.images[split];
}

static bool take_split(json_t *splits, manifest_t *manifest, shard_split_t split) {
    shard_info_t *info = &manifest->info;
    json_t *class_images, *files;
    json_int_t images;
    int64_t sum = 0;
    if (json_unpack(json_object_get(splits, shard_split_name(split)), "{s:I, s:o, s:o}", "images",
                    &images, "class_images", &class_images, "files", &files) ||
        images < 0 || json_array_size(class_images) != (size_t)info->class_count)
        return false;
    info->images[split] = images;
    info->class_images[split] =
        mem_zero((size_t)info->class_count, sizeof *info->class_images[split]);
    for (int i = 0; i < info->class_count; i++) {
        json_t *number = json_array_get(class_images, (size_t)i);
        int64_t value = json_is_integer(number) ? json_integer_value(number) : -1;
        if (value < 0 || value > images - sum)
            return false;
        info->class_images[split][i] = value;
        sum += value;
    }
    return sum == images && take_split_files(files, manifest, split);
}

static bool take_classes(json_t *classes, shard_info_t *info) {
    size_t count = json_array_size(classes);
    if (count < 1 || count > SHARD_CLASSES_MAX)
        return false;
    info->classes = mem_zero(count, sizeof *info->classes);
    info->class_count = (int)count;
    for (size_t i = 0; i < count; i++) {
        const char *name = json_string_value(json_array_get(classes, i));
        if (!name)
            return false;
        info->classes[i] = mem_dup(name);
        if (i > 0 && strcmp(info->classes[i - 1], name) >= 0)
            return false;
    }
    return true;
}

static bool take_seed(const char *text, uint64_t *seed) {
    char *end;
    *seed = strtoull(text, &end, 10);
    return text[0] >= '0' && text[0] <= '9' && *end == 0;
}

static bool geometry_is_sane(const shard_info_t *info) {
    return info->height >= 1 && info->height <= 65536 && info->width >= 1 && info->width <= 65536 &&
           info->channels >= 1 && info->channels <= 4;
}

static bool take_info(json_t *root, manifest_t *manifest, json_t **splits) {
    shard_info_t *info = &manifest->info;
    const char *name, *source, *group_by, *seed, *recipe, *recipe_hash;
    json_int_t rejected, duplicates, conflicts;
    json_t *classes, *index, *rejects;
    char hash[DIGEST_HEX_SIZE];
    if (json_unpack(root,
                    "{s:s, s:s, s:s, s:s, s:s, s:s, s:i, s:i, s:i, s:o, s:I, s:I, s:I, s:o, "
                    "s:o, s:o}",
                    "name", &name, "source", &source, "group_by", &group_by, "seed", &seed,
                    "recipe", &recipe, "recipe_sha256", &recipe_hash, "height", &info->height,
                    "width", &info->width, "channels", &info->channels, "classes", &classes,
                    "rejected", &rejected, "duplicates", &duplicates, "conflicts", &conflicts,
                    "splits", splits, "index", &index, "rejects", &rejects))
        return false;
    info->name = mem_dup(name);
    info->source = mem_dup(source);
    info->group_by = mem_dup(group_by);
    info->recipe = mem_dup(recipe);
    info->rejected = rejected;
    info->duplicates = duplicates;
    info->conflicts = conflicts;
    digest_bytes(recipe, strlen(recipe), hash);
    return take_seed(seed, &info->seed) && take_sha256(recipe_hash, info->recipe_hash) &&
           strcmp(hash, info->recipe_hash) == 0 && geometry_is_sane(info) &&
           take_classes(classes, info) && take_file(index, SHARD_INDEX, &manifest->index) &&
           take_file(rejects, SHARD_REJECTS, &manifest->rejects);
}

static err_code_t take_all(json_t *root, const char *path, manifest_t *manifest, err_t *err) {
    json_t *schema = json_object_get(root, "schema"), *splits = NULL;
    if (json_is_integer(schema) && json_integer_value(schema) > SHARD_SCHEMA) {
        err_set(err, ERR_UNSUPPORTED, "%s has schema %lld; this Inkling reads up to %d", path,
                (long long)json_integer_value(schema), SHARD_SCHEMA);
        return err_remedy(err, "use an Inkling at least as new as the one that wrote it");
    }
    bool good = json_is_integer(schema) && json_integer_value(schema) == SHARD_SCHEMA &&
                take_info(root, manifest, &splits);
    for (int s = 0; s < SHARD_SPLIT_COUNT && good; s++)
        good = take_split(splits, manifest, (shard_split_t)s);
    if (good)
        return ERR_OK;
    err_set(err, ERR_CORRUPT, "%s is damaged: it is no manifest of a data set", path);
    return err_remedy(err, "ingest the data set again");
}

err_code_t manifest_read(const char *folder, manifest_t *manifest, err_t *err) {
    char *path = fs_join(folder, SHARD_MANIFEST);
    void *bytes = NULL;
    size_t size = 0;
    memset(manifest, 0, sizeof *manifest);
    err_code_t code = fs_read(path, MANIFEST_BYTES_MAX, &bytes, &size, err);
    if (!code) {
        json_t *root = json_loadb(bytes, size, JSON_REJECT_DUPLICATES, NULL);
        digest_bytes(bytes, size, manifest->digest);
        code = take_all(root, path, manifest, err);
        json_decref(root);
    }
    if (code)
        manifest_release(manifest);
    free(bytes);
    free(path);
    return code;
}

err_code_t shard_read_info(const char *folder, shard_info_t *info, err_t *err) {
    manifest_t manifest;
    err_code_t code = manifest_read(folder, &manifest, err);
    if (code)
        return code;
    *info = manifest.info;
    memset(&manifest.info, 0, sizeof manifest.info);
    manifest_release(&manifest);
    return ERR_OK;
}
