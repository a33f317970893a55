#include "address_impl.h"
#include "load/load.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#define CONNECT_S 5

err_code_t load_url(const char *url, char host[256], char port[8], err_t *err) {
    const char *at = strncmp(url, "http://", 7) == 0 ? url + 7 : NULL;
    bool bracket = at && *at == '[';
    const char *end = at ? bracket ? strchr(at, ']') : at + strcspn(at, ":/") : NULL;
    const char *digits = end ? end + bracket : NULL;
    size_t host_size = end ? (size_t)(end - at) - bracket : 0;
    size_t port_size = digits && *digits == ':' ? strspn(digits + 1, "0123456789") : 0;
    const char *rest = port_size ? digits + 1 + port_size : NULL;
    if (host_size == 0 || host_size > 255 || port_size > 5 || !rest || rest[*rest == '/'] != 0) {
        err_set(err, ERR_USAGE, "'%s' is no address of an HTTP server", url);
        return err_remedy(err, "write http://HOST:PORT"), ERR_USAGE;
    }
    snprintf(host, 256, "%.*s", (int)host_size, at + bracket);
    snprintf(port, 8, "%.*s", (int)port_size, digits + 1);
    return ERR_OK;
}

err_code_t address_find(const char *url, address_t *address, err_t *err) {
    char host[256], port[8];
    err_code_t code = load_url(url, host, port, err);
    if (code)
        return code;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV}, *list = NULL;
    int failed = getaddrinfo(host, port, &hints, &list);
    if (failed)
        return err_set(err, ERR_UNAVAILABLE, "the address of %s: %s", host, gai_strerror(failed));
    memcpy(&address->bytes, list->ai_addr, list->ai_addrlen);
    address->size = list->ai_addrlen;
    address->family = list->ai_family;
    freeaddrinfo(list);
    return ERR_OK;
}

err_code_t address_connect(const address_t *address, const char *url, int *fd, err_t *err) {
    *fd = socket(address->family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (*fd < 0)
        return err_set_errno(err, "cannot make a socket");
    struct timeval wait = {.tv_sec = CONNECT_S};
    setsockopt(*fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof wait);
    if (connect(*fd, (const struct sockaddr *)&address->bytes, address->size) == 0)
        return ERR_OK;
    int number = errno;
    close(*fd);
    *fd = -1;
    return err_set(err, ERR_UNAVAILABLE, "nobody answers at %s: %s", url, strerror(number));
}
