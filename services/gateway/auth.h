// Who may use HTTP, and how often. Without tokens in the stack's folder of keys everybody may, on
// loopback; as soon as there is one, only who shows one, and so it stays until the gateway ends,
// also when the last one is removed or damaged. A folder that cannot be read changes nothing. A
// token's rate is kept by a bucket that holds one second's worth of requests (at least one), filled
// continuously.
#ifndef INKLING_GATEWAY_AUTH_H
#define INKLING_GATEWAY_AUTH_H

#include "base/err.h"

#include <stdint.h>

typedef struct auth auth_t;

auth_t *auth_new(const char *keys); // the folder
void auth_destroy(auth_t **auth);
bool auth_has_tokens(auth_t *auth);
void auth_want(auth_t *auth); // from now on everybody needs one

// field: the value of Authorization, or NULL. ERR_DENIED: no token, or an unknown one; ERR_FULL: it
// has used up its rate, and may come again after *retry_s seconds.
err_code_t auth_check(auth_t *auth, const char *field, int64_t now_us, int64_t *retry_s,
                      err_t *err);

#endif
