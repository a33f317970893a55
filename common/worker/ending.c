#include "ending_impl.h"

#include "link/link.h"

#include <signal.h>
#include <string.h>
#include <sys/wait.h>

#define QUOTE_BYTES 3000 // of the last words; the rest of PROTO_TEXT_MAX is for the message

void ending_tail_add(ending_tail_t *tail, const char *bytes, size_t size) {
    if (size > ENDING_TAIL_BYTES) {
        tail->total += size - ENDING_TAIL_BYTES;
        bytes += size - ENDING_TAIL_BYTES;
        size = ENDING_TAIL_BYTES;
    }
    size_t at = tail->total % ENDING_TAIL_BYTES;
    size_t first = size < ENDING_TAIL_BYTES - at ? size : ENDING_TAIL_BYTES - at;
    memcpy(tail->bytes + at, bytes, first);
    memcpy(tail->bytes, bytes + first, size - first);
    tail->total += size;
}

// The newest QUOTE_BYTES; the first line only if it is whole.
static void read_tail(const ending_tail_t *tail, char text[QUOTE_BYTES + 1]) {
    size_t size = tail->total < QUOTE_BYTES ? tail->total : QUOTE_BYTES;
    size_t start = tail->total - size;
    for (size_t i = 0; i < size; i++) {
        char c = tail->bytes[(start + i) % ENDING_TAIL_BYTES];
        text[i] = (unsigned char)c < ' ' && c != '\n' && c != '\t' ? ' ' : c;
    }
    while (size > 0 && text[size - 1] == '\n')
        size--;
    text[size] = 0;
    char *line = start > 0 ? strchr(text, '\n') : NULL;
    if (line)
        memmove(text, line + 1, strlen(line + 1) + 1);
}

void ending_quote(const ending_tail_t *tail, buf_t *message) {
    char text[QUOTE_BYTES + 1];
    read_tail(tail, text);
    link_clean_text(text, QUOTE_BYTES);
    if (text[0])
        buf_printf(message, "; its last lines:\n%s", text);
}

void ending_describe(const char *program, int status, buf_t *message, buf_t *remedy) {
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) {
        buf_printf(message,
                   "%s was killed by signal 9, not by its worker: most likely memory ran out and "
                   "the kernel chose it",
                   program);
        buf_puts(remedy, "look for 'Out of memory' in dmesg or at the container's memory limit; "
                         "give more memory, or a smaller batch, image size or number of threads");
    } else if (WIFSIGNALED(status)) {
        buf_printf(message, "%s crashed with signal %d (%s)", program, WTERMSIG(status),
                   strsignal(WTERMSIG(status)));
        buf_puts(remedy, "this is a defect: report it with the last lines of the job's log");
    } else {
        buf_printf(message, "%s ended with exit status %d and without a result", program,
                   WEXITSTATUS(status));
        buf_puts(remedy, "this is a defect: report it with the last lines of the job's log");
    }
}
