// The table of commands and their options (verbs.def).
#ifndef INKLING_CLI_VERBS_IMPL_H
#define INKLING_CLI_VERBS_IMPL_H

#include "base/err.h"
#include "proto/messages.h"

typedef struct cli cli_t;

// Returns ERR_OK and leaves *exit_code or sets it; or an error, which the caller prints.
typedef err_code_t (*verb_fn)(cli_t *cli, int *exit_code, err_t *err);

typedef struct {
    const char *words; // "job show"
    verb_fn run;
    const char *arguments; // "ID"
    const char *hidden, *own, *about;
    int min, max;
    int message; // proto_type_t, or VERB_NONE
    bool submits;
} verb_t;

enum { VERB_NONE = -1 };

extern const verb_t verbs[];
extern const size_t verb_count;

typedef enum { OPTION_MESSAGE, OPTION_SUBMIT, OPTION_OWN, OPTION_SETTING } option_origin_t;

typedef struct {
    const proto_field_t *field; // its name has underscores, the option's dashes
    option_origin_t origin;
} option_t;

// The options of a command, in the order of help. index from 0 on; false behind the last.
bool verb_option(const verb_t *verb, size_t index, option_t *option);
// The words that the option takes, separated by spaces, or NULL.
const char *verb_choices(const verb_t *verb, const option_t *option);
// Is word one of those in list, separated by spaces?
bool verb_in_list(const char *list, const char *word);

// Is it about the stack of this host, whatever remote one is chosen?
bool verb_is_local(const verb_t *verb);
// Is it one of those that manage remote stacks, and ask none for themselves?
bool verb_is_about_stacks(const verb_t *verb);

// A bound or default, whole numbers with all their digits: 9007199254740992, 1e-12.
#define VERB_NUMBER_SIZE 32
void verb_number(double value, char text[VERB_NUMBER_SIZE]);

// The command whose words are the first of `words`; *used: how many (1 or 2). NULL: none.
const verb_t *verb_find(char *const *words, int count, int *used);
// Are there commands "WORD …"?
bool verb_is_group(const char *word);
// What people may have meant by the command `word`.
bool verb_guess(const char *word, char best[64]);

#define V(words, run, arguments, min, max, message, hidden, submits, own, about)                   \
    err_code_t run(cli_t *cli, int *exit_code, err_t *err);
#include "verbs.def"
CLI_VERBS(V)
#undef V

#endif
