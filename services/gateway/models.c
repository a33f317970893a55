// Models come and go: opened, built and freed in the background; the promoted ones are kept in the
// cache, <home>/cache/<service>.json, for a start while the dispatcher is away.
#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "blob/blob.h"
#include "digest/digest.h"
#include "gateway/engine.h"
#include "gateway_impl.h"
#include "model/model.h"
#include "proto/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define CACHE_SCHEMA      1
#define CACHE_MAX         (32u << 20)
#define FETCH_PATIENCE_MS 10000
#define VERSION_SIZE      (PROTO_NAME_MAX + 24)
#define NICE              10 // of the background's thread: what is served goes before what is loaded

// --- Limits
// -----------------------------------------------------------------------------------------

uint64_t models_memory(const conf_t *conf) {
    if (conf->gateway_models_mb > 0)
        return (uint64_t)conf->gateway_models_mb << 20;
    uint64_t bytes = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
    void *text = NULL;
    size_t size;
    static const char *const limits[] = {"/sys/fs/cgroup/memory.max",
                                         "/sys/fs/cgroup/memory/memory.limit_in_bytes"};
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        if (fs_read(limits[i], 64, &text, &size, NULL) != ERR_OK)
            continue;
        uint64_t limit = strtoull(text, NULL, 10); // "max" reads as 0
        bytes = limit && limit < bytes ? limit : bytes;
        free(text);
    }
    return bytes / 2;
}

uint64_t models_seed(const char *service) {
    char hex[DIGEST_HEX_SIZE];
    digest_bytes(service, strlen(service), hex);
    hex[16] = 0;
    return strtoull(hex, NULL, 16);
}

// --- Steps of loading
// -----------------------------------------------------------------------------

typedef struct {
    task_t task;
    gateway_t *gateway;
    version_t *version;
    engine_t *engine;
    err_code_t code;
    err_t err;
} step_t;

// Of this thread alone, and of those that the engine starts from it.
static void give_way(void) {
    setpriority(PRIO_PROCESS, 0, NICE); // a thread's own, whatever POSIX says of processes
}

static step_t *step_new(gateway_t *gateway, version_t *version, bus_fn read,
                        void (*run)(task_t *task, bool stopping)) {
    step_t *step = mem_zero(1, sizeof *step);
    step->gateway = gateway;
    step->version = version;
    step->task.mail = (mail_t){.read = read, .arg = step};
    step->task.run = run;
    return step;
}

static void name_version(const version_t *version, char text[VERSION_SIZE]) {
    snprintf(text, VERSION_SIZE, "%s@%llu", version->name, (unsigned long long)version->number);
}

static void arm_retry(gateway_t *gateway);

static void on_retry(void *arg) {
    arm_retry(arg);
}

static void arm_retry(gateway_t *gateway) {
    int64_t due_ms = catalog_tick(gateway->catalog, clock_mono_ms());
    bus_loop_timer_cancel(gateway->loop, gateway->retry_timer);
    gateway->retry_timer = 0;
    if (due_ms)
        gateway->retry_timer =
            bus_loop_timer(gateway->loop, due_ms - clock_mono_ms(), 0, on_retry, gateway);
}

static void after_step(gateway_t *gateway) {
    if (!gateway->background)
        return; // the end: nothing is begun any more
    request_versions_changed(gateway);
    arm_retry(gateway);
}

static void say_failed(const char *name, const err_t *err) {
    log_warn("%s cannot be served: %s%s%s", name, err->message, err->remedy[0] ? "; " : "",
             err->remedy);
}

// A registered path stays inside the stack's files.
static bool is_inside(const char *path) {
    if (path[0] == '/' || path[0] == 0)
        return false;
    for (const char *part = path; part; part = strchr(part, '/')) {
        part += *part == '/';
        if (strncmp(part, "..", 2) == 0 && (part[2] == '/' || part[2] == 0))
            return false;
    }
    return true;
}

