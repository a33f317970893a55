// What there is: the server, its models, its metrics.
#include "base/clock.h"
#include "gateway/engine.h"
#include "web_impl.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_MAX    (4u << 20)
#define MODELS_MAX  4096
#define LOOK_MS     2000 // for a version that is being loaded, to tell about it
#define DETAIL_SIZE 1024

static void say_text(web_call_t *call, const char *type, buf_t *text) {
    size_t size = text->size;
    char *bytes = buf_take(text);
    http_answer(call->http, bytes ? 200 : 503, type, bytes ? bytes : mem_dup(""), bytes ? size : 0,
                NULL);
}

// --- The server
// -----------------------------------------------------------------------------------

void web_server(web_call_t *call) {
    buf_t body;
    buf_init(&body, TEXT_MAX);
    buf_puts(&body, "{\"name\":\"inkling\",\"version\":\"" INKLING_VERSION
                    "\",\"extensions\":[\"binary_tensor_data\",\"classification\","
                    "\"model_configuration\",\"model_repository\",\"schedule_policy\"]}\n");
    web_json(call, 200, &body);
}

void web_live(web_call_t *call) {
    buf_t body;
    buf_init(&body, TEXT_MAX);
    buf_puts(&body, "{\"live\":true}\n");
    web_json(call, 200, &body);
}

void web_ready(web_call_t *call) {
    char detail[DETAIL_SIZE];
    bool ready = service_ready(call->gateway->service, detail, sizeof detail);
    buf_t body;
    buf_init(&body, TEXT_MAX);
    buf_printf(&body, "{\"ready\":%s,\"detail\":", ready ? "true" : "false");
    buf_json_string(&body, detail);
    buf_puts(&body, "}\n");
    web_json(call, ready ? 200 : 503, &body);
}

void web_metrics(web_call_t *call) {
    buf_t text;
    buf_init(&text, TEXT_MAX);
    service_metrics(call->gateway->service, &text);
    say_text(call, "text/plain; version=0.0.4; charset=utf-8", &text);
}

void web_openapi(web_call_t *call) {
    buf_t text;
    buf_init(&text, TEXT_MAX);
    buf_puts(&text, web_openapi_text);
    say_text(call, "application/json", &text);
}

// --- One model
// ------------------------------------------------------------------------------------

static void put_model_name(const web_call_t *call, buf_t *out) {
    const version_t *version = call->request.version;
    buf_printf(out, "\"name\":\"%s%s\"", version->name, call->files ? ".image" : "");
}

static void say_model(web_call_t *call) {
    const version_t *version = call->request.version;
    const prep_recipe_t *recipe = engine_recipe(version->engine);
    buf_t body;
    buf_init(&body, TEXT_MAX);
    buf_puts(&body, "{");
    put_model_name(call, &body);
    buf_printf(&body, ",\"versions\":[\"%" PRIu64 "\"],\"platform\":\"inkling\",\"inputs\":[",
               version->number);
    if (call->files)
        buf_puts(&body, "{\"name\":\"image\",\"datatype\":\"BYTES\",\"shape\":[-1]}");
    else
        buf_printf(&body, "{\"name\":\"pixels\",\"datatype\":\"UINT8\",\"shape\":[-1,%d,%d,%d]}",
                   recipe->size, recipe->size, recipe->channels);
    int classes = engine_class_count(version->engine);
    buf_printf(
        &body,
        "],\"outputs\":[{\"name\":\"probabilities\",\"datatype\":\"FP32\",\"shape\":[-1,%d]},"
        "{\"name\":\"label\",\"datatype\":\"BYTES\",\"shape\":[-1]}],"
        "\"parameters\":{\"classes\":[",
        classes);
    for (int i = 0; i < classes; i++) {
        buf_puts(&body, i ? "," : "");
        buf_json_string(&body, engine_class(version->engine, i));
    }
    buf_puts(&body, "]}}\n");
    web_json(call, 200, &body);
}

void web_model(web_call_t *call) {
    web_look(call, LOOK_MS, say_model);
}

static void say_model_ready(web_call_t *call) {
    const version_t *version = call->request.version;
    buf_t body;
    buf_init(&body, TEXT_MAX);
    buf_puts(&body, "{");
    put_model_name(call, &body);
    buf_printf(&body, ",\"version\":\"%" PRIu64 "\",\"ready\":true}\n", version->number);
    web_json(call, 200, &body);
}

void web_model_ready(web_call_t *call) {
    web_look(call, 0, say_model_ready);
}

