// What ZeroMQ alone can do: sends every message back as it came, by CZMQ, on one thread.
//
//   echo_zmq ENDPOINT
// says "ready" once it is bound, and ends with its standard input.
#include <czmq.h>

int main(int argc, char **argv) {
    if (argc != 2) {
        fprintf(stderr, "echo_zmq ENDPOINT\n");
        return 2;
    }
    zsock_t *router = zsock_new(ZMQ_ROUTER);
    if (!router || zsock_bind(router, "%s", argv[1]) < 0) {
        fprintf(stderr, "cannot bind %s: %s\n", argv[1], strerror(errno));
        return 1;
    }
    puts("ready");
    fflush(stdout);
    zmq_pollitem_t items[] = {{.socket = zsock_resolve(router), .events = ZMQ_POLLIN},
                              {.fd = 0, .events = ZMQ_POLLIN}};
    while (!items[1].revents && (zmq_poll(items, 2, -1) >= 0 || errno == EINTR)) {
        for (int i = 0; i < 256 && (zsock_events(router) & ZMQ_POLLIN); i++) {
            zmsg_t *message = zmsg_recv(router);
            if (message)
                zmsg_send(&message, router);
        }
    }
    zsock_destroy(&router);
    return 0;
}
