#include "trainer/mirror.h"

#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HOST_SIZE 128

// What is measured, in a rank's memory and on its way to the others (ranks are of one build).
typedef struct {
    char digest[DIGEST_HEX_SIZE];
    uint64_t steps;
    double seconds, reduce_seconds, input_seconds;
} figures_t;

struct mirror {
    mirror_options_t options;
    coll_t *coll;
    nn_replicas_t replicas;
    figures_t figures;
    int64_t begun_us, input_us, ticked_ms;
    double reduced; // seconds in operations before the step
};

// ---- making ----

static err_code_t sum_gradients(void *arg, int bucket, float *gradients, size_t count, err_t *err) {
    mirror_t *mirror = arg;
    (void)bucket;
    return coll_sum(mirror->coll, gradients, count, err);
}

static err_code_t sum_numbers(void *arg, double *values, size_t count, err_t *err) {
    mirror_t *mirror = arg;
    return coll_sum_doubles(mirror->coll, values, count, err);
}

mirror_t *mirror_new(const mirror_options_t *options) {
    mirror_t *mirror = mem_zero(1, sizeof *mirror);
    mirror->options = *options;
    mirror->replicas = (nn_replicas_t){.rank = options->rank,
                                       .world = options->world,
                                       .sync_bn = options->sync_bn,
                                       .gradients = sum_gradients,
                                       .sums = sum_numbers,
                                       .arg = mirror};
    return mirror;
}

void mirror_destroy(mirror_t **mirror) {
    if (!*mirror)
        return;
    coll_destroy(&(*mirror)->coll);
    free(*mirror);
    *mirror = NULL;
}

int mirror_rank(const mirror_t *mirror) {
    return mirror->options.rank;
}

int mirror_world(const mirror_t *mirror) {
    return mirror->options.world;
}

// ---- meetings ----

static err_code_t meet(mirror_t *mirror, const char *round, const void *data, size_t size,
                       coll_blob_t all[COLL_WORLD_MAX], err_t *err) {
    const mirror_options_t *options = &mirror->options;
    if (size > COLL_BLOB_MAX)
        return err_set(err, ERR_TOO_LARGE, "%zu bytes for the meeting '%s', more than %d", size,
                       round, COLL_BLOB_MAX);
    return options->meet(options->meet_arg, round, data, size, all, err);
}

static json_t *read_json(const coll_blob_t *blob, int rank, const char *round, err_t *err) {
    json_t *json = json_loadb(blob->data, blob->size, 0, NULL);
    if (!json)
        err_set(err, ERR_PROTOCOL, "rank %d gave no JSON to the meeting '%s'", rank, round);
    return json;
}

err_code_t mirror_follow(mirror_t *mirror, const char *round, json_t **json, err_t *err) {
    if (mirror->options.world == 1)
        return ERR_OK;
    bool leads = mirror->options.rank == 0;
    coll_blob_t all[COLL_WORLD_MAX];
    char *text = leads ? json_dumps(*json, JSON_COMPACT) : mem_dup("");
    ERR_ASSERT(text);
    err_code_t code = meet(mirror, round, text, strlen(text), all, err);
    free(text);
    if (code || leads)
        return code;
    *json = read_json(&all[0], 0, round, err);
    return *json ? ERR_OK : ERR_PROTOCOL;
}

// One machine, or one container of it: what has cores of its own.
static void name_host(char name[HOST_SIZE]) {
    char host[64] = "", boot[40] = "";
    FILE *file = fopen("/proc/sys/kernel/random/boot_id", "re");
    if (file && !fgets(boot, sizeof boot, file))
        boot[0] = 0;
    if (file)
        fclose(file);
    gethostname(host, sizeof host - 1);
    boot[strcspn(boot, "\n")] = 0;
    snprintf(name, HOST_SIZE, "%s %s", host, boot);
    for (char *at = name; *at; at++)
        *at = *at >= ' ' && *at <= '~' ? *at : '?';
}

// Of what one rank says, which must outlive *host.
static bool read_host(const json_t *json, mirror_host_t *host, const char **name) {
    return json_unpack((json_t *)(uintptr_t)json, "{s:s, s:s, s:i, s:i, s:i}", "host", name, "isa",
                       &host->isa, "cores", &host->cores, "threads", &host->threads, "before",
                       &host->before) == 0;
}

