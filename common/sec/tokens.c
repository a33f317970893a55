#include "base/buf.h"
#include "base/fs.h"
#include "base/log.h"
#include "digest/digest.h"
#include "file_impl.h"
#include "folder_impl.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#define SUFFIX     ".token"
#define FILE_LIMIT 1024
#define RATE_MAX   1e6

typedef struct {
    sec_token_t token;
    char hash[DIGEST_HEX_SIZE];
} entry_t;

struct sec_tokens {
    folder_t folder;
    entry_t *list; // by name
    size_t count, damaged;
};

typedef struct {
    entry_t *list;
    size_t count, damaged;
    bool unread; // there is one that cannot be read now
} reading_t;

// --- Making one
// -----------------------------------------------------------------------------------

static err_code_t draw(char token[SEC_TOKEN_SIZE], err_t *err) {
    unsigned char random[SEC_TOKEN_BYTES];
    if (getrandom(random, sizeof random, 0) != sizeof random)
        return err_set_errno(err, "no random numbers for a token");
    char *at = stpcpy(token, SEC_TOKEN_PREFIX);
    for (size_t i = 0; i < sizeof random; i++, at += 2)
        snprintf(at, 3, "%02x", random[i]);
    explicit_bzero(random, sizeof random);
    return ERR_OK;
}

err_code_t sec_token_new(const char *keys, const char *name, double rate,
                         char token[SEC_TOKEN_SIZE], err_t *err) {
    err_code_t code = key_check_name(name, err);
    if (code)
        return code;
    char *folder = fs_join(keys, "tokens"), *path = mem_format("%s/%s" SUFFIX, folder, name);
    code = fs_mkdirs(folder, err);
    if (code == ERR_OK && access(path, F_OK) == 0) {
        err_set(err, ERR_CONFLICT, "there is a token for %s already", name);
        code = err_remedy(err, "choose another name; or remove %s, which ends the old one", path);
    }
    if (code == ERR_OK)
        code = draw(token, err);
    if (code == ERR_OK) {
        char hash[DIGEST_HEX_SIZE];
        digest_bytes(token, strlen(token), hash);
        char *text = mem_format("# A token for HTTP. Without this file it is not let in.\n"
                                "kind = token\nname = %s\nsha256 = %s\nrate = %.17g\n",
                                name, hash, rate);
        code = fs_write_secret(path, text, strlen(text), err);
        free(text);
    }
    free(path);
    free(folder);
    return code;
}

// --- Who is let in
// --------------------------------------------------------------------------------

static bool is_hash(const char *text) {
    return strlen(text) == DIGEST_HEX_SIZE - 1 &&
           strspn(text, "0123456789abcdef") == DIGEST_HEX_SIZE - 1;
}

static err_code_t read_entry(const char *path, entry_t *entry, err_t *err) {
    void *bytes;
    size_t size;
    char kind[16] = "", name[SEC_NAME_MAX + 1] = "", hash[DIGEST_HEX_SIZE] = "";
    double rate = -1;
    err_code_t code = fs_read(path, FILE_LIMIT, &bytes, &size, err);
    if (code)
        return code;
    for (char *rest = bytes, *line; (line = strsep(&rest, "\n")) != NULL;) {
        sscanf(line, "kind = %15s", kind);
        sscanf(line, "name = %64s", name);
        sscanf(line, "sha256 = %64s", hash);
        sscanf(line, "rate = %lf", &rate);
    }
    free(bytes);
    if (strcmp(kind, "token") != 0 || key_check_name(name, NULL) || !is_hash(hash) ||
        !(rate >= 0 && rate <= RATE_MAX)) {
        err_set(err, ERR_CORRUPT, "%s is no token's file, or damaged", path);
        return err_remedy(err, "remove it, and make a new one: inkling keys token NAME");
    }
    memcpy(entry->token.name, name, sizeof name);
    memcpy(entry->hash, hash, sizeof hash);
    entry->token.rate = rate;
    return ERR_OK;
}

// What is damaged lets nobody in, and is told.
static void take(void *arg, const char *path, const char *name) {
    reading_t *reading = arg;
    entry_t entry;
    err_t err;
    (void)name;
    err_code_t code = read_entry(path, &entry, &err);
    if (code == ERR_NOT_FOUND)
        return; // it has just gone
    if (code) {
        log_warn("%s%s%s", err.message, err.remedy[0] ? "; " : "", err.remedy);
        reading->damaged += code == ERR_CORRUPT || code == ERR_TOO_LARGE;
        reading->unread |= code != ERR_CORRUPT && code != ERR_TOO_LARGE;
        return;
    }
    reading->list = mem_grow(reading->list, (reading->count + 1) * sizeof *reading->list);
    reading->list[reading->count++] = entry;
}

static int by_name(const void *a, const void *b) {
    return strcmp(((const entry_t *)a)->token.name, ((const entry_t *)b)->token.name);
}

static void refresh(sec_tokens_t *tokens, bool anew) {
    if (!folder_due(&tokens->folder, anew))
        return;
    reading_t reading = {.list = NULL};
    bool whole = folder_each(&tokens->folder, SUFFIX, take, &reading);
    if (!whole || reading.unread) { // then those of before hold
        tokens->folder.settled = false;
        free(reading.list);
        return;
    }
    free(tokens->list);
    tokens->list = reading.list;
    tokens->count = reading.count;
    tokens->damaged = reading.damaged;
    if (tokens->count)
        qsort(tokens->list, tokens->count, sizeof *tokens->list, by_name);
}

sec_tokens_t *sec_tokens_new(const char *keys) {
    sec_tokens_t *tokens = mem_zero(1, sizeof *tokens);
    folder_init(&tokens->folder, keys, "tokens");
    return tokens;
}

void sec_tokens_destroy(sec_tokens_t **self) {
    if (!*self)
        return;
    folder_release(&(*self)->folder);
    free((*self)->list);
    free(*self);
    *self = NULL;
}

size_t sec_tokens_count(sec_tokens_t *tokens) {
    refresh(tokens, false);
    return tokens->count;
}

bool sec_tokens_wanted(sec_tokens_t *tokens) {
    refresh(tokens, false);
    return tokens->count + tokens->damaged > 0;
}

const sec_token_t *sec_tokens_at(const sec_tokens_t *tokens, size_t index) {
    return index < tokens->count ? &tokens->list[index].token : NULL;
}

const sec_token_t *sec_tokens_find(sec_tokens_t *tokens, const char *token) {
    char hash[DIGEST_HEX_SIZE];
    refresh(tokens, false);
    digest_bytes(token, strlen(token), hash);
    for (size_t i = 0; i < tokens->count; i++)
        if (strcmp(tokens->list[i].hash, hash) == 0)
            return &tokens->list[i].token;
    return NULL;
}
