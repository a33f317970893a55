#include "predict_impl.h"

#include "listing/blobs.h"
#include "shard/shard.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CHUNK       (2 * INFERENCE_BATCH) // files that are decoded together
#define THREADS_MAX 64

typedef struct {
    const char *folder;                 // in place, or
    const listing_blobs_t *blobs;       // of an upload; NULL: in place
    const listing_file_t *const *files; // of this chunk
    int count;
    const prep_recipe_t *recipe;
    prep_limits_t limits;
    size_t bytes; // of an image's pixels
    uint8_t *pixels;
    err_t errors[CHUNK]; // code ERR_OK: decoded
    bool lost[CHUNK];    // an upload's bytes cannot be had, which is not the file's fault
    atomic_int next;
} chunk_t;

static err_code_t read_in_place(const chunk_t *chunk, const listing_file_t *file, void **bytes,
                                size_t *size, err_t *err) {
    char *path = fs_join(chunk->folder, file->path);
    err_code_t code = access(path, R_OK) == 0
                          ? fs_read(path, chunk->limits.bytes, bytes, size, err)
                          : err_set(err, ERR_IO, "cannot read it: %s", strerror(errno));
    free(path);
    return code;
}

static err_code_t read_file(chunk_t *chunk, int i, void **bytes, size_t *size, err_t *err) {
    const listing_file_t *file = chunk->files[i];
    if (file->reason)
        return err_set(err, ERR_INVALID, "%s", file->reason);
    if (file->bytes > chunk->limits.bytes)
        return err_set(err, ERR_TOO_LARGE, "the file has %" PRIu64 " bytes; the limit is %zu",
                       file->bytes, chunk->limits.bytes);
    if (!chunk->blobs)
        return read_in_place(chunk, file, bytes, size, err);
    err_code_t code = listing_blobs_read(chunk->blobs, file->digest, file->bytes, bytes, err);
    *size = (size_t)file->bytes;
    chunk->lost[i] = code != ERR_OK;
    return code;
}

static void decode_one(chunk_t *chunk, int i) {
    void *bytes = NULL;
    size_t size = 0;
    err_t *err = &chunk->errors[i];
    err->code = ERR_OK;
    if (read_file(chunk, i, &bytes, &size, err) == ERR_OK)
        prep_image(bytes, size, chunk->recipe, &chunk->limits,
                   chunk->pixels + (size_t)i * chunk->bytes, err);
    free(bytes);
}

static void *decode_some(void *arg) {
    chunk_t *chunk = arg;
    for (int i; (i = atomic_fetch_add(&chunk->next, 1)) < chunk->count;)
        decode_one(chunk, i);
    return NULL;
}

static int thread_count(const predict_t *predict) {
    int wanted = (int)child_conf(predict->child)->threads;
    cpu_set_t cores;
    if (wanted == 0)
        wanted = sched_getaffinity(0, sizeof cores, &cores) == 0 ? CPU_COUNT(&cores) : 1;
    return wanted < THREADS_MAX ? wanted : THREADS_MAX;
}

static err_code_t check_none_lost(const chunk_t *chunk, err_t *err) {
    for (int i = 0; i < chunk->count; i++)
        if (chunk->lost[i]) {
            char *path = shard_name_escape(chunk->files[i]->path);
            *err = chunk->errors[i];
            err_context(err, "%s", path);
            free(path);
            return err->code;
        }
    return ERR_OK;
}

