// inkling-dispatcher: the owner of all jobs.
#include "dispatcher/dispatcher.h"

int main(int argc, char **argv) {
    return dispatcher_main(argc, argv);
}
