// How many threads are worth starting.
#ifndef INKLING_NN_CORES_IMPL_H
#define INKLING_NN_CORES_IMPL_H

// Cores this process may run on: its affinity mask, or the quota of its control group (cgroup v2,
// rounded up) where that is smaller. At least 1.
int cores_usable(void);

#endif
