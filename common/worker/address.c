#include "address_impl.h"

#include "base/log.h"

#include <netdb.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ELSEWHERE "192.0.2.1" // of no host (RFC 5737): only the way there is asked for

// tcp://HOST:PORT, an IPv6 HOST in brackets.
static bool split(const char *endpoint, char *host, size_t room, const char **port) {
    const char *prefix = "tcp://", *colon = strrchr(endpoint, ':');
    if (strncmp(endpoint, prefix, strlen(prefix)) != 0 || colon < endpoint + strlen(prefix))
        return false;
    const char *from = endpoint + strlen(prefix), *to = colon;
    if (*from == '[' && to[-1] == ']') {
        from++;
        to--;
    }
    *port = colon + 1;
    return (size_t)snprintf(host, room, "%.*s", (int)(to - from), from) < room;
}

// Connecting a datagram socket sends nothing: the kernel chooses the route, and with it the
// address.
static bool local_address(const struct addrinfo *to, char address[ADDRESS_SIZE]) {
    struct sockaddr_storage own;
    socklen_t size = sizeof own;
    int fd = socket(to->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool good = fd >= 0 && connect(fd, to->ai_addr, to->ai_addrlen) == 0 &&
                getsockname(fd, (struct sockaddr *)&own, &size) == 0 &&
                getnameinfo((struct sockaddr *)&own, size, address, ADDRESS_SIZE, NULL, 0,
                            NI_NUMERICHOST) == 0;
    if (fd >= 0)
        close(fd);
    return good;
}

static bool is_any(const char *host) {
    return strcmp(host, "0.0.0.0") == 0 || strcmp(host, "::") == 0 || strcmp(host, "*") == 0;
}

// tcp://HOST:PORT of a list; "" if there is none.
static void first_of(const char *list, char endpoint[256]) {
    snprintf(endpoint, 256, "%.*s", (int)strcspn(list, ","), list);
}

void address_towards(const char *endpoint, const char *listen, char address[ADDRESS_SIZE]) {
    char own[256], host[256], found[ADDRESS_SIZE];
    const char *port;
    struct addrinfo hints = {.ai_socktype = SOCK_DGRAM}, *list = NULL;
    snprintf(address, ADDRESS_SIZE, "127.0.0.1");
    first_of(listen, own);
    if (!split(endpoint, host, sizeof host, &port) && !split(own, host, sizeof host, &port))
        return;
    if (is_any(host))
        snprintf(host, sizeof host, "%s", ELSEWHERE);
    int failed = getaddrinfo(host, port, &hints, &list);
    if (failed)
        log_warn("%s has no address: %s", host, gai_strerror(failed));
    for (struct addrinfo *to = list; to; to = to->ai_next)
        if (local_address(to, found)) {
            memcpy(address, found, sizeof found);
            break;
        }
    if (list)
        freeaddrinfo(list);
}
