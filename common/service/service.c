#include "service/service.h"

#include "base/clock.h"
#include "base/log.h"
#include "process_impl.h"
#include "question_impl.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

struct service {
    const service_ops_t *ops;
    conf_t conf;
    bus_loop_t *loop;
    bus_socket_t *control;
    void *self;
    char *endpoint, *http;
    question_t question; // to another process, instead of being the service
    int signals;         // signalfd, -1 before it is made
    int64_t started_ms;
    bool draining;
    int exit_code;
};

bus_loop_t *service_loop(service_t *service) {
    return service->loop;
}

const conf_t *service_conf(service_t *service) {
    return &service->conf;
}

const char *service_name(service_t *service) {
    return service->conf.name;
}

void service_set_endpoint(service_t *service, const char *endpoint) {
    char *copy = mem_dup(endpoint);
    free(service->endpoint);
    service->endpoint = copy;
}

void service_set_http(service_t *service, const char *url) {
    char *copy = mem_dup(url);
    free(service->http);
    service->http = copy;
}

void service_drained(service_t *service) {
    bus_loop_stop(service->loop);
}

err_code_t service_listen(service_t *service, bus_socket_t *router, const char *endpoints,
                          err_t *err) {
    char *copy = mem_dup(endpoints), *rest = copy, *endpoint;
    err_code_t code = ERR_OK;
    if (endpoints[0])
        code = bus_keys_serve(service->loop, service->conf.keys, err);
    if (code == ERR_NOT_FOUND)
        code = ERR_OK; // the bus refuses what must have keys
    while (code == ERR_OK && (endpoint = bus_next_endpoint(&rest)) != NULL) {
        code = bus_router_bind(router, endpoint, err);
        if (code == ERR_OK)
            log_info("serves %s", endpoint);
    }
    free(copy);
    return code;
}

static void log_failure(const err_t *err) {
    log_error("%s%s%s", err->message, err->remedy[0] ? "; " : "", err->remedy);
}

void service_fail(service_t *service, const err_t *err) {
    log_failure(err);
    service->exit_code = 1;
    bus_loop_stop(service->loop);
}

void service_drain(service_t *service) {
    if (service->draining)
        return;
    service->draining = true;
    log_info("draining");
    if (service->ops->drain)
        service->ops->drain(service->self);
    else
        service_drained(service);
}

// --- The service's own socket
// ---------------------------------------------------------------------

bool service_ready(service_t *service, char *detail, size_t size) {
    detail[0] = 0;
    if (service->draining) {
        snprintf(detail, size, "draining");
        return false;
    }
    return service->ops->ready(service->self, detail, size);
}

static void answer_status(service_t *service, bus_socket_t *socket, const bus_message_t *message) {
    char detail[1024];
    proto_service_state_t state;
    proto_defaults(PROTO_service_state, &state);
    state.ready = service_ready(service, detail, sizeof detail);
    state.service = service->conf.name;
    state.pid = (uint64_t)getpid();
    state.detail = detail;
    state.endpoint = service->endpoint ? service->endpoint : "";
    state.http = service->http ? service->http : "";
    state.uptime_ms = (uint64_t)(clock_mono_ms() - service->started_ms);
    state.version = INKLING_VERSION;
    bus_reply(socket, message, PROTO_service_state, &state);
}

static void own_metrics(service_t *service, buf_t *out) {
    char detail[1024];
    buf_printf(out,
               "# HELP inkling_info Which service this is; always 1.\n"
               "# TYPE inkling_info gauge\n"
               "inkling_info{service=\"%s\",program=\"%s\",version=\"%s\"} 1\n"
               "# HELP inkling_ready The service does its work.\n"
               "# TYPE inkling_ready gauge\ninkling_ready %d\n"
               "# HELP inkling_uptime_seconds Since the start of the service.\n"
               "# TYPE inkling_uptime_seconds gauge\ninkling_uptime_seconds %.3f\n",
               service->conf.name, service->ops->program, INKLING_VERSION,
               service_ready(service, detail, sizeof detail),
               (double)(clock_mono_ms() - service->started_ms) / 1000);
    process_metrics(out);
}