static void say_config(web_call_t *call) {
    const version_t *version = call->request.version;
    const prep_recipe_t *recipe = engine_recipe(version->engine);
    buf_t body;
    buf_init(&body, TEXT_MAX);
    buf_puts(&body, "{");
    put_model_name(call, &body);
    buf_puts(&body, ",\"platform\":\"inkling\",\"backend\":\"inkling\",\"max_batch_size\":0,"
                    "\"version_policy\":{\"latest\":{\"num_versions\":1}},\"input\":[");
    if (call->files)
        buf_puts(&body, "{\"name\":\"image\",\"data_type\":\"TYPE_STRING\",\"dims\":[-1]}");
    else
        buf_printf(&body,
                   "{\"name\":\"pixels\",\"data_type\":\"TYPE_UINT8\",\"dims\":[-1,%d,%d,%d]}",
                   recipe->size, recipe->size, recipe->channels);
    buf_printf(&body,
               "],\"output\":[{\"name\":\"probabilities\",\"data_type\":\"TYPE_FP32\","
               "\"dims\":[-1,%d]},{\"name\":\"label\",\"data_type\":\"TYPE_STRING\",\"dims\":[-1]}"
               "]}\n",
               engine_class_count(version->engine));
    web_json(call, 200, &body);
}

void web_model_config(web_call_t *call) {
    web_look(call, LOOK_MS, say_config);
}

// --- The repository
// -------------------------------------------------------------------------------

static void put_state(const gateway_t *gateway, const proto_model_info_t *model, buf_t *out) {
    char *text = mem_format("%s@%" PRIu64, model->name, model->version);
    catalog_found_t found;
    err_t err = {0};
    catalog_answer_t answer =
        catalog_find(gateway->catalog, text, 0, clock_mono_ms(), &found, &err);
    const char *state = answer == CATALOG_READY     ? "READY"
                        : answer == CATALOG_LOADING ? "LOADING"
                                                    : "UNAVAILABLE";
    free(text);
    buf_printf(out, "\"state\":\"%s\",\"reason\":", state);
    buf_json_string(out, answer == CATALOG_FAILED ? err.message : "");
}

// {"ready": true} asks for those that are ready only.
static err_code_t wants_ready(const web_call_t *call, bool *ready, err_t *err) {
    size_t size;
    const char *text = http_body(call->http, &size);
    *ready = false;
    if (size == 0)
        return ERR_OK;
    json_t *asked = json_loadb(text, size, 0, NULL);
    const json_t *value = json_object_get(asked, "ready");
    *ready = json_is_true(value);
    bool right = json_is_object(asked) && (!value || json_is_boolean(value));
    json_decref(asked);
    if (right)
        return ERR_OK;
    err_set(err, ERR_INVALID, "the body is no object with a boolean `ready`");
    return err_remedy(err, "{\"ready\": true}, or no body for all of them");
}

void web_index(web_call_t *call) {
    bool ready_only;
    err_t err;
    if (wants_ready(call, &ready_only, &err) != ERR_OK) {
        web_error(call, &err);
        return;
    }
    proto_model_info_t *models = mem_zero(MODELS_MAX, sizeof *models);
    size_t count = catalog_models(call->gateway->catalog, models, MODELS_MAX);
    count = count < MODELS_MAX ? count : MODELS_MAX;
    buf_t body;
    buf_init(&body, TEXT_MAX);
    buf_puts(&body, "[");
    for (size_t i = 0; i < count; i++) {
        buf_t state;
        buf_init(&state, TEXT_MAX);
        put_state(call->gateway, &models[i], &state);
        if (!ready_only || strstr(state.data, "\"READY\""))
            for (int sibling = 0; sibling < 2; sibling++)
                buf_printf(&body, "%s{\"name\":\"%s%s\",\"version\":\"%" PRIu64 "\",%s}",
                           body.size > 1 ? "," : "", models[i].name, sibling ? ".image" : "",
                           models[i].version, state.data);
        buf_release(&state);
    }
    buf_puts(&body, "]\n");
    free(models);
    web_json(call, 200, &body);
}

#define LOAD_MS 60000

static void say_loaded(web_call_t *call) {
    buf_t body;
    buf_init(&body, TEXT_MAX);
    buf_puts(&body, "{}\n");
    web_json(call, 200, &body);
}

void web_load(web_call_t *call) {
    web_look(call, LOAD_MS, say_loaded);
}
