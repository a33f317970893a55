#include "gateway/pace.h"

#include <math.h>

#define GAIN           0.125 // of the mean, RFC 6298's alpha
#define DEVIATION_GAIN 0.25  // its beta
#define DEVIATIONS     4

void pace_note(pace_t *pace, int64_t took_us, int count) {
    double took = (double)took_us, each = took / count;
    if (pace->mean_us == 0) {
        *pace = (pace_t){took, took / 2, each};
        return;
    }
    pace->deviation_us += DEVIATION_GAIN * (fabs(took - pace->mean_us) - pace->deviation_us);
    pace->mean_us += GAIN * (took - pace->mean_us);
    pace->each_us += GAIN * (each - pace->each_us);
}

int64_t pace_need_us(const pace_t *pace) {
    return (int64_t)(pace->mean_us + DEVIATIONS * pace->deviation_us);
}

static int index_of(uint8_t priority) {
    int index = priority ? priority - 1 : 1;
    return index < QUEUE_PRIORITIES ? index : QUEUE_PRIORITIES - 1;
}

void backlog_add(backlog_t *backlog, uint8_t priority, int64_t cost_us) {
    backlog->us[index_of(priority)] += cost_us;
}

int64_t backlog_wait_us(const backlog_t *backlog, uint8_t priority, size_t lanes) {
    int64_t sum = 0;
    for (int i = 0; i <= index_of(priority); i++)
        sum += backlog->us[i];
    return sum / (int64_t)lanes;
}