static bool is_ending(void *arg) {
    const gateway_t *gateway = arg;
    return atomic_load(&gateway->ending);
}

// Where the stack's files are elsewhere a copy is made first; a copy that is here needs nobody.
// *hold: as long as it is open nobody on this host removes the copy to make room; or -1.
static err_code_t fetch(const gateway_t *gateway, const version_t *version, const char *folder,
                        int *hold, err_t *err) {
    const conf_t *conf = service_conf(gateway->service);
    const blob_options_t options = {.endpoint = conf->blobs,
                                    .patience_ms = FETCH_PATIENCE_MS,
                                    .stop = is_ending,
                                    .arg = (void *)(uintptr_t)gateway};
    blob_t *blob = NULL;
    if (strncmp(conf->blobs, "tcp://", 6) != 0 || !version->digest[0])
        return ERR_OK;
    err_code_t code = blob_trim(conf->files, (uint64_t)conf->cache_mb << 20, err);
    if (code == ERR_OK)
        code = blob_open(&options, &blob, err);
    if (code == ERR_OK)
        code = fs_mkdirs(folder, err);
    if (code == ERR_OK) {
        *hold = blob_hold(conf->files, version->path);
        code = blob_fetch_folder(blob, version->path, MODEL_FILE, version->digest, folder, err);
    }
    blob_close(&blob);
    return code;
}

static void run_open(task_t *task, bool stopping) {
    step_t *step = (step_t *)task;
    give_way();
    const version_t *version = step->version;
    const conf_t *conf = service_conf(step->gateway->service);
    if (stopping) {
        step->code = err_set(&step->err, ERR_CANCELLED, "the gateway ends");
        return;
    }
    if (!is_inside(version->path)) {
        step->code =
            err_set(&step->err, ERR_CORRUPT, "its registered folder is '%s'", version->path);
        err_remedy(&step->err, "the path must be relative, below the stack's files");
        return;
    }
    char *folder = fs_join(conf->files, version->path);
    int hold = -1;
    step->code = fetch(step->gateway, version, folder, &hold, &step->err);
    if (step->code == ERR_OK)
        step->code =
            engine_open(folder, version->digest, (int)conf->threads, &step->engine, &step->err);
    if (step->code == ERR_OK)
        engine_keep(step->engine, hold);
    else if (hold >= 0)
        close(hold);
    free(folder);
}

static void opened(void *arg) {
    step_t *step = arg;
    gateway_t *gateway = step->gateway;
    char name[VERSION_SIZE];
    name_version(step->version, name);
    if (!gateway->background && step->code == ERR_OK) { // nobody would build it
        engine_destroy(&step->engine);
        step->code = err_set(&step->err, ERR_CANCELLED, "the gateway ends");
    } else if (step->code) {
        say_failed(name, &step->err);
    }
    if (step->code) {
        err_context(&step->err, "model %s", name);
        if (!step->err.remedy[0])
            err_remedy(&step->err, "train the model again, or restore its folder");
    }
    catalog_opened(gateway->catalog, step->version, step->engine,
                   step->code ? 0 : engine_memory(step->engine), step->code ? &step->err : NULL,
                   clock_mono_ms());
    free(step);
    after_step(gateway);
}

static void start_open(void *arg, version_t *version) {
    gateway_t *gateway = arg;
    background_push(gateway->background, &step_new(gateway, version, opened, run_open)->task);
}

static void run_build(task_t *task, bool stopping) {
    step_t *step = (step_t *)task;
    give_way();
    if (stopping)
        step->code = err_set(&step->err, ERR_CANCELLED, "the gateway ends");
    else
        step->code = engine_build(step->engine, &step->err);
    if (step->code == ERR_OK)
        step->code = engine_warm(step->engine, &step->err);
}

