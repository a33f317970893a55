// What random numbers are for: the third counter of Philox, behind the trial's number, so that no
// two uses share numbers.
#ifndef INKLING_TUNE_PURPOSE_IMPL_H
#define INKLING_TUNE_PURPOSE_IMPL_H

enum {
    PURPOSE_START = 1, // the study's Sobol points (trial 0)
    PURPOSE_RANDOM,
    PURPOSE_CANDIDATES,
    PURPOSE_PERTURB,
    PURPOSE_FANTASY,
    PURPOSE_PRIOR,
    PURPOSE_NOISE,
    PURPOSE_ESCAPE,
    PURPOSE_IMPORTANCE,
};

#endif
