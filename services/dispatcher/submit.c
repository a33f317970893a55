// Submit: bodies of the built-in kinds are checked and their references resolved, so that every
// attempt at a job sees the same inputs.
#include "base/clock.h"
#include "base/log.h"
#include "digest/digest.h"
#include "gangs_impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VERSIONS_MAX 10000 // of data sets, and of models: as many as one list holds

typedef enum { OPAQUE, INGEST, TRAIN, TUNE, EVALUATE, PREDICT } kind_of_t;

typedef struct {
    kind_of_t sort;
    union {
        proto_ingest_t ingest;
        proto_train_t train;
        proto_tune_t tune;
        proto_evaluate_t evaluate;
        proto_predict_t predict;
    } body;
    char dataset[PROTO_NAME_MAX + 1], model[PROTO_NAME_MAX + 1];
    uint64_t dataset_version, model_version;
    char model_ref[PROTO_NAME_MAX + 32]; // name@version, which the body points to
} plan_t;

static const struct {
    const char *kind;
    kind_of_t sort;
    proto_type_t type;
} builtin[] = {{"ingest", INGEST, PROTO_ingest},
               {"train", TRAIN, PROTO_train},
               {"tune", TUNE, PROTO_tune},
               {"evaluate", EVALUATE, PROTO_evaluate},
               {"predict", PREDICT, PROTO_predict}};

static proto_type_t type_of(kind_of_t sort) {
    return builtin[sort - 1].type;
}

// --- Checks
// --------------------------------------------------------------------------------------

static bool is_word(const char *text, size_t size, const char *words) {
    for (const char *word = words; *word; word += strcspn(word, "|"), word += *word == '|')
        if (strcspn(word, "|") == size && memcmp(word, text, size) == 0)
            return true;
    return false;
}

// words: separated by '|'.
static err_code_t check_word(const char *field, const char *text, const char *words, err_t *err) {
    if (is_word(text, strlen(text), words))
        return ERR_OK;
    err_set(err, ERR_INVALID, "%s: '%s' is unknown", field, text);
    return err_remedy(err, "use one of: %s", words);
}

static err_code_t check_augment(const char *text, err_t *err) {
    if (strcmp(text, "none") == 0)
        return ERR_OK;
    for (const char *part = text;; part++) {
        size_t size = strcspn(part, ",");
        if (!is_word(part, size, "flip|shift")) {
            err_set(err, ERR_INVALID, "train: augment '%s' is unknown", text);
            return err_remedy(err, "use none, flip, shift or flip,shift");
        }
        part += size;
        if (*part == 0)
            return ERR_OK;
    }
}

static err_code_t check_absolute(const char *field, const char *path, err_t *err) {
    if (path[0] == '/')
        return ERR_OK;
    err_set(err, ERR_INVALID, "%s: '%.200s' is no absolute path", field, path);
    return err_remedy(err, "workers have another current folder: begin it with '/'");
}

// What the folder's host left with the stack of it: a digest, or "".
static err_code_t check_upload(const char *field, const char *upload, err_t *err) {
    size_t digits = strspn(upload, "0123456789abcdef");
    if (!upload[0] || (digits == DIGEST_HEX_SIZE - 1 && !upload[digits]))
        return ERR_OK;
    err_set(err, ERR_INVALID, "%s: '%s' is no digest", field, upload);
    return err_remedy(err, "write SHA-256 as 64 hexadecimal digits, small ones");
}

static err_code_t check_ingest(const plan_t *plan, err_t *err) {
    const proto_ingest_t *body = &plan->body.ingest;
    err_code_t code = check_absolute("ingest: dir", body->dir, err);
    if (code == ERR_OK)
        code = check_upload("ingest: upload", body->upload, err);
    if (code == ERR_OK)
        code = job_check_name("ingest: name", body->name, err);
    if (code == ERR_OK)
        code = check_word("ingest: fit", body->fit, "stretch|crop|pad", err);
    if (code == ERR_OK)
        code = check_word("ingest: group_by", body->group_by, "none|stem", err);
    if (code == ERR_OK && body->classes.count == 1) {
        err_set(err, ERR_INVALID, "ingest: classes names only '%.100s'", body->classes.items[0]);
        code = err_remedy(err, "a classifier needs two classes or more");
    }
    return code;
}

