#include "web_impl.h"

#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#define SMALL_BODY      65536
#define SMALL_ANSWER    65536
#define HEAD_MS         10000
#define IDLE_MS         75000
#define BODY_RATE       16384 // bytes a second
#define ADDRESS_MAX     128
#define FILES_KEPT      128   // descriptors that connections leave
#define WAIT_MS         10000 // for a version to load, unless the query says
#define WAIT_MS_MAX     60000
#define DEADLINE_MS_MAX 86400000

static const web_route_t routes[] = {
    {"POST", "/v1/classify", false, true, web_classify},
    {"POST", "/v1/classify/*", false, true, web_classify},
    {"GET", "/v2", false, false, web_server},
    {"GET", "/v2/health/live", true, false, web_live},
    {"GET", "/v2/health/ready", true, false, web_ready},
    {"GET", "/v2/models/*", false, false, web_model},
    {"GET", "/v2/models/*/versions/*", false, false, web_model},
    {"GET", "/v2/models/*/ready", false, false, web_model_ready},
    {"GET", "/v2/models/*/versions/*/ready", false, false, web_model_ready},
    {"GET", "/v2/models/*/config", false, false, web_model_config},
    {"GET", "/v2/models/*/versions/*/config", false, false, web_model_config},
    {"POST", "/v2/models/*/infer", false, true, web_infer},
    {"POST", "/v2/models/*/versions/*/infer", false, true, web_infer},
    {"POST", "/v2/repository/index", false, false, web_index},
    {"POST", "/v2/repository/models/*/load", false, false, web_load},
    {"POST", "/v2/repository/models/*/unload", false, false, web_unload},
    {"GET", "/metrics", false, false, web_metrics},
    {"GET", "/openapi.json", true, false, web_openapi},
};

// --- Answers
// --------------------------------------------------------------------------------------

static int status_of(err_code_t code) {
    switch (code) {
    case ERR_NOT_FOUND:
        return 404;
    case ERR_CONFLICT:
        return 409;
    case ERR_DENIED:
        return 401;
    case ERR_TOO_LARGE:
        return 413;
    case ERR_UNSUPPORTED:
        return 415;
    case ERR_UNAVAILABLE:
    case ERR_FULL:
    case ERR_TIMEOUT:
    case ERR_NO_MEMORY:
    case ERR_CANCELLED:
    case ERR_IO:
        return 503;
    case ERR_INTERNAL:
        return 500;
    default:
        return 400;
    }
}

// Long answers count until they are sent: clients that do not fetch theirs must not fill the
// memory.
static err_code_t keep(web_call_t *call, const char *body, size_t size, err_t *err) {
    budget_t *budget = &call->gateway->budget;
    if (!body)
        return err_set(err, ERR_NO_MEMORY, "no memory for the answer");
    if (size <= SMALL_ANSWER)
        return ERR_OK;
    if (budget_grow(budget, 0, size, NULL) == ERR_OK) {
        call->kept = size;
        return ERR_OK;
    }
    err_set(err, ERR_FULL, "the answer has %zu bytes; %" PRIu64 " of %" PRIu64 " are in use", size,
            budget->bytes, budget->bytes_max);
    return err_remedy(err, "ask for fewer rows at once, for label alone or with classification, or "
                           "send it again in a moment");
}

void web_answer(web_call_t *call, const char *type, char *body, size_t size,
                const char *const *fields) {
    err_t err;
    if (keep(call, body, size, &err) == ERR_OK) {
        http_answer(call->http, 200, type, body, size, fields);
        return;
    }
    free(body);
    web_error(call, &err);
}

void web_json(web_call_t *call, int status, buf_t *body) {
    size_t size = body->size;
    char *bytes = buf_take(body);
    if (status == 200 || !bytes)
        web_answer(call, "application/json", bytes, size, NULL);
    else
        http_answer(call->http, status, "application/json", bytes, size, NULL);
}

