// What the commands share: the call, the settings, the connection to the dispatcher.
#ifndef INKLING_CLI_CLI_IMPL_H
#define INKLING_CLI_CLI_IMPL_H

#include "call_impl.h"
#include "client/client.h"
#include "conf/conf.h"
#include "proto/json.h"
#include "say_impl.h"

#define CLI_PATIENCE_MS  10000 // for an answer, while the stack is up
#define CLI_ABSENT_MS    1500  // while it is not: somebody else may serve the socket
#define CLI_SETTINGS_MAX 64
#define CLI_STOPPED      130 // exit code when Ctrl-C ended the waiting

struct cli {
    call_t call;
    conf_t conf;
    client_t *dispatcher; // made at the first question
    bool has_key;         // the client's key is read
    proto_arena_t *arena; // for all answers
};

// Takes the client's key of the settings, if there is one and it is not taken yet.
err_code_t cli_keys(cli_t *cli, err_t *err);
// A client of a service, with the key of the settings if there is one.
err_code_t cli_connect(cli_t *cli, const char *endpoints, const char *service, client_t **client,
                       err_t *err);
// A question to the dispatcher. While it is away, or has no Redis, the question is repeated for
// CLI_PATIENCE_MS.
err_code_t cli_ask(cli_t *cli, proto_type_t type, const void *message, proto_type_t reply_type,
                   void *reply, err_t *err);
// One try of timeout_ms; ERR_CANCELLED once Ctrl-C was pressed (cli_catch_interrupts).
err_code_t cli_ask_once(cli_t *cli, proto_type_t type, const void *message, proto_type_t reply_type,
                        void *reply, int64_t timeout_ms, err_t *err);
// How long to wait for services of this home.
int64_t cli_patience_ms(const cli_t *cli);

// From here on Ctrl-C does not end the process but sets the flag.
void cli_catch_interrupts(void);
bool cli_interrupted(void);
const volatile bool *cli_interrupt_flag(void);

// "NAME" or "NAME@3" (version 0: none given). what: "data set" or "model".
err_code_t cli_reference(const char *text, const char *what, char name[PROTO_NAME_MAX + 1],
                         uint64_t *version, err_t *err);
// The same, and a version must be given.
err_code_t cli_reference_exact(const char *text, const char *what, char name[PROTO_NAME_MAX + 1],
                               uint64_t *version, err_t *err);

// An absolute path, malloc'ed, without asking the file system more than where we are.
char *cli_absolute(const char *path);
// Where a file goes that the user names: *to, malloc'ed, is absolute and no link, for a link stands
// for the file that it names. ERR_USAGE: a folder, a device or whatever else is no file stands
// there, and stays; or another error if its folder cannot be written. Known before anything comes.
err_code_t cli_place(const char *out, char **to, err_t *err);

#endif
