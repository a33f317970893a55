// Does cuDNN have a plan for every convolution that the engine asks for, on the devices it is meant
// for? The real library is asked, with the properties of a device that is not there. Nothing runs.
#include "nn/cuda/conv.h"
#include "nn/spec.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#define DEVICE(name, multiprocessors, clock, memory_clock, cache, memory)                          \
    "{\"version\":1,\"deviceId\":0,\"cudaDeviceId\":0,\"deviceVer\":900,\"driverVer\":13000,"      \
    "\"deviceName\":\"" name "\",\"maxGridSize\":[2147483647,65535,65535],"                        \
    "\"maxBlockSize\":[1024,1024,64],\"regsPerBlock\":65536,"                                      \
    "\"multiProcessorCount\":" multiprocessors                                                     \
    ",\"warpSize\":32,\"maxSharedMemoryPerBlock\":49152,"                                          \
    "\"maxSharedMemoryPerBlockOptin\":232448,\"reservedSharedMemoryPerBlock\":1024,"               \
    "\"maxRegistersPerSM\":65536,\"maxCtasPerSM\":32,\"maxThreadsPerBlock\":1024,"                 \
    "\"maxThreadsPerSM\":2048,\"pciDeviceId\":0,\"isTccDriver\":0,\"supportCoopLaunch\":1,"        \
    "\"smClockRateKHz\":" clock ",\"memClockRateKHz\":" memory_clock ",\"l2CacheSize\":" cache     \
    ",\"totalGlobalMem\":" memory "}"

static const struct {
    const char *name, *properties;
} devices[] = {
    {"H100",
     DEVICE("NVIDIA H100 80GB HBM3", "132", "1980000", "2619000", "52428800", "85017493504")},
    {"H200", DEVICE("NVIDIA H200", "132", "1980000", "3201000", "62914560", "150754820096")},
};

static int stored(int channels) {
    return (channels + 7) / 8 * 8;
}

// All convolutions of the network; those of the first layer need no gradient of their input.
static int plan_network(const conv_library_t *library, const nn_spec_t *spec, int count, bool bf16,
                        bool training, size_t *workspace) {
    nn_shape_t shapes[NN_LAYERS_MAX];
    nn_spec_shapes(spec, shapes);
    int made = 0;
    for (int i = 0; i < spec->layer_count; i++) {
        if (spec->layers[i].kind != NN_CONV) {
            continue;
        }
        conv_shape_t shape = {.count = count,
                              .height = shapes[i].height,
                              .width = shapes[i].width,
                              .ins = stored(i ? shapes[i - 1].channels : spec->channels),
                              .outs = stored(shapes[i].channels),
                              .kernel = spec->layers[i].kernel,
                              .bf16 = bf16};
        for (int kind = CONV_FORWARD; kind < (training ? CONV_KINDS : CONV_DATA); kind++) {
            conv_plan_t *plan = NULL;
            err_t err = {0};
            if (conv_plan_make(library, &shape, (conv_kind_t)kind, &plan, &err)) {
                fail_msg("%s", err.message);
            }
            size_t bytes = conv_plan_workspace(plan);
            *workspace = bytes > *workspace ? bytes : *workspace;
            conv_plan_destroy(&plan);
            made++;
        }
    }
    return made;
}

// bf16: what the engine uses; float: what `--precision fp32` uses, without TF32.
static void plans_network(const nn_vgg_t *vgg, bool bf16) {
    static const struct {
        int count;
        bool training;
    } uses[] = {{256, true}, {32, true}, {1, false}, {128, false}};
    nn_spec_t spec;
    assert_int_equal(nn_spec_vgg(vgg, &spec, NULL), ERR_OK);
    for (size_t i = 0; i < sizeof devices / sizeof devices[0]; i++) {
        conv_library_t *library = NULL;
        err_t err = {0};
        if (conv_library_describe(devices[i].properties, &library, &err)) {
            fail_msg("%s: %s", devices[i].name, err.message);
        }
        size_t workspace = 0;
        int made = 0;
        for (size_t j = 0; j < sizeof uses / sizeof uses[0]; j++) {
            made += plan_network(library, &spec, uses[j].count, bf16, uses[j].training, &workspace);
        }
        print_message("%s %s: %d plans, workspace at most %zu MiB\n", devices[i].name,
                      bf16 ? "bf16" : "fp32", made, workspace >> 20);
        assert_true(made > 0 && workspace < (size_t)2 << 30);
        conv_library_close(&library);
    }
}

static const nn_vgg_t paper = {96, 96, 1, 2, 64, 4, 256, 0.2f};
static const nn_vgg_t odd = {61, 47, 3, 10, 24, 3, 100, 0.2f};

static void plans_the_paper_in_bf16(void **state) {
    (void)state;
    plans_network(&paper, true);
}
static void plans_the_paper_in_float(void **state) {
    (void)state;
    plans_network(&paper, false);
}
static void plans_odd_sizes(void **state) {
    (void)state;
    plans_network(&odd, true);
    plans_network(&odd, false);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plans_the_paper_in_bf16),
        cmocka_unit_test(plans_the_paper_in_float),
        cmocka_unit_test(plans_odd_sizes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
