// The runtime's calls: streams, events, graphs, copies. See double.h for when work runs.
#include "double_test.h"
#include "graph.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DEPENDENCIES_MAX = 16, PINNED_MAX = 256, MEMORY_SIZE_GB = 8, FIRST_OP = 16 };

typedef struct {
    double_order_t order;
    const char *name;
    double_run_t run;
    void *arg;
    bool borrowed; // arg is a graph's
    uint32_t *after;
    int after_count;
} op_t;

// What the next op of a stream comes behind: ops by their ids.
typedef struct {
    uint32_t after[DEPENDENCIES_MAX];
    int after_count;
    uint32_t clock[DOUBLE_LANES];
} front_t;

struct CUstream_st {
    front_t front;
    int lane;
    struct CUgraph_st *capture; // NULL: not captured
    bool origin;
    int capture_after[DEPENDENCIES_MAX], capture_after_count;
    struct CUstream_st *next;
};

struct CUevent_st {
    front_t front;
    bool recorded, timing;
    struct CUgraph_st *capture;
    int node;
};

struct CUgraphExec_st {
    struct CUgraph_st *graph;
};

static pthread_mutex_t lock;
static struct CUstream_st *streams;
static op_t **pending;
static int pending_count, pending_room;
static uint8_t *done; // by id
static uint32_t next_id = FIRST_OP, done_room;
static uint32_t host_clock[DOUBLE_LANES];
static bool lane_used[DOUBLE_LANES];
static int next_lane;
static uint64_t random_state = 1;
static struct {
    void *at;
    size_t size;
} pinned[PINNED_MAX];
static int pinned_count;
static int fail_at, calls, alive, no_device;
static __thread int capturing;

// --- Odds and ends

void double_fail(const char *format, ...) {
    va_list args;
    va_start(args, format);
    fputs("cuda double: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    fflush(stderr);
    va_end(args);
    abort();
}

void double_seed(uint64_t seed) {
    random_state = seed * 0x9E3779B97F4A7C15ull + 1;
}

uint32_t double_random(uint32_t below) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)(((random_state >> 32) * below) >> 32);
}

__attribute__((constructor)) static void start(void) {
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&lock, &attributes);
    const char *seed = getenv("DOUBLE_SEED");
    double_seed(seed ? strtoull(seed, NULL, 10) : 1);
}

cudaError_t double_enter(void) {
    pthread_mutex_lock(&lock);
    calls++;
    return fail_at && calls == fail_at ? cudaErrorLaunchFailure : cudaSuccess;
}

void double_leave(void) {
    pthread_mutex_unlock(&lock);
}

void double_fail_call(int n) {
    fail_at = n;
    calls = 0;
}

int double_calls(void) {
    return calls;
}

int double_alive(void) {
    return alive;
}

void double_no_device(int none) {
    no_device = none;
}

void double_count_alive(int more) {
    alive += more;
}

#define ENTER                                                                                      \
    cudaError_t result_ = double_enter();                                                          \
    if (result_) {                                                                                 \
        double_leave();                                                                            \
        return result_;                                                                            \
    }
#define LEAVE(result)                                                                              \
    do {                                                                                           \
        cudaError_t leave_ = (result);                                                             \
        double_leave();                                                                            \
        return leave_;                                                                             \
    } while (0)

static int take_lane(void) {
    for (int i = 0; i < DOUBLE_LANES; i++) {
        int lane = (next_lane + i) % DOUBLE_LANES;
        if (!lane_used[lane]) {
            next_lane = lane + 1;
            lane_used[lane] = true;
            return lane;
        }
    }
    double_fail("more than %d streams and captures", DOUBLE_LANES);
}

static void join(uint32_t *clock, const uint32_t *other) {
    for (int i = 0; i < DOUBLE_LANES; i++) {
        clock[i] = clock[i] > other[i] ? clock[i] : other[i];
    }
}

static bool is_stream(const struct CUstream_st *stream) {
    for (const struct CUstream_st *at = streams; at; at = at->next) {
        if (at == stream) {
            return true;
        }
    }
    return false;
}

// --- Ops

static bool is_done(uint32_t id) {
    return id < FIRST_OP || done[id];
}

static void depend(front_t *front, uint32_t id) {
    int kept = 0;
    for (int i = 0; i < front->after_count; i++) {
        if (!is_done(front->after[i])) {
            front->after[kept++] = front->after[i];
        }
    }
    front->after_count = kept;
    if (kept == DEPENDENCIES_MAX) {
        double_fail("a stream waits for more than %d ops", DEPENDENCIES_MAX);
    }
    if (!is_done(id)) {
        front->after[front->after_count++] = id;
    }
}

