#include "probe_impl.h"

#include "base/clock.h"
#include "conf/conf.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define PATIENCE_MS 2000
#define REDIS_MS    250

struct probe {
    bus_loop_t *loop;
    char *endpoint;
    bus_socket_t *socket;
    uint64_t asked; // id of the question that is open; 0: none
    uint64_t last_id;
    int64_t asked_ms;
    probe_fn fn;
    void *arg;
};

probe_t *probe_new(bus_loop_t *loop, const char *home, const char *name, probe_fn fn, void *arg) {
    probe_t *probe = mem_zero(1, sizeof *probe);
    *probe = (probe_t){
        .loop = loop, .endpoint = conf_control_endpoint(home, name), .fn = fn, .arg = arg};
    return probe;
}

void probe_destroy(probe_t **self) {
    probe_t *probe = *self;
    if (!probe)
        return;
    bus_socket_destroy(&probe->socket);
    free(probe->endpoint);
    free(probe);
    *self = NULL;
}

static void read_state(probe_t *probe, const bus_message_t *message) {
    proto_arena_t *arena = proto_arena_new();
    proto_service_state_t state;
    if (proto_decode(PROTO_service_state, message->body.data, message->body.size, arena, &state,
                     NULL) == ERR_OK) {
        probe_state_t found = {
            .ready = state.ready, .pid = (pid_t)state.pid, .uptime_ms = state.uptime_ms};
        snprintf(found.detail, sizeof found.detail, "%s", state.detail);
        snprintf(found.endpoint, sizeof found.endpoint, "%s", state.endpoint);
        snprintf(found.http, sizeof found.http, "%s", state.http);
        snprintf(found.version, sizeof found.version, "%s", state.version);
        probe->fn(probe->arg, &found);
    }
    proto_arena_destroy(&arena);
}

static void on_answer(void *arg, bus_socket_t *socket, const bus_message_t *message) {
    (void)socket;
    probe_t *probe = arg;
    if (message->id != probe->asked || message->type != PROTO_service_state)
        return;
    probe->asked = 0;
    read_state(probe, message);
}

void probe_ask(probe_t *probe) {
    int64_t now = clock_mono_ms();
    if (probe->asked && now - probe->asked_ms < PATIENCE_MS)
        return;
    if (probe->asked) // a fresh connection: questions must not pile up for a service that is away
        bus_socket_destroy(&probe->socket);
    probe->asked = 0;
    if (!probe->socket && bus_dealer_new(probe->loop, probe->endpoint, on_answer, probe,
                                         &probe->socket, NULL) != ERR_OK)
        return;
    proto_service_status_t question = {0};
    if (bus_send(probe->socket, NULL, ++probe->last_id, PATIENCE_MS, PROTO_service_status,
                 &question, NULL, 0, NULL) == ERR_OK) {
        probe->asked = probe->last_id;
        probe->asked_ms = now;
    }
}

// --- Sockets by path

static int connect_to(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    strcpy(address.sun_path, path); // NOLINT(clang-analyzer-security.insecureAPI.strcpy): checked
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct timeval patience = {.tv_usec = REDIS_MS * 1000};
    if (fd >= 0) {
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    }
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
        int cause = errno;
        close(fd);
        errno = cause;
        fd = -1;
    }
    return fd;
}

bool probe_served(const char *home, const char *name) {
    char *endpoint = conf_control_endpoint(home, name);
    int fd = connect_to(endpoint + strlen("ipc://"));
    free(endpoint);
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

bool probe_redis(const char *path, char *detail, size_t size) {
    static const char ping[] = "PING\r\n";
    char answer[256] = "";
    int fd = connect_to(path);
    if (fd < 0) {
        snprintf(detail, size, "no connection to %s: %s", path, strerror(errno));
        return false;
    }
    ssize_t got = -1;
    if (send(fd, ping, sizeof ping - 1, MSG_NOSIGNAL) == sizeof ping - 1)
        got = recv(fd, answer, sizeof answer - 1, 0);
    close(fd);
    answer[got > 0 ? got : 0] = 0;
    answer[strcspn(answer, "\r\n")] = 0;
    bool ready = strcmp(answer, "+PONG") == 0;
    snprintf(detail, size, "%s", ready ? "" : got > 0 ? answer + 1 : "no answer to PING");
    return ready;
}
