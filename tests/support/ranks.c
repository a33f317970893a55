#include "ranks.h"

#include "base/clock.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ROUNDS = 32 };

typedef struct {
    atomic_int here;
    char name[32];
    size_t sizes[RANKS_MAX];
    char blobs[RANKS_MAX][COLL_BLOB_MAX];
} round_t;

// In shared memory.
typedef struct {
    atomic_bool over;
    round_t rounds[ROUNDS];
} hall_t;

struct ranks {
    int world;
    pid_t pids[RANKS_MAX];
    int status[RANKS_MAX]; // once the process has gone
    hall_t *hall;
};

void *ranks_shared(size_t size) {
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ERR_ASSERT(memory != MAP_FAILED);
    return memory;
}

void ranks_unshare(void *memory, size_t size) {
    munmap(memory, size);
}

static void be_rank(ranks_t *ranks, int rank, pid_t parent, ranks_fn run, void *arg) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(99);
    signal(SIGPIPE, SIG_IGN);
    ranks_me_t me = {.ranks = ranks, .rank = rank, .world = ranks->world};
    _exit(run(&me, arg));
}

ranks_t *ranks_start(int world, ranks_fn run, void *arg) {
    ERR_ASSERT(world >= 1 && world <= RANKS_MAX);
    ranks_t *ranks = mem_zero(1, sizeof *ranks);
    pid_t parent = getpid();
    ranks->world = world;
    ranks->hall = ranks_shared(sizeof *ranks->hall);
    for (int i = 0; i < world; i++) {
        ranks->pids[i] = fork();
        ERR_ASSERT(ranks->pids[i] >= 0);
        if (ranks->pids[i] == 0)
            be_rank(ranks, i, parent, run, arg);
    }
    return ranks;
}

pid_t ranks_pid(const ranks_t *ranks, int rank) {
    return ranks->pids[rank];
}

void ranks_signal(const ranks_t *ranks, int rank, int number) {
    if (ranks->pids[rank] > 0)
        kill(ranks->pids[rank], number);
}

int ranks_await(ranks_t *ranks, int rank, int64_t timeout_ms) {
    int64_t end = clock_mono_ms() + timeout_ms;
    while (ranks->pids[rank] > 0) {
        int status;
        pid_t ended = waitpid(ranks->pids[rank], &status, WNOHANG);
        if (ended == 0 && clock_mono_ms() > end)
            return -1;
        if (ended == 0) {
            clock_sleep_ms(1);
            continue;
        }
        ranks->pids[rank] = 0;
        ranks->status[rank] = WIFEXITED(status) ? WEXITSTATUS(status) : 100;
    }
    return ranks->status[rank];
}

void ranks_end_meeting(ranks_t *ranks) {
    atomic_store(&ranks->hall->over, true);
}

void ranks_stop(ranks_t **ranks) {
    for (int i = 0; i < (*ranks)->world; i++) {
        ranks_signal(*ranks, i, SIGKILL);
        ranks_await(*ranks, i, 10000);
    }
    ranks_unshare((*ranks)->hall, sizeof *(*ranks)->hall);
    free(*ranks);
    *ranks = NULL;
}

err_code_t ranks_meet(void *arg, const char *name, const void *data, size_t size, coll_blob_t *all,
                      err_t *err) {
    ranks_me_t *me = arg;
    hall_t *hall = me->ranks->hall;
    ERR_ASSERT(me->rounds < ROUNDS && size <= COLL_BLOB_MAX && strlen(name) < 32);
    round_t *round = &hall->rounds[me->rounds++];
    if (me->rank == 0)
        memcpy(round->name, name, strlen(name) + 1);
    round->sizes[me->rank] = size;
    memcpy(round->blobs[me->rank], data, size);
    atomic_fetch_add(&round->here, 1);
    while (atomic_load(&round->here) < me->world) {
        if (atomic_load(&hall->over))
            return err_set(err, ERR_CANCELLED, "the gang has ended");
        clock_sleep_ms(1);
    }
    ERR_ASSERT(strcmp(round->name, name) == 0);
    for (int i = 0; i < me->world; i++)
        all[i] = (coll_blob_t){round->blobs[i], round->sizes[i]};
    return ERR_OK;
}

err_code_t ranks_coll(ranks_me_t *me, int64_t deadline_ms, coll_t **coll, err_t *err) {
    coll_options_t options = {.kind = "auto",
                              .rank = me->rank,
                              .world = me->world,
                              .meet = ranks_meet,
                              .meet_arg = me,
                              .deadline_ms = deadline_ms};
    return coll_new(&options, coll, err);
}
