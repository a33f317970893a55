// The door for HTTP: routes, what a request is answered with, and how it becomes one of the core's.
#ifndef INKLING_GATEWAY_WEB_IMPL_H
#define INKLING_GATEWAY_WEB_IMPL_H

#include "gateway_impl.h"
#include "http/http.h"
#include "oip/oip.h"
#include "request_impl.h"

#define WEB_PARTS_MAX 2 // of a path that vary

typedef struct web_call web_call_t;

typedef struct {
    const char *method, *path; // "*" stands for one part
    bool open;                 // without a token
    bool images;               // its body is for the core: bounded by the budget, else 64 KiB
    void (*run)(web_call_t *call);
} web_route_t;

struct web_call {
    request_t request; // begun if the route is one for images, or by the handler
    gateway_t *gateway;
    http_request_t *http;
    const web_route_t *route;
    char parts[WEB_PARTS_MAX][REQUEST_MODEL_MAX + 1];
    bool begun, let_go, ended; // of the core's request
    bool files;                // the model was named M.image
    oip_request_t oip;
    char **names; // of a multipart body's files
    size_t name_count;
    size_t kept;                   // bytes of the budget for its answer
    void (*say)(web_call_t *call); // makes the answer, when the core has done its part
};

extern const char web_openapi_text[]; // openapi.json

// --- web.c: answers
// body: malloc'ed, given away; NULL: there was no memory for it.
void web_answer(web_call_t *call, const char *type, char *body, size_t size,
                const char *const *fields);
void web_json(web_call_t *call, int status, buf_t *body); // takes the buffer's bytes
void web_error(web_call_t *call, const err_t *err);
// Lets the core's request go to the model that parts and query name, with the input that take
// finds; say answers.
void web_go(web_call_t *call, err_code_t (*take)(web_call_t *call, err_t *err),
            void (*say)(web_call_t *call));
// The same for one without images: only a version is wanted, to be told about.
void web_look(web_call_t *call, int64_t wait_ms, void (*say)(web_call_t *call));
// Query parameters wait_ms, deadline_ms and priority.
err_code_t web_read_query(web_call_t *call, err_t *err);
err_code_t web_charge(void *call, size_t bytes, err_t *err); // an oip_charge_fn

// --- web_infer.c, web_classify.c, web_models.c: routes
void web_infer(web_call_t *call);
void web_classify(web_call_t *call);
void web_server(web_call_t *call);
void web_live(web_call_t *call);
void web_ready(web_call_t *call);
void web_metrics(web_call_t *call);
void web_openapi(web_call_t *call);
void web_index(web_call_t *call);
void web_load(web_call_t *call);
void web_unload(web_call_t *call);
void web_model(web_call_t *call);
void web_model_ready(web_call_t *call);
void web_model_config(web_call_t *call);

#endif
