#ifndef INKLING_HTTP_SERVER_IMPL_H
#define INKLING_HTTP_SERVER_IMPL_H

#include "http/http.h"

#define HTTP_URL_SIZE 80

// A socket that listens, non-blocking, and how clients reach it.
err_code_t http_listen(const char *address, int *fd, char url[HTTP_URL_SIZE], err_t *err);

#endif
