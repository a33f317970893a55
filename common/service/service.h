// The one run loop of all services: settings, logging, signals, drain, readiness, metrics.
//
// service_main() reads the settings, starts the service, serves service.status, service.metrics,
// service.drain and ping on ipc <run>/<name>.ctl, and ends when a drain is complete. SIGTERM and
// SIGINT drain; a second one stops at once. Exit codes: 0 drained, 2 wrong settings, 1 anything
// else.
//
// With --probe or --metrics it is no service, but asks the one that runs under the same home and
// name: is it ready, what are its metrics? For health checks and scrapers; exit codes: 0 ready or
// printed, 1 not ready, 4 no answer. Every service has the metrics inkling_info, inkling_ready,
// inkling_uptime_seconds and those of its process beside its own.
#ifndef INKLING_SERVICE_SERVICE_H
#define INKLING_SERVICE_SERVICE_H

#include "bus/bus.h"
#include "conf/conf.h"

typedef struct service service_t;

typedef struct {
    const char *program; // "dispatcher": default name of the instance
    const char *about;   // one line for --help
    bool joins;          // it may work for a remote stack (the setting `stack`)
    // Makes *self; called with the loop not yet running. arg is that of service_main().
    err_code_t (*start)(service_t *service, const void *arg, void **self, err_t *err);
    // Does the service do its work? detail says why not, or what it does (UTF-8).
    bool (*ready)(void *self, char *detail, size_t size);
    void (*metrics)(void *self, buf_t *out); // Prometheus text; may be NULL
    // Take no new work; call service_drained() when the rest is given back. NULL: nothing to wait
    // for.
    void (*drain)(void *self);
    void (*stop)(void *self); // frees self; the loop has ended
} service_ops_t;

int service_main(int argc, char **argv, const service_ops_t *ops, const void *arg);

bus_loop_t *service_loop(service_t *service);
const conf_t *service_conf(service_t *service);
const char *service_name(service_t *service); // "trainer-0"
// Serves the endpoints of a list beside the router's own: with the stack's keys where it has some,
// else on loopback only.
err_code_t service_listen(service_t *service, bus_socket_t *router, const char *endpoints,
                          err_t *err);
// Where clients reach it, for status; copied.
void service_set_endpoint(service_t *service, const char *endpoint);
// The same for HTTP, if it serves that: "http://127.0.0.1:8420".
void service_set_http(service_t *service, const char *url);
// What service.status and service.metrics answer, for another door.
bool service_ready(service_t *service, char *detail, size_t size);
void service_metrics(service_t *service, buf_t *out);
// As if it were told to by a signal; nothing when it drains already.
void service_drain(service_t *service);
void service_drained(service_t *service);
// Ends the loop with exit code 1 after logging err: for failures that only a restart mends.
void service_fail(service_t *service, const err_t *err);

#endif