static err_code_t set_dataset(plan_t *plan, const char *field, const char *name, uint64_t version,
                              err_t *err) {
    snprintf(plan->dataset, sizeof plan->dataset, "%s", name);
    plan->dataset_version = version;
    return job_check_name(field, name, err);
}

static err_code_t check_replicas(proto_train_t *body, err_t *err) {
    if (body->min_replicas > body->replicas) {
        err_set(err, ERR_INVALID, "train: min_replicas %llu is more than replicas %llu",
                (unsigned long long)body->min_replicas, (unsigned long long)body->replicas);
        return err_remedy(err, "ask for more replicas, or for a smaller minimum");
    }
    if (body->min_replicas == 0)
        body->min_replicas = body->replicas;
    return ERR_OK;
}

static err_code_t check_train(plan_t *plan, err_t *err) {
    proto_train_t *body = &plan->body.train;
    const struct {
        const char *field, *text, *words;
    } words[] = {{"train: class_weights", body->class_weights, "none|auto"},
                 {"train: schedule", body->schedule, "constant|cosine|step"},
                 {"train: precision", body->precision, "auto|fp32|bf16"},
                 {"train: backend", body->backend, "auto|cpu|ref"},
                 {"train: bn_stats", body->bn_stats, "estimate|moving"},
                 {"train: promote", body->promote, "first|always|never"}};
    err_code_t code =
        set_dataset(plan, "train: dataset", body->dataset, body->dataset_version, err);
    if (!body->model[0])
        body->model = body->dataset;
    if (code == ERR_OK)
        code = job_check_name("train: model", body->model, err);
    for (size_t i = 0; i < sizeof words / sizeof *words && code == ERR_OK; i++)
        code = check_word(words[i].field, words[i].text, words[i].words, err);
    if (code == ERR_OK)
        code = check_augment(body->augment, err);
    if (code == ERR_OK)
        code = check_replicas(body, err);
    if (code == ERR_OK && body->init[0])
        code = job_parse_model("train: init", body->init, plan->model, &plan->model_version, err);
    return code;
}

// The space, and each training's parameters, are the tuner's to check; a wrong one ends the job at
// once.
static err_code_t check_tune(plan_t *plan, err_t *err) {
    proto_tune_t *body = &plan->body.tune;
    err_code_t code = set_dataset(plan, "tune: dataset", body->dataset, body->dataset_version, err);
    if (!body->model[0])
        body->model = body->dataset;
    if (code == ERR_OK)
        code = job_check_name("tune: model", body->model, err);
    if (code == ERR_OK)
        code = check_word("tune: objective", body->objective, "val_loss|val_accuracy", err);
    if (code == ERR_OK)
        code = check_word("tune: prune", body->prune, "asha|median|none", err);
    if (code == ERR_OK)
        code = check_word("tune: strategy", body->strategy, "model|sobol|random", err);
    return code ? code : check_depth("tune: train", body->train, err);
}

static err_code_t check_evaluate(plan_t *plan, err_t *err) {
    const proto_evaluate_t *body = &plan->body.evaluate;
    err_code_t code =
        set_dataset(plan, "evaluate: dataset", body->dataset, body->dataset_version, err);
    if (code == ERR_OK)
        code = check_word("evaluate: split", body->split, "train|val|test|all", err);
    if (code == ERR_OK)
        code =
            job_parse_model("evaluate: model", body->model, plan->model, &plan->model_version, err);
    return code;
}

static err_code_t check_predict(plan_t *plan, err_t *err) {
    const proto_predict_t *body = &plan->body.predict;
    err_code_t code = ERR_OK;
    if ((body->dir[0] != 0) == (body->dataset[0] != 0))
        code = err_set(err, ERR_INVALID, "predict: %s of dir and dataset must be given",
                       body->dir[0] ? "only one" : "one");
    if (code == ERR_OK && body->dir[0])
        code = check_absolute("predict: dir", body->dir, err);
    if (code == ERR_OK)
        code = check_upload("predict: upload", body->upload, err);
    if (code == ERR_OK && body->upload[0] && !body->dir[0])
        code = err_set(err, ERR_INVALID, "predict: upload goes with dir, not with dataset");
    if (code == ERR_OK && body->dataset[0])
        code = set_dataset(plan, "predict: dataset", body->dataset, body->dataset_version, err);
    if (code == ERR_OK)
        code = check_word("predict: split", body->split, "train|val|test|all", err);
    if (code == ERR_OK)
        code =
            job_parse_model("predict: model", body->model, plan->model, &plan->model_version, err);
    return code;
}