void service_metrics(service_t *service, buf_t *out) {
    own_metrics(service, out);
    if (service->ops->metrics)
        service->ops->metrics(service->self, out);
}

static void answer_metrics(service_t *service, bus_socket_t *socket, const bus_message_t *message) {
    buf_t text;
    buf_init(&text, 1 << 20);
    service_metrics(service, &text);
    proto_service_text_t answer = {.text = text.data};
    bus_reply(socket, message, PROTO_service_text, &answer);
    buf_release(&text);
}

static void on_control(void *arg, bus_socket_t *socket, const bus_message_t *message) {
    service_t *service = arg;
    switch ((int)message->type) {
    case PROTO_ping: {
        proto_pong_t pong = {.service = service->conf.name, .version = INKLING_VERSION};
        bus_reply(socket, message, PROTO_pong, &pong);
        return;
    }
    case PROTO_service_status:
        answer_status(service, socket, message);
        return;
    case PROTO_service_metrics:
        answer_metrics(service, socket, message);
        return;
    case PROTO_service_drain: {
        proto_ok_t ok = {0};
        bus_reply(socket, message, PROTO_ok, &ok);
        service_drain(service);
        return;
    }
    default: {
        err_t err;
        err_set(&err, ERR_UNSUPPORTED, "the control socket of %s does not take %s",
                service->conf.name, proto_message(message->type)->wire);
        bus_reply_error(socket, message, &err);
    }
    }
}

// --- Signals
// --------------------------------------------------------------------------------------

static void on_signal(void *arg, int events) {
    (void)events;
    service_t *service = arg;
    struct signalfd_siginfo info;
    if (read(service->signals, &info, sizeof info) != sizeof info)
        return;
    if (service->draining) {
        log_warn("stopping at once: a second signal came while draining");
        bus_loop_stop(service->loop);
        return;
    }
    service_drain(service);
}

// Before any thread exists, so that all inherit the mask.
static err_code_t take_signals(service_t *service, err_t *err) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    signal(SIGPIPE, SIG_IGN);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    service->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return service->signals < 0 ? err_set_errno(err, "cannot watch signals") : ERR_OK;
}

// --- Start and end
// --------------------------------------------------------------------------------

static err_code_t check_name(const char *name, err_t *err) {
    size_t size = strlen(name);
    if (size >= 1 && size <= 32 &&
        strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == size)
        return ERR_OK;
    err_set(err, ERR_USAGE, "'%s' is no name for an instance", name);
    return err_remedy(err, "use 1 to 32 letters, digits, dots, dashes, underscores"), ERR_USAGE;
}

// Each %h becomes the host's name up to its first dot.
static void put_host(char **name) {
    char host[256] = "";
    gethostname(host, sizeof host - 1);
    host[strcspn(host, ".")] = 0;
    for (char *at; (at = strstr(*name, "%h")) != NULL;) {
        char *whole = mem_format("%.*s%s%s", (int)(at - *name), *name, host, at + 2);
        free(*name);
        *name = whole;
    }
}

// Who joins a stack from elsewhere says so; the others are its own.
static err_code_t check_stack(const service_t *service, err_t *err) {
    const char *program = service->ops->program;
    if (!service->conf.stack[0] || service->ops->joins)
        return ERR_OK;
    err_set(err, ERR_USAGE, "inkling-%s is of the stack of its own host, and cannot join '%s'",
            program, service->conf.stack);
    return err_remedy(err, "unset INKLING_STACK, or leave out --stack"), ERR_USAGE;
}

