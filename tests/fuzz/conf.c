// The file of settings, and options: the part behind the first NUL is the arguments, one a line.
#include "conf/conf.h"
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

static void load(char *options) {
    char *argv[34] = {"fuzz"};
    int argc = 1;
    for (char *line; argc < 33 && (line = strsep(&options, "\n")) != NULL;)
        argv[argc++] = line;
    conf_t conf;
    err_t err;
    if (conf_load(&conf, &argc, argv, &err) == ERR_OK)
        ERR_ASSERT(conf.home[0] == '/' && conf.files[0] == '/' && conf.lease_ms >= 50);
    else
        ERR_ASSERT(err.code != ERR_OK && err.message[0]);
    conf_release(&conf);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const uint8_t *end = size ? memchr(data, 0, size) : NULL;
    size_t file_size = end ? (size_t)(end - data) : size;
    fuzz_file("inkling.conf", data, file_size);
    size_t left = end ? size - file_size - 1 : 0;
    char *options = mem_alloc(left + 1);
    if (left)
        memcpy(options, end + 1, left);
    options[left] = 0;
    load(options);
    free(options);
    return 0;
}

void fuzz_seeds(void) {
    static const char all[] = "# comment\n\nname = trainer-0\nlog_level=debug\nlease_ms = 5000\n"
                              "dispatcher = ipc:///tmp/a,tcp://127.0.0.1:5555\nslots=2\n"
                              "redis = 127.0.0.1:6379\nimage_pixels = 1000000000\n";
    static const char options[] =
        "slots = 1\n\0--slots\n3\n--log-format=json\nword\n--\n--lease-ms";
    setenv("INKLING_HOME", fuzz_folder(), 1);
    fuzz_seed(all, sizeof all - 1);
    fuzz_seed(options, sizeof options - 1);
    fuzz_seed("", 0);
}

void fuzz_end(void) {
    fuzz_remove_folder();
}
