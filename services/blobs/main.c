// inkling-blobs: keeps uploads and serves the stack's files to those that do not share its folder.
#include "blobs/blobs.h"

#include <stddef.h>

int main(int argc, char **argv) {
    return service_main(argc, argv, &blobs_ops, NULL);
}
