// What libmicrohttpd alone can do: answers every request with its own body, on one thread with
// epoll.
//
//   echo_http PORT
// serves 127.0.0.1, says "ready", and ends with its standard input.
#include <arpa/inet.h>
#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BODY_MAX (1u << 20)

typedef struct {
    size_t size;
    char bytes[BODY_MAX];
} body_t;

static enum MHD_Result on_request(void *arg, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *data,
                                  size_t *size, void **state) {
    (void)arg;
    (void)url;
    (void)method;
    (void)version;
    body_t *body = *state;
    if (!body) {
        *state = body = malloc(sizeof *body);
        if (body)
            body->size = 0;
        return body ? MHD_YES : MHD_NO;
    }
    if (*size) {
        if (*size > BODY_MAX - body->size)
            return MHD_NO;
        memcpy(body->bytes + body->size, data, *size);
        body->size += *size;
        *size = 0;
        return MHD_YES;
    }
    struct MHD_Response *response =
        MHD_create_response_from_buffer(body->size, body->bytes, MHD_RESPMEM_MUST_COPY);
    enum MHD_Result result = MHD_queue_response(connection, MHD_HTTP_OK, response);
    MHD_destroy_response(response);
    return result;
}

static void on_end(void *arg, struct MHD_Connection *connection, void **state,
                   enum MHD_RequestTerminationCode why) {
    (void)arg;
    (void)connection;
    (void)why;
    free(*state);
    *state = NULL;
}

int main(int argc, char **argv) {
    if (argc != 2) {
        fprintf(stderr, "echo_http PORT\n");
        return 2;
    }
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)atoi(argv[1])),
                                  .sin_addr = {htonl(INADDR_LOOPBACK)}};
    struct MHD_Daemon *daemon =
        MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD, 0, NULL, NULL, on_request, NULL,
                         MHD_OPTION_SOCK_ADDR, &address, MHD_OPTION_NOTIFY_COMPLETED, on_end, NULL,
                         MHD_OPTION_CONNECTION_LIMIT, 4096u, MHD_OPTION_END);
    if (!daemon) {
        fprintf(stderr, "cannot serve port %s\n", argv[1]);
        return 1;
    }
    puts("ready");
    fflush(stdout);
    while (getchar() != EOF) {
    }
    MHD_stop_daemon(daemon);
    return 0;
}
