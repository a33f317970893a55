// Why a trial was proposed, as JSON.
#include "study_impl.h"

#include <math.h>
#include <string.h>

static const struct {
    const char *name;
    size_t offset;
} figures[] = {{"mean", offsetof(tune_why_t, mean)},
               {"sd", offsetof(tune_why_t, sd)},
               {"gain", offsetof(tune_why_t, gain)},
               {"left", offsetof(tune_why_t, left)}};

#define FIGURES (sizeof figures / sizeof *figures)

json_t *study_why(const tune_why_t *why) {
    json_t *json = json_pack("{s:s}", "kind", tune_kind_text(why->kind));
    for (size_t i = 0; i < FIGURES; i++) {
        double value;
        memcpy(&value, (const char *)why + figures[i].offset, sizeof value);
        if (isfinite(value))
            json_object_set_new(json, figures[i].name, json_real(value));
    }
    if (json_object_size(json) > 1)
        json_object_set_new(json, "exploring", json_boolean(why->exploring));
    return json;
}

err_code_t why_read(const json_t *json, tune_why_t *why) {
    const char *kind = json_string_value(json_object_get(json, "kind"));
    *why = (tune_why_t){.exploring = json_is_true(json_object_get(json, "exploring"))};
    for (size_t i = 0; i < FIGURES; i++) {
        const json_t *value = json_object_get(json, figures[i].name);
        double number = json_is_number(value) ? json_number_value(value) : NAN;
        memcpy((char *)why + figures[i].offset, &number, sizeof number);
    }
    for (tune_kind_t known = TUNE_DEFAULT; kind && known < TUNE_EXHAUSTED; known++)
        if (strcmp(tune_kind_text(known), kind) == 0) {
            why->kind = known;
            return ERR_OK;
        }
    return ERR_CORRUPT;
}
