// The text form of spaces, a parameter a line: what was read is written so that it reads the same,
// and its points can be made canonical.
#include "space/space.h"
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

static err_code_t parse(char *text, tune_space_t *space, err_t *err) {
    const char *lines[TUNE_PARAMETERS_MAX + 1];
    size_t count = 0;
    for (char *line; count <= TUNE_PARAMETERS_MAX && (line = strsep(&text, "\n")) != NULL;)
        lines[count++] = line;
    return tune_space_parse(lines, count, space, err);
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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static tune_space_t space, again;
    err_t err;
    char *text = mem_alloc(size + 1);
    if (size)
        memcpy(text, data, size);
    text[size] = 0;
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
    fuzz_seed("", 0);
}

void fuzz_end(void) {
}
