#include "nn/backend_impl.h"

#include <stdlib.h>
#include <string.h>

#if defined __x86_64__

#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    AMX_BF16_BIT = 22, // leaf 7 edx
    AMX_TILE_BIT = 24,
    OSXSAVE_BIT = 27, // leaf 1 ecx
    TILE_DATA = 18,   // of XCR0 and of arch_prctl
    ARCH_GET_XCOMP_SUPP = 0x1021,
};

static uint64_t read_xcr0(void) {
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

// The processor has it, the kernel saves the tiles, and lets processes ask for them.
static bool has_amx(void) {
    uint32_t a, b, c, d;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(d >> AMX_BF16_BIT & 1) ||
        !(d >> AMX_TILE_BIT & 1)) {
        return false;
    }
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c >> OSXSAVE_BIT & 1) ||
        (read_xcr0() >> (TILE_DATA - 1) & 3) != 3) {
        return false;
    }
    uint64_t supported = 0;
    return syscall(SYS_arch_prctl, ARCH_GET_XCOMP_SUPP, &supported) == 0 &&
           (supported >> TILE_DATA & 1);
}

static nn_isa_t detect(void) {
    __builtin_cpu_init(); // looks at XCR0 as well
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) {
        return NN_ISA_GENERIC;
    }
    if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") ||
        !__builtin_cpu_supports("avx512vl") || !__builtin_cpu_supports("avx512dq")) {
        return NN_ISA_AVX2;
    }
    return has_amx() ? NN_ISA_AMX : NN_ISA_AVX512;
}

#else

static nn_isa_t detect(void) {
    return NN_ISA_GENERIC;
}

#endif

static const char *const words[] = {
#define X(isa, word) [NN_ISA_##isa] = word,
    NN_ISAS(X)
#undef X
};
enum { COUNT = sizeof words / sizeof words[0] };

bool nn_isa_parse(const char *word, nn_isa_t *isa) {
    for (int i = 0; i < COUNT; i++) {
        if (strcmp(words[i], word) == 0) {
            *isa = (nn_isa_t)i;
            return true;
        }
    }
    return false;
}

const char *nn_isa(void) {
    nn_isa_t isa = detect(), cap;
    const char *limit = getenv("INKLING_ISA");
    if (limit && nn_isa_parse(limit, &cap) && cap < isa) {
        isa = cap;
    }
    return words[isa];
}
