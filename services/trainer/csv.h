// Fields of a CSV file as RFC 4180 has them.
#ifndef INKLING_TRAINER_CSV_H
#define INKLING_TRAINER_CSV_H

#include <stdio.h>

// In quotes if it holds a comma, a quote or the end of a line.
void csv_field(FILE *stream, const char *text);
void csv_next(FILE *stream); // a comma
void csv_end(FILE *stream);  // end of the row

#endif