static void built(void *arg) {
    step_t *step = arg;
    gateway_t *gateway = step->gateway;
    char name[VERSION_SIZE];
    name_version(step->version, name);
    if (step->code) {
        say_failed(name, &step->err);
        err_context(&step->err, "model %s", name);
    } else {
        metric_add(&gateway->stats.loads, 1);
        log_info("loaded %s: %s", name, engine_choices(step->engine));
    }
    catalog_built(gateway->catalog, step->version, step->code ? &step->err : NULL, clock_mono_ms());
    free(step);
    after_step(gateway);
}

static void start_build(void *arg, version_t *version) {
    gateway_t *gateway = arg;
    step_t *step = step_new(gateway, version, built, run_build);
    step->engine = version->engine;
    background_push(gateway->background, &step->task);
}

static void run_unload(task_t *task, bool stopping) {
    (void)stopping;
    engine_destroy(&((step_t *)task)->engine);
}

static void start_unload(void *arg, void *engine) {
    gateway_t *gateway = arg;
    if (!gateway->background) { // the end: nothing is left to be kept waiting
        engine_t *last = engine;
        engine_destroy(&last);
        return;
    }
    step_t *step = step_new(gateway, NULL, free, run_unload);
    step->engine = engine;
    background_push(gateway->background, &step->task);
}

const catalog_ops_t models_catalog_ops = {
    .open = start_open, .build = start_build, .unload = start_unload};

// --- The cache
// ------------------------------------------------------------------------------------

typedef struct {
    task_t task;
    const char *path;
    char *text;
} cache_step_t;

static void run_cache(task_t *task, bool stopping) {
    cache_step_t *step = (cache_step_t *)task;
    char *slash = strrchr(step->path, '/');
    char *folder = mem_format("%.*s", (int)(slash - step->path), step->path);
    err_t err;
    (void)stopping;
    if (fs_mkdirs(folder, &err) != ERR_OK ||
        fs_write(step->path, step->text, strlen(step->text), &err) != ERR_OK)
        log_warn("cannot keep the list of promoted models: %s", err.message);
    free(folder);
}

static void cached(void *arg) {
    cache_step_t *step = arg;
    free(step->text);
    free(step);
}

// What a start without the dispatcher needs of each.
static json_t *list_json(const proto_models_t *list) {
    size_t count = list->models.count;
    proto_model_info_t *models = mem_zero(count + 1, sizeof *models);
    for (size_t i = 0; i < count; i++) {
        const proto_model_info_t *from = &list->models.items[i];
        proto_defaults(PROTO_model_info, &models[i]);
        models[i].name = from->name;
        models[i].version = from->version;
        models[i].path = from->path;
        models[i].digest = from->digest;
        models[i].promoted = from->promoted;
        models[i].promoted_at = from->promoted_at;
        models[i].canary = from->canary;
    }
    proto_models_t copy = {.revision = list->revision, .models = {models, count}};
    json_t *json = json_pack("{s:i,s:o}", "schema", CACHE_SCHEMA, "promoted",
                             proto_to_json(PROTO_models, &copy));
    free(models);
    return json;
}

static void write_cache(gateway_t *gateway) {
    cache_step_t *step = mem_zero(1, sizeof *step);
    step->task.mail = (mail_t){.read = cached, .arg = step};
    step->task.run = run_cache;
    step->path = gateway->cache_path;
    step->text = json_dumps(gateway->promoted, JSON_INDENT(1));
    if (step->text)
        background_push(gateway->background, &step->task);
    else
        free(step);
}

// --- Put aside
// ------------------------------------------------------------------------------------

struct aside {
    struct aside *next;
    char name[];
};

static struct aside **find_aside(gateway_t *gateway, const char *name, size_t size) {
    struct aside **link = &gateway->aside;
    while (*link && (strlen((*link)->name) != size || memcmp((*link)->name, name, size) != 0))
        link = &(*link)->next;
    return link;
}

bool models_is_aside(gateway_t *gateway, const char *text) {
    return *find_aside(gateway, text, strcspn(text, "@")) != NULL;
}