static void put_error(buf_t *body, const err_t *err) {
    char *whole =
        err->remedy[0] ? mem_format("%s; %s", err->message, err->remedy) : mem_dup(err->message);
    buf_puts(body, "{\"error\":");
    buf_json_string(body, whole);
    buf_printf(body, ",\"code\":\"%s\",\"message\":", err_name(err->code));
    buf_json_string(body, err->message);
    buf_puts(body, ",\"remedy\":");
    buf_json_string(body, err->remedy);
    buf_printf(body, ",\"retryable\":%s}\n", err_retryable(err->code) ? "true" : "false");
    free(whole);
}

static void say_error(http_request_t *http, int status, const err_t *err,
                      const char *const *fields) {
    buf_t body;
    buf_init(&body, 16384);
    put_error(&body, err);
    size_t size = body.size;
    char *bytes = buf_take(&body);
    http_answer(http, status, "application/json", bytes ? bytes : mem_dup(""), bytes ? size : 0,
                fields);
}

void web_error(web_call_t *call, const err_t *err) {
    int status = call->request.no_version ? 503 : status_of(err->code);
    const char *const again[] = {"Retry-After: 1", NULL};
    say_error(call->http, status, err, status == 503 ? again : NULL);
}

// --- The core's door
// ------------------------------------------------------------------------------

static void door_answer(request_t *request) {
    web_call_t *call = (web_call_t *)request;
    call->say(call);
}

static void door_refuse(request_t *request, const err_t *err) {
    web_error((web_call_t *)request, err);
}

static void free_call(web_call_t *call) {
    oip_release(&call->oip);
    for (size_t i = 0; i < call->name_count; i++)
        free(call->names[i]);
    free(call->names);
    free(call);
}

// The body is not needed any more; the call itself stays until its answer is sent.
static void door_end(request_t *request) {
    web_call_t *call = (web_call_t *)request;
    call->ended = true;
    http_forget_body(call->http);
}

static const door_t door = {.answer = door_answer, .refuse = door_refuse, .end = door_end};

static err_code_t begin(web_call_t *call, err_t *err) {
    err_code_t code = request_begin(&call->request, call->gateway, &door, err);
    call->begun = code == ERR_OK;
    if (code)
        stats_error(&call->gateway->stats, code);
    return code;
}

// "M" or, with a version, "M@V", and whether M was the sibling that takes files.
static err_code_t name_model(web_call_t *call, err_t *err) {
    char *name = call->parts[0];
    const char *version = call->parts[1];
    size_t size = strlen(name);
    call->files = size > 6 && strcmp(name + size - 6, ".image") == 0;
    if (call->files)
        name[size - 6] = 0;
    if (version[0] == 0) {
        memcpy(call->request.model, name, strlen(name) + 1);
        return ERR_OK;
    }
    if (strspn(version, "0123456789") != strlen(version) ||
        strlen(name) + strlen(version) + 1 > REQUEST_MODEL_MAX) {
        err_set(err, ERR_NOT_FOUND, "'%.100s' is no version of %s", version, name);
        return err_remedy(err, "versions are numbers: GET /v2/models/%s lists them", name);
    }
    char *both = mem_format("%s@%s", name, version);
    memcpy(call->request.model, both, strlen(both) + 1);
    free(both);
    return ERR_OK;
}

err_code_t web_charge(void *arg, size_t bytes, err_t *err) {
    web_call_t *call = arg;
    return request_charge(&call->request, 0, bytes, err);
}

static err_code_t read_number(const web_call_t *call, const char *name, int64_t max, int64_t *out,
                              err_t *err) {
    const char *text = http_query(call->http, name);
    if (!text)
        return ERR_OK;
    char *end;
    size_t digits = strspn(text, "0123456789");
    *out = digits > 0 && digits < 16 ? strtoll(text, &end, 10) : -1;
    if (text[digits] == 0 && *out >= 0 && *out <= max)
        return ERR_OK;
    err_set(err, ERR_INVALID, "?%s is '%.40s'", name, text);
    return err_remedy(err, "give a whole number from 0 to %" PRId64, max);
}

