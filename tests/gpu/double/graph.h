// Captured work: nodes in the order of capture, each after some earlier ones.
#ifndef DOUBLE_GRAPH_H
#define DOUBLE_GRAPH_H

#include "double.h"

typedef struct {
    const char *name;
    double_run_t run;
    void *arg;
    int lane;
    int *after, after_count;
} node_t;

struct CUgraph_st {
    node_t *nodes;
    int count, room;
    int references; // the graph, and what was instantiated from it
    bool invalid;   // a forbidden call was made during capture
};

#endif