static int isa_order(const char *isa) {
    static const char *const words[] = {"generic", "avx2", "avx512", "amx"};
    for (int i = 0; i < 4; i++)
        if (strcmp(isa, words[i]) == 0)
            return i;
    return 0;
}

static int threads_of(const mirror_host_t *host, int neighbours) {
    int share = host->cores / neighbours > 1 ? host->cores / neighbours : 1;
    return host->threads > 0 ? host->threads : host->before > 0 ? host->before : share;
}

static void settle(const mirror_host_t *hosts, const char *const *names, int world,
                   mirror_terms_t *terms) {
    int least = 0;
    for (int i = 0; i < world; i++) {
        int neighbours = 0;
        for (int k = 0; k < world; k++)
            neighbours += strcmp(names[i], names[k]) == 0;
        int threads = threads_of(&hosts[i], neighbours);
        terms->threads = i == 0 || threads < terms->threads ? threads : terms->threads;
        least = isa_order(hosts[i].isa) < isa_order(hosts[least].isa) ? i : least;
    }
    snprintf(terms->isa, sizeof terms->isa, "%s", hosts[least].isa);
}

err_code_t mirror_agree(mirror_t *mirror, const mirror_host_t *own, mirror_terms_t *terms,
                        err_t *err) {
    int world = mirror->options.world;
    char name[HOST_SIZE];
    *terms = (mirror_terms_t){.threads = own->threads};
    if (world == 1)
        return ERR_OK;
    coll_blob_t all[COLL_WORLD_MAX];
    json_t *read[COLL_WORLD_MAX] = {NULL};
    mirror_host_t hosts[COLL_WORLD_MAX] = {{.threads = 0}};
    const char *names[COLL_WORLD_MAX];
    name_host(name);
    json_t *json = json_pack("{s:s, s:s, s:i, s:i, s:i}", "host", name, "isa", own->isa, "cores",
                             own->cores, "threads", own->threads, "before", own->before);
    char *text = json_dumps(json, JSON_COMPACT);
    ERR_ASSERT(text);
    err_code_t code = meet(mirror, "hosts", text, strlen(text), all, err);
    for (int i = 0; i < world && code == ERR_OK; i++) {
        read[i] = read_json(&all[i], i, "hosts", err);
        if (!read[i] || !read_host(read[i], &hosts[i], &names[i]))
            code = err_set(err, ERR_PROTOCOL, "rank %d did not describe its host", i);
    }
    if (code == ERR_OK)
        settle(hosts, names, world, terms);
    for (int i = 0; i < world; i++)
        json_decref(read[i]);
    json_decref(json);
    free(text);
    return code;
}

err_code_t mirror_same(mirror_t *mirror, const char *round, const char *words, err_t *err) {
    if (mirror->options.world == 1)
        return ERR_OK;
    coll_blob_t all[COLL_WORLD_MAX];
    err_code_t code = meet(mirror, round, words, strlen(words), all, err);
    for (int i = 0; i < mirror->options.world && code == ERR_OK; i++)
        if (all[i].size != strlen(words) || memcmp(all[i].data, words, all[i].size) != 0) {
            code = err_set(err, ERR_UNSUPPORTED, "rank %d has '%.*s', rank %d '%s'", i,
                           (int)(all[i].size < 200 ? all[i].size : 200), (const char *)all[i].data,
                           mirror->options.rank, words);
            err_remedy(err, "let workers of one kind train together");
        }
    return code;
}

// ---- with the others ----

err_code_t mirror_join(mirror_t *mirror, err_t *err) {
    const mirror_options_t *options = &mirror->options;
    const coll_options_t coll = {.kind = "auto",
                                 .rank = options->rank,
                                 .world = options->world,
                                 .meet = options->meet,
                                 .meet_arg = options->meet_arg,
                                 .address = options->address};
    mirror->ticked_ms = clock_mono_ms();
    return coll_new(&coll, &mirror->coll, err);
}

err_code_t mirror_give(mirror_t *mirror, void *data, size_t size, err_t *err) {
    return coll_broadcast(mirror->coll, data, size, 0, err);
}

