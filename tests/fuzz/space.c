// The text form of spaces, a parameter a line: what was read is written so that it reads the same,
// and its points can be made canonical. The same lines as a change of a space: its points have a
// place in what follows, and made twice it is made once.
#include "space/space.h"
#include "fuzz.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    const char *at[TUNE_PARAMETERS_MAX + 1];
    size_t count;
} lines_t;

static lines_t split(char *text) {
    lines_t lines = {.count = 0};
    for (char *line; lines.count <= TUNE_PARAMETERS_MAX && (line = strsep(&text, "\n")) != NULL;)
        lines.at[lines.count++] = line;
    return lines;
}

static err_code_t parse(char *text, tune_space_t *space, err_t *err) {
    lines_t lines = split(text);
    return tune_space_parse(lines.at, lines.count, space, err);
}

static char *print(const tune_space_t *space) {
    buf_t out;
    buf_init(&out, 1 << 20);
    for (int i = 0; i < space->count; i++) {
        buf_puts(&out, i ? "\n" : "");
        tune_space_print(space, i, &out);
    }
    ERR_ASSERT(!out.failed);
    return buf_take(&out);
}

static void use(const tune_space_t *space) {
    double point[TUNE_PARAMETERS_MAX], again[TUNE_PARAMETERS_MAX];
    for (int k = 0; k <= 4; k++) {
        for (int i = 0; i < space->count; i++)
            point[i] = tune_parameter_decode(&space->parameters[i], k / 4.0);
        tune_space_canonical(space, point);
        memcpy(again, point, sizeof again);
        tune_space_canonical(space, again);
        ERR_ASSERT(memcmp(again, point, sizeof *point * (size_t)space->count) == 0);
        ERR_ASSERT(tune_space_contains(space, point, NULL) == ERR_OK);
    }
    ERR_ASSERT(tune_space_size(space) > 0);
}

// ---- changes ----

static void check_carried(const tune_space_t *to, const double *point) {
    double again[TUNE_PARAMETERS_MAX];
    for (int i = 0; i < to->count; i++) {
        const tune_parameter_t *p = &to->parameters[i];
        ERR_ASSERT(isfinite(point[i]) && isfinite(tune_parameter_place(p, point[i])));
        ERR_ASSERT(p->type != TUNE_CATEGORY ||
                   (point[i] >= 0 && point[i] < p->choice_count + p->retired));
    }
    memcpy(again, point, sizeof again);
    tune_space_carry(to, to, again);
    ERR_ASSERT(memcmp(again, point, sizeof *point * (size_t)to->count) == 0);
}

static void change(char *text) {
    static const char *const texts[] = {"lr=log:1e-5..1e-1=0.001", "batch=int:8..64",
                                        "optimizer={sgd,adam,lion}",
                                        "momentum=0.5..0.99 if optimizer=sgd"};
    static tune_space_t from, to, again;
    lines_t lines = split(text);
    err_t err;
    ERR_ASSERT(tune_space_parse(texts, 4, &from, NULL) == ERR_OK);
    if (tune_space_merge(&from, lines.at, lines.count, &to, &err) != ERR_OK) {
        ERR_ASSERT(err.code == ERR_USAGE && err.message[0] && err.remedy[0]);
        return;
    }
    for (int k = 0; k <= 6; k++) {
        double point[TUNE_PARAMETERS_MAX];
        for (int i = 0; i < from.count; i++)
            point[i] = tune_parameter_decode(&from.parameters[i], (k * (i + 1) % 7) / 6.0);
        tune_space_canonical(&from, point);
        tune_space_carry(&from, &to, point);
        check_carried(&to, point);
    }
    ERR_ASSERT(tune_space_merge(&to, lines.at, lines.count, &again, NULL) == ERR_OK);
    ERR_ASSERT(tune_space_equal(&to, &again));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static tune_space_t space, again;
    err_t err;
    char *text = mem_alloc(size + 1);
    if (size)
        memcpy(text, data, size);
    text[size] = 0;
    char *lines = mem_dup(text);
    change(lines);
    free(lines);
    if (parse(text, &space, &err) == ERR_OK) {
        char *written = print(&space), *copy = mem_dup(written);
        ERR_ASSERT(parse(copy, &again, &err) == ERR_OK);
        free(copy);
        copy = print(&again);
        ERR_ASSERT(strcmp(copy, written) == 0);
        ERR_ASSERT(memcmp(&space, &again, sizeof space) == 0);
        use(&space);
        free(copy);
        free(written);
    } else {
        ERR_ASSERT(err.code == ERR_USAGE && err.message[0] && err.remedy[0]);
    }
    free(text);
    return 0;
}

void fuzz_seeds(void) {
    static const char all[] =
        "lr=log:1e-5..1e-2\ndropout=0..0.5=0.2\nbatch=int:8..64=32\n"
        "filters=logint:16..256\naugment={none,flip}=flip\nepochs=12\n"
        "optimizer={sgd,adam,lion}\nmomentum=0.5..0.99 if optimizer=sgd|lion\n"
        "nesterov={no,yes} if optimizer=sgd";
    fuzz_seed(all, sizeof all - 1);
    fuzz_seed("a={x,y} if b=p\nb={p,q}", 23);
    fuzz_seed("shift=-5..-1.5=-2", 17);
    static const char change_a[] = "lr=log:1e-3..1e-2\noptimizer={lion,rms}\n"
                                   "momentum=0.5..0.99=0.9 if optimizer=rms\nmore=0..1=0.5",
                      change_b[] = "lr=0..1\nbatch=16\noptimizer={adam,sgd}=sgd\n"
                                   "new={p,q}=p\nnewer=int:1..3=2 if new=q";
    fuzz_seed(change_a, sizeof change_a - 1);
    fuzz_seed(change_b, sizeof change_b - 1);
    fuzz_seed("", 0);
}

void fuzz_end(void) {
}
