// The command line: reads the arguments, calls the verb, prints what came of it.
//
// Exit codes: 0 done, 1 the job or some images failed, 2 wrong usage, 3 not found, 4 a service is
// away or refuses as full, 130 following was stopped with Ctrl-C.
#ifndef INKLING_CLI_CLI_H
#define INKLING_CLI_CLI_H

int cli_main(int argc, char **argv);

#endif
