// Where other hosts reach this one: the local address of the way to the dispatcher.
#ifndef INKLING_WORKER_ADDRESS_IMPL_H
#define INKLING_WORKER_ADDRESS_IMPL_H

#include <stddef.h>

#define ADDRESS_SIZE 64

// endpoint: of the dispatcher. Numeric, IPv4 or IPv6. Where the dispatcher is on this host (ipc) it
// is the first address at which it listens for other hosts (listen, as the setting
// dispatcher_listen); where that is any, the one of the way out of here. "127.0.0.1" where it
// listens for none, and where there is no way just now: the next attempt finds it.
void address_towards(const char *endpoint, const char *listen, char address[ADDRESS_SIZE]);

#endif
