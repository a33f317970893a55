// Bodies of multipart/form-data: parts lie in the body, in order, and none is read twice.
//
//   0  size of Content-Type    1 …  Content-Type and body
#include "fuzz.h"
#include "http/http.h"

#include <stdlib.h>
#include <string.h>

typedef struct {
    const char *from, *end; // what is left of the body
} check_t;

static err_code_t on_part(void *arg, const http_part_t *part, err_t *err) {
    check_t *check = arg;
    (void)err;
    ERR_ASSERT(part->data >= check->from && part->size <= (size_t)(check->end - part->data));
    ERR_ASSERT(memchr(part->name, 0, sizeof part->name) &&
               memchr(part->file, 0, sizeof part->file));
    size_t sum = 0;
    for (size_t i = 0; i < part->size; i++)
        sum += (unsigned char)part->data[i];
    ERR_ASSERT(sum <= 255 * part->size);
    check->from = part->data + part->size;
    return ERR_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1 || data[0] > size - 1)
        return 0;
    char *type = mem_format("%.*s", (int)data[0], (const char *)data + 1);
    const char *body = (const char *)data + 1 + data[0], *end = (const char *)data + size;
    check_t check = {body, end};
    err_t err;
    err_code_t code = http_parts(type, body, (size_t)(end - body), on_part, &check, &err);
    ERR_ASSERT(code == ERR_OK || (code == ERR_INVALID && err.message[0] && err.remedy[0]));
    free(type);
    return 0;
}

static void seed(const char *type, const char *body) {
    char *input = mem_format("%c%s%s", (int)strlen(type), type, body);
    fuzz_seed(input, strlen(input));
    free(input);
}

void fuzz_seeds(void) {
    seed("multipart/form-data; boundary=b",
         "--b\r\nContent-Disposition: form-data; name=\"n\"; filename=\"f\"\r\nContent-Type: "
         "image/png\r\n\r\nabc\r\n--b\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\r\n--b--\r\n");
    seed("Multipart/Form-Data ; x=y; boundary=\"b;c\"",
         "preamble\r\n--b;c \t\r\nContent-Disposition: form-data; name=n; filename=\"a\\\"\\\\b\"; "
         "x\r\n\r\n\r\n--b\r\n\r\n--b;cd\r\n--b;c--epilogue");
}

void fuzz_end(void) {
}
