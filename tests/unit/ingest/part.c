#include "part.h"
#include "base/fs.h"

#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

int part_start(const char *name, const tree_t *tree) {
    int status;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        execl("/proc/self/exe", "part", name, tree->root, NULL);
        _exit(4);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

int part_play(const part_t *parts, size_t count, const char *name, char *root) {
    tree_t tree = {root, fs_join(root, "source")};
    int status = 6;
    if (prep_init(NULL) != ERR_OK)
        return 7;
    for (size_t i = 0; i < count; i++)
        if (strcmp(parts[i].name, name) == 0)
            status = parts[i].play(&tree);
    prep_shutdown();
    free(tree.source);
    return status;
}
