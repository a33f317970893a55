// Where an HTTP server is.
#ifndef INKLING_LOAD_ADDRESS_IMPL_H
#define INKLING_LOAD_ADDRESS_IMPL_H

#include "base/err.h"

#include <sys/socket.h>

typedef struct {
    struct sockaddr_storage bytes;
    socklen_t size;
    int family;
} address_t;

// Of "http://HOST:PORT".
err_code_t address_find(const char *url, address_t *address, err_t *err);
// A blocking connection. ERR_UNAVAILABLE: nobody there; names the url.
err_code_t address_connect(const address_t *address, const char *url, int *fd, err_t *err);

#endif
