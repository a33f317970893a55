// inkling-gateway: answers classifications.
#include "gateway/gateway.h"
#include "nn/nn.h"

#include <stddef.h>

int main(int argc, char **argv) {
    nn_wait_passively(argv);
    return service_main(argc, argv, &gateway_ops, NULL);
}