// Reads the body of a built-in kind into the plan; texts live in the arena.
static err_code_t make_plan(dispatcher_t *d, const char *kind, proto_bytes_t body, plan_t *plan,
                            err_t *err) {
    *plan = (plan_t){.sort = OPAQUE};
    for (size_t i = 0; i < sizeof builtin / sizeof *builtin; i++)
        if (strcmp(kind, builtin[i].kind) == 0)
            plan->sort = builtin[i].sort;
    if (plan->sort == OPAQUE)
        return check_depth("job.submit: body", body, err);
    err_code_t code =
        proto_decode(type_of(plan->sort), body.data, body.size, d->arena, &plan->body, err);
    if (code && !err->remedy[0])
        err_remedy(err, "PROTOCOL.md and `inkling help %s` list what the kind %s takes", kind,
                   kind);
    if (code)
        return code;
    switch (plan->sort) {
    case INGEST:
        return check_ingest(plan, err);
    case TRAIN:
        return check_train(plan, err);
    case TUNE:
        return check_tune(plan, err);
    case EVALUATE:
        return check_evaluate(plan, err);
    default:
        return check_predict(plan, err);
    }
}

// --- Into the queue
// ------------------------------------------------------------------------------

typedef struct {
    char kind[PROTO_NAME_MAX + 1], key[129];
    char digest[DIGEST_HEX_SIZE]; // of kind and body, where there is a key
    uint64_t max_attempts, delay_ms;
    bool now;
    size_t size;
    char body[]; // as it was sent
} wish_t;

static void answer_submitted(dispatcher_t *d, const request_t *to, const char *job, bool existing) {
    proto_job_submitted_t submitted = {.job = job, .existing = existing};
    answer(d, to, PROTO_job_submitted, &submitted);
}

static void answer_key_taken(dispatcher_t *d, const request_t *to, const char *job) {
    err_t err;
    err_set(&err, ERR_CONFLICT, "the key is that of job %s, which has another kind or body", job);
    err_remedy(&err, "give each job a key of its own, e.g. a random UUID");
    answer_error(d, to, &err);
}

static void submit_refused(dispatcher_t *d, const item_t *item, const store_reply_t *reply) {
    err_t err;
    if (strcmp(reply_text(reply, 0), "OTHER") == 0) {
        answer_key_taken(d, &item->from, reply_text(reply, 1));
        return;
    }
    if (strcmp(reply_text(reply, 0), "FULL") == 0) {
        err_set(&err, ERR_FULL, "%lld jobs wait already", (long long)d->conf->max_queued);
        err_remedy(&err, "try again when some are done, or raise max_queued");
    } else {
        err_set(&err, ERR_NOT_FOUND, "%s has just been removed", reply_text(reply, 1) + 2);
    }
    answer_error(d, &item->from, &err);
}

static void submitted(dispatcher_t *d, const item_t *item, const store_reply_t *reply,
                      const err_t *err) {
    worker_t *worker = item->worker[0] ? worker_find(d, item->worker) : NULL;
    if (worker && worker->reserved)
        worker->reserved--;
    if (err || reply_text(reply, 0)[0]) {
        if (err)
            answer_error(d, &item->from, err);
        else
            submit_refused(d, item, reply);
        match_later(d);
        return;
    }
    proto_arena_reset(d->arena);
    const char *job = reply_text(reply, 1);
    bool existing = reply_number(reply, 2) != 0;
    answer_submitted(d, &item->from, job, existing);
    proto_worker_assign_t assign;
    if (take_lease(d, store_item(reply, 3), item->worker, &assign)) {
        send_assign(d, &assign);
        if (strcmp(assign.job, job) == 0)
            metric_observe(&d->stats.dispatch,
                           (double)(clock_mono_us() - item->from.received_us) / 1e6);
    } else {
        if (!existing && item->number2 > 1)
            watch_soon(d); // a gang's
        else if (!existing && item->number)
            watch_delay(d, (int64_t)item->number);
        else if (!existing)
            kind_ready(d, item->kind, 1);
        match_later(d);
    }
    if (!existing)
        metric_add(&d->stats.submitted, 1);
}