static op_t *add_op(const char *name, double_run_t run, void *arg, int lane) {
    if (next_id >= done_room) {
        done_room = next_id * 2;
        done = realloc(done, done_room);
    }
    if (pending_count == pending_room) {
        pending_room = pending_room * 2 + 64;
        pending = realloc(pending, (size_t)pending_room * sizeof(op_t *));
    }
    op_t *op = calloc(1, sizeof *op);
    op->order.id = next_id++;
    op->order.lane = lane;
    op->name = name;
    op->run = run;
    op->arg = arg;
    done[op->order.id] = 0;
    pending[pending_count++] = op;
    return op;
}

static void set_after(op_t *op, const front_t *front) {
    op->after = malloc((size_t)front->after_count * sizeof(uint32_t) + 1);
    memcpy(op->after, front->after, (size_t)front->after_count * sizeof(uint32_t));
    op->after_count = front->after_count;
    memcpy(op->order.clock, front->clock, sizeof op->order.clock);
    join(op->order.clock, host_clock);
}

// The front is now behind op alone.
static void move_front(front_t *front, const op_t *op) {
    front->after[0] = op->order.id;
    front->after_count = 1;
    memcpy(front->clock, op->order.clock, sizeof front->clock);
    front->clock[op->order.lane] = op->order.id;
}

static int add_node(struct CUstream_st *stream, const char *name, double_run_t run, void *arg) {
    struct CUgraph_st *graph = stream->capture;
    if (graph->count == graph->room) {
        graph->room = graph->room * 2 + 32;
        graph->nodes = realloc(graph->nodes, (size_t)graph->room * sizeof(node_t));
    }
    int size = stream->capture_after_count;
    node_t node = {name, run, arg, stream->lane, malloc((size_t)size * sizeof(int) + 1), size};
    memcpy(node.after, stream->capture_after, (size_t)size * sizeof(int));
    graph->nodes[graph->count] = node;
    stream->capture_after[0] = graph->count;
    stream->capture_after_count = 1;
    return graph->count++;
}

static cudaError_t queue(struct CUstream_st *stream, const char *name, double_run_t run,
                         void *arg) {
    if (!is_stream(stream)) {
        double_fail("%s is queued on a stream that does not exist", name);
    }
    if (stream->capture) {
        add_node(stream, name, run, arg);
        return cudaSuccess;
    }
    op_t *op = add_op(name, run, arg, stream->lane);
    set_after(op, &stream->front);
    move_front(&stream->front, op);
    return cudaSuccess;
}

cudaError_t double_queue(cudaStream_t stream, const char *name, double_run_t run, void *arg) {
    cudaError_t result = double_enter();
    if (!result) {
        result = queue(stream, name, run, arg);
    } else {
        free(arg);
    }
    double_leave();
    return result;
}

static bool is_ready(const op_t *op) {
    for (int i = 0; i < op->after_count; i++) {
        if (!is_done(op->after[i])) {
            return false;
        }
    }
    return true;
}

static void run_op(int index) {
    op_t *op = pending[index];
    pending[index] = pending[--pending_count];
    double_race_op(op->name, &op->order);
    if (op->run) {
        op->run(op->arg);
    }
    done[op->order.id] = 1;
    if (!op->borrowed) {
        free(op->arg);
    }
    free(op->after);
    free(op);
}

// Runs ops, of whatever stream, until all that the front is behind is done.
static void run_until(const front_t *front) {
    double_memory_open();
    for (;;) {
        bool all = true;
        for (int i = 0; i < front->after_count; i++) {
            all = all && is_done(front->after[i]);
        }
        if (all) {
            break;
        }
        int chosen = -1;
        uint32_t seen = 0;
        for (int i = 0; i < pending_count; i++) {
            if (is_ready(pending[i]) && double_random(++seen) == 0) {
                chosen = i;
            }
        }
        if (chosen < 0) {
            double_fail("the host waits for what can never run");
        }
        run_op(chosen);
    }
    double_memory_close();
    join(host_clock, front->clock);
}

// --- Devices

static cudaError_t check_device(void) {
    return no_device ? cudaErrorNoDevice : cudaSuccess;
}

cudaError_t cudaGetDeviceCount(int *count) {
    ENTER *count = no_device ? 0 : 1;
    LEAVE(check_device());
}

cudaError_t cudaSetDevice(int device) {
    ENTER LEAVE(no_device ? cudaErrorNoDevice : device == 0 ? cudaSuccess : cudaErrorInvalidDevice);
}

cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *properties, int device) {
    ENTER if (device != 0 || no_device) {
        LEAVE(cudaErrorInvalidDevice);
    }
    memset(properties, 0, sizeof *properties);
    snprintf(properties->name, sizeof properties->name, "test double");
    properties->major = 9;
    properties->multiProcessorCount = 4;
    properties->totalGlobalMem = (size_t)MEMORY_SIZE_GB << 30;
    LEAVE(cudaSuccess);
}

cudaError_t cudaDriverGetVersion(int *version) {
    ENTER *version = CUDART_VERSION;
    LEAVE(cudaSuccess);
}

cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *total) {
    ENTER *free_bytes = *total = (size_t)MEMORY_SIZE_GB << 30;
    LEAVE(check_device());
}

const char *cudaGetErrorName(cudaError_t error) {
    return error == cudaErrorMemoryAllocation ? "cudaErrorMemoryAllocation" : "cudaError";
}

const char *cudaGetErrorString(cudaError_t error) {
    static __thread char text[64];
    snprintf(text, sizeof text, "error %d of the test double", (int)error);
    return text;
}

// --- Memory

// A call that a capture of this thread does not allow, and that ends it.
static bool forbidden(void) {
    for (struct CUstream_st *at = streams; capturing && at; at = at->next) {
        if (at->capture) {
            at->capture->invalid = true;
        }
    }
    return capturing > 0;
}

cudaError_t cudaMalloc(void **at, size_t size) {
    ENTER if (forbidden()) {
        LEAVE(cudaErrorStreamCaptureUnsupported);
    }
    *at = size ? double_device_alloc(size) : NULL;
    alive += *at != NULL;
    LEAVE(*at || !size ? check_device() : cudaErrorMemoryAllocation);
}

cudaError_t cudaFree(void *at) {
    pthread_mutex_lock(&lock);
    if (forbidden()) {
        LEAVE(cudaErrorStreamCaptureUnsupported);
    }
    front_t all = {.after_count = 0}; // cudaFree waits for the device
    for (struct CUstream_st *stream = streams; stream; stream = stream->next) {
        run_until(&stream->front);
    }
    run_until(&all);
    bool was = at && double_device_free(at);
    alive -= was;
    LEAVE(was || !at ? cudaSuccess : cudaErrorInvalidValue);
}

cudaError_t cudaMallocHost(void **at, size_t size) {
    ENTER if (forbidden()) {
        LEAVE(cudaErrorStreamCaptureUnsupported);
    }
    *at = pinned_count < PINNED_MAX ? malloc(size) : NULL;
    if (!*at) {
        LEAVE(cudaErrorMemoryAllocation);
    }
    memset(*at, 0xff, size);
    pinned[pinned_count].at = *at;
    pinned[pinned_count++].size = size;
    alive++;
    LEAVE(cudaSuccess);
}

cudaError_t cudaFreeHost(void *at) {
    pthread_mutex_lock(&lock);
    for (int i = 0; i < pinned_count; i++) {
        if (pinned[i].at == at) {
            pinned[i] = pinned[--pinned_count];
            alive--;
            free(at);
            LEAVE(cudaSuccess);
        }
    }
    LEAVE(at ? cudaErrorInvalidValue : cudaSuccess);
}

static bool is_pinned(const void *at, size_t size) {
    const char *byte = at;
    for (int i = 0; i < pinned_count; i++) {
        const char *start = pinned[i].at;
        if (byte >= start && byte + size <= start + pinned[i].size) {
            return true;
        }
    }
    return false;
}

typedef struct {
    void *to;
    const void *from; // NULL: value
    int value;
    size_t size;
} copy_t;

static void run_copy(void *arg) {
    const copy_t *copy = arg;
    double_race_range(copy->to, copy->size, true);
    if (copy->from) {
        double_race_range(copy->from, copy->size, false);
        memmove(copy->to, copy->from, copy->size);
    } else {
        memset(copy->to, copy->value, copy->size);
    }
}

static cudaError_t queue_copy(const copy_t *copy, cudaStream_t stream, const char *name) {
    copy_t *arg = malloc(sizeof *arg);
    *arg = *copy;
    return queue(stream, name, run_copy, arg);
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t size, enum cudaMemcpyKind kind,
                            cudaStream_t stream) {
    ENTER const void *host = kind == cudaMemcpyHostToDevice ? from : to;
    if (kind != cudaMemcpyDeviceToDevice && !is_pinned(host, size)) {
        double_fail("cudaMemcpyAsync: %zu bytes of host memory at %p are not pinned", size, host);
    }
    if (kind != cudaMemcpyHostToDevice) {
        double_check_range("cudaMemcpyAsync", from, size);
    }
    if (kind != cudaMemcpyDeviceToHost) {
        double_check_range("cudaMemcpyAsync", to, size);
    }
    LEAVE(queue_copy(&(copy_t){.to = to, .from = from, .size = size}, stream, "cudaMemcpyAsync"));
}

