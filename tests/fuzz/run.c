// The runner of ctest: seeded mutations, the same on every run and machine.
//
//   fuzz_NAME [ROUNDS [FIRST]]   begins with round FIRST; a crash names its round, and leaves its
//                                input in the file fuzz_NAME.crash
//   fuzz_NAME seeds FOLDER       writes the good inputs as files: a corpus for fuzzer_NAME
#include "base/clock.h"
#include "base/philox.h"
#include "fuzz.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SEEDS_MAX 512
#define TIME_MS   5000 // then it is enough, on a slow machine

typedef struct {
    uint8_t *bytes;
    size_t size;
} input_t;

static input_t seeds[SEEDS_MAX];
static size_t seed_count;

void fuzz_seed(const void *bytes, size_t size) {
    ERR_ASSERT(seed_count < SEEDS_MAX);
    input_t *seed = &seeds[seed_count++];
    *seed = (input_t){mem_alloc(size ? size : 1), size};
    if (size)
        memcpy(seed->bytes, bytes, size);
}

// --- Mutations
// ------------------------------------------------------------------------------------

typedef struct {
    uint64_t round;
    uint32_t counter;
} dice_t;

static uint32_t roll(dice_t *dice, uint32_t sides) {
    philox_t bits = philox(dice->round, dice->counter++, 0, 0, 0x46555a5au);
    return philox_below(bits.v[0], sides);
}

static void change_byte(dice_t *dice, input_t *input) {
    static const uint8_t odd[] = {0x00, 0x01, 0x7f, 0x80, 0xff, 0xdd, 0xdf, 0xdb, '"', '{',
                                  '}',  '[',  ']',  '\n', ' ',  '-',  '0',  '9',  'e', '.'};
    uint8_t *at = &input->bytes[roll(dice, (uint32_t)input->size)];
    switch (roll(dice, 4)) {
    case 0:
        *at ^= (uint8_t)(1u << roll(dice, 8));
        break;
    case 1:
        *at = odd[roll(dice, sizeof odd)];
        break;
    case 2:
        *at = (uint8_t)(*at + roll(dice, 9) - 4);
        break;
    default:
        *at = (uint8_t)roll(dice, 256);
    }
}

static void remove_piece(dice_t *dice, input_t *input) {
    size_t from = roll(dice, (uint32_t)input->size);
    size_t count = 1 + roll(dice, (uint32_t)(input->size - from));
    memmove(input->bytes + from, input->bytes + from + count, input->size - from - count);
    input->size -= count;
}

// Puts a piece of some input, or the same byte many times, at a place.
static void insert_piece(dice_t *dice, input_t *input) {
    const input_t *other = roll(dice, 2) ? &seeds[roll(dice, (uint32_t)seed_count)] : input;
    size_t at = roll(dice, (uint32_t)input->size + 1), count = 1 + roll(dice, 40);
    size_t from = other->size ? roll(dice, (uint32_t)other->size) : 0;
    if (roll(dice, 8) == 0)
        count *= 50;
    if (count > other->size - from)
        count = other->size - from;
    uint8_t *piece = mem_alloc(count + 1);
    memcpy(piece, other->bytes + from, count);
    if (roll(dice, 4) == 0)
        memset(piece, (int)roll(dice, 256), count);
    input->bytes = mem_grow(input->bytes, input->size + count + 1);
    memmove(input->bytes + at + count, input->bytes + at, input->size - at);
    memcpy(input->bytes + at, piece, count);
    input->size += count;
    free(piece);
}

