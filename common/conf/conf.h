// Settings of a process: defaults, then <home>/inkling.conf, then INKLING_* variables, then
// options; later wins. And the places of a stack that follow from its home.
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
// file, wrong values and missing arguments are ERR_USAGE naming them and where they stand. home,
// dispatcher, gateway, blobs, redis, files and keys come out filled in (absolute). conf is to be released
// after success and after failure.
err_code_t conf_load(conf_t *conf, int *argc, char **argv, err_t *err);
// The same for one who needs only where the stack is: what is wrong in the file or the environment
// is left at its default, and *skipped tells the first of it (code ERR_OK: nothing is wrong).
err_code_t conf_load_lenient(conf_t *conf, int *argc, char **argv, err_t *skipped, err_t *err);
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

#endif
