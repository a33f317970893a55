#include "json_impl.h"

#include "base/fs.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

const char *const json_file_names[JSON_FILES] = {MODEL_WEIGHTS, MODEL_LAST, MODEL_CURVES};

void model_info_release(model_info_t *info) {
    for (int i = 0; i < info->class_count && info->classes; i++)
        free(info->classes[i]);
    free(info->classes);
    free(info->name);
    json_decref(info->about);
    json_decref(info->curves);
    memset(info, 0, sizeof *info);
}

// ---- writing ----

static json_t *list_files(const json_file_t files[JSON_FILES]) {
    json_t *list = json_object();
    for (int i = 0; i < JSON_FILES; i++)
        if (files[i].present)
            json_object_set_new(list, json_file_names[i],
                                json_pack("{s:I, s:s}", "bytes", (json_int_t)files[i].bytes,
                                          "sha256", files[i].sha256));
    return list;
}

static json_t *to_json(const model_info_t *info, const json_file_t files[JSON_FILES]) {
    char recipe[PREP_RECIPE_TEXT_MAX];
    prep_recipe_write(&info->recipe, recipe);
    char *network = nn_spec_write(&info->spec);
    json_t *classes = json_array();
    for (int i = 0; i < info->class_count; i++)
        json_array_append_new(classes, json_string(info->classes[i]));
    json_t *root = json_pack("{s:i, s:s, s:s, s:s, s:s, s:o, s:o, s:O*}", "schema", MODEL_SCHEMA,
                             "name", info->name, "network", network, "recipe", recipe,
                             "recipe_sha256", info->recipe_hash, "classes", classes, "files",
                             list_files(files), "about", info->about);
    free(network);
    return root;
}

err_code_t json_write(const char *folder, const model_info_t *info,
                      const json_file_t files[JSON_FILES], char digest[DIGEST_HEX_SIZE],
                      err_t *err) {
    json_t *root = to_json(info, files);
    char *text = root ? json_dumps(root, JSON_INDENT(2)) : NULL;
    json_decref(root);
    if (!text)
        return err_set(err, ERR_INVALID, "%s of %s cannot be written: a text is not UTF-8",
                       MODEL_FILE, folder);
    char *path = fs_join(folder, MODEL_FILE);
    size_t size = strlen(text);
    err_code_t code = size <= JSON_BYTES_MAX
                          ? fs_write(path, text, size, err)
                          : err_set(err, ERR_TOO_LARGE, "%s would have %zu bytes", path, size);
    digest_bytes(text, size, digest);
    free(path);
    free(text);
    return code;
}

// ---- reading ----
// Each take_… says what is wrong, or NULL.

static bool take_sha256(const char *text, char hex[DIGEST_HEX_SIZE]) {
    if (strlen(text) != DIGEST_HEX_SIZE - 1 || strspn(text, "0123456789abcdef") != strlen(text))
        return false;
    memcpy(hex, text, DIGEST_HEX_SIZE);
    return true;
}

static const char *take_files(json_t *list, json_file_t files[JSON_FILES]) {
    size_t found = 0;
    for (int i = 0; i < JSON_FILES; i++) {
        json_t *entry = json_object_get(list, json_file_names[i]);
        json_int_t bytes = 0;
        const char *sha256 = "";
        if (!entry)
            continue;
        if (json_unpack(entry, "{s:I, s:s}", "bytes", &bytes, "sha256", &sha256) || bytes < 0 ||
            !take_sha256(sha256, files[i].sha256))
            return "its list of files is wrong";
        files[i].present = true;
        files[i].bytes = (uint64_t)bytes;
        found++;
    }
    return files[0].present && json_object_size(list) == found ? NULL
                                                               : "its list of files is wrong";
}

static const char *take_classes(json_t *classes, model_info_t *info) {
    size_t count = json_array_size(classes);
    if (count != (size_t)info->spec.classes)
        return "its classes are not as many as its network's";
    json_t *seen = json_object();
    info->classes = mem_zero(count, sizeof *info->classes);
    info->class_count = (int)count;
    bool good = true;
    for (size_t i = 0; i < count && good; i++) {
        const char *name = json_string_value(json_array_get(classes, i));
        good = name && *name && !json_object_get(seen, name);
        if (good) {
            info->classes[i] = mem_dup(name);
            json_object_set_new(seen, name, json_true());
        }
    }
    json_decref(seen);
    return good ? NULL : "its classes are no list of different names";
}

