// A message that is built once and sent often: its bytes are shared between all sends, so that
// sending it encodes and copies nothing but the header. For programs that measure.
#ifndef INKLING_BUS_PARCEL_H
#define INKLING_BUS_PARCEL_H

#include "bus/bus.h"

#define BUS_PARCEL_ID_MIN ((uint64_t)1 << 33) // ids from here on have headers of one length

typedef struct bus_parcel bus_parcel_t;

// message: struct of the type; the attachments are copied. Errors as of bus_send().
err_code_t bus_parcel_new(proto_type_t type, const void *message, uint64_t deadline_ms,
                          const proto_bytes_t *attachments, size_t attachment_count,
                          bus_parcel_t **parcel, err_t *err);
// Sockets that were given it may still be open.
void bus_parcel_destroy(bus_parcel_t **parcel);

// By a dealer, on its thread. id: BUS_PARCEL_ID_MIN … PROTO_U64_MAX. ERR_FULL: the socket's queue
// is full, nothing was sent.
err_code_t bus_parcel_send(bus_socket_t *socket, bus_parcel_t *parcel, uint64_t id, err_t *err);

#endif
