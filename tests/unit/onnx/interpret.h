// What a graph of ONNX means, by loops that say it as the standard does: the operators that Inkling
// writes, nothing fast, nothing else.
#ifndef TEST_ONNX_INTERPRET_H
#define TEST_ONNX_INTERPRET_H

#include <onnx.pb-c.h>

#define RANK_MAX 4

typedef struct {
    char *name;
    int rank;
    int64_t dims[RANK_MAX];
    double *data; // whatever the type: uint8 and float are exact in it
} value_t;

// Runs the graph of one input, uint8 [count]…; returns its one output. Whatever the standard does
// not allow (an unknown operator or attribute, a value that nobody has made, shapes that do not
// fit, a type that is not the declared one) fails the test. Release with value_release.
value_t interpret(const Onnx__ModelProto *model, const uint8_t *pixels, int count);
void value_release(value_t *value);

#endif