const char *models_next_aside(const gateway_t *gateway, const char *name) {
    const struct aside *entry = gateway->aside;
    while (name && entry && entry->name != name)
        entry = entry->next;
    if (name && entry)
        entry = entry->next;
    return entry ? entry->name : NULL;
}

// Tells the catalog what is promoted, but for what was put aside here.
static void follow(gateway_t *gateway, const proto_models_t *list) {
    proto_model_info_t *models = mem_zero(list->models.count + 1, sizeof *models);
    size_t count = 0;
    for (size_t i = 0; i < list->models.count; i++)
        if (!models_is_aside(gateway, list->models.items[i].name))
            models[count++] = list->models.items[i];
    gateway->known = true;
    catalog_promoted(gateway->catalog, models, count, clock_mono_ms());
    free(models);
}

static err_code_t parse_list(const json_t *json, proto_arena_t *arena, proto_models_t *list,
                             err_t *err) {
    if (json_integer_value(json_object_get(json, "schema")) != CACHE_SCHEMA)
        return err_set(err, ERR_UNSUPPORTED, "it has another schema than %d", CACHE_SCHEMA);
    return proto_from_json(PROTO_models, json_object_get(json, "promoted"), arena, list, err);
}

static err_code_t parse_cache(gateway_t *gateway, const char *text, size_t size,
                              proto_models_t *list, err_t *err) {
    json_error_t where;
    json_t *json = json_loadb(text, size, 0, &where);
    if (!json)
        return err_set(err, ERR_CORRUPT, "line %d: %s", where.line, where.text);
    err_code_t code = parse_list(json, gateway->arena, list, err);
    if (code)
        json_decref(json);
    else
        gateway->promoted = json;
    return code;
}

void models_read_cache(gateway_t *gateway) {
    void *text = NULL;
    size_t size = 0;
    err_t err;
    proto_models_t list;
    err_code_t code = fs_read(gateway->cache_path, CACHE_MAX, &text, &size, &err);
    if (code == ERR_NOT_FOUND)
        return;
    proto_arena_reset(gateway->arena);
    if (code == ERR_OK)
        code = parse_cache(gateway, text, size, &list, &err);
    free(text);
    if (code) {
        log_warn("%s is of no use, the dispatcher will tell: %s", gateway->cache_path, err.message);
        return;
    }
    follow(gateway, &list);
}

err_code_t models_put_aside(gateway_t *gateway, const char *name, bool aside, err_t *err) {
    struct aside **link = find_aside(gateway, name, strlen(name));
    proto_models_t list;
    bool known = false;
    proto_arena_reset(gateway->arena);
    err_code_t code = gateway->promoted ? parse_list(gateway->promoted, gateway->arena, &list, err)
                                        : ERR_NOT_FOUND;
    for (size_t i = 0; code == ERR_OK && i < list.models.count; i++)
        known = known || strcmp(list.models.items[i].name, name) == 0;
    if (code || (aside && !known)) {
        err_set(err, ERR_NOT_FOUND, "no version of a model %s is promoted", name);
        return err_remedy(err, "POST /v2/repository/index lists what is");
    }
    if (aside == (*link != NULL))
        return ERR_OK;
    struct aside *entry = *link;
    if (aside) {
        size_t size = strlen(name) + 1;
        entry = mem_alloc(sizeof *entry + size);
        memcpy(entry->name, name, size);
        entry->next = NULL;
        *link = entry;
    } else {
        *link = entry->next;
        free(entry);
    }
    follow(gateway, &list);
    after_step(gateway);
    return ERR_OK;
}

void models_end(gateway_t *gateway) {
    for (struct aside *entry; (entry = gateway->aside) != NULL; free(entry))
        gateway->aside = entry->next;
    json_decref(gateway->promoted);
}

// --- From the dispatcher
// --------------------------------------------------------------------------

