// Whether each class has enough images, and which files were refused.
#ifndef INKLING_INGEST_SIZES_IMPL_H
#define INKLING_INGEST_SIZES_IMPL_H

#include "scan_impl.h"

// ERR_INVALID if a class has too few files of outcome KEPT: fewer than INGEST_CLASS_IMAGES_MIN or
// than INGEST_CLASS_PERCENT of the largest. The message says what became of the class's other
// files, with an example; the remedy picks the other classes. seen says what was counted.
err_code_t sizes_check(const scan_classes_t *classes, const shard_index_t *files, const char *seen,
                       err_t *err);

// ERR_INVALID naming the first file that is REJECTED or in CONFLICT, if there is one. How many
// there are is said as far as files were read.
err_code_t sizes_check_strict(const shard_index_t *files, err_t *err);

// Counts REJECTED and CONFLICT files into result, and lists the first ones.
void sizes_list_refused(const shard_index_t *files, ingest_result_t *result);

#endif
