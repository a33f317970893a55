// Folders of small images for the tests of ingest, and what was made of them.
#ifndef TEST_INGEST_TREE_H
#define TEST_INGEST_TREE_H

#include "ingest/ingest.h"
#include "make.h"
#include "shard/index.h"

#define TREE_SIZE 8 // of the recipe used: height and width

typedef struct {
    char *root;   // everything below is removed by tree_end
    char *source; // root/source
} tree_t;

tree_t tree_begin(void);
void tree_end(tree_t *tree);

// Paths are below source; folders are made as needed. Images of equal content are the same bytes,
// others are not.
void tree_image(const tree_t *tree, const char *path, uint32_t content);
void tree_bytes(const tree_t *tree, const char *path, const void *bytes, size_t size);
void tree_file(const tree_t *tree, const char *path, file_t file);
void tree_remove(const tree_t *tree, const char *path);
// count images "folder/<first …>.png" of contents first …
void tree_class(const tree_t *tree, const char *folder, uint32_t first, int count);
// A tree of classes cats and dogs, count images each.
tree_t tree_two_classes(int count);
char *tree_path(const tree_t *tree, const char *path);

// Version `version` of data set "set" is to become root/v<version>, after the version before it
// (0: none).
ingest_options_t tree_options(const tree_t *tree, uint64_t version, uint64_t previous);
void tree_options_free(ingest_options_t *options);

// What a version holds, checked as a whole when it is opened: shards, index and result agree.
typedef struct {
    ingest_result_t result;
    shard_dataset_t *ds;
    shard_index_t index;
} made_t;

made_t tree_ingest(const ingest_options_t *options);
// Ingests the tree's next version with group_by.
made_t tree_version(const tree_t *tree, uint64_t version, uint64_t previous,
                    ingest_group_t group_by);
void made_free(made_t *made);
// Ingest must fail with code, and a message or remedy that has part in it; nothing may be left.
void tree_refused(const tree_t *tree, const ingest_options_t *options, err_code_t code,
                  const char *part);
// Names that begin with the version's in root, temporary ones included.
int tree_left_overs(const tree_t *tree, const ingest_options_t *options);

// The entry of a source file; fails without one.
const shard_entry_t *made_entry(const made_t *made, const char *path);

#endif
