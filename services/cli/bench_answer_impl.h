// Between the readers of answers: what fills a reading.
#ifndef INKLING_CLI_BENCH_ANSWER_IMPL_H
#define INKLING_CLI_BENCH_ANSWER_IMPL_H

#include "bench_impl.h"

void bench_put_error(bench_reading_t *reading, const char *kind, const char *message);
// ERR_PROTOCOL: other images of the same answer have another one.
err_code_t bench_put_version(bench_reading_t *reading, const char *model, uint64_t version,
                             err_t *err);
// numbers: the probabilities that the answer has of that image.
void bench_put_row(bench_reading_t *reading, size_t row, const char *label, const void *numbers,
                   size_t size);
err_code_t bench_wrong_count(size_t got, size_t wanted, err_t *err);

// --- bench_answer_http.c
err_code_t bench_read_http(bench_form_t form, size_t images, const load_answer_t *answer,
                           bench_reading_t *reading, err_t *err);

#endif