static err_code_t settle(service_t *service, int *argc, char **argv, err_t *err) {
    err_code_t code = conf_load(&service->conf, argc, argv, err);
    if (code)
        return code;
    if (*argc == 2)
        service->question = question_of(argv[1]);
    if (*argc > 1 && service->question == QUESTION_NONE) {
        err_set(err, ERR_USAGE, "unknown argument '%s'", argv[1]);
        return err_remedy(err, "%s --help lists the settings", service->ops->program), ERR_USAGE;
    }
    conf_t *conf = &service->conf;
    if (conf->name[0] == 0) {
        free(conf->name);
        conf->name = mem_dup(service->ops->program);
    }
    put_host(&conf->name);
    log_level_t level;
    bool json = strcmp(conf->log_format, "json") == 0;
    if (!log_level_parse(conf->log_level, &level))
        return err_set(err, ERR_USAGE, "log_level is '%s'; use debug, info, warn or error",
                       conf->log_level);
    if (!json && strcmp(conf->log_format, "text") != 0)
        return err_set(err, ERR_USAGE, "log_format is '%s'; use text or json", conf->log_format);
    code = check_name(conf->name, err);
    if (code == ERR_OK)
        code = check_stack(service, err);
    if (code == ERR_OK)
        log_setup(conf->name, level, json);
    return code;
}

static err_code_t start(service_t *service, const void *arg, err_t *err) {
    err_code_t code = conf_make_home(service->conf.home, err);
    if (code == ERR_OK)
        code = take_signals(service, err);
    if (code)
        return code;
    if (service->conf.client_key[0])
        code = bus_keys_connect(service->conf.client_key, err);
    if (code)
        return code;
    service->loop = bus_loop_new();
    bus_loop_watch(service->loop, service->signals, BUS_READ, on_signal, service);
    char *endpoint = conf_control_endpoint(service->conf.home, service->conf.name);
    code = bus_router_new(service->loop, endpoint, on_control, service, &service->control, err);
    free(endpoint);
    if (code == ERR_CONFLICT) {
        err_set(err, ERR_CONFLICT, "a service of the name %s runs already under %s",
                service->conf.name, service->conf.home);
        err_remedy(err, "end that one first, or give this one another --name");
    }
    return code ? code : service->ops->start(service, arg, &service->self, err);
}

static void end(service_t *service) {
    if (service->self)
        service->ops->stop(service->self);
    bus_socket_destroy(&service->control);
    bus_keys_end();
    if (service->signals >= 0)
        close(service->signals);
    bus_loop_destroy(&service->loop);
    free(service->endpoint);
    free(service->http);
    conf_release(&service->conf);
}

static int print_help(const service_ops_t *ops) {
    buf_t text;
    buf_init(&text, 65536);
    buf_printf(&text, "inkling-%s: %s\n\nSettings: option, environment variable, meaning\n",
               ops->program, ops->about);
    conf_help(&text);
    buf_puts(&text, "\nQuestions to the instance that runs, found by home and name:\n");
#define X(name, option, help) buf_printf(&text, "  %-10s %s\n", option, help);
    QUESTIONS(X)
#undef X
    fputs(text.data, stdout);
    buf_release(&text);
    return 0;
}

int service_main(int argc, char **argv, const service_ops_t *ops, const void *arg) {
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "--help") == 0)
            return print_help(ops);
    service_t service = {.ops = ops, .signals = -1, .started_ms = clock_mono_ms()};
    err_t err;
    err_code_t code = settle(&service, &argc, argv, &err);
    if (code == ERR_OK && service.question != QUESTION_NONE) {
        service.exit_code = question_ask(&service.conf, service.question);
        conf_release(&service.conf);
        return service.exit_code;
    }
    if (code == ERR_OK)
        code = start(&service, arg, &err);
    if (code) {
        log_failure(&err);
        service.exit_code = code == ERR_USAGE ? 2 : 1;
    } else {
        log_info("started, version %s", INKLING_VERSION);
        bus_loop_run(service.loop);
        log_info("ended");
    }
    end(&service);
    return service.exit_code;
}
