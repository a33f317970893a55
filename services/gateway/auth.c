#include "gateway/auth.h"

#include "sec/sec.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

typedef struct bucket {
    struct bucket *next;
    char name[SEC_NAME_MAX + 1];
    double level;
    int64_t filled_us;
} bucket_t;

struct auth {
    sec_tokens_t *tokens;
    bucket_t *buckets; // of the tokens that were used
    bool wanted;       // and it stays so
};

auth_t *auth_new(const char *keys) {
    auth_t *auth = mem_zero(1, sizeof *auth);
    auth->tokens = sec_tokens_new(keys);
    return auth;
}

void auth_destroy(auth_t **self) {
    auth_t *auth = *self;
    if (!auth)
        return;
    while (auth->buckets) {
        bucket_t *bucket = auth->buckets;
        auth->buckets = bucket->next;
        free(bucket);
    }
    sec_tokens_destroy(&auth->tokens);
    free(auth);
    *self = NULL;
}

bool auth_has_tokens(auth_t *auth) {
    return sec_tokens_count(auth->tokens) > 0;
}

void auth_want(auth_t *auth) {
    auth->wanted = true;
}

static bucket_t *bucket_of(auth_t *auth, const sec_token_t *token, double most, int64_t now_us) {
    for (bucket_t *bucket = auth->buckets; bucket; bucket = bucket->next)
        if (strcmp(bucket->name, token->name) == 0)
            return bucket;
    bucket_t *bucket = mem_zero(1, sizeof *bucket);
    memcpy(bucket->name, token->name, sizeof bucket->name);
    bucket->level = most;
    bucket->filled_us = now_us;
    bucket->next = auth->buckets;
    return auth->buckets = bucket;
}

static err_code_t take_one(auth_t *auth, const sec_token_t *token, int64_t now_us, int64_t *retry_s,
                           err_t *err) {
    double most = token->rate > 1 ? token->rate : 1;
    if (token->rate == 0)
        return ERR_OK;
    bucket_t *bucket = bucket_of(auth, token, most, now_us);
    bucket->level += (double)(now_us - bucket->filled_us) / 1e6 * token->rate;
    bucket->level = bucket->level < most ? bucket->level : most;
    bucket->filled_us = now_us;
    if (bucket->level >= 1) {
        bucket->level -= 1;
        return ERR_OK;
    }
    *retry_s = (int64_t)ceil((1 - bucket->level) / token->rate);
    err_set(err, ERR_FULL, "the token of %s may send %g requests a second", token->name,
            token->rate);
    return err_remedy(err, "send fewer, or put more images into each");
}

err_code_t auth_check(auth_t *auth, const char *field, int64_t now_us, int64_t *retry_s,
                      err_t *err) {
    if (!auth->wanted && !sec_tokens_wanted(auth->tokens))
        return ERR_OK;
    auth->wanted = true;
    if (!field || strncasecmp(field, "Bearer ", 7) != 0) {
        err_set(err, ERR_DENIED, "this needs a token");
        return err_remedy(err,
                          "send Authorization: Bearer TOKEN; `inkling keys token NAME` makes one");
    }
    const sec_token_t *token = sec_tokens_find(auth->tokens, field + 7 + strspn(field + 7, " "));
    if (!token) {
        err_set(err, ERR_DENIED, "this token is not known here");
        return err_remedy(err, "`inkling keys token NAME` on the stack's host makes one");
    }
    return take_one(auth, token, now_us, retry_s, err);
}