cudaError_t cudaMemsetAsync(void *at, int value, size_t size, cudaStream_t stream) {
    ENTER double_check_range("cudaMemsetAsync", at, size);
    LEAVE(queue_copy(&(copy_t){.to = at, .value = value, .size = size}, stream, "cudaMemsetAsync"));
}

// --- Streams and events

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned flags) {
    ENTER if (flags != cudaStreamNonBlocking) {
        double_fail("a stream that blocks stream 0");
    }
    struct CUstream_st *made = calloc(1, sizeof *made);
    made->lane = take_lane();
    made->next = streams;
    streams = made;
    alive++;
    *stream = made;
    LEAVE(check_device());
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
    pthread_mutex_lock(&lock);
    if (!is_stream(stream)) {
        double_fail("cudaStreamDestroy of a stream that does not exist");
    }
    run_until(&stream->front);
    struct CUstream_st **at = &streams;
    while (*at != stream) {
        at = &(*at)->next;
    }
    *at = stream->next;
    lane_used[stream->lane] = false;
    alive--;
    free(stream);
    LEAVE(cudaSuccess);
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
    ENTER if (stream->capture) {
        stream->capture->invalid = true;
        LEAVE(cudaErrorStreamCaptureUnsupported);
    }
    run_until(&stream->front);
    LEAVE(cudaSuccess);
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned flags) {
    ENTER *event = calloc(1, sizeof **event);
    (*event)->timing = !(flags & cudaEventDisableTiming);
    alive++;
    LEAVE(check_device());
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
    pthread_mutex_lock(&lock);
    alive--;
    free(event);
    LEAVE(cudaSuccess);
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
    ENTER event->recorded = true;
    event->front = stream->front;
    join(event->front.clock, host_clock);
    event->capture = stream->capture;
    event->node = stream->capture ? add_node(stream, "cudaEventRecord", NULL, NULL) : 0;
    LEAVE(cudaSuccess);
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
    ENTER if (event->capture) {
        LEAVE(cudaErrorCapturedEvent);
    }
    run_until(&event->front);
    LEAVE(cudaSuccess);
}

cudaError_t cudaEventQuery(cudaEvent_t event) {
    ENTER cudaError_t result = event->capture ? cudaErrorCapturedEvent : cudaSuccess;
    for (int i = 0; i < event->front.after_count && !result; i++) {
        result = is_done(event->front.after[i]) ? cudaSuccess : cudaErrorNotReady;
    }
    LEAVE(result);
}

cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t from, cudaEvent_t to) {
    ENTER if (!from->timing || !to->timing) {
        LEAVE(cudaErrorInvalidResourceHandle);
    }
    *ms = 1 + (float)double_random(1000) / 1000;
    LEAVE(cudaSuccess);
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags) {
    (void)flags;
    ENTER if (!event->recorded) {
        LEAVE(cudaSuccess); // as CUDA: nothing to wait for
    }
    if (event->capture) {
        if (stream->capture && stream->capture != event->capture) {
            LEAVE(cudaErrorStreamCaptureMerge);
        }
        if (!stream->capture) {
            stream->capture = event->capture;
            stream->origin = false;
            stream->capture_after_count = 0;
        }
        if (stream->capture_after_count == DEPENDENCIES_MAX) {
            double_fail("a captured stream waits for more than %d nodes", DEPENDENCIES_MAX);
        }
        stream->capture_after[stream->capture_after_count++] = event->node;
        LEAVE(cudaSuccess);
    }
    if (stream->capture) {
        LEAVE(cudaErrorStreamCaptureIsolation);
    }
    for (int i = 0; i < event->front.after_count; i++) {
        depend(&stream->front, event->front.after[i]);
    }
    join(stream->front.clock, event->front.clock);
    LEAVE(cudaSuccess);
}

// --- Graphs

static void release_graph(struct CUgraph_st *graph) {
    if (--graph->references > 0) {
        return;
    }
    for (int i = 0; i < graph->count; i++) {
        free(graph->nodes[i].arg);
        free(graph->nodes[i].after);
    }
    free(graph->nodes);
    free(graph);
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, enum cudaStreamCaptureMode mode) {
    ENTER if (mode != cudaStreamCaptureModeThreadLocal) {
        double_fail("captures are thread-local in this project");
    }
    if (stream->capture) {
        LEAVE(cudaErrorIllegalState);
    }
    stream->capture = calloc(1, sizeof *stream->capture);
    stream->capture->references = 1;
    stream->origin = true;
    stream->capture_after_count = 0;
    capturing++;
    LEAVE(cudaSuccess);
}