static void put_refs(item_t *item, const plan_t *plan) {
    char text[PROTO_NAME_MAX + 32];
    item_number(item, (plan->dataset[0] ? 1U : 0U) + (plan->model[0] ? 1U : 0U));
    if (plan->dataset[0]) {
        snprintf(text, sizeof text, "d:%s@%llu", plan->dataset,
                 (unsigned long long)plan->dataset_version);
        item_text(item, text);
    }
    if (plan->model[0]) {
        snprintf(text, sizeof text, "m:%s@%llu", plan->model,
                 (unsigned long long)plan->model_version);
        item_text(item, text);
    }
}

// A worker that is idle gets the job in the same transition.
static void put_worker(dispatcher_t *d, item_t *item, const char *kind_name, uint64_t delay_ms) {
    const kind_t *kind = kind_make(d, kind_name);
    worker_t *worker = delay_ms == 0 && kind->ready <= kind->asked ? worker_idle(d, kind) : NULL;
    if (worker && gangs_keep(d, worker))
        worker = NULL;
    if (worker) {
        worker->reserved++;
        snprintf(item->worker, sizeof item->worker, "%s", worker->name);
    }
    item_text(item, worker ? worker->name : "");
    item_text(item, worker ? worker->boot : "");
}

static void enqueue(dispatcher_t *d, const request_t *from, const wish_t *wish, const plan_t *plan,
                    proto_bytes_t body) {
    bool train = plan->sort == TRAIN;
    uint64_t replicas = train ? plan->body.train.replicas : 1;
    uint64_t least = train ? plan->body.train.min_replicas : 1;
    err_t err;
    if (wish->now && gangs_check_now(d, wish->kind, least, &err) != ERR_OK) {
        answer_error(d, from, &err);
        return;
    }
    item_t *item = item_new(SCRIPT_submit, from, submitted);
    snprintf(item->kind, sizeof item->kind, "%s", wish->kind);
    item->number = wish->delay_ms;
    item->number2 = replicas;
    item_text(item, wish->kind);
    item_text(item, wish->key);
    item_text(item, wish->digest);
    item_number(item, wish->max_attempts);
    item_number(item, wish->delay_ms);
    item_number(item, replicas);
    item_number(item, least);
    item_bytes(item, body.data, body.size);
    put_refs(item, plan);
    if (replicas > 1) {
        item_text(item, "");
        item_text(item, "");
    } else {
        put_worker(d, item, wish->kind, wish->delay_ms);
    }
    batch_add(d->batch, item);
}

// --- References
// ----------------------------------------------------------------------------------

static err_code_t not_there(const char *sort, const char *name, uint64_t version, const char *known,
                            err_t *err) {
    if (version && known[0]) {
        err_set(err, ERR_NOT_FOUND, "there is no version %llu of %s %s",
                (unsigned long long)version, sort, name);
        return err_remedy(err, "its versions are: %.200s", known);
    }
    err_set(err, ERR_NOT_FOUND, "there is no %s %s", sort, name);
    if (strcmp(sort, "model") == 0)
        return err_remedy(err, "`inkling models` lists them, `inkling train` makes one");
    return err_remedy(err, "`inkling datasets` lists them, `inkling ingest` makes one");
}

// Takes the versions that Redis found; names of missing ones go into err.
static err_code_t take_versions(plan_t *plan, const store_reply_t *reply, err_t *err) {
    const store_reply_t *versions = store_item(reply, 3), *known = store_item(reply, 4);
    size_t at = 0;
    if (plan->dataset[0]) {
        uint64_t found = reply_number(versions, at);
        if (!found)
            return not_there("data set", plan->dataset, plan->dataset_version,
                             reply_text(known, at), err);
        plan->dataset_version = found;
        at++;
    }
    if (plan->model[0]) {
        uint64_t found = reply_number(versions, at);
        if (!found)
            return not_there("model", plan->model, plan->model_version, reply_text(known, at), err);
        plan->model_version = found;
    }
    bool too_many =
        (plan->sort == INGEST && reply_number(reply, 1) >= VERSIONS_MAX) ||
        ((plan->sort == TRAIN || plan->sort == TUNE) && reply_number(reply, 2) >= VERSIONS_MAX);
    if (!too_many)
        return ERR_OK;
    err_set(err, ERR_FULL, "%d versions are registered already", VERSIONS_MAX);
    return err_remedy(err, "remove some with `inkling %s rm`",
                      plan->sort == INGEST ? "dataset" : "model");
}

