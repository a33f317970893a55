// The gateway: answers classifications. Knows the promoted versions of models from the dispatcher,
// keeps them in memory, and goes on serving them while the dispatcher is away.
//
// The loop's thread owns requests, catalog and directory and never waits: files are opened, engines
// built and freed by a background thread, images decoded and computed by the workers.
//
//   classify → request (request.c), its images copied, within the budget (queue.h)
//     → version: catalog.h decides; directory.h asks the dispatcher for what is not known
//     → images one by one through decode queue and compute queue (workers.h) and back as mail
//     → classified, when the last image is back
//
// With the setting `stack` it serves the models of a stack elsewhere: on its socket below home,
// named as itself, and on gateway_listen; copies of the models stay on this host, so that it can
// start while the stack is away.
//
// All images of a request are given to one version, which stays loaded until the answer is sent,
// whatever is promoted meanwhile.
#ifndef INKLING_GATEWAY_GATEWAY_H
#define INKLING_GATEWAY_GATEWAY_H

#include "service/service.h"

extern const service_ops_t gateway_ops; // arg is not used

#endif
