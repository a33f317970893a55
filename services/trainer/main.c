// inkling-trainer: serves jobs of the kinds train, evaluate and predict.
#include "worker/worker.h"

int main(int argc, char **argv) {
    static const char *const kinds[] = {"train", "evaluate", "predict", NULL};
    static const worker_spec_t spec = {.program = "trainer",
                                       .about = "Trains models, evaluates them and predicts.",
                                       .kinds = kinds,
                                       .child = "inkling-trainer-engine"};
    return worker_main(argc, argv, &spec);
}