// Writes the versions into the body, which is then the same for every attempt.
static err_code_t fix_body(plan_t *plan, proto_bytes_t body, buf_t *out, err_t *err) {
    if (plan->sort == OPAQUE) {
        buf_append(out, body.data, body.size);
        return ERR_OK;
    }
    plan->model_ref[0] = 0;
    if (plan->model[0])
        snprintf(plan->model_ref, sizeof plan->model_ref, "%s@%llu", plan->model,
                 (unsigned long long)plan->model_version);
    if (plan->sort == TRAIN) {
        plan->body.train.dataset_version = plan->dataset_version;
        plan->body.train.init = plan->model_ref;
    } else if (plan->sort == TUNE) {
        plan->body.tune.dataset_version = plan->dataset_version;
    } else if (plan->sort == EVALUATE) {
        plan->body.evaluate.dataset_version = plan->dataset_version;
        plan->body.evaluate.model = plan->model_ref;
    } else if (plan->sort == PREDICT) {
        plan->body.predict.dataset_version = plan->dataset_version;
        plan->body.predict.model = plan->model_ref;
    }
    return proto_encode(type_of(plan->sort), &plan->body, out, err);
}

static void resolved(dispatcher_t *d, const item_t *item, const store_reply_t *reply,
                     const err_t *err) {
    wish_t *wish = item->context;
    proto_bytes_t body = {wish->body, wish->size};
    plan_t plan;
    err_t why;
    buf_t fixed;
    buf_init(&fixed, PROTO_BODY_MAX);
    proto_arena_reset(d->arena);
    if (err) {
        answer_error(d, &item->from, err);
    } else if (reply_number(reply, 5) == 0) {
        answer_key_taken(d, &item->from, reply_text(reply, 0));
    } else if (reply_text(reply, 0)[0]) {
        answer_submitted(d, &item->from, reply_text(reply, 0), true);
    } else if (make_plan(d, wish->kind, body, &plan, &why) == ERR_OK &&
               take_versions(&plan, reply, &why) == ERR_OK &&
               fix_body(&plan, body, &fixed, &why) == ERR_OK) {
        enqueue(d, &item->from, wish, &plan, (proto_bytes_t){fixed.data, fixed.size});
    } else {
        answer_error(d, &item->from, &why);
    }
    buf_release(&fixed);
    free(wish);
}

static void resolve(dispatcher_t *d, const request_t *from, wish_t *wish, const plan_t *plan) {
    item_t *item = item_new(SCRIPT_resolve, from, resolved);
    item->context = wish;
    item_text(item, wish->key);
    item_text(item, wish->digest);
    if (plan->dataset[0]) {
        item_text(item, "d");
        item_text(item, plan->dataset);
        item_number(item, plan->dataset_version);
    }
    if (plan->model[0]) {
        item_text(item, "m");
        item_text(item, plan->model);
        item_number(item, plan->model_version);
    }
    batch_add(d->batch, item);
}

// What a key stands for: the same key with another kind or body is a mistake of the client.
static void digest_wish(wish_t *wish) {
    if (!wish->key[0])
        return;
    digest_t *digest = digest_new();
    digest_add(digest, wish->kind, strlen(wish->kind) + 1);
    digest_add(digest, wish->body, wish->size);
    digest_end(&digest, wish->digest);
}

void on_submit(dispatcher_t *d, const bus_message_t *message) {
    proto_job_submit_t submit;
    request_t from = request_of(message);
    plan_t plan;
    err_t err;
    if (!decode(d, message, &submit))
        return;
    err_code_t code = job_check_kind(submit.kind, &err);
    if (code == ERR_OK)
        code = make_plan(d, submit.kind, submit.body, &plan, &err);
    if (code == ERR_OK && files_short(d->files, &err))
        code = ERR_FULL;
    if (code) {
        answer_error(d, &from, &err);
        return;
    }
    wish_t *wish = mem_alloc(sizeof *wish + submit.body.size);
    *wish = (wish_t){.max_attempts = submit.max_attempts,
                     .delay_ms = submit.delay_ms,
                     .now = submit.now,
                     .size = submit.body.size};
    snprintf(wish->kind, sizeof wish->kind, "%s", submit.kind);
    snprintf(wish->key, sizeof wish->key, "%s", submit.key);
    if (submit.body.size)
        memcpy(wish->body, submit.body.data, submit.body.size);
    digest_wish(wish);
    if (plan.sort != OPAQUE || submit.now) { // a key that is known comes first
        resolve(d, &from, wish, &plan);
        return;
    }
    enqueue(d, &from, wish, &plan, submit.body);
    free(wish);
}