static input_t make_input(uint64_t round) {
    dice_t dice = {.round = round};
    const input_t *seed = &seeds[round < seed_count ? round : roll(&dice, (uint32_t)seed_count)];
    input_t input = {mem_alloc(seed->size + 1), seed->size};
    memcpy(input.bytes, seed->bytes, seed->size);
    // The seeds as they are, then mostly small changes: large ones are refused at once.
    uint32_t changes =
        round < seed_count ? 0 : 1 + (roll(&dice, 3) ? roll(&dice, 3) : roll(&dice, 30));
    for (uint32_t i = 0; i < changes; i++) {
        uint32_t kind = roll(&dice, 8);
        if (kind < 5 && input.size)
            change_byte(&dice, &input);
        else if (kind < 6 && input.size)
            remove_piece(&dice, &input);
        else if (kind < 7)
            insert_piece(&dice, &input);
        else
            input.size = roll(&dice, (uint32_t)input.size + 1);
    }
    return input;
}

// --- Crashes
// --------------------------------------------------------------------------------------

static input_t current;
static char crash_path[128], crash_text[256];

// In a signal handler: the text stands ready.
static void save_input(void) {
    int fd = open(crash_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    bool saved = fd >= 0 && write(fd, current.bytes, current.size) == (ssize_t)current.size;
    const char *text = saved ? crash_text : "\nbroken, and its input cannot be written\n";
    if (write(STDERR_FILENO, text, strlen(text)) < 0)
        return;
}

static void prepare_text(uint64_t round) {
    snprintf(crash_text, sizeof crash_text, "\nround %llu broke it; its input: %s\n",
             (unsigned long long)round, crash_path);
}

static void on_crash(int number) {
    save_input();
    signal(number, SIG_DFL);
    raise(number);
}

// Sanitizers have their own way of dying; the symbol is there only with them.
extern void __sanitizer_set_death_callback(void (*fn)(void)) __attribute__((weak));

static void watch_crashes(const char *program) {
    const char *slash = strrchr(program, '/');
    snprintf(crash_path, sizeof crash_path, "%.100s.crash", slash ? slash + 1 : program);
    if (__sanitizer_set_death_callback)
        __sanitizer_set_death_callback(save_input);
    else
        signal(SIGSEGV, on_crash);
    signal(SIGABRT, on_crash);
}

static int write_seeds(const char *folder) {
    int status = 0;
    for (size_t i = 0; i < seed_count; i++) {
        char *path = mem_format("%s/seed-%03zu", folder, i);
        FILE *file = fopen(path, "we");
        if (!file || fwrite(seeds[i].bytes, 1, seeds[i].size, file) != seeds[i].size) {
            perror(path);
            status = 1;
        }
        if (file)
            fclose(file);
        free(path);
    }
    return status;
}

static void run_rounds(uint64_t first, uint64_t rounds) {
    uint64_t round = first;
    int64_t end_ms = clock_mono_ms() + TIME_MS;
    for (; round < first + rounds && clock_mono_ms() < end_ms; round++) {
        input_t input = make_input(round);
        // In memory of exactly its size, so that a sanitizer sees a read behind it.
        current = (input_t){mem_alloc(input.size ? input.size : 1), input.size};
        if (input.size)
            memcpy(current.bytes, input.bytes, input.size);
        prepare_text(round);
        LLVMFuzzerTestOneInput(current.bytes, current.size);
        free(current.bytes);
        current = (input_t){NULL, 0}; // a sanitizer may end the program later
        free(input.bytes);
    }
    printf("%llu rounds from %zu seeds\n", (unsigned long long)(round - first), seed_count);
}

int main(int argc, char **argv) {
    bool seeds_only = argc == 3 && strcmp(argv[1], "seeds") == 0;
    int status = 0;
    watch_crashes(argv[0]);
    fuzz_seeds();
    ERR_ASSERT(seed_count > 0);
    if (seeds_only)
        status = write_seeds(argv[2]);
    else
        run_rounds(argc > 2 ? strtoull(argv[2], NULL, 10) : 0,
                   argc > 1 ? strtoull(argv[1], NULL, 10) : 20000);
    for (size_t i = 0; i < seed_count; i++)
        free(seeds[i].bytes);
    fuzz_end();
    return status;
}
