// Is the memory that decoding takes bounded by the bytes that came?
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proto/codec.h"

#include <malloc.h>
#include <msgpack.h>
#include <stdlib.h>
#include <string.h>

#define TIMES 64u
#define BASE  (256u << 10)

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define OTHER_MALLOC 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define OTHER_MALLOC 1
#endif
#endif

// Bytes that are allocated now; what an arena holds stays until it is destroyed.
static size_t in_use(void) {
    struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
}

static size_t worst_times; // beyond BASE

static void measure(proto_type_t type, const buf_t *bytes) {
    proto_arena_t *arena = proto_arena_new();
    size_t before = in_use();
    void *message = malloc(proto_message(type)->size);
    err_t err;
    proto_decode(type, bytes->data, bytes->size, arena, message, &err);
    size_t after = in_use(), used = after > before ? after - before : 0;
    if (used > BASE && (used - BASE) / bytes->size > worst_times)
        worst_times = (used - BASE) / bytes->size;
    if (used > TIMES * bytes->size + BASE)
        fail_msg("%s of %zu bytes took %zu bytes", proto_message(type)->wire, bytes->size, used);
    free(message);
    proto_arena_destroy(&arena);
}

static int write_buf(void *data, const char *bytes, size_t size) {
    buf_append(data, bytes, size);
    return 0;
}

// {key: [item, item, …]}
static void measure_list(proto_type_t type, const char *key, const char *item, size_t item_size,
                         size_t count) {
    buf_t bytes;
    msgpack_packer packer;
    buf_init(&bytes, 64u << 20);
    msgpack_packer_init(&packer, &bytes, write_buf);
    msgpack_pack_map(&packer, 1);
    msgpack_pack_str_with_body(&packer, key, strlen(key));
    msgpack_pack_array(&packer, count);
    for (size_t i = 0; i < count; i++)
        buf_append(&bytes, item, item_size);
    measure(type, &bytes);
    buf_release(&bytes);
}

static void lists_cost_what_they_weigh(void **state) {
    (void)state;
#ifdef OTHER_MALLOC
    skip();
#endif
    static const size_t counts[] = {1, 15, 43, 86, 100, 256, 1000, 4096, 10000, 65536, 1000000};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        size_t n = counts[i];
        measure_list(PROTO_ok, "x", "\xc0", 1, n);               // unknown key, nils
        measure_list(PROTO_ok, "x", "\x91\xc0", 2, n);           // small lists
        measure_list(PROTO_ok, "x", "\x81\x01\x02", 3, n);       // small maps
        measure_list(PROTO_ok, "x", "\x80", 1, n);               //
        measure_list(PROTO_classified, "results", "\x80", 1, n); // structs of empty maps
        measure_list(PROTO_jobs, "jobs", "\x80", 1, n);
        measure_list(PROTO_workers, "workers", "\x80", 1, n);
        measure_list(PROTO_jobs, "jobs", "\x84\x01\x01\x01\x01\x01\x01\x01\x01", 9, n);
    }
}

// The smallest entries that a list of structs accepts.
static void the_smallest_structs_cost_what_they_weigh(void **state) {
    (void)state;
#ifdef OTHER_MALLOC
    skip();
#endif
    static const char job[] = "\x84\xa3job\xa1j\xa4kind\xa1k\xa5state\xa1s\xa8"
                              "attempts\x00";
    static const char worker[] = "\x85\xa6worker\xa1w\xa5kinds\x90\xa5state\xa1s\xa5slots\x01"
                                 "\xa6"
                                 "age_ms\x01";
    static const char model[] = "\x83\xa4name\xa1n\xa7version\x01\xa4path\xa0";
    for (size_t n = 1; n <= 10000; n *= 10) {
        measure_list(PROTO_jobs, "jobs", job, sizeof job - 1, n);
        measure_list(PROTO_workers, "workers", worker, sizeof worker - 1, n);
        measure_list(PROTO_models, "models", model, sizeof model - 1, n);
    }
}

static void the_trap_allocates_nothing(void **state) {
    (void)state;
#ifdef OTHER_MALLOC
    skip();
#endif
    static const char *const traps[] = {"\xdd\x01\x00\x00\x00", "\xdf\x01\x00\x00\x00",
                                        "\xdb\x01\x00\x00\x00", "\xc6\x01\x00\x00\x00"};
    for (size_t i = 0; i < 4; i++) {
        proto_arena_t *arena = proto_arena_new();
        size_t before = in_use();
        proto_ok_t ok;
        assert_int_equal(proto_decode(PROTO_ok, traps[i], 5, arena, &ok, NULL), ERR_PROTOCOL);
        assert_true(in_use() <= before);
        proto_arena_destroy(&arena);
    }
    print_message("worst seen: %zu times the bytes\n", worst_times);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lists_cost_what_they_weigh),
        cmocka_unit_test(the_smallest_structs_cost_what_they_weigh),
        cmocka_unit_test(the_trap_allocates_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