static void on_promoted(void *arg, const proto_models_t *list) {
    gateway_t *gateway = arg;
    follow(gateway, list);
    json_decref(gateway->promoted);
    gateway->promoted = list_json(list);
    write_cache(gateway);
    after_step(gateway);
}

static void on_refreshed(void *arg, uint64_t ticket, const err_t *err) {
    request_refreshed(arg, ticket, err);
}

static void on_shown(void *arg, const char *name, uint64_t version, const proto_model_info_t *model,
                     const err_t *err) {
    gateway_t *gateway = arg;
    err_t full;
    if (model && catalog_add(gateway->catalog, model, clock_mono_ms(), &full) != ERR_OK)
        err = &full;
    request_shown(gateway, name, version, err);
}

const directory_ops_t models_directory_ops = {
    .promoted = on_promoted, .refreshed = on_refreshed, .shown = on_shown};

// --- Told
// -----------------------------------------------------------------------------------------

static void describe(const catalog_entry_t *entry, proto_served_version_t *told,
                     proto_failure_t *failure) {
    const version_t *version = entry->version;
    *told = (proto_served_version_t){.name = version->name,
                                     .version = version->number,
                                     .state = entry->state,
                                     .promoted = entry->promoted,
                                     .served = entry->served,
                                     .canary = entry->canary,
                                     .bytes = version->memory,
                                     .requests = version->requests};
    *failure = (proto_failure_t){.code = err_name(version->err.code),
                                 .message = version->err.message,
                                 .remedy = version->err.remedy,
                                 .retryable = err_retryable(version->err.code)};
    told->error = entry->error ? failure : NULL;
}

void models_render(const gateway_t *gateway, buf_t *out) {
    size_t count = catalog_list(gateway->catalog, NULL, 0);
    catalog_entry_t *entries = mem_zero(count + 1, sizeof *entries);
    metric_counter_t *counters = mem_zero(count + 1, sizeof *counters);
    metric_info_t *infos = mem_zero(count + 1, sizeof *infos);
    char **labels = mem_zero(count + 1, sizeof *labels);
    catalog_list(gateway->catalog, entries, count);
    for (size_t i = 0; i < count; i++) {
        const version_t *version = entries[i].version;
        labels[i] = mem_format("model=\"%s\",version=\"%llu\"", version->name,
                               (unsigned long long)version->number);
        metric_add(&counters[i], version->requests);
        infos[i] = (metric_info_t){.type = METRIC_COUNTER,
                                   .offset = i * sizeof *counters,
                                   .name = "inkling_gateway_version_requests_total",
                                   .labels = labels[i],
                                   .help = "Requests that a version was given since it is here."};
    }
    metric_render(infos, count, counters, out);
    for (size_t i = 0; i < count; i++)
        free(labels[i]);
    free(labels);
    free(infos);
    free(counters);
    free(entries);
}

void models_tell(gateway_t *gateway, const bus_message_t *message) {
    proto_serving_t question;
    err_t err;
    proto_arena_reset(gateway->arena);
    if (proto_decode(PROTO_serving, message->body.data, message->body.size, gateway->arena,
                     &question, &err) != ERR_OK) {
        stats_error(&gateway->stats, err.code);
        bus_reply_error(gateway->router, message, &err);
        return;
    }
    size_t room = catalog_list(gateway->catalog, NULL, 0), count = 0;
    catalog_entry_t *entries = mem_zero(room + 1, sizeof *entries);
    proto_served_version_t *versions = mem_zero(room + 1, sizeof *versions);
    proto_failure_t *failures = mem_zero(room + 1, sizeof *failures);
    catalog_list(gateway->catalog, entries, room);
    for (size_t i = 0; i < room; i++)
        if (!question.name[0] || strcmp(question.name, entries[i].version->name) == 0) {
            describe(&entries[i], &versions[count], &failures[count]);
            count++;
        }
    bus_reply(gateway->router, message, PROTO_served,
              &(proto_served_t){.versions = {versions, count}});
    free(entries);
    free(versions);
    free(failures);
}
