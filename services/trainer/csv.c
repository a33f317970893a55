#include "trainer/csv.h"

#include <string.h>

void csv_field(FILE *stream, const char *text) {
    if (!strpbrk(text, ",\"\r\n")) {
        fputs(text, stream);
        return;
    }
    fputc('"', stream);
    for (; *text; text++) {
        if (*text == '"')
            fputc('"', stream);
        fputc(*text, stream);
    }
    fputc('"', stream);
}

void csv_next(FILE *stream) {
    fputc(',', stream);
}

void csv_end(FILE *stream) {
    fputs("\r\n", stream);
}
