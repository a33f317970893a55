// The dispatcher: the only owner of the state of jobs, and of the registry of data sets and models.
// It keeps everything in Redis, where each transition is one script; what it has in memory (who is
// connected, when a lease was last renewed) it learns anew after a start. README.md: keys,
// transitions, and why nothing is lost or done twice.
#ifndef INKLING_DISPATCHER_DISPATCHER_H
#define INKLING_DISPATCHER_DISPATCHER_H

int dispatcher_main(int argc, char **argv);

#endif
