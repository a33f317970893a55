// The studies service: suggests what to try next, and takes what came of it, for functions that
// Inkling does not run itself. All that it decides is in the dispatcher's log of the study before
// anybody is told of it; so it may be killed at any time, and several may serve the same studies.
#ifndef INKLING_STUDIES_STUDIES_H
#define INKLING_STUDIES_STUDIES_H

#include "service/service.h"

extern const service_ops_t studies_ops;

#endif
