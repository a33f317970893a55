#include "trainer/schedule.h"

#include <math.h>

double schedule_lr(schedule_t schedule, double lr, uint64_t step, uint64_t steps) {
    double done = steps ? (double)step / (double)steps : 0;
    switch (schedule) {
    case SCHEDULE_COSINE:
        return lr * (1 + cos(M_PI * done)) / 2;
    case SCHEDULE_STEP:
        return done < 0.5 ? lr : done < 0.75 ? lr / 10 : lr / 100;
    default:
        return lr;
    }
}
