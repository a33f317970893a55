// Time. Intervals and deadlines use the monotonic clock, stamps for people the wall clock.
#ifndef INKLING_BASE_CLOCK_H
#define INKLING_BASE_CLOCK_H

#include <stdint.h>

int64_t clock_mono_ms(void);
int64_t clock_mono_us(void);
int64_t clock_mono_ns(void);
int64_t clock_wall_ms(void); // since 1970-01-01 UTC
void clock_sleep_ms(int64_t ms);

#endif
