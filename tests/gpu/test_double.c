// Does the double of CUDA see the mistakes it exists for, and none where there is none? Each
// mistake is made in a child process, which must end with the double's (or ASan's) complaint.
#include "double/double_test.h"
#include "mistakes.h"

#include <cuda_runtime_api.h>

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { BLOCKS = 5, COUNT = BLOCKS * MISTAKES_BLOCK, SEEDS = 5 };

typedef enum { PLAIN = 1, ASAN = 2, RACE = 4, ALL = 7 } build_t;
#if defined DOUBLE_RACE
static const build_t build = RACE;
#elif defined __SANITIZE_ADDRESS__
static const build_t build = ASAN;
#else
static const build_t build = PLAIN;
#endif

// An assert that also works in a child, where cmocka's would jump.
#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                        \
            exit(3);                                                                               \
        }                                                                                          \
    } while (0)
#define OK(call) CHECK((call) == cudaSuccess)

typedef struct {
    cudaStream_t stream, other;
    cudaEvent_t event;
    float *from, *to, *partial, *sum; // device
    unsigned *ticket;
    float *host; // pinned
} device_t;

static device_t open_device(void) {
    device_t d;
    OK(cudaStreamCreateWithFlags(&d.stream, cudaStreamNonBlocking));
    OK(cudaStreamCreateWithFlags(&d.other, cudaStreamNonBlocking));
    OK(cudaEventCreateWithFlags(&d.event, cudaEventDisableTiming));
    OK(cudaMalloc((void **)&d.from, COUNT * sizeof(float)));
    OK(cudaMalloc((void **)&d.to, COUNT * sizeof(float)));
    OK(cudaMalloc((void **)&d.partial, BLOCKS * sizeof(float)));
    OK(cudaMalloc((void **)&d.sum, sizeof(float)));
    OK(cudaMalloc((void **)&d.ticket, sizeof(unsigned)));
    OK(cudaMallocHost((void **)&d.host, COUNT * sizeof(float)));
    for (int i = 0; i < COUNT; i++) {
        d.host[i] = (float)i;
    }
    OK(cudaMemcpyAsync(d.from, d.host, COUNT * sizeof(float), cudaMemcpyHostToDevice, d.stream));
    OK(cudaMemsetAsync(d.ticket, 0, sizeof(unsigned), d.stream));
    OK(cudaStreamSynchronize(d.stream));
    return d;
}

static void close_device(device_t *d) {
    OK(cudaStreamDestroy(d->stream));
    OK(cudaStreamDestroy(d->other));
    OK(cudaEventDestroy(d->event));
    OK(cudaFree(d->from));
    OK(cudaFree(d->to));
    OK(cudaFree(d->partial));
    OK(cudaFree(d->sum));
    OK(cudaFree(d->ticket));
    OK(cudaFreeHost(d->host));
    CHECK(double_alive() == 0);
}

static void fetch(device_t *d, const float *from, int count) {
    OK(cudaMemcpyAsync(d->host, from, (size_t)count * sizeof(float), cudaMemcpyDeviceToHost,
                       d->stream));
    OK(cudaStreamSynchronize(d->stream));
}

static void check_turned(device_t *d, int times) {
    fetch(d, d->to, COUNT);
    for (int i = 0; i < COUNT; i++) {
        int block = i / MISTAKES_BLOCK, at = i % MISTAKES_BLOCK;
        at = times % 2 ? MISTAKES_BLOCK - 1 - at : at;
        CHECK(d->host[i] == (float)(block * MISTAKES_BLOCK + at));
    }
}

// --- Right

static void turns_and_sums(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        double_seed(seed);
        device_t d = open_device();
        OK(launch_turn(d.stream, d.from, d.to, BLOCKS, RIGHT));
        check_turned(&d, 1);
        for (int i = 0; i < 2; i++) {
            OK(launch_sum(d.stream, d.from, d.partial, d.ticket, d.sum, BLOCKS, RIGHT));
            fetch(&d, d.sum, 1);
            assert_true(*d.host == COUNT * (COUNT - 1) / 2.0f);
        }
        close_device(&d);
    }
}

// Through a second stream, captured and launched three times.
static void captures(void **state) {
    (void)state;
    device_t d = open_device();
    cudaGraph_t graph;
    cudaGraphExec_t exec;
    OK(cudaStreamBeginCapture(d.stream, cudaStreamCaptureModeThreadLocal));
    OK(launch_turn(d.stream, d.from, d.to, BLOCKS, RIGHT));
    OK(cudaEventRecord(d.event, d.stream));
    OK(cudaStreamWaitEvent(d.other, d.event, 0));
    OK(launch_turn(d.other, d.to, d.from, BLOCKS, RIGHT));
    OK(cudaEventRecord(d.event, d.other));
    OK(cudaStreamWaitEvent(d.stream, d.event, 0));
    OK(launch_turn(d.stream, d.from, d.to, BLOCKS, RIGHT));
    OK(cudaStreamEndCapture(d.stream, &graph));
    OK(cudaGraphInstantiate(&exec, graph, 0));
    OK(cudaGraphDestroy(graph));
    for (int i = 0; i < 3; i++) {
        OK(cudaGraphLaunch(exec, d.stream));
    }
    check_turned(&d, 1);
    OK(cudaGraphExecDestroy(exec));
    close_device(&d);
}

