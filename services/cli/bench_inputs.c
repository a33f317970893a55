// Inputs of bench gateway: image files, images that are drawn, or pixels of the model's shape.
#include "base/fs.h"
#include "base/philox.h"
#include "bench_impl.h"
#include "prep/prep.h"
#include "synth/synth.h"
#include "upload_impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define METADATA_MAX (4u << 20)
#define MADE_COUNT   64
#define PIXELS_SALT  0x50495845u
#define FILES_BYTES  (1u << 30) // of all of them

static void add(bench_t *bench, void *bytes, size_t size) {
    bench->inputs[bench->input_count++] = (proto_bytes_t){bytes, size};
}

// --- Images

static err_code_t read_files(bench_t *bench, char *const *paths, size_t count, err_t *err) {
    size_t total = 0;
    bench->inputs = mem_zero(count, sizeof *bench->inputs);
    for (size_t i = 0; i < count; i++) {
        void *bytes = NULL;
        size_t size = 0;
        err_code_t code = fs_read(paths[i], BUS_FRAME_MAX, &bytes, &size, err);
        if (code)
            return err_context(err, "%s", paths[i]);
        add(bench, bytes, size);
        total += size;
        if (total > FILES_BYTES) {
            err_set(err, ERR_TOO_LARGE, "the files have more than %u bytes", FILES_BYTES);
            return err_remedy(err, "give fewer: they are sent again and again");
        }
    }
    return ERR_OK;
}

static bool on_drawn(void *arg, uint32_t done, uint32_t count) {
    (void)arg;
    (void)done;
    (void)count;
    return !cli_interrupted();
}

static err_code_t read_drawn(bench_t *bench, const char *folder, err_t *err) {
    static const char *const styles[] = {"photos", "comics"};
    char *paths[MADE_COUNT];
    for (int i = 0; i < MADE_COUNT; i++)
        paths[i] = mem_format("%s/%s/%d.jpg", folder, styles[i % 2], i / 2);
    err_code_t code = read_files(bench, paths, MADE_COUNT, err);
    for (int i = 0; i < MADE_COUNT; i++)
        free(paths[i]);
    return code;
}

static err_code_t draw_images(bench_t *bench, err_t *err) {
    const char *temporary = getenv("TMPDIR");
    char *folder =
        mem_format("%s/inkling-bench-XXXXXX", temporary && *temporary ? temporary : "/tmp");
    err_code_t code = ERR_OK;
    if (!mkdtemp(folder)) {
        code = err_set_errno(err, "cannot make a folder like %s for the images", folder);
        free(folder);
        return code;
    }
    code = prep_init(err);
    if (code == ERR_OK) {
        code = synth_write_set(folder, MADE_COUNT, bench->plan.seed, 0, on_drawn, NULL, err);
        prep_shutdown();
    }
    if (code == ERR_OK)
        code = read_drawn(bench, folder, err);
    fs_remove_all(folder, NULL);
    free(folder);
    return code;
}

// --- Pixels

static err_code_t promoted_last(cli_t *cli, const proto_model_info_t **info, err_t *err) {
    proto_model_list_t question = {.name = "", .promoted = true};
    proto_models_t answer;
    err_code_t code = cli_ask(cli, PROTO_model_list, &question, PROTO_models, &answer, err);
    if (code)
        return code;
    *info = NULL;
    for (size_t i = 0; i < answer.models.count; i++)
        if (!*info || answer.models.items[i].promoted_at > (*info)->promoted_at)
            *info = &answer.models.items[i];
    if (*info)
        return ERR_OK;
    err_set(err, ERR_NOT_FOUND, "no model is promoted");
    return err_remedy(err, "`inkling promote MODEL@V` serves one");
}

// The name of the model, where nothing but HTTP's path has to say it.
static err_code_t find_name(bench_t *bench, err_t *err) {
    const proto_model_info_t *info = NULL;
    if (bench->name[0])
        return ERR_OK;
    err_code_t code = promoted_last(bench->cli, &info, err);
    if (code == ERR_OK)
        snprintf(bench->name, sizeof bench->name, "%s", info->name);
    return code;
}

static err_code_t no_shape(const bench_t *bench, err_t *err) {
    err_set(err, ERR_UNSUPPORTED, "the shape of the pixels that %s takes is not known",
            bench->name[0] ? bench->name : "the model");
    return err_remedy(err, "use --form image");
}