err_code_t web_read_query(web_call_t *call, err_t *err) {
    int64_t wait_ms = WAIT_MS, deadline_ms = 0, priority = 0;
    err_code_t code = read_number(call, "wait_ms", WAIT_MS_MAX, &wait_ms, err);
    if (code == ERR_OK)
        code = read_number(call, "deadline_ms", DEADLINE_MS_MAX, &deadline_ms, err);
    if (code == ERR_OK)
        code = read_number(call, "priority", 3, &priority, err);
    if (code)
        return code;
    call->request.wait_ms = wait_ms;
    call->request.priority = (uint8_t)priority;
    if (deadline_ms)
        call->request.deadline_ms = clock_mono_ms() + deadline_ms;
    return ERR_OK;
}

static void let_go(web_call_t *call, void (*say)(web_call_t *call)) {
    call->say = say;
    call->let_go = true;
    request_go(&call->request);
}

void web_go(web_call_t *call, err_code_t (*take)(web_call_t *call, err_t *err),
            void (*say)(web_call_t *call)) {
    err_t err;
    if (take(call, &err) == ERR_OK) {
        let_go(call, say);
        return;
    }
    stats_error(&call->gateway->stats, err.code);
    web_error(call, &err);
}

void web_look(web_call_t *call, int64_t wait_ms, void (*say)(web_call_t *call)) {
    err_t err;
    err_code_t code = begin(call, &err);
    if (code == ERR_OK)
        code = name_model(call, &err);
    if (code) {
        web_error(call, &err);
        return;
    }
    call->request.look = true;
    call->request.wait_ms = wait_ms;
    let_go(call, say);
}

// --- Routes
// ---------------------------------------------------------------------------------------

// Does the path fit the pattern? Fills parts, and says in *too_long if one of them is.
static bool fits(const char *pattern, const char *path, char parts[][REQUEST_MODEL_MAX + 1],
                 bool *too_long) {
    int part = 0;
    while (*pattern && *path) {
        if (*pattern != '*') {
            if (*pattern++ != *path++)
                return false;
            continue;
        }
        size_t size = strcspn(path, "/");
        if (size == 0)
            return false;
        *too_long = size > REQUEST_MODEL_MAX;
        if (*too_long)
            return true;
        memcpy(parts[part], path, size);
        parts[part++][size] = 0;
        pattern++;
        path += size;
    }
    return *pattern == 0 && (*path == 0 || (path[0] == '/' && path[1] == 0));
}

static void no_route(http_request_t *http, const char *allow) {
    err_t err;
    if (allow) {
        err_set(&err, ERR_INVALID, "%.200s is not for %.20s", http_path(http), http_method(http));
        err_remedy(&err, "it takes %s", allow);
        char *field = mem_format("Allow: %s", allow);
        say_error(http, 405, &err, (const char *const[]){field, NULL});
        free(field);
        return;
    }
    err_set(&err, ERR_NOT_FOUND, "there is no %.200s here", http_path(http));
    err_remedy(&err, "GET /openapi.json lists what there is");
    say_error(http, 404, &err, NULL);
}

// The route of a request, with its parts; else it has been answered.
static const web_route_t *find_route(http_request_t *http, char parts[][REQUEST_MODEL_MAX + 1]) {
    const char *allow = NULL, *method = http_method(http);
    bool too_long = false;
    for (size_t i = 0; i < sizeof routes / sizeof *routes; i++) {
        memset(parts, 0, WEB_PARTS_MAX * (REQUEST_MODEL_MAX + 1));
        if (!fits(routes[i].path, http_path(http), parts, &too_long))
            continue;
        if (too_long)
            break;
        if (strcmp(method, routes[i].method) == 0 ||
            (strcmp(method, "HEAD") == 0 && strcmp(routes[i].method, "GET") == 0))
            return &routes[i];
        allow = routes[i].method;
    }
    no_route(http, allow);
    return NULL;
}

// retry_s > 0: a token has used up its rate for so long.
static void refuse_head(http_request_t *http, gateway_t *gateway, const err_t *err,
                        int64_t retry_s) {
    int status = retry_s ? 429 : status_of(err->code);
    char again[48];
    snprintf(again, sizeof again, "Retry-After: %" PRId64, retry_s ? retry_s : 1);
    const char *field = status == 429 || status == 503 ? again
                        : status == 401                ? "WWW-Authenticate: Bearer"
                                                       : NULL;
    stats_error(&gateway->stats, err->code);
    say_error(http, status, err, (const char *const[]){field, NULL});
}

