// What the kernel knows of this process, as metrics with the names that Prometheus' own clients
// use.
#ifndef INKLING_SERVICE_PROCESS_IMPL_H
#define INKLING_SERVICE_PROCESS_IMPL_H

#include "base/buf.h"

void process_metrics(buf_t *out);

#endif