static void captures_fail_as_cuda_says(void **state) {
    (void)state;
    device_t d = open_device();
    cudaGraph_t graph;
    void *memory;
    OK(cudaStreamBeginCapture(d.stream, cudaStreamCaptureModeThreadLocal));
    OK(cudaEventRecord(d.event, d.stream));
    OK(cudaStreamWaitEvent(d.other, d.event, 0));
    OK(launch_turn(d.other, d.from, d.to, BLOCKS, RIGHT));
    assert_int_equal(cudaStreamEndCapture(d.stream, &graph), cudaErrorStreamCaptureUnjoined);
    OK(cudaStreamBeginCapture(d.stream, cudaStreamCaptureModeThreadLocal));
    assert_int_equal(cudaMalloc(&memory, 4), cudaErrorStreamCaptureUnsupported);
    assert_int_equal(cudaStreamEndCapture(d.stream, &graph), cudaErrorStreamCaptureInvalidated);
    OK(cudaStreamBeginCapture(d.stream, cudaStreamCaptureModeThreadLocal));
    assert_int_equal(cudaStreamSynchronize(d.stream), cudaErrorStreamCaptureUnsupported);
    assert_int_equal(cudaStreamEndCapture(d.stream, &graph), cudaErrorStreamCaptureInvalidated);
    close_device(&d);
}

static void fails_the_chosen_call(void **state) {
    (void)state;
    device_t d = open_device();
    double_fail_call(2);
    OK(cudaStreamSynchronize(d.stream));
    assert_int_not_equal(cudaStreamSynchronize(d.stream), cudaSuccess);
    OK(cudaStreamSynchronize(d.stream));
    assert_int_equal(double_calls(), 3);
    double_fail_call(0);
    close_device(&d);
}

// --- Wrong

static void turn_wrongly(mistake_t mistake) {
    device_t d = open_device();
    OK(launch_turn(d.stream, d.from, d.to, BLOCKS, mistake));
    check_turned(&d, 1);
}

static void no_barrier(void) {
    turn_wrongly(NO_BARRIER);
}
static void barrier_in_branch(void) {
    turn_wrongly(BARRIER_IN_BRANCH);
}
static void past_the_end(void) {
    turn_wrongly(PAST_THE_END);
}
static void blocks_overlap(void) {
    turn_wrongly(BLOCKS_OVERLAP);
}
static void shared_too_small(void) {
    turn_wrongly(SHARED_TOO_SMALL);
}

static void sum_wrongly(mistake_t mistake) {
    device_t d = open_device();
    OK(launch_sum(d.stream, d.from, d.partial, d.ticket, d.sum, BLOCKS, mistake));
    fetch(&d, d.sum, 1);
    CHECK(*d.host == COUNT * (COUNT - 1) / 2.0f);
}

static void no_fence(void) {
    sum_wrongly(NO_FENCE);
}
static void warp_mask(void) {
    sum_wrongly(WARP_MASK);
}

static void ticket_unwritten(void) {
    device_t d = open_device();
    unsigned *ticket;
    OK(cudaMalloc((void **)&ticket, sizeof *ticket));
    OK(launch_sum(d.stream, d.from, d.partial, ticket, d.sum, BLOCKS, RIGHT));
    fetch(&d, d.sum, 1);
    CHECK(*d.host == COUNT * (COUNT - 1) / 2.0f);
}

static void no_event(void) {
    device_t d = open_device();
    OK(launch_turn(d.stream, d.from, d.to, BLOCKS, RIGHT));
    OK(launch_turn(d.other, d.to, d.from, BLOCKS, RIGHT));
    OK(cudaStreamSynchronize(d.other));
    OK(cudaStreamSynchronize(d.stream));
}

static void host_reads_device(void) {
    device_t d = open_device();
    CHECK(d.from[1] == 1);
    exit(0);
}

static void copy_too_long(void) {
    device_t d = open_device();
    OK(cudaMemcpyAsync(d.to, d.from, (COUNT + 1) * sizeof(float), cudaMemcpyDeviceToDevice,
                       d.stream));
}

static void copy_from_pageable(void) {
    device_t d = open_device();
    float values[4] = {0};
    OK(cudaMemcpyAsync(d.to, values, sizeof values, cudaMemcpyHostToDevice, d.stream));
}

static const struct {
    const char *name;
    void (*make)(void);
    build_t seen_by;
} mistakes[] = {
    {"no barrier", no_barrier, ALL},
    {"barrier in a branch", barrier_in_branch, ALL},
    {"past the end", past_the_end, ALL},
    {"blocks overlap", blocks_overlap, ALL},
    {"static shared array too small", shared_too_small, ASAN},
    {"no fence", no_fence, RACE},
    {"warp mask", warp_mask, ALL},
    {"counter never written", ticket_unwritten, ALL},
    {"no event between streams", no_event, RACE},
    {"the host reads device memory", host_reads_device, RACE},
    {"copy too long", copy_too_long, ALL},
    {"copy from pageable memory", copy_from_pageable, ALL},
};

// True if the child with the mistake ended badly.
static bool is_seen(void (*make)(void), uint64_t seed) {
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        if (!freopen("/dev/null", "w", stderr)) {
            _exit(0);
        }
        signal(SIGSEGV, SIG_DFL); // cmocka would go on
        double_seed(seed);
        make();
        _exit(0);
    }
    int status = 0;
    assert_true(child > 0 && waitpid(child, &status, 0) == child);
    return status != 0;
}

static void sees_mistakes(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof mistakes / sizeof mistakes[0]; i++) {
        int seen = 0;
        for (uint64_t seed = 1; seed <= SEEDS; seed++) {
            seen += is_seen(mistakes[i].make, seed);
        }
        print_message("%-32s seen with %d of %d seeds\n", mistakes[i].name, seen, SEEDS);
        if (mistakes[i].seen_by & build) {
            assert_int_equal(seen, SEEDS);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(turns_and_sums),
        cmocka_unit_test(captures),
        cmocka_unit_test(captures_fail_as_cuda_says),
        cmocka_unit_test(fails_the_chosen_call),
        cmocka_unit_test(sees_mistakes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