// Is there room for the body that is told?
static err_code_t check_length(const web_call_t *call, err_t *err) {
    int64_t length = http_length(call->http);
    uint64_t max = call->route->images ? call->gateway->budget.bytes_max : SMALL_BODY;
    if (length <= 0 || (uint64_t)length <= max)
        return ERR_OK;
    err_set(err, ERR_TOO_LARGE, "the body has %" PRId64 " bytes; the limit is %" PRIu64, length,
            max);
    return err_remedy(err, call->route->images
                               ? "send fewer images at once, or raise gateway_queue_mb"
                               : "send less");
}

static bool on_head(void *arg, http_request_t *http) {
    gateway_t *gateway = arg;
    web_call_t *call = mem_zero(1, sizeof *call);
    call->gateway = gateway;
    call->http = http;
    call->route = find_route(http, call->parts);
    if (!call->route) {
        free(call);
        return false;
    }
    err_t err;
    int64_t retry_s = 0;
    err_code_t code = call->route->open
                          ? ERR_OK
                          : auth_check(gateway->auth, http_field(http, "Authorization"),
                                       clock_mono_us(), &retry_s, &err);
    if (code == ERR_OK)
        code = check_length(call, &err);
    if (code == ERR_OK && call->route->images)
        code = begin(call, &err);
    if (code == ERR_OK) {
        *http_user(http) = call;
        return true;
    }
    refuse_head(http, gateway, &err, retry_s);
    free_call(call);
    return false;
}

static bool on_room(void *arg, http_request_t *http, size_t more) {
    web_call_t *call = *http_user(http);
    err_t err;
    (void)arg;
    size_t size;
    http_body(http, &size);
    err_code_t code = ERR_OK;
    if (call->begun)
        code = request_charge(&call->request, 0, more, &err);
    else if (size + more > SMALL_BODY)
        code = err_set(&err, ERR_TOO_LARGE, "the body has more than %d bytes", SMALL_BODY);
    if (code == ERR_OK)
        return true;
    stats_error(&call->gateway->stats, code);
    web_error(call, &err);
    return false;
}

static err_code_t check_encoding(const web_call_t *call, err_t *err) {
    const char *encoding = http_field(call->http, "Content-Encoding");
    if (!encoding || strcasecmp(encoding, "identity") == 0)
        return ERR_OK;
    err_set(err, ERR_UNSUPPORTED, "Content-Encoding is '%.40s'", encoding);
    return err_remedy(err, "send the body as it is, without compression");
}

static void on_ready(void *arg, http_request_t *http) {
    web_call_t *call = *http_user(http);
    err_t err;
    (void)arg;
    err_code_t code = call->begun ? name_model(call, &err) : ERR_OK;
    if (code == ERR_OK && call->begun)
        code = web_read_query(call, &err);
    if (code == ERR_OK)
        code = check_encoding(call, &err);
    if (code == ERR_OK) {
        call->route->run(call);
        return;
    }
    stats_error(&call->gateway->stats, code);
    web_error(call, &err);
}

static void on_gone(void *arg, http_request_t *http) {
    web_call_t *call = *http_user(http);
    (void)arg;
    if (call->let_go && !call->ended)
        request_cancel(&call->request);
}

static void on_end(void *arg, http_request_t *http) {
    web_call_t *call = *http_user(http);
    (void)arg;
    if (call->begun && !call->ended)
        request_drop(&call->request);
    budget_shrink(&call->gateway->budget, call->kept);
    free_call(call);
}

static const http_ops_t ops = {
    .head = on_head, .room = on_room, .ready = on_ready, .gone = on_gone, .end = on_end};

// --- Life
// -----------------------------------------------------------------------------------------

// Port 0 stands for one that is free, and the same again after a restart if it still is.
static char *kept_path(const gateway_t *gateway) {
    return mem_format("%s/cache/%s.http", service_conf(gateway->service)->home,
                      service_name(gateway->service));
}

