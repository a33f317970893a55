// inkling-trainer-engine: one job of kind train, evaluate or predict.
#include "engine.h"
#include "nn/nn.h"

#include <string.h>

static err_code_t run(child_t *child, const child_job_t *job, child_result_t *result, err_t *err) {
    static const struct {
        const char *kind;
        child_run_fn run;
    } kinds[] = {{"train", train_run}, {"evaluate", evaluate_run}, {"predict", predict_run}};
    err_code_t code = nn_device(child_conf(child)->device, err);
    if (code)
        return code;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strcmp(job->kind, kinds[i].kind) == 0)
            return kinds[i].run(child, job, result, err);
    return err_set(err, ERR_UNSUPPORTED, "the trainer does no jobs of kind '%s'", job->kind);
}

int main(int argc, char **argv) {
    nn_wait_passively(argv);
    return child_main(argc, argv, run);
}
