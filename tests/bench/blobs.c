// What tests/bench/upload measures of common/blob: one large file goes to the blobs service, and
// comes back.
//
//   blobs put ENDPOINT KEY|- FILE      prints its digest, and how many bytes were sent
//   blobs get ENDPOINT KEY|- DIGEST TO
#include "base/err.h"
#include "blob/blob.h"
#include "bus/bus.h"

#include <stdio.h>
#include <string.h>

#define PATIENCE_MS 60000

static err_code_t put(blob_t *blob, const char *path, err_t *err) {
    char digest[DIGEST_HEX_SIZE];
    uint64_t sent = 0;
    err_code_t code = digest_file(path, digest, NULL, err);
    if (code == ERR_OK)
        code = blob_put_file(blob, path, digest, &sent, err);
    if (code == ERR_OK)
        code = blob_sync(blob, err);
    if (code == ERR_OK)
        printf("%s %llu\n", digest, (unsigned long long)sent);
    return code;
}

static err_code_t run(int count, char **words, err_t *err) {
    blob_t *blob = NULL;
    const blob_options_t options = {.endpoint = words[2], .patience_ms = PATIENCE_MS};
    bool putting = strcmp(words[1], "put") == 0;
    if ((!putting && count != 6) || (!putting && !blob_digest_valid(words[4])))
        return err_set(err, ERR_USAGE, "get ENDPOINT KEY|- DIGEST TO");
    err_code_t code = strcmp(words[3], "-") == 0 ? ERR_OK : bus_keys_connect(words[3], err);
    if (code == ERR_OK)
        code = blob_open(&options, &blob, err);
    if (code == ERR_OK)
        code =
            putting ? put(blob, words[4], err) : blob_get_file(blob, words[4], NULL, words[5], err);
    blob_close(&blob);
    bus_keys_end();
    return code;
}

int main(int count, char **words) {
    err_t err;
    if (count < 5) {
        fprintf(stderr, "usage: blobs put|get ENDPOINT KEY|- FILE|DIGEST [TO]\n");
        return 2;
    }
    if (run(count, words, &err) == ERR_OK)
        return 0;
    fprintf(stderr, "%s: %s\n", err_name(err.code), err.message);
    return 1;
}
