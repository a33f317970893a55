// What a search may choose, from a file: definitions as --param has them, one a line; # begins a
// comment.
#ifndef INKLING_CLI_SPACE_FILE_IMPL_H
#define INKLING_CLI_SPACE_FILE_IMPL_H

#include "cli_impl.h"

// Puts the definitions of the file that --space names into the body, if it was given; those of
// --param replace them by name, or come behind. ERR_USAGE: together they are no space; names file
// and line, or the option.
err_code_t space_file_body(const cli_t *cli, json_t *body, err_t *err);

#endif