static bool kept_address(const gateway_t *gateway, char address[ADDRESS_MAX]) {
    const char *wish = service_conf(gateway->service)->gateway_http;
    size_t length = strlen(wish);
    if (length < 2 || strcmp(wish + length - 2, ":0") != 0)
        return false;
    char *path = kept_path(gateway);
    void *text = NULL;
    size_t size;
    bool kept = fs_read(path, 16, &text, &size, NULL) == ERR_OK && size > 0 && size < 6 &&
                strspn(text, "0123456789") == size && length + size < ADDRESS_MAX;
    if (kept)
        snprintf(address, ADDRESS_MAX, "%.*s%s", (int)length - 1, wish, (char *)text);
    free(text);
    free(path);
    return kept;
}

static void keep_port(const gateway_t *gateway) {
    const char *port = strrchr(http_server_url(gateway->web), ':') + 1;
    char *path = kept_path(gateway), *slash = strrchr(path, '/');
    err_t err;
    *slash = 0;
    err_code_t code = fs_mkdirs(path, &err);
    *slash = '/';
    if (code == ERR_OK)
        code = fs_write(path, port, strlen(port), &err);
    if (code)
        log_warn("the port of HTTP may be another one after a restart: %s", err.message);
    free(path);
}

// Whoever can reach it from elsewhere must have been given a token.
static err_code_t check_exposure(gateway_t *gateway, const char *address, err_t *err) {
    bool exposed = false;
    err_code_t code = http_is_exposed(address, &exposed, err);
    if (code == ERR_OK && exposed)
        auth_want(gateway->auth);
    if (code || !exposed || auth_has_tokens(gateway->auth))
        return code;
    err_set(err, ERR_DENIED, "HTTP on %s can be reached from other hosts, and there is no token",
            address);
    return err_remedy(err, "make one with `inkling keys token NAME`, or serve on 127.0.0.1");
}

// No more than leave descriptors for everything else: ZeroMQ ends the process where it has none.
static int connections_max(const conf_t *conf) {
    struct rlimit files;
    int wanted = (int)conf->gateway_connections;
    if (getrlimit(RLIMIT_NOFILE, &files) != 0)
        return wanted;
    rlim_t needed = (rlim_t)wanted + FILES_KEPT;
    if (files.rlim_cur < needed) {
        files.rlim_cur = needed < files.rlim_max ? needed : files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
        getrlimit(RLIMIT_NOFILE, &files);
    }
    if (files.rlim_cur >= needed)
        return wanted;
    int most = files.rlim_cur > 2 * FILES_KEPT ? (int)files.rlim_cur - FILES_KEPT
                                               : (int)files.rlim_cur / 2;
    log_warn("gateway_connections is %d, and this process may open %d files: it takes %d "
             "connections; raise the limit (ulimit -n, LimitNOFILE)",
             wanted, (int)files.rlim_cur, most);
    return most;
}

err_code_t web_start(gateway_t *gateway, err_t *err) {
    const conf_t *conf = service_conf(gateway->service);
    const http_limits_t limits = {.connections_max = connections_max(conf),
                                  .head_ms = HEAD_MS,
                                  .idle_ms = IDLE_MS,
                                  .body_rate = BODY_RATE};
    char address[ADDRESS_MAX];
    if (strcmp(conf->gateway_http, "off") == 0)
        return ERR_OK;
    gateway->auth = auth_new(conf->keys);
    err_code_t code = check_exposure(gateway, conf->gateway_http, err);
    if (code)
        return code;
    code = ERR_CONFLICT;
    if (kept_address(gateway, address))
        code = http_server_new(gateway->loop, address, &limits, &ops, gateway, &gateway->web, err);
    if (code == ERR_CONFLICT)
        code = http_server_new(gateway->loop, conf->gateway_http, &limits, &ops, gateway,
                               &gateway->web, err);
    if (code)
        return code;
    keep_port(gateway);
    log_info("serves HTTP on %s", http_server_url(gateway->web));
    return ERR_OK;
}
