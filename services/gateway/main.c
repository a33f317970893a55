// inkling-gateway: answers classifications.
#include "gateway/gateway.h"

#include <stddef.h>

int main(int argc, char **argv) {
    return service_main(argc, argv, &gateway_ops, NULL);
}
