// The model's parameters, in the log.
#include "study_impl.h"

json_t *model_fresh(study_t *study) {
    double numbers[TUNE_MODEL_MAX];
    size_t count = tune_model_save(study->tune, numbers);
    if (count == 0 || numbers[1] == study->modelled)
        return NULL;
    study->modelled = numbers[1];
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(list, json_real(numbers[i]));
    return list;
}

err_code_t apply_model(study_t *study, const json_t *list, err_t *err) {
    double numbers[TUNE_MODEL_MAX] = {0};
    size_t count = json_array_size(list);
    if (count > TUNE_MODEL_MAX)
        return err_set(err, ERR_INVALID, "a model of %zu numbers", count);
    for (size_t i = 0; i < count; i++)
        numbers[i] = entry_value(json_array_get(list, i));
    err_code_t code = tune_model_load(study->tune, numbers, count, err);
    if (code == ERR_OK)
        study->modelled = numbers[1];
    return code;
}
