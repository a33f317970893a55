// The blobs service: takes and gives files by their digest, for clients and workers that do not
// share the stack's folder. Stateless but for that folder; may be killed at any time.
#ifndef INKLING_BLOBS_BLOBS_H
#define INKLING_BLOBS_BLOBS_H

#include "service/service.h"

extern const service_ops_t blobs_ops;

#endif
