// What the command line prints: answers on stdout, errors and progress on stderr; with --json one
// document on stdout.
#ifndef INKLING_CLI_SAY_IMPL_H
#define INKLING_CLI_SAY_IMPL_H

#include "base/buf.h"
#include "base/err.h"

#include <jansson.h>
#include <stdio.h>

typedef enum { SAY_PLAIN, SAY_BOLD, SAY_DIM, SAY_GOOD, SAY_BAD, SAY_WARN } say_style_t;

void say_setup(bool json);
bool say_is_json(void);
bool say_terminal(FILE *stream);
// Escape sequence that begins a style on that stream, or "" (no terminal, NO_COLOR); SAY_PLAIN ends
// it.
const char *say_style(FILE *stream, say_style_t style);
say_style_t say_state_style(const char *state); // of jobs and workers

// Prints the document; takes the reference.
void say_json(json_t *document);
// The document as text, to be freed (flags: jansson's): numbers are the shortest that are read back
// equal, where jansson has 17 digits of each or too few. NULL: no memory.
char *say_dump(const json_t *document, size_t flags);
void say_real(buf_t *out, double value); // such a number; a whole one without a point
// A text is an answer too: printed as it is, or with --json as {key: text}.
void say_answer(const char *key, const buf_t *text);
// err on stderr, and with --json as {"error": {…}} together with what `more` has (may be NULL).
// Returns the exit code for it.
int say_error(const err_t *err, const json_t *more);
int say_exit_code(err_code_t code);
// Nothing more will be said. Returns the exit code: that one, or one of its own if it was 0 and
// stdout could not take all of the answer, which is told on stderr.
int say_end(int exit_code);
// "inkling: warning: …" on stderr, with --json too: nothing has failed.
void say_warning(const err_t *err);
json_t *say_error_json(const char *code, const char *message, const char *remedy);

// Text for people: control characters are shown as \xNN.
void say_text(buf_t *out, const char *text);
void say_duration(double ms, char text[32]);    // "1.2 s", "3 min 20 s", "2 d 3 h"
void say_when(uint64_t wall_ms, char text[32]); // "2026-01-31 12:00:00", local time
void say_number(double value, char text[32]);   // "0.9831", "12"
// A member of a document: "text", "0.12", "a, b" of a list, "epoch 3  loss 0.1" of an object.
void say_value(buf_t *out, const json_t *value);
// The members of an object in their order, except empty ones and those in `but`, separated by
// spaces.
void say_pairs(buf_t *out, const json_t *object, const char *but);
// Bytes that are no UTF-8 become \xHH: a new string.
json_t *say_json_text(const char *bytes);

#endif
