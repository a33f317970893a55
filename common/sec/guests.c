#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "file_impl.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

// A folder's time stamp is coarse: while it is so young, another file may come under the same one.
#define SETTLED_S 1
#define AGAIN_MS  100 // until then it is read again, but not more often

typedef struct {
    char name[SEC_NAME_MAX + 1], public_key[SEC_KEY_SIZE];
} guest_t;

struct sec_guests {
    char *folder;
    guest_t *list; // by name
    size_t count;
    struct timespec changed; // the folder's time stamp when it was read
    bool settled;            // it was old enough then
    int64_t read_ms;
};

sec_guests_t *sec_guests_new(const char *folder) {
    sec_guests_t *guests = mem_zero(1, sizeof *guests);
    guests->folder = fs_join(folder, "clients");
    guests->read_ms = -AGAIN_MS;
    return guests;
}

void sec_guests_destroy(sec_guests_t **self) {
    if (!*self)
        return;
    free((*self)->folder);
    free((*self)->list);
    free(*self);
    *self = NULL;
}

static int by_name(const void *a, const void *b) {
    return strcmp(((const guest_t *)a)->name, ((const guest_t *)b)->name);
}

// What cannot be read lets nobody in, and is told.
static void read_guest(sec_guests_t *guests, const char *file_name) {
    key_file_t file;
    err_t err;
    char *path = fs_join(guests->folder, file_name);
    if (key_file_read(path, "guest", &file, &err) == ERR_OK) {
        guests->list = mem_grow(guests->list, (guests->count + 1) * sizeof *guests->list);
        guest_t *guest = &guests->list[guests->count++];
        memcpy(guest->name, file.name, sizeof guest->name);
        memcpy(guest->public_key, file.public_key, sizeof guest->public_key);
    } else {
        log_warn("%s; %s", err.message, err.remedy);
    }
    free(path);
}

static void read_folder(sec_guests_t *guests) {
    struct dirent *entry;
    DIR *folder = opendir(guests->folder);
    guests->count = 0;
    while (folder && (entry = readdir(folder)) != NULL) {
        size_t size = strlen(entry->d_name);
        if (entry->d_name[0] != '.' && size > 4 && strcmp(entry->d_name + size - 4, ".pub") == 0)
            read_guest(guests, entry->d_name);
    }
    if (folder)
        closedir(folder);
    if (guests->count)
        qsort(guests->list, guests->count, sizeof *guests->list, by_name);
}

static void refresh(sec_guests_t *guests, bool anew) {
    struct stat info = {0};
    int64_t now = clock_mono_ms();
    stat(guests->folder, &info);
    bool same = info.st_mtim.tv_sec == guests->changed.tv_sec &&
                info.st_mtim.tv_nsec == guests->changed.tv_nsec;
    if (!anew && same && (guests->settled || now - guests->read_ms < AGAIN_MS))
        return;
    guests->changed = info.st_mtim;
    guests->settled = time(NULL) - info.st_mtim.tv_sec > SETTLED_S;
    guests->read_ms = now;
    read_folder(guests);
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
