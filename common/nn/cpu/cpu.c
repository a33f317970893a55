// The backend's table: what is chosen, making and ending.
#include "nn/cpu/cpu_impl.h"
#include "nn/cpu/memory.h"
#include "nn/cpu/parallel.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

enum {
    INFER_BATCH = 32,
    RULES = 2, // raised whenever a change here changes the bits that come out
};

// --- Choices

// oneDNN takes its limit once in a process, before its first use: the first handle decides.
static pthread_mutex_t isa_lock = PTHREAD_MUTEX_INITIALIZER;
static nn_isa_t isa_of_process;
static bool isa_settled;

static const char *const isa_words[] = {
#define X(isa, word) [NN_ISA_##isa] = word,
    NN_ISAS(X)
#undef X
};

static nn_isa_t settle_isa(const nn_plan_t *plan, const char *stored) {
    static const dnnl_cpu_isa_t limits[] = {[NN_ISA_GENERIC] = dnnl_cpu_isa_sse41,
                                            [NN_ISA_AVX2] = dnnl_cpu_isa_avx2,
                                            [NN_ISA_AVX512] = dnnl_cpu_isa_avx512_core_bf16,
                                            [NN_ISA_AMX] = dnnl_cpu_isa_avx512_core_amx};
    char word[16];
    nn_isa_t isa = NN_ISA_GENERIC, wanted;
    nn_isa_parse(plan->isa, &isa);
    if (nn_choice(stored, "isa", word, sizeof word) && nn_isa_parse(word, &wanted) &&
        wanted < isa) {
        isa = wanted;
    }
    pthread_mutex_lock(&isa_lock);
    if (!isa_settled) {
        isa_settled = true;
        isa_of_process = isa;
        dnnl_set_max_cpu_isa(limits[isa]); // refused if oneDNN is in use already: then it is best
    }
    isa = isa_of_process;
    pthread_mutex_unlock(&isa_lock);
    return isa;
}

#if defined __x86_64__
static bool has_bf16(nn_isa_t isa) {
    return isa == NN_ISA_AMX || (isa == NN_ISA_AVX512 && __builtin_cpu_supports("avx512bf16"));
}
#else
static bool has_bf16(nn_isa_t isa) {
    (void)isa;
    return false;
}
#endif

static err_code_t settle_precision(nn_plan_t *plan, nn_isa_t isa, const char *stored, err_t *err) {
    if (strcmp(plan->precision, "bf16") == 0 && !has_bf16(isa)) {
        err_set(err, ERR_UNSUPPORTED, "precision bf16 needs AMX or AVX512-BF16; this is %s",
                isa_words[isa]);
        return err_remedy(err, "use precision fp32 or auto");
    }
    if (strcmp(plan->precision, "auto") == 0) {
        char word[8];
        bool half = isa == NN_ISA_AMX;
        if (nn_choice(stored, "precision", word, sizeof word)) {
            half = strcmp(word, "bf16") == 0 ? has_bf16(isa) : half && strcmp(word, "fp32") != 0;
        }
        snprintf(plan->precision, sizeof plan->precision, half ? "bf16" : "fp32");
    }
    return ERR_OK;
}

static err_code_t resolve(nn_plan_t *plan, const char *stored, err_t *err) {
    nn_isa_t isa = settle_isa(plan, stored);
    if (settle_precision(plan, isa, stored, err)) {
        return ERR_UNSUPPORTED;
    }
    int limit = parallel_limit();
    plan->threads = plan->threads > limit ? limit : plan->threads;
    const dnnl_version_t *version = dnnl_version();
    snprintf(plan->isa, sizeof plan->isa, "%s", isa_words[isa]);
    snprintf(plan->more, sizeof plan->more, "onednn=%d.%d.%d rules=%d", version->major,
             version->minor, version->patch, RULES);
    return ERR_OK;
}

// --- Making and ending

static const kernels_t *pick_kernels(const nn_plan_t *plan, bool half) {
#if defined __x86_64__
    nn_isa_t isa = NN_ISA_GENERIC;
    nn_isa_parse(plan->isa, &isa);
    if (isa >= NN_ISA_AVX512) {
        return half ? &kernels_avx512_bf16 : &kernels_avx512;
    }
    if (isa == NN_ISA_AVX2) {
        return &kernels_avx2;
    }
#else
    (void)plan;
    (void)half;
#endif
    return &kernels_generic;
}

void cpu_destroy(void *self) {
    cpu_t *cpu = self;
    cpu_sets_close(cpu);
    if (cpu->shares) {
        conv_device_unshare(&cpu->device);
    } else {
        cpu_state_close(cpu);
        conv_device_close(&cpu->device);
    }
    memory_free(cpu);
}

int cpu_infer_batch(const nn_plan_t *plan) {
    return plan->max_batch < INFER_BATCH ? plan->max_batch : INFER_BATCH;
}

// The operations of a full batch, now: what cannot be had is said before work has begun.
static err_code_t prepare(cpu_t *cpu, err_t *err) {
    set_t *set = NULL;
    if (!cpu->plan->training) {
        return ERR_OK;
    }
    err_code_t code = cpu_train_set(cpu, cpu->plan->max_batch, &set, err);
    for (int i = 0; i < cpu->stage_count && !code; i++) {
        stage_t *stage = &cpu->stages[i];
        for (int kind = 0; kind < CONV_KINDS && !code && stage->kind == STAGE_CONV; kind++) {
            if (kind != CONV_INFER && (kind != CONV_DATA || stage->passes)) {
                code = cpu_conv_make(cpu, set, stage, (conv_kind_t)kind, err);
            }
        }
    }
    return code;
}

void cpu_open_plan(cpu_t *cpu, const nn_plan_t *plan) {
    cpu->plan = plan;
    cpu->bf16 = strcmp(plan->precision, "bf16") == 0;
    cpu->kernels = pick_kernels(plan, cpu->bf16);
    cpu->flat = pick_kernels(plan, false);
    cpu->infer_batch = cpu_infer_batch(plan);
    cpu_plan(cpu);
    cpu_infer_plan(cpu);
}

static err_code_t create(const nn_plan_t *plan, void **self, err_t *err) {
    cpu_t *cpu = memory_new(sizeof *cpu, err);
    if (!cpu) {
        return ERR_NO_MEMORY;
    }
    int before = parallel_set_threads(plan->threads);
    cpu_open_plan(cpu, plan);
    err_code_t code = conv_device_open(&cpu->device, err);
    if (!code) {
        code = cpu_state_open(cpu, err);
    }
    if (!code) {
        code = prepare(cpu, err);
    }
    parallel_set_threads(before);
    if (code) {
        cpu_destroy(cpu);
        return code;
    }
    *self = cpu;
    return ERR_OK;
}

static void use_moving(void *self) {
    cpu_t *cpu = self;
    cpu->estimated = cpu->folded = false;
}

const nn_backend_t nn_backend_cpu = {
    .name = "cpu",
    .resolve = resolve,
    .create = create,
    .destroy = cpu_destroy,
    .memory = cpu_memory,
    .get = cpu_get,
    .set = cpu_set,
    .step = cpu_step,
    .bn_estimate = cpu_bn_estimate,
    .use_moving = use_moving,
    .predict = cpu_predict,
    .seal = cpu_seal,
    .share = cpu_share,
};
