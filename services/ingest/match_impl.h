// Copies and contradictions among the files that were read, and which images belong together.
#ifndef INKLING_INGEST_MATCH_IMPL_H
#define INKLING_INGEST_MATCH_IMPL_H

#include "ingest/ingest.h"
#include "shard/index.h"

// Of byte-identical KEPT files of one class all but the first by path become DUPLICATE; under
// several labels all become CONFLICT, with a reason. What is still KEPT gets its group: images of
// the same group go into one split.
void match_files(ingest_group_t group_by, shard_index_t *files);

#endif
