#ifndef INKLING_LISTING_LISTING_IMPL_H
#define INKLING_LISTING_LISTING_IMPL_H

#include "listing/listing.h"

// Appends the file, which is the listing's from then on; room: how many there is memory for.
void listing_append(listing_t *listing, size_t *room, const listing_file_t *file);

bool listing_is_digest(const char *text);

#endif
