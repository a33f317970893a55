// Where other hosts reach this one: the local address of the way to the dispatcher.
#ifndef INKLING_WORKER_ADDRESS_IMPL_H
#define INKLING_WORKER_ADDRESS_IMPL_H

#include <stddef.h>

#define ADDRESS_SIZE 64

// endpoint: of the dispatcher. Numeric, IPv4 or IPv6. "127.0.0.1" where the way does not leave this
// host's kernel (ipc), and where there is none just now: the next attempt finds it.
void address_towards(const char *endpoint, char address[ADDRESS_SIZE]);

#endif
