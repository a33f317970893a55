// The environment of children: this process' own, with every setting as it holds here, so that a
// child that reads its settings finds the same values.
#ifndef INKLING_WORKER_SETTINGS_IMPL_H
#define INKLING_WORKER_SETTINGS_IMPL_H

#include "conf/conf.h"

char **settings_environment(const conf_t *conf);
void settings_environment_free(char **env); // allows NULL

#endif
