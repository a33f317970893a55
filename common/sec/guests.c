#include "base/log.h"
#include "file_impl.h"
#include "folder_impl.h"

#include <stdlib.h>
#include <string.h>

typedef struct {
    char name[SEC_NAME_MAX + 1], public_key[SEC_KEY_SIZE];
} guest_t;

typedef struct {
    guest_t *list;
    size_t count;
} reading_t;

struct sec_guests {
    folder_t folder;
    guest_t *list; // by name
    size_t count;
};

sec_guests_t *sec_guests_new(const char *folder) {
    sec_guests_t *guests = mem_zero(1, sizeof *guests);
    folder_init(&guests->folder, folder, "clients");
    return guests;
}

void sec_guests_destroy(sec_guests_t **self) {
    if (!*self)
        return;
    folder_release(&(*self)->folder);
    free((*self)->list);
    free(*self);
    *self = NULL;
}

static int by_name(const void *a, const void *b) {
    return strcmp(((const guest_t *)a)->name, ((const guest_t *)b)->name);
}

// What cannot be read lets nobody in, and is told.
static void read_guest(void *arg, const char *path, const char *file_name) {
    reading_t *reading = arg;
    key_file_t file;
    err_t err;
    (void)file_name;
    if (key_file_read(path, "guest", &file, &err) == ERR_OK) {
        reading->list = mem_grow(reading->list, (reading->count + 1) * sizeof *reading->list);
        guest_t *guest = &reading->list[reading->count++];
        memcpy(guest->name, file.name, sizeof guest->name);
        memcpy(guest->public_key, file.public_key, sizeof guest->public_key);
    } else {
        log_warn("%s; %s", err.message, err.remedy);
    }
}

static void refresh(sec_guests_t *guests, bool anew) {
    if (!folder_due(&guests->folder, anew))
        return;
    reading_t reading = {NULL, 0};
    if (!folder_each(&guests->folder, ".pub", read_guest, &reading)) { // then those of before hold
        free(reading.list);
        return;
    }
    free(guests->list);
    guests->list = reading.list;
    guests->count = reading.count;
    if (guests->count)
        qsort(guests->list, guests->count, sizeof *guests->list, by_name);
}

const char *sec_guests_find(sec_guests_t *guests, const char *public_key) {
    refresh(guests, false);
    for (size_t i = 0; i < guests->count; i++)
        if (strcmp(guests->list[i].public_key, public_key) == 0)
            return guests->list[i].name;
    return NULL;
}

size_t sec_guests_count(sec_guests_t *guests) {
    refresh(guests, true);
    return guests->count;
}

const char *sec_guests_at(const sec_guests_t *guests, size_t index) {
    return index < guests->count ? guests->list[index].name : NULL;
}
