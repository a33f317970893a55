// What is kept of the model, as numbers, so that nobody has to compute it again.
//   considered, fitted, searched, λ, centre, spread, bent centre, bent spread, θ[dims + 2], and
//   where trials may fail θ[dims + 2] of that
#include "tune/study_impl.h"

#include <math.h>
#include <string.h>

#define HEAD      8
#define THETA_MAX 50.0 // of a logarithm, far outside of what is fitted

size_t tune_model_save(const tune_t *tune, double numbers[TUNE_MODEL_MAX]) {
    const model_t *model = &tune->model;
    const warp_t *warp = &model->warp;
    size_t count = HEAD, theta = (size_t)tune->frame.dims + 2;
    const double head[HEAD] = {model->considered, model->fitted,    model->searched,
                               warp->lambda,      warp->centre,     warp->spread,
                               warp->bent_centre, warp->bent_spread};
    if (model->fitted == 0)
        return 0;
    memcpy(numbers, head, sizeof head);
    memcpy(numbers + count, model->theta, theta * sizeof *numbers);
    count += theta;
    if (model->may_fail)
        memcpy(numbers + count, model->theta_feasible, theta * sizeof *numbers);
    return count + (model->may_fail ? theta : 0);
}

// Within what the trials that have ended allow, and for each other.
static bool are_counts(const tune_t *tune, const double *numbers) {
    double considered = numbers[0], fitted = numbers[1], searched = numbers[2];
    return considered == floor(considered) && fitted == floor(fitted) &&
           searched == floor(searched) && considered <= tune->ended_count && fitted >= 1 &&
           fitted <= considered && searched >= 0 && searched <= fitted;
}

err_code_t tune_model_load(tune_t *tune, const double *numbers, size_t count, err_t *err) {
    size_t theta = (size_t)tune->frame.dims + 2;
    bool good = count == HEAD + theta || count == HEAD + 2 * theta;
    for (size_t i = 0; i < count && good; i++)
        good = isfinite(numbers[i]) && (i < HEAD || fabs(numbers[i]) <= THETA_MAX);
    if (!good || !are_counts(tune, numbers) || numbers[5] <= 0 || numbers[7] <= 0)
        return err_set(err, ERR_INVALID, "%zu numbers that are no model of these trials", count);
    model_t *model = &tune->model;
    *model = (model_t){.considered = (int)numbers[0],
                       .fitted = (int)numbers[1],
                       .searched = (int)numbers[2],
                       .warp = {numbers[3], numbers[4], numbers[5], numbers[6], numbers[7]},
                       .may_fail = count > HEAD + theta};
    memcpy(model->theta, numbers + HEAD, theta * sizeof *numbers);
    if (model->may_fail)
        memcpy(model->theta_feasible, numbers + HEAD + theta, theta * sizeof *numbers);
    return ERR_OK;
}
