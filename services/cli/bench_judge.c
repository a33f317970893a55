// Judges answers: counts them by the version that answered, and compares what it said about an
// image with what it said about the same image before.
//
// Most answers are the very bytes that the same request got the last time: these are compared, not
// read.
#include "bench_impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VERSIONS_MAX 4096
#define KEPT_MAX     (1u << 20) // bytes of an answer that are kept to compare
#define NO_VERSION   SIZE_MAX

typedef struct {
    char *bytes; // of the last good answer
    size_t size, room, version;
} kept_t;

struct bench_judge {
    const bench_t *bench;
    bool check;
    kept_t *kept; // one a request
    bench_version_t *versions;
    size_t version_count;
    bench_reading_t reading;
    proto_arena_t *arena;
    char kind[64], message[600];
};

bench_judge_t *bench_judge_new(const bench_t *bench, bool check) {
    bench_judge_t *judge = mem_zero(1, sizeof *judge);
    judge->bench = bench;
    judge->check = check;
    judge->kept = mem_zero(bench->request_count, sizeof *judge->kept);
    judge->arena = proto_arena_new();
    return judge;
}

void bench_judge_destroy(bench_judge_t **self) {
    bench_judge_t *judge = *self;
    if (!judge)
        return;
    for (size_t i = 0; i < judge->bench->request_count; i++)
        free(judge->kept[i].bytes);
    for (size_t i = 0; i < judge->version_count; i++)
        free(judge->versions[i].digests);
    free(judge->kept);
    free(judge->versions);
    bench_reading_release(&judge->reading);
    proto_arena_destroy(&judge->arena);
    free(judge);
    *self = NULL;
}

const bench_version_t *bench_versions(const bench_judge_t *judge, size_t *count) {
    *count = judge->version_count;
    return judge->versions;
}

// --- The same bytes as the last time

static size_t size_of(const load_answer_t *answer) {
    size_t size = answer->body.size;
    for (size_t i = 0; i < answer->attachment_count; i++)
        size += answer->attachments[i].size;
    return size;
}

static bool is_kept(const kept_t *kept, const load_answer_t *answer) {
    if (!kept->bytes || kept->size != size_of(answer) ||
        memcmp(kept->bytes, answer->body.data, answer->body.size) != 0)
        return false;
    const char *at = kept->bytes + answer->body.size;
    for (size_t i = 0; i < answer->attachment_count; i++) {
        if (memcmp(at, answer->attachments[i].data, answer->attachments[i].size) != 0)
            return false;
        at += answer->attachments[i].size;
    }
    return true;
}

static void keep(kept_t *kept, const load_answer_t *answer, size_t version) {
    size_t size = size_of(answer);
    if (size > KEPT_MAX)
        return;
    if (size > kept->room) {
        kept->bytes = mem_grow(kept->bytes, size);
        kept->room = size;
    }
    memcpy(kept->bytes, answer->body.data, answer->body.size);
    char *at = kept->bytes + answer->body.size;
    for (size_t i = 0; i < answer->attachment_count; i++) {
        memcpy(at, answer->attachments[i].data, answer->attachments[i].size);
        at += answer->attachments[i].size;
    }
    kept->size = size;
    kept->version = version;
}

// --- Versions

static size_t version_of(bench_judge_t *judge, const bench_reading_t *reading) {
    for (size_t i = 0; i < judge->version_count; i++)
        if (judge->versions[i].version == reading->version &&
            strcmp(judge->versions[i].model, reading->model) == 0)
            return i;
    if (judge->version_count == VERSIONS_MAX)
        return NO_VERSION;
    judge->versions =
        mem_grow(judge->versions, (judge->version_count + 1) * sizeof *judge->versions);
    bench_version_t *version = &judge->versions[judge->version_count];
    *version = (bench_version_t){.version = reading->version};
    memcpy(version->model, reading->model, sizeof version->model);
    version->digests = mem_zero(judge->bench->input_count, sizeof *version->digests);
    return judge->version_count++;
}

static bool is_asked_for(const bench_t *bench, const bench_reading_t *reading) {
    return (!bench->question.model || !bench->question.model[0] ||
            strcmp(bench->name, reading->model) == 0) &&
           (!bench->version || bench->version == reading->version);
}

// False: this version said something else about one of the images.
static bool agrees(const bench_judge_t *judge, size_t request, bench_version_t *version) {
    const bench_t *bench = judge->bench;
    for (size_t i = 0; i < bench->images; i++) {
        bench_digest_t got = judge->reading.digests[i];
        bench_digest_t *known =
            &version->digests[(request * bench->images + i) % bench->input_count];
        if (!got)
            continue;
        if (*known && *known != got)
            return false;
        *known = got;
    }
    return true;
}

// --- Verdicts

static void mixed_up(load_verdict_t *verdict, bench_judge_t *judge, const char *what) {
    const bench_reading_t *reading = &judge->reading;
    snprintf(judge->message, sizeof judge->message, "%s@%llu %s", reading->model,
             (unsigned long long)reading->version, what);
    *verdict = (load_verdict_t){.kind = LOAD_MIXED_UP, .message = judge->message};
}

static void judge_reading(bench_judge_t *judge, const load_answer_t *answer,
                          load_verdict_t *verdict) {
    const bench_reading_t *reading = &judge->reading;
    if (reading->kind[0])
        *verdict = (load_verdict_t){reading->kind, reading->message, (uint32_t)reading->good};
    if (reading->good == 0)
        return;
    size_t version = version_of(judge, reading);
    if (judge->check && !is_asked_for(judge->bench, reading)) {
        mixed_up(verdict, judge, "answered, which was not asked");
        return;
    }
    if (version == NO_VERSION) {
        *verdict = (load_verdict_t){"too many versions", "more than are counted", 0};
        return;
    }
    if (judge->check && !agrees(judge, answer->request, &judge->versions[version])) {
        mixed_up(verdict, judge, "gave an image another answer than before");
        return;
    }
    judge->versions[version].images += reading->good;
    verdict->images = (uint32_t)reading->good;
    if (!reading->kind[0])
        keep(&judge->kept[answer->request], answer, version);
}

void bench_judge(void *arg, const load_answer_t *answer, load_verdict_t *verdict) {
    bench_judge_t *judge = arg;
    const kept_t *kept = &judge->kept[answer->request];
    err_t err;
    if ((!answer->reply || answer->reply->status == 200) && is_kept(kept, answer)) {
        judge->versions[kept->version].images += judge->bench->images;
        verdict->images = (uint32_t)judge->bench->images;
    } else if (bench_read(judge->bench->form, judge->bench->images, answer, judge->arena,
                          &judge->reading, &err) != ERR_OK) {
        snprintf(judge->message, sizeof judge->message, "%.590s", err.message);
        *verdict = (load_verdict_t){.kind = LOAD_BAD_ANSWER, .message = judge->message};
    } else {
        judge_reading(judge, answer, verdict);
    }
}