const nn_replicas_t *mirror_replicas(const mirror_t *mirror) {
    return mirror->options.world > 1 ? &mirror->replicas : NULL;
}

void mirror_share(const mirror_t *mirror, int count, int *first, int *own) {
    int world = mirror->options.world, rank = mirror->options.rank;
    int each = count / world, more = count % world;
    *own = each + (rank < more);
    *first = rank * each + (rank < more ? rank : more);
}

err_code_t mirror_gather(mirror_t *mirror, const void *data, size_t size, void *all, err_t *err) {
    return coll_gather(mirror->coll, data, size, all, err);
}

err_code_t mirror_tick(mirror_t *mirror, int *wish, err_t *err) {
    int world = mirror->options.world, all[COLL_WORLD_MAX];
    if (world == 1)
        return ERR_OK;
    err_code_t code = coll_gather(mirror->coll, wish, sizeof *wish, all, err);
    for (int i = 0; i < world && code == ERR_OK; i++)
        *wish = all[i] > *wish ? all[i] : *wish;
    int64_t now = clock_mono_ms();
    coll_step(mirror->coll, now - mirror->ticked_ms);
    mirror->ticked_ms = now;
    return code;
}

bool mirror_has_lost(const mirror_t *mirror) {
    return mirror->coll && coll_failed(mirror->coll);
}

void mirror_abandon(mirror_t *mirror) {
    if (mirror->coll)
        coll_abort(mirror->coll);
}

// ---- figures ----

void mirror_begin_step(mirror_t *mirror) {
    mirror->begun_us = mirror->input_us = clock_mono_us();
    mirror->reduced = coll_stats(mirror->coll).seconds;
}

void mirror_has_input(mirror_t *mirror) {
    mirror->input_us = clock_mono_us();
}

void mirror_end_step(mirror_t *mirror) {
    figures_t *figures = &mirror->figures;
    figures->steps++;
    figures->seconds += (double)(clock_mono_us() - mirror->begun_us) / 1e6;
    figures->input_seconds += (double)(mirror->input_us - mirror->begun_us) / 1e6;
    figures->reduce_seconds += coll_stats(mirror->coll).seconds - mirror->reduced;
}

double mirror_blocked(const mirror_t *mirror) {
    const figures_t *figures = &mirror->figures;
    return figures->seconds > 0 ? figures->reduce_seconds / figures->seconds : 0;
}

void mirror_forget_steps(mirror_t *mirror) {
    mirror->figures = (figures_t){.steps = 0};
}

static json_t *describe(const figures_t *all, int world) {
    double seconds = 0, idle = 0;
    json_t *list = json_array();
    for (int i = 0; i < world; i++) {
        const figures_t *one = &all[i];
        seconds += one->seconds;
        idle += one->reduce_seconds + one->input_seconds;
        json_array_append_new(list, json_pack("{s:i, s:s, s:I, s:f, s:f, s:f}", "rank", i,
                                              "weights_sha256", one->digest, "steps",
                                              (json_int_t)one->steps, "seconds", one->seconds,
                                              "reduce_seconds", one->reduce_seconds,
                                              "input_seconds", one->input_seconds));
    }
    double efficiency = seconds > 0 ? 1 - idle / seconds : 1;
    return json_pack("{s:f, s:o}", "efficiency", efficiency, "replicas", list);
}

err_code_t mirror_compare(mirror_t *mirror, const char digest[DIGEST_HEX_SIZE], json_t **report,
                          err_t *err) {
    int world = mirror->options.world;
    figures_t all[COLL_WORLD_MAX];
    *report = NULL;
    if (world == 1)
        return ERR_OK;
    memcpy(mirror->figures.digest, digest, DIGEST_HEX_SIZE);
    err_code_t code = coll_gather(mirror->coll, &mirror->figures, sizeof mirror->figures, all, err);
    for (int i = 1; i < world && code == ERR_OK; i++)
        if (memcmp(all[i].digest, all[0].digest, DIGEST_HEX_SIZE) != 0)
            code = err_set(err, ERR_INTERNAL,
                           "the replicas have come apart: weights %.12s on rank 0, %.12s on rank "
                           "%d",
                           all[0].digest, all[i].digest, i);
    if (code == ERR_OK)
        *report = describe(all, world);
    return code;
}
