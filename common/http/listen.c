// Addresses, and sockets that listen on them.
#include "server_impl.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BACKLOG 1024

typedef union {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
} address_t;

static err_code_t wrong(const char *text, err_t *err) {
    err_set(err, ERR_USAGE, "'%s' is no address to serve HTTP on", text);
    return err_remedy(err,
                      "give ADDRESS:PORT in numbers: 127.0.0.1:8420, 0.0.0.0:8420, [::1]:8420");
}

static err_code_t read_address(const char *text, address_t *address, socklen_t *size, err_t *err) {
    char host[64];
    const char *colon = strrchr(text, ':');
    size_t length = colon ? (size_t)(colon - text) : 0;
    char *end;
    if (length == 0 || length >= sizeof host || !colon[1] || colon[1] == '-' || colon[1] == '+')
        return wrong(text, err);
    long port = strtol(colon + 1, &end, 10);
    if (*end || port < 0 || port > 65535)
        return wrong(text, err);
    memcpy(host, text, length);
    host[length] = 0;
    memset(address, 0, sizeof *address);
    if (host[0] == '[' && host[length - 1] == ']') {
        host[length - 1] = 0;
        address->v6.sin6_family = AF_INET6;
        address->v6.sin6_port = htons((uint16_t)port);
        *size = sizeof address->v6;
        return inet_pton(AF_INET6, host + 1, &address->v6.sin6_addr) == 1 ? ERR_OK
                                                                          : wrong(text, err);
    }
    address->v4.sin_family = AF_INET;
    address->v4.sin_port = htons((uint16_t)port);
    *size = sizeof address->v4;
    return inet_pton(AF_INET, host, &address->v4.sin_addr) == 1 ? ERR_OK : wrong(text, err);
}

err_code_t http_is_exposed(const char *text, bool *exposed, err_t *err) {
    address_t address;
    socklen_t size;
    err_code_t code = read_address(text, &address, &size, err);
    if (code)
        return code;
    if (address.any.sa_family == AF_INET)
        *exposed = (ntohl(address.v4.sin_addr.s_addr) >> 24) != 127;
    else
        *exposed = memcmp(&address.v6.sin6_addr, &in6addr_loopback, sizeof in6addr_loopback) != 0;
    return ERR_OK;
}

static err_code_t failed(int fd, const char *text, err_t *err) {
    int why = errno;
    if (fd >= 0)
        close(fd);
    if (why == EADDRINUSE) {
        err_set(err, ERR_CONFLICT, "another program serves %s already", text);
        return err_remedy(err, "end it, or choose another port: gateway_http");
    }
    if (why == EADDRNOTAVAIL) {
        err_set(err, ERR_USAGE, "%s is no address of this host", text);
        return err_remedy(err, "`ip address` lists them; 0.0.0.0 stands for all");
    }
    errno = why;
    return err_set_errno(err, "cannot serve HTTP on %s", text);
}

err_code_t http_listen(const char *text, int *out, char url[HTTP_URL_SIZE], err_t *err) {
    address_t address;
    socklen_t size;
    err_code_t code = read_address(text, &address, &size, err);
    if (code)
        return code;
    int fd = socket(address.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), yes = 1;
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) != 0 ||
        bind(fd, &address.any, size) != 0 || listen(fd, BACKLOG) != 0 ||
        getsockname(fd, &address.any, &size) != 0)
        return failed(fd, text, err);
    char host[INET6_ADDRSTRLEN];
    if (address.any.sa_family == AF_INET) {
        inet_ntop(AF_INET, &address.v4.sin_addr, host, sizeof host);
        snprintf(url, HTTP_URL_SIZE, "http://%s:%d", host, ntohs(address.v4.sin_port));
    } else {
        inet_ntop(AF_INET6, &address.v6.sin6_addr, host, sizeof host);
        snprintf(url, HTTP_URL_SIZE, "http://[%s]:%d", host, ntohs(address.v6.sin6_port));
    }
    *out = fd;
    return ERR_OK;
}
