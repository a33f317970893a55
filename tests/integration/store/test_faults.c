// Does the store survive every input and output operation that fails, comes short or is
// interrupted, and memory that runs out? Its calls of the system go through the functions below
// (--wrap).
#include "rig.h"

#include "base/clock.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

// --- Faults --------------------------------------------------------------------------------------

typedef struct {
    size_t short_bytes; // reads and writes take at most so many; 0: no limit
    size_t operations;  // of all kinds, since the last reset
    size_t failing;     // number of the one that fails; 0: none
    int error;          // with this
    size_t allocations, failing_allocation;
    bool struck;
} fault_t;

static fault_t fault;

int __real_socket(int family, int type, int protocol);
int __real_connect(int fd, const struct sockaddr *address, socklen_t size);
ssize_t __real_recv(int fd, void *bytes, size_t size, int flags);
ssize_t __real_sendmsg(int fd, const struct msghdr *message, int flags);
void *__real_malloc(size_t size);
int __wrap_socket(int family, int type, int protocol);
int __wrap_connect(int fd, const struct sockaddr *address, socklen_t size);
ssize_t __wrap_recv(int fd, void *bytes, size_t size, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags);
void *__wrap_malloc(size_t size);

static bool strikes(void) {
    if (++fault.operations != fault.failing)
        return false;
    fault.struck = true;
    errno = fault.error;
    return true;
}

int __wrap_socket(int family, int type, int protocol) {
    return strikes() ? -1 : __real_socket(family, type, protocol);
}

int __wrap_connect(int fd, const struct sockaddr *address, socklen_t size) {
    return strikes() ? -1 : __real_connect(fd, address, size);
}

ssize_t __wrap_recv(int fd, void *bytes, size_t size, int flags) {
    if (strikes())
        return -1;
    size_t most = fault.short_bytes && fault.short_bytes < size ? fault.short_bytes : size;
    return __real_recv(fd, bytes, most, flags);
}

ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags) {
    if (strikes())
        return -1;
    struct iovec first = message->msg_iov[0];
    struct msghdr copy = *message;
    if (fault.short_bytes) {
        first.iov_len = fault.short_bytes < first.iov_len ? fault.short_bytes : first.iov_len;
        copy.msg_iov = &first;
        copy.msg_iovlen = 1;
    }
    return __real_sendmsg(fd, &copy, flags);
}

void *__wrap_malloc(size_t size) {
    if (++fault.allocations == fault.failing_allocation)
        return NULL;
    return __real_malloc(size);
}

// --- Tests ---------------------------------------------------------------------------------------

static void reads_and_writes_of_few_bytes(void **state) {
    (void)state;
    for (size_t bytes = 1; bytes <= 7; bytes += 3) {
        memset(&fault, 0, sizeof fault);
        fault.short_bytes = bytes;
        size_t before = rig.answered;
        for (size_t i = 0; i < 300; i++)
            assert_int_equal(rig_call(i % 2 ? ADD : ECHO, "n", "1", before + i), ERR_OK);
        rig_run_until_answered(before + 300);
        assert_true(redis_do(&rig.redis, "CLIENT KILL TYPE normal SKIPME yes", NULL, 0));
        int ups = rig.ups;
        rig_run_until_down(rig.downs + 1);
        rig_run_until_up(ups + 1);
    }
    memset(&fault, 0, sizeof fault);
    assert_false(rig.disorder);
    assert_int_equal(rig.good, 900);
    assert_int_equal(rig_stored_number("n"), 450);
}

static void run_until_answered_and_up(void) {
    int64_t end = clock_mono_ms() + PATIENCE_MS;
    size_t sent = 0;
    while ((rig.answered < 200 || !store_is_up(rig.store)) && clock_mono_ms() < end) {
        while (store_is_up(rig.store) && sent < 200 && rig_call(ADD, "n", "1", sent) == ERR_OK)
            sent++;
        rig_run(end - clock_mono_ms());
    }
    assert_true(store_is_up(rig.store));
    assert_int_equal(rig.answered, 200);
}

// A fresh store that connects and makes 200 calls, with the operation of that number failing.
static void with_failing(size_t number, int error) {
    rig.answered = rig.good = rig.unknown = rig.next = 0;
    rig.wanted = 200;
    int64_t stored = rig_stored_number("n");
    memset(&fault, 0, sizeof fault);
    fault.failing = number;
    fault.error = error;
    fault.short_bytes = 4000;
    rig_open_store(rig.redis.socket);
    run_until_answered_and_up();
    memset(&fault, 0, offsetof(fault_t, struck));
    assert_int_equal(rig.good + rig.unknown, 200);
    assert_false(rig.disorder);
    stored = rig_stored_number("n") - stored;
    assert_in_range(stored, rig.good, 200);
    store_destroy(&rig.store);
}

static void operations_that_fail(void **state) {
    (void)state;
    static const int errors[] = {ECONNRESET, EPIPE, EIO};
    store_destroy(&rig.store);
    for (size_t i = 0; i < 3; i++)
        for (size_t number = 1; number <= 20; number++) {
            int downs = rig.downs;
            with_failing(number, errors[i]);
            assert_true(fault.struck);
            assert_int_equal(rig.downs, downs + 1);
        }
}

// The first two, socket() and connect(), are not interrupted.
static void operations_that_are_interrupted_or_would_block(void **state) {
    (void)state;
    store_destroy(&rig.store);
    for (size_t number = 3; number <= 20; number++) {
        with_failing(number, EINTR);
        assert_true(fault.struck);
        with_failing(number, EAGAIN);
        assert_true(fault.struck);
    }
    assert_int_equal(rig.downs, 0);
}

static void memory_that_runs_out(void **state) {
    (void)state;
    for (size_t i = 0; i < 20; i++) {
        fault.failing_allocation = i % 2 ? fault.allocations + 1 : 0;
        assert_int_equal(rig_call(ADD, "n", "1", i / 2), i % 2 ? ERR_NO_MEMORY : ERR_OK);
    }
    rig_run_until_answered(10);
    assert_false(rig.disorder);
    assert_int_equal(rig_stored_number("n"), 10);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        WITH_REDIS(reads_and_writes_of_few_bytes),
        WITH_REDIS(operations_that_fail),
        WITH_REDIS(operations_that_are_interrupted_or_would_block),
        WITH_REDIS(memory_that_runs_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