static bool fits(const nn_spec_t *spec, const prep_recipe_t *recipe) {
    return spec->height == recipe->size && spec->width == recipe->size &&
           spec->channels == recipe->channels;
}

// The recipe is what training and serving must share: its hash is recorded beside it.
static const char *take_recipe(const char *text, const char *hash, model_info_t *info) {
    char found[DIGEST_HEX_SIZE];
    digest_bytes(text, strlen(text), found);
    if (!take_sha256(hash, info->recipe_hash) || strcmp(found, hash) != 0)
        return "the recipe's hash is not that of the recipe";
    if (prep_recipe_parse(text, &info->recipe, NULL))
        return "its recipe is none that this Inkling knows";
    return fits(&info->spec, &info->recipe) ? NULL : "its recipe gives other pixels than it takes";
}

static const char *take_all(json_t *root, model_info_t *info, json_file_t files[JSON_FILES]) {
    const char *name, *network, *recipe, *hash;
    json_t *classes, *list, *about = NULL;
    if (json_unpack(root, "{s:s, s:s, s:s, s:s, s:o, s:o, s?o}", "name", &name, "network", &network,
                    "recipe", &recipe, "recipe_sha256", &hash, "classes", &classes, "files", &list,
                    "about", &about))
        return "a field is missing or of the wrong type";
    if (!*name || strlen(name) > MODEL_NAME_MAX || (about && !json_is_object(about)))
        return "its name or what it says about itself is wrong";
    info->name = mem_dup(name);
    info->about = json_incref(about);
    if (nn_spec_parse(network, &info->spec, NULL))
        return "its network cannot be read";
    const char *wrong = take_recipe(recipe, hash, info);
    if (!wrong)
        wrong = take_classes(classes, info);
    return wrong ? wrong : take_files(list, files);
}

static err_code_t newer(const char *path, const char *what, long long found, int known,
                        err_t *err) {
    err_set(err, ERR_UNSUPPORTED, "%s has %s %lld; this Inkling reads up to %d", path, what, found,
            known);
    return err_remedy(err, "use an Inkling at least as new as the one that wrote it");
}

static err_code_t take_root(json_t *root, const char *path, model_info_t *info,
                            json_file_t files[JSON_FILES], err_t *err) {
    const json_t *schema = json_object_get(root, "schema");
    json_int_t number = json_is_integer(schema) ? json_integer_value(schema) : 0;
    int recipe = 0;
    if (number > MODEL_SCHEMA)
        return newer(path, "schema", number, MODEL_SCHEMA, err);
    const char *text = json_string_value(json_object_get(root, "recipe"));
    if (text && sscanf(text, "prep %d", &recipe) == 1 && recipe > PREP_RECIPE_VERSION)
        return newer(path, "a recipe of version", recipe, PREP_RECIPE_VERSION, err);
    const char *wrong =
        number == MODEL_SCHEMA ? take_all(root, info, files) : "it does not describe a model";
    if (!wrong)
        return ERR_OK;
    err_set(err, ERR_CORRUPT, "%s is damaged: %s", path, wrong);
    return err_remedy(err, "train the model again, or restore its folder");
}

err_code_t json_read(const char *folder, model_info_t *info, json_file_t files[JSON_FILES],
                     char digest[DIGEST_HEX_SIZE], err_t *err) {
    char *path = fs_join(folder, MODEL_FILE);
    void *bytes = NULL;
    size_t size = 0;
    memset(info, 0, sizeof *info);
    memset(files, 0, JSON_FILES * sizeof *files);
    err_code_t code = fs_read(path, JSON_BYTES_MAX, &bytes, &size, err);
    if (code == ERR_OK) {
        json_t *root = json_loadb(bytes, size, JSON_REJECT_DUPLICATES, NULL);
        digest_bytes(bytes, size, digest);
        code = take_root(root, path, info, files, err);
        json_decref(root);
    }
    if (code)
        model_info_release(info);
    free(bytes);
    free(path);
    return code;
}
