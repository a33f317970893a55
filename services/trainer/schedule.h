// The learning rate of a step.
//
//   constant  lr
//   cosine    lr · (1 + cos(π · step / steps)) / 2   (Loshchilov, Hutter 2017, without restarts)
//   step      lr, from half of the steps on lr / 10, from three quarters on lr / 100
#ifndef INKLING_TRAINER_SCHEDULE_H
#define INKLING_TRAINER_SCHEDULE_H

#include "training/options.h"

// step < steps: of the whole job as asked for, early stopping apart.
double schedule_lr(schedule_t schedule, double lr, uint64_t step, uint64_t steps);

#endif