// True if all that other streams did since they joined lies before the origin's end.
static bool all_joined(const struct CUgraph_st *graph, const struct CUstream_st *origin) {
    bool *before = calloc((size_t)graph->count + 1, sizeof *before);
    for (int i = 0; i < origin->capture_after_count; i++) {
        before[origin->capture_after[i]] = true;
    }
    bool joined = true;
    for (int i = graph->count - 1; i >= 0; i--) {
        for (int j = 0; j < graph->nodes[i].after_count; j++) {
            before[graph->nodes[i].after[j]] |= before[i];
        }
        joined = joined && before[i];
    }
    free(before);
    return joined;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *graph) {
    cudaError_t failed = double_enter();
    *graph = NULL;
    if (!stream->capture || !stream->origin) {
        LEAVE(failed ? failed : cudaErrorIllegalState);
    }
    struct CUgraph_st *captured = stream->capture;
    bool joined = all_joined(captured, stream);
    for (struct CUstream_st *at = streams; at; at = at->next) {
        at->capture = at->capture == captured ? NULL : at->capture;
    }
    capturing--;
    if (failed || captured->invalid || !joined) {
        bool invalid = captured->invalid;
        release_graph(captured);
        LEAVE(failed    ? failed
              : invalid ? cudaErrorStreamCaptureInvalidated
                        : cudaErrorStreamCaptureUnjoined);
    }
    *graph = captured;
    alive++;
    LEAVE(cudaSuccess);
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
    pthread_mutex_lock(&lock);
    alive--;
    release_graph(graph);
    LEAVE(cudaSuccess);
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t *exec, cudaGraph_t graph,
                                 unsigned long long flags) {
    (void)flags;
    ENTER *exec = malloc(sizeof **exec);
    (*exec)->graph = graph;
    graph->references++;
    alive++;
    LEAVE(cudaSuccess);
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
    pthread_mutex_lock(&lock);
    for (struct CUstream_st *stream = streams; stream; stream = stream->next) {
        run_until(&stream->front);
    }
    alive--;
    release_graph(exec->graph);
    free(exec);
    LEAVE(cudaSuccess);
}

// Lanes of the graph's own: a node is in order with others of the launching stream as a whole only.
static op_t *launch_node(const node_t *node, const front_t *before, op_t **ops, int *lanes) {
    if (lanes[node->lane] < 0) {
        lanes[node->lane] = take_lane();
    }
    op_t *op = add_op(node->name, node->run, node->arg, lanes[node->lane]);
    op->borrowed = true;
    if (node->after_count == 0) {
        set_after(op, before);
        return op;
    }
    op->after = malloc((size_t)node->after_count * sizeof(uint32_t));
    op->after_count = node->after_count;
    for (int i = 0; i < node->after_count; i++) {
        const op_t *other = ops[node->after[i]];
        op->after[i] = other->order.id;
        join(op->order.clock, other->order.clock);
        uint32_t *last = &op->order.clock[other->order.lane];
        *last = *last > other->order.id ? *last : other->order.id;
    }
    return op;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream) {
    ENTER const struct CUgraph_st *graph = exec->graph;
    int lanes[DOUBLE_LANES];
    for (int i = 0; i < DOUBLE_LANES; i++) {
        lanes[i] = -1;
    }
    op_t **ops = malloc(((size_t)graph->count + 1) * sizeof *ops);
    for (int i = 0; i < graph->count; i++) {
        ops[i] = launch_node(&graph->nodes[i], &stream->front, ops, lanes);
    }
    op_t *end = add_op("end of a graph", NULL, NULL, stream->lane);
    set_after(end, &stream->front);
    end->after =
        realloc(end->after, (size_t)(end->after_count + graph->count + 1) * sizeof(uint32_t));
    for (int i = 0; i < graph->count; i++) {
        end->after[end->after_count++] = ops[i]->order.id;
        join(end->order.clock, ops[i]->order.clock);
        uint32_t *last = &end->order.clock[ops[i]->order.lane];
        *last = *last > ops[i]->order.id ? *last : ops[i]->order.id;
    }
    move_front(&stream->front, end);
    for (int i = 0; i < DOUBLE_LANES; i++) {
        if (lanes[i] >= 0) {
            lane_used[lanes[i]] = false;
        }
    }
    free(ops);
    LEAVE(cudaSuccess);
}
