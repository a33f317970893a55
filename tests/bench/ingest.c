// Ingest under a stop-watch, driven line by line so that a script can let it and its peers take
// turns: tests/bench/ingest is that script.
//
//   ingest make DIR FIRST COUNT SIDE SUFFIX   draws DIR/photos/N.SUFFIX and DIR/comics/N.SUFFIX
//                                             (jpg or png), N from FIRST
//   ingest run DIR [--size N] [--color] [--threads N]
// run says in one JSON line how many images there are, then answers each line of its input with the
// seconds it took:
//   all         a first version: every file read, hashed, decoded, resized, written and synced
//   again       the next version of the unchanged folder
#include "ingest/ingest.h"
#include "base/clock.h"
#include "base/fs.h"
#include "synth/synth.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LINE_SIZE = 64, SEED = 11, QUALITY = 95 };

static const char *const style_names[] = {[SYNTH_PHOTO] = "photos", [SYNTH_COMIC] = "comics"};

// ---- making ----

static err_code_t make_one(const char *folder, uint32_t identity, synth_style_t style, int side,
                           const char *suffix, uint8_t *pixels, err_t *err) {
    char *path = mem_format("%s/%s/%u.%s", folder, style_names[style], identity, suffix);
    synth_draw(SEED, identity, style, side, side, pixels);
    err_code_t code = strcmp(suffix, "png") == 0
                          ? prep_write_png(path, pixels, side, side, 3, err)
                          : prep_write_jpeg(path, pixels, side, side, 3, QUALITY, err);
    free(path);
    return code;
}

static err_code_t make_all(char **argv, err_t *err) {
    const char *folder = argv[2];
    uint32_t first = (uint32_t)strtoul(argv[3], NULL, 10);
    uint32_t end = first + (uint32_t)strtoul(argv[4], NULL, 10);
    int side = atoi(argv[5]);
    if (side < SYNTH_SIDE_MIN || side > SYNTH_SIDE_MAX)
        return err_set(err, ERR_USAGE, "SIDE: %d … %d", SYNTH_SIDE_MIN, SYNTH_SIDE_MAX);
    uint8_t *pixels = mem_alloc((size_t)side * (size_t)side * 3);
    err_code_t code = ERR_OK;
    for (int style = SYNTH_PHOTO; style <= SYNTH_COMIC && !code; style++) {
        char *path = fs_join(folder, style_names[style]);
        code = fs_mkdirs(path, err);
        for (uint32_t i = first; i < end && !code; i++)
            code = make_one(folder, i, (synth_style_t)style, side, argv[6], pixels, err);
        free(path);
    }
    free(pixels);
    return code;
}

// ---- running ----

typedef struct {
    ingest_options_t options;
    char *root, *first, *again; // of the versions
} bench_t;

// Ingests into out, which is removed again unless it is to be kept.
static err_code_t ingest(bench_t *bench, char *out, const char *previous, bool keep,
                         ingest_result_t *result, double *seconds, err_t *err) {
    bench->options.out = out;
    bench->options.previous = previous;
    int64_t begin_us = clock_mono_us();
    err_code_t code = ingest_run(&bench->options, NULL, NULL, result, err);
    *seconds = (double)(clock_mono_us() - begin_us) * 1e-6;
    if (!code && !keep && !result->unchanged)
        code = fs_remove_all(out, err);
    return code;
}

static err_code_t obey(bench_t *bench, const char *line, err_t *err) {
    ingest_result_t result = {0};
    double seconds = 0;
    err_code_t code;
    if (strcmp(line, "all\n") == 0)
        code = ingest(bench, bench->again, NULL, false, &result, &seconds, err);
    else if (strcmp(line, "again\n") == 0)
        code = ingest(bench, bench->again, bench->first, false, &result, &seconds, err);
    else
        code = err_set(err, ERR_USAGE, "unknown: %.40s", line);
    ingest_result_release(&result);
    if (!code) {
        printf("%.6f\n", seconds);
        fflush(stdout);
    }
    return code;
}

static err_code_t parse(int argc, char **argv, ingest_options_t *options, err_t *err) {
    ingest_options_init(options);
    options->folder = argv[2];
    options->name = "bench";
    for (int i = 3; i < argc; i++) {
        bool more = i + 1 < argc;
        if (strcmp(argv[i], "--color") == 0)
            options->recipe.channels = 3;
        else if (strcmp(argv[i], "--size") == 0 && more)
            options->recipe.size = atoi(argv[++i]);
        else if (strcmp(argv[i], "--threads") == 0 && more)
            options->threads = atoi(argv[++i]);
        else
            return err_set(err, ERR_USAGE, "unknown: %s", argv[i]);
    }
    return ERR_OK;
}

static err_code_t serve(bench_t *bench, err_t *err) {
    ingest_result_t result = {0};
    char line[LINE_SIZE];
    double seconds;
    err_code_t code = ingest(bench, bench->first, NULL, true, &result, &seconds, err);
    if (!code) {
        printf("{\"images\": %lld, \"rejected\": %lld}\n", (long long)result.images,
               (long long)result.rejected);
        fflush(stdout);
    }
    ingest_result_release(&result);
    while (!code && fgets(line, sizeof line, stdin))
        code = obey(bench, line, err);
    return code;
}

static err_code_t run(int argc, char **argv, err_t *err) {
    char root[] = "/tmp/inkling-bench-ingest-XXXXXX";
    bench_t bench = {.root = root};
    err_code_t code = parse(argc, argv, &bench.options, err);
    if (code)
        return code;
    if (!mkdtemp(root))
        return err_set_errno(err, "cannot make %s", root);
    bench.first = fs_join(root, "first");
    bench.again = fs_join(root, "again");
    code = serve(&bench, err);
    fs_remove_all(root, NULL);
    free(bench.first);
    free(bench.again);
    return code;
}

int main(int argc, char **argv) {
    bool make = argc == 7 && strcmp(argv[1], "make") == 0;
    err_t err;
    if (!make && (argc < 3 || strcmp(argv[1], "run") != 0)) {
        fprintf(stderr, "usage: ingest make DIR FIRST COUNT SIDE jpg|png | ingest run DIR …\n");
        return 2;
    }
    err_code_t code = prep_init(&err);
    if (!code)
        code = make ? make_all(argv, &err) : run(argc, argv, &err);
    if (code)
        fprintf(stderr, "ingest: %s\n", err.message);
    prep_shutdown();
    return code ? 1 : 0;
}
