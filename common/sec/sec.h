// Keys: CURVE pairs (Curve25519, as ZeroMQ uses them) of a stack and of its clients, in files.
//
// The stack's folder of keys:
//   server.key           the stack's own pair; all of its services use it (mode 0600)
//   clients/NAME.pub     the public key of a client that may connect; removed, it may no longer
// A client's file has its own pair and the stack's public key, so that it knows whom it talks to
// (mode 0600); it exists where the client is, and nowhere else.
//
// Secret keys are in no message, log or error. A file with a secret that others may read is
// refused.
#ifndef INKLING_SEC_SEC_H
#define INKLING_SEC_SEC_H

#include "base/err.h"

#define SEC_KEY_SIZE 41 // 32 bytes as Z85 text, and the NUL
#define SEC_NAME_MAX 64

typedef struct {
    char public_key[SEC_KEY_SIZE], secret_key[SEC_KEY_SIZE];
} sec_pair_t;

typedef struct {
    char name[SEC_NAME_MAX + 1];
    sec_pair_t own;
    char server[SEC_KEY_SIZE]; // the stack's public key
} sec_client_t;

// Makes the folder and the stack's pair, unless they are there: *made tells.
err_code_t sec_init(const char *folder, bool *made, err_t *err);
// Reads the stack's pair. ERR_NOT_FOUND: there are no keys yet.
err_code_t sec_server(const char *folder, sec_pair_t *pair, err_t *err);

// Makes a pair for a client, writes its file and lets it in. name: 1 … 64 of [A-Za-z0-9._-].
// ERR_CONFLICT: the name has a key, or the file is there.
err_code_t sec_client_new(const char *folder, const char *name, const char *file, err_t *err);
// Reads a client's file.
err_code_t sec_client(const char *file, sec_client_t *client, err_t *err);
// Writes a copy of it, after the same checks. ERR_CONFLICT: something is there already.
err_code_t sec_client_copy(const char *file, const char *to, err_t *err);

// The password of the stack's Redis, in <folder>/redis.password (0600), made unless it is there;
// and Redis' ACL file, which lets the user `inkling` with that password, and nobody else, do what
// the dispatcher needs. It has the password's SHA-256 alone, so others may read it.
err_code_t sec_redis_init(const char *folder, const char *acl_file, bool *made, err_t *err);

// Tokens, for HTTP. <folder>/tokens/NAME.token (0600) has a token's SHA-256, and how many requests
// a second it may send (0: no limit); the token itself is nowhere but where it was given out.
#define SEC_TOKEN_PREFIX "ink_"
#define SEC_TOKEN_BYTES  32
#define SEC_TOKEN_SIZE   (sizeof SEC_TOKEN_PREFIX + 2 * SEC_TOKEN_BYTES) // with the NUL

typedef struct {
    char name[SEC_NAME_MAX + 1];
    double rate;
} sec_token_t;

// ERR_CONFLICT: the name has a token.
err_code_t sec_token_new(const char *folder, const char *name, double rate,
                         char token[SEC_TOKEN_SIZE], err_t *err);

// The tokens in the folder. One thread at a time. Files that came or went are noticed as with
// guests, below. What is returned is valid until the next call of find or count.
typedef struct sec_tokens sec_tokens_t;
sec_tokens_t *sec_tokens_new(const char *folder);
void sec_tokens_destroy(sec_tokens_t **tokens);
size_t sec_tokens_count(sec_tokens_t *tokens);
// There are files of tokens, damaged ones included.
bool sec_tokens_wanted(sec_tokens_t *tokens);
const sec_token_t *sec_tokens_at(const sec_tokens_t *tokens, size_t index);  // by name; NULL behind
const sec_token_t *sec_tokens_find(sec_tokens_t *tokens, const char *token); // NULL: nobody's

// Who may connect: the public keys in the folder. One thread at a time.
typedef struct sec_guests sec_guests_t;
sec_guests_t *sec_guests_new(const char *folder);
void sec_guests_destroy(sec_guests_t **guests);
// The name of the client with this public key, or NULL; valid until the next call. Files that came
// or went are noticed, at the latest by the first call 100 ms later.
const char *sec_guests_find(sec_guests_t *guests, const char *public_key);
// All names, in order: index from 0, NULL behind the last. As of the last call of find or count.
const char *sec_guests_at(const sec_guests_t *guests, size_t index);
// Reads the folder anew and returns how many there are.
size_t sec_guests_count(sec_guests_t *guests);

#endif
