// The one part that needs an engine: a program that only reads models links none.
#include "model_impl.h"

#include <string.h>

err_code_t model_engine(const model_t *model, const nn_options_t *options, nn_t **nn, err_t *err) {
    nn_options_t own = *options;
    memcpy(own.mean, model->info.recipe.mean, sizeof own.mean);
    err_code_t code = nn_new(&model->info.spec, &own, nn, err);
    if (code == ERR_OK && own.training)
        code = nn_init(*nn, 0, err); // for the moments
    for (int i = 0; i < model->tensor_count && code == ERR_OK; i++)
        code = nn_set(*nn, NN_PARAM, i, model->data[i], err);
    if (code)
        nn_destroy(nn);
    return code;
}