static err_code_t decode_chunk(const predict_t *predict, chunk_t *chunk, err_t *err) {
    pthread_t threads[THREADS_MAX];
    int started = 0, wanted = thread_count(predict) - 1;
    atomic_store(&chunk->next, 0);
    while (started < wanted && started < chunk->count - 1 &&
           pthread_create(&threads[started], NULL, decode_some, chunk) == 0)
        started++;
    decode_some(chunk);
    for (int i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
    return check_none_lost(chunk, err);
}

// Predicts those that were decoded, each INFERENCE_BATCH of them at once. Moves their pixels.
static err_code_t predict_chunk(predict_t *predict, chunk_t *chunk, float *probabilities,
                                err_t *err) {
    int classes = nn_spec(predict->nn)->classes, good = 0;
    for (int i = 0; i < chunk->count; i++)
        if (chunk->errors[i].code == ERR_OK)
            memmove(chunk->pixels + (size_t)good++ * chunk->bytes,
                    chunk->pixels + (size_t)i * chunk->bytes, chunk->bytes);
    for (int at = 0; at < good; at += INFERENCE_BATCH) {
        int count = good - at < INFERENCE_BATCH ? good - at : INFERENCE_BATCH;
        err_code_t code = nn_predict(predict->nn, chunk->pixels + (size_t)at * chunk->bytes, count,
                                     probabilities + (ptrdiff_t)at * classes, err);
        if (code == ERR_OK)
            code = pace_tick(&predict->pace, err);
        if (code)
            return code;
    }
    const float *next = probabilities;
    for (int i = 0; i < chunk->count; i++) {
        bool decoded = chunk->errors[i].code == ERR_OK;
        predict_put_row(predict, chunk->files[i]->path, decoded ? next : NULL,
                        decoded ? "" : chunk->errors[i].message);
        next += decoded ? classes : 0;
    }
    return ERR_OK;
}

static err_code_t predict_files(predict_t *predict, const listing_file_t *const *files,
                                size_t count, chunk_t *chunk, float *probabilities, err_t *err) {
    err_code_t code = ERR_OK;
    predict->pace.total = (double)count;
    for (size_t at = 0; at < count && code == ERR_OK; at += (size_t)chunk->count) {
        chunk->files = files + at;
        chunk->count = count - at < CHUNK ? (int)(count - at) : CHUNK;
        code = decode_chunk(predict, chunk, err);
        if (code == ERR_OK)
            code = pace_tick(&predict->pace, err);
        if (code == ERR_OK)
            code = predict_chunk(predict, chunk, probabilities, err);
        predict->pace.done = (double)(at + (size_t)chunk->count);
    }
    return code;
}

static err_code_t predict_listing(predict_t *predict, const listing_t *listing,
                                  const listing_blobs_t *blobs, err_t *err) {
    const model_info_t *info = model_info(predict->model.model);
    const conf_t *conf = child_conf(predict->child);
    const listing_file_t **files = mem_zero(listing->count + 1, sizeof *files);
    chunk_t *chunk = mem_zero(1, sizeof *chunk);
    float *probabilities = mem_zero(CHUNK * (size_t)info->class_count, sizeof *probabilities);
    size_t count = 0;
    for (size_t i = 0; i < listing->count; i++)
        if (!listing->files[i].again)
            files[count++] = &listing->files[i];
    chunk->folder = predict->body.dir;
    chunk->blobs = blobs;
    chunk->recipe = &info->recipe;
    chunk->limits = PREP_LIMITS_DEFAULT;
    chunk->limits.bytes = (size_t)conf->image_bytes;
    chunk->limits.pixels = (uint64_t)conf->image_pixels;
    chunk->bytes = prep_recipe_bytes(&info->recipe);
    chunk->pixels = malloc(CHUNK * chunk->bytes);
    err_code_t code = ERR_OK;
    if (!chunk->pixels)
        code = err_set(err, ERR_NO_MEMORY, "no memory for %d images", CHUNK);
    else if (count == 0)
        code = err_set(err, ERR_INVALID, "there is no file below %s", predict->body.dir);
    if (code == ERR_OK)
        code = prep_init(err);
    if (code == ERR_OK) {
        code = predict_files(predict, files, count, chunk, probabilities, err);
        prep_shutdown();
    }
    free(chunk->pixels);
    free(chunk);
    free(probabilities);
    free(files);
    return code;
}

static err_code_t locate(void *context, const char *digest, uint64_t bytes, char **path,
                         err_t *err) {
    const predict_t *predict = context;
    (void)bytes;
    return child_fetch_upload(predict->child, digest, path, err);
}

err_code_t predict_folder(predict_t *predict, err_t *err) {
    const proto_predict_t *body = &predict->body;
    const listing_blobs_t blobs = {locate, predict};
    listing_t listing = {0};
    err_code_t code = body->upload[0] ? listing_blobs_open(&blobs, body->upload, &listing, err)
                                      : listing_scan(body->dir, &listing, err);
    if (code == ERR_OK)
        code = predict_listing(predict, &listing, body->upload[0] ? &blobs : NULL, err);
    listing_release(&listing);
    return code;
}
