// What there is: the server, its models, its metrics.
#include "gateway/engine.h"
#include "web_impl.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_MAX    (4u << 20)
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

static void put_entry(buf_t *out, const char *name, uint64_t version, const char *state,
                      const char *reason) {
    for (int sibling = 0; sibling < 2; sibling++) {
        buf_printf(out, "%s{\"name\":\"%s%s\",", out->size > 1 ? "," : "", name,
                   sibling ? ".image" : "");
        if (version)
            buf_printf(out, "\"version\":\"%" PRIu64 "\",", version);
        buf_printf(out, "\"state\":\"%s\",\"reason\":", state);
        buf_json_string(out, reason);
        buf_puts(out, "}");
    }
}

// What a name stands for: promoted versions, those served instead of them, canaries.
static void put_versions(const gateway_t *gateway, bool ready_only, buf_t *out) {
    size_t count = catalog_list(gateway->catalog, NULL, 0);
    catalog_entry_t *entries = mem_zero(count + 1, sizeof *entries);
    catalog_list(gateway->catalog, entries, count);
    for (size_t i = 0; i < count; i++) {
        const catalog_entry_t *entry = &entries[i];
        const char *state = strcmp(entry->state, "ready") == 0     ? "READY"
                            : strcmp(entry->state, "loading") == 0 ? "LOADING"
                                                                   : "UNAVAILABLE";
        if ((entry->promoted || entry->served || entry->canary > 0) &&
            (!ready_only || strcmp(state, "READY") == 0))
            put_entry(out, entry->version->name, entry->version->number, state,
                      entry->error ? entry->version->err.message : "");
    }
    free(entries);
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
    buf_t body;
    buf_init(&body, TEXT_MAX);
    buf_puts(&body, "[");
    put_versions(call->gateway, ready_only, &body);
    const char *name = NULL;
    while (!ready_only && (name = models_next_aside(call->gateway, name)) != NULL)
        put_entry(&body, name, 0, "UNAVAILABLE", "unloaded");
    buf_puts(&body, "]\n");
    web_json(call, 200, &body);
}

#define LOAD_MS 60000

static void say_done(web_call_t *call) {
    buf_t body;
    buf_init(&body, TEXT_MAX);
    buf_puts(&body, "{}\n");
    web_json(call, 200, &body);
}

// The sibling that takes files comes and goes with the model.
static err_code_t put_aside(web_call_t *call, bool aside, err_t *err) {
    char *name = call->parts[0];
    size_t size = strlen(name);
    if (size > 6 && strcmp(name + size - 6, ".image") == 0)
        name[size - 6] = 0;
    return models_put_aside(call->gateway, name, aside, err);
}

void web_load(web_call_t *call) {
    err_t err;
    if (put_aside(call, false, &err) != ERR_OK)
        web_error(call, &err);
    else
        web_look(call, LOAD_MS, say_done);
}

void web_unload(web_call_t *call) {
    err_t err;
    if (put_aside(call, true, &err) != ERR_OK)
        web_error(call, &err);
    else
        say_done(call);
}
