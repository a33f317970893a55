// Settings of a process: defaults, then <home>/inkling.conf, then the file of the remote stack that
// it works with, if any, then INKLING_* variables, then options; later wins. And the places of a
// stack that follow from its home.
#ifndef INKLING_CONF_CONF_H
#define INKLING_CONF_CONF_H

#include "base/buf.h"
#include "base/err.h"
#include "conf/settings.def"

#include <stdint.h>

#define CONF_C_STR  char *
#define CONF_C_INT  int64_t
#define CONF_C_FLAG bool

typedef struct {
#define S(type, field, def, min, max, doc) CONF_C_##type field;
    CONF_SETTINGS(S)
#undef S
} conf_t;

// Reads everything. argv: the program's arguments; options of the table are taken out, the rest
// stays in order
// (*argc and argv are changed; argv[0] stays), "--" ends options and stays. Unknown keys of the
// file, wrong values and missing arguments are ERR_USAGE naming them and where they stand; a stack
// that nobody has added is ERR_NOT_FOUND. home, dispatcher, gateway, blobs, redis, files and keys
// come out filled in (absolute), stack as the name of a remote one or "". conf is to be released
// after success and after failure.
err_code_t conf_load(conf_t *conf, int *argc, char **argv, err_t *err);

typedef enum {
    CONF_STACK_GIVEN,   // INKLING_STACK or --stack; without them the one under home
    CONF_STACK_CURRENT, // without them the one of `inkling stack use`
    CONF_STACK_HOME     // the one under home; conf.stack comes out as it was given
} conf_stack_t;

// The same for a client. skipped: NULL, or for one who needs only where the stack is: then what is
// wrong in inkling.conf or the environment is left at its default, and *skipped tells the first of
// it (code ERR_OK: nothing is wrong).
err_code_t conf_load_client(conf_t *conf, conf_stack_t which, int *argc, char **argv,
                            err_t *skipped, err_t *err);
void conf_release(conf_t *conf);

// "  --lease-ms N   INKLING_LEASE_MS   a lease not … (default 15000)" for all settings.
void conf_help(buf_t *out);

// Folder of sockets: <home>/run, or a short private one under the system's temporary folder when
// that would be too long for a socket address, or has a space, a comma or a control character: the
// sockets below it can be listed with commas between them. Malloc'ed; not created.
char *conf_run_folder(const char *home);
// "ipc://<run folder>/<name>.sock"; malloc'ed.
char *conf_endpoint(const char *home, const char *name);
// "ipc://<run folder>/<name>.ctl": a service's own socket for status, metrics and drain; malloc'ed.
char *conf_control_endpoint(const char *home, const char *name);
// Makes home and its run folder (0700; refuses a run folder that belongs to somebody else).
err_code_t conf_make_home(const char *home, err_t *err);

// Remote stacks that this home knows:
//   <home>/stacks/NAME         key = value: dispatcher, gateway, blobs, and client_key, where a
//                              relative path is one below <home>/stacks
//   <home>/stacks/NAME.key     the key with which to connect
//   <home>/stacks/NAME.files/  copies of that stack's files on this host
//   <home>/stacks/current      name of the one that the command line means where none is given
#define CONF_STACK_LOCAL    "local" // the name of the stack under home
#define CONF_STACK_NAME_MAX 48

// 1 … CONF_STACK_NAME_MAX of [A-Za-z0-9_-], beginning with none of "_-": ERR_USAGE. So no name is
// that of another stack's key.
err_code_t conf_stack_check(const char *name, err_t *err);
// "<home>/stacks/<name><suffix>"; malloc'ed.
char *conf_stack_path(const char *home, const char *name, const char *suffix);
// Reads the file of that stack alone: home, stack, the addresses, client_key and files; the rest is
// at its default. conf is to be released after success and after failure.
err_code_t conf_stack_read(const char *home, const char *name, conf_t *conf, err_t *err);
// The name in the file `current`; malloc'ed; NULL: the one under home.
char *conf_stack_current(const char *home);

#endif