// As the registry has it: of the version given, else the promoted one, else the one promoted last.
static err_code_t registered_shape(bench_t *bench, err_t *err) {
    const proto_model_info_t *info = NULL;
    err_code_t code = bench->name[0]
                          ? fetch_model_info(bench->cli, bench->question.model, &info, err)
                          : promoted_last(bench->cli, &info, err);
    if (code)
        return code;
    json_t *document = proto_to_json(PROTO_model_info, info),
           *about = json_object_get(document, "info");
    bench->side = (size_t)json_integer_value(json_object_get(about, "size"));
    bench->channels = (size_t)json_integer_value(json_object_get(about, "channels"));
    json_decref(document);
    return ERR_OK;
}

// Of the metadata, {"inputs": [{"shape": [-1, side, side, channels], …}], …}.
static void read_shape(bench_t *bench, const char *text, size_t size) {
    json_t *document = json_loadb(text, size, 0, NULL);
    const json_t *inputs = json_object_get(document, "inputs");
    const json_t *shape = json_object_get(json_array_get(inputs, 0), "shape");
    bool square = json_array_size(shape) == 4 && json_integer_value(json_array_get(shape, 1)) ==
                                                     json_integer_value(json_array_get(shape, 2));
    bench->side = square ? (size_t)json_integer_value(json_array_get(shape, 1)) : 0;
    bench->channels = square ? (size_t)json_integer_value(json_array_get(shape, 3)) : 0;
    json_decref(document);
}

static err_code_t served_shape(bench_t *bench, err_t *err) {
    reply_t reply;
    buf_t answer;
    buf_init(&answer, METADATA_MAX);
    char *path = bench->version ? mem_format("/v2/models/%s/versions/%llu", bench->name,
                                             (unsigned long long)bench->version)
                                : mem_format("/v2/models/%s", bench->name);
    err_code_t code =
        load_get(bench->endpoint, path, bench->token, CLI_PATIENCE_MS, &reply, &answer, err);
    if (code == ERR_OK && reply.status != 200) {
        json_t *body = json_loadb(answer.data + reply.head_bytes, reply.body_bytes, 0, NULL);
        const char *why = json_string_value(json_object_get(body, "error"));
        code = err_set(err, reply.status == 404 ? ERR_NOT_FOUND : ERR_UNAVAILABLE,
                       "%s%s: HTTP %d%s%.500s", bench->endpoint, path, reply.status,
                       why ? ": " : "", why ? why : "");
        json_decref(body);
    }
    if (code == ERR_OK)
        read_shape(bench, answer.data + reply.head_bytes, reply.body_bytes);
    buf_release(&answer);
    free(path);
    return code;
}

static err_code_t find_shape(bench_t *bench, err_t *err) {
    err_code_t code = bench->http ? served_shape(bench, err) : registered_shape(bench, err);
    if (code)
        return code;
    bool known = bench->side > 0 && bench->side <= PREP_SIZE_MAX &&
                 (bench->channels == 1 || bench->channels == 3);
    return known ? ERR_OK : no_shape(bench, err);
}

// Random bytes: what is computed does not take longer or shorter for other ones.
static err_code_t make_pixels(bench_t *bench, err_t *err) {
    err_code_t code = find_shape(bench, err);
    if (code)
        return code;
    size_t size = bench->side * bench->side * bench->channels;
    bench->inputs = mem_zero(MADE_COUNT, sizeof *bench->inputs);
    for (uint32_t i = 0; i < MADE_COUNT; i++) {
        unsigned char *pixels = mem_alloc(size);
        for (size_t j = 0; j < size; j++)
            pixels[j] =
                (unsigned char)philox(bench->plan.seed, (uint32_t)j, i, 0, PIXELS_SALT).v[0];
        add(bench, pixels, size);
    }
    return ERR_OK;
}

err_code_t bench_inputs(bench_t *bench, err_t *err) {
    const call_t *call = &bench->cli->call;
    bool files = call->count > 1;
    err_code_t code = bench->http && bench->form != BENCH_IMAGE ? find_name(bench, err) : ERR_OK;
    if (code)
        return code;
    if (bench->form == BENCH_IMAGE || bench->form == BENCH_BYTES)
        return files ? read_files(bench, call->arguments + 1, (size_t)call->count - 1, err)
                     : draw_images(bench, err);
    if (!files)
        return make_pixels(bench, err);
    err_set(err, ERR_USAGE, "image files are not pixels");
    return err_remedy(err, "use --form image, or leave the files out: pixels are made");
}
