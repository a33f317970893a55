// Collectives between real processes: right sums, the same bits everywhere, and an end in time when
// a rank dies, stops, or gives up.
#include "coll/coll.h"
#include "test_ranks/ranks.h"

#include "base/clock.h"

#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

// MANY: more doubles than one gather takes.
enum { FAILED = 90, WAIT_MS = 60000, NUMBERS = 300007, MANY = COLL_SMALL_MAX / 8 + 1 };

// What ranks tell the test.
typedef struct {
    atomic_int ready;
    uint64_t sums[2][RANKS_MAX]; // of the bits of results, of two runs
    int run;
    atomic_int codes[RANKS_MAX];
    _Atomic double seconds[RANKS_MAX]; // from asking for the operation to its failure
    char text[RANKS_MAX][256];
    int64_t deadline_ms;
} told_t;

static told_t *told;

static int set_up(void **state) {
    (void)state;
    told = ranks_shared(sizeof *told);
    told->deadline_ms = 1500;
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    ranks_unshare(told, sizeof *told);
    return 0;
}

#define NEED(condition)                                                                            \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "rank %d, %s:%d: %s (%s)\n", me->rank, __FILE__, __LINE__, #condition, \
                    err.message);                                                                  \
            return FAILED;                                                                         \
        }                                                                                          \
    } while (0)

static void assert_all(ranks_t *ranks, int world, int expected) {
    for (int i = 0; i < world; i++)
        assert_int_equal(ranks_await(ranks, i, WAIT_MS), expected);
}

static float number(int rank, size_t i) {
    return sinf((float)i * 0.37f + (float)rank) * (float)(1 + i % 7);
}

static uint64_t digest(const void *data, size_t size) {
    uint64_t hash = 1469598103934665603u; // FNV-1a
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ ((const unsigned char *)data)[i]) * 1099511628211u;
    return hash;
}

// ---- right ----

static int check_operations(ranks_me_t *me, coll_t *coll, size_t count) {
    err_t err = {.message = ""};
    float *data = malloc((count + 1) * sizeof *data);
    for (size_t i = 0; i < count; i++)
        data[i] = number(me->rank, i);
    NEED(coll_sum(coll, data, count, &err) == ERR_OK);
    for (size_t i = 0; i < count; i++) {
        double right = 0;
        for (int r = 0; r < me->world; r++)
            right += (double)number(r, i);
        NEED(fabs((double)data[i] - right) <= 1e-5 * (1 + fabs(right)));
    }
    told->sums[told->run][me->rank] ^= digest(data, count * sizeof *data);

    if (me->rank != me->world - 1)
        memset(data, 0, count * sizeof *data);
    NEED(coll_broadcast(coll, data, count * sizeof *data, me->world - 1, &err) == ERR_OK);
    told->sums[told->run][me->rank] ^= digest(data, count * sizeof *data) << 1;
    free(data);
    return 0;
}

static int operate(ranks_me_t *me, void *arg) {
    (void)arg;
    static const size_t counts[] = {0, 1, 2, 3, 5, 1000, NUMBERS, 1 << 20};
    err_t err = {.message = ""};
    coll_t *coll;
    NEED(ranks_coll(me, 0, &coll, &err) == ERR_OK);
    NEED(strcmp(coll_kind(coll), me->world == 1 ? "local" : "gloo") == 0);
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        if (check_operations(me, coll, counts[i]))
            return FAILED;
    double small[3] = {me->rank + 1, 1e-3 * me->rank, me->rank == 0 ? NAN : 1};
    NEED(coll_sum_doubles(coll, small, 3, &err) == ERR_OK);
    NEED(small[0] == me->world * (me->world + 1) / 2.0 && isnan(small[2]));
    double *many = malloc(MANY * sizeof *many);
    for (int i = 0; i < MANY; i++)
        many[i] = i + me->rank;
    NEED(coll_sum_doubles(coll, many, MANY, &err) == ERR_OK);
    for (int i = 0; i < MANY; i++)
        NEED(many[i] == i * me->world + me->world * (me->world - 1) / 2.0);
    int mine = 7 * me->rank, all[RANKS_MAX];
    NEED(coll_gather(coll, many, COLL_SMALL_MAX + 1, all, &err) == ERR_TOO_LARGE);
    free(many);
    NEED(coll_gather(coll, &mine, sizeof mine, all, &err) == ERR_OK);
    for (int r = 0; r < me->world; r++)
        NEED(all[r] == 7 * r);
    for (int i = 0; i < 200; i++)
        NEED(coll_barrier(coll, &err) == ERR_OK);
    coll_stats_t stats = coll_stats(coll);
    NEED(stats.operations == 14 + 2 + 2 + 200);
    NEED(stats.seconds > 0 && stats.bytes > 2 * (1 << 20) * sizeof(float));
    coll_destroy(&coll);
    return 0;
}

static void gives_right_sums_and_the_same_bits(void **state) {
    (void)state;
    for (int world = 1; world <= 4; world++) {
        memset(told->sums, 0, sizeof told->sums);
        for (told->run = 0; told->run < 2; told->run++) {
            ranks_t *ranks = ranks_start(world, operate, NULL);
            assert_all(ranks, world, 0);
            ranks_stop(&ranks);
        }
        for (int i = 0; i < world; i++) {
            assert_true(told->sums[0][i] == told->sums[0][0]);
            assert_true(told->sums[1][i] == told->sums[0][0]);
        }
    }
}

// ---- ends ----

// Sums until one fails; tells how and when.
static int go_round(ranks_me_t *me, void *arg) {
    (void)arg;
    err_t err = {.message = ""};
    coll_t *coll;
    NEED(ranks_coll(me, told->deadline_ms, &coll, &err) == ERR_OK);
    float *data = calloc(NUMBERS, sizeof *data);
    for (int i = 0;; i++) {
        int64_t start = clock_mono_us();
        if (i == 20)
            atomic_fetch_add(&told->ready, 1);
        err_code_t code = coll_sum(coll, data, NUMBERS, &err);
        if (code) {
            told->seconds[me->rank] = (double)(clock_mono_us() - start) / 1e6;
            told->codes[me->rank] = (int)code;
            snprintf(told->text[me->rank], sizeof told->text[0], "%.255s", err.message);
            NEED(coll_barrier(coll, &err) == code); // a failure is final
            break;
        }
        coll_step(coll, (clock_mono_us() - start) / 1000);
    }
    coll_destroy(&coll);
    free(data);
    return 1;
}

static ranks_t *start_rounds(int world) {
    ranks_t *ranks = ranks_start(world, go_round, NULL);
    for (int i = 0; i < WAIT_MS && atomic_load(&told->ready) < world; i++)
        clock_sleep_ms(1);
    assert_int_equal(atomic_load(&told->ready), world);
    return ranks;
}

static void a_killed_rank_is_noticed_at_once(void **state) {
    (void)state;
    for (int world = 2; world <= 4; world++) {
        memset(told, 0, sizeof *told);
        told->deadline_ms = 20000;
        ranks_t *ranks = start_rounds(world);
        int64_t start = clock_mono_ms();
        ranks_signal(ranks, 1, SIGKILL);
        for (int i = 0; i < world; i++)
            if (i != 1)
                assert_int_equal(ranks_await(ranks, i, WAIT_MS), 1);
        int64_t took = clock_mono_ms() - start;
        print_message("%d ranks: the others ended %d ms after one was killed: %s\n", world,
                      (int)took, told->text[0]);
        assert_true(took < 1000);
        for (int i = 0; i < world; i++)
            if (i != 1 && told->codes[i] != ERR_UNAVAILABLE)
                fail_msg("rank %d: code %d, %s", i, told->codes[i], told->text[i]);
        ranks_stop(&ranks);
    }
}

static void a_stopped_rank_is_noticed_at_the_deadline(void **state) {
    (void)state;
    ranks_t *ranks = start_rounds(3);
    ranks_signal(ranks, 2, SIGSTOP);
    assert_int_equal(ranks_await(ranks, 0, WAIT_MS), 1);
    assert_int_equal(ranks_await(ranks, 1, WAIT_MS), 1);
    print_message("%s\n%s\n", told->text[0], told->text[1]);
    bool late = told->codes[0] == ERR_TIMEOUT || told->codes[1] == ERR_TIMEOUT;
    assert_true(late); // the other may have been told by its closed connection
    for (int i = 0; i < 2; i++) {
        assert_true(told->seconds[i] > 1.4 && told->seconds[i] < 3.5);
        assert_true(told->codes[i] == ERR_TIMEOUT || told->codes[i] == ERR_UNAVAILABLE);
    }
    // Woken, it finds its connections closed, or its own deadline passed.
    ranks_signal(ranks, 2, SIGCONT);
    assert_int_equal(ranks_await(ranks, 2, WAIT_MS), 1);
    assert_true(told->codes[2] == ERR_UNAVAILABLE || told->codes[2] == ERR_TIMEOUT);
    ranks_stop(&ranks);
}

// ---- abort ----

static void *abort_soon(void *arg) {
    clock_sleep_ms(300);
    coll_abort(arg);
    return NULL;
}

// Rank 0 waits for the last rank, which does not come, until another thread aborts.
static int abort_waiting(ranks_me_t *me, void *arg) {
    (void)arg;
    err_t err = {.message = ""};
    coll_t *coll;
    float data[1000] = {0};
    NEED(ranks_coll(me, 30000, &coll, &err) == ERR_OK);
    NEED(coll_barrier(coll, &err) == ERR_OK);
    if (me->rank == me->world - 1) {
        clock_sleep_ms(1500);
        NEED(coll_barrier(coll, &err) == ERR_UNAVAILABLE);
        coll_destroy(&coll);
        return 1;
    }
    pthread_t thread;
    int64_t start = clock_mono_ms();
    if (me->rank == 0)
        pthread_create(&thread, NULL, abort_soon, coll);
    err_code_t code = told->run == 0 ? coll_sum(coll, data, 1000, &err) : coll_barrier(coll, &err);
    told->seconds[me->rank] = (double)(clock_mono_ms() - start) / 1e3;
    NEED(code == (me->rank == 0 ? ERR_CANCELLED : ERR_UNAVAILABLE));
    if (me->rank == 0) {
        pthread_join(thread, NULL);
        coll_abort(coll); // harmless
        NEED(coll_sum(coll, data, 1000, &err) == ERR_CANCELLED);
    }
    coll_destroy(&coll);
    return 1;
}

static void an_abort_from_another_thread_ends_what_waits(void **state) {
    (void)state;
    for (told->run = 0; told->run < 2; told->run++)
        for (int world = 2; world <= 3; world++) {
            ranks_t *ranks = ranks_start(world, abort_waiting, NULL);
            assert_all(ranks, world, 1);
            ranks_stop(&ranks);
            for (int i = 0; i < world - 1; i++)
                assert_true(told->seconds[i] > 0.2 && told->seconds[i] < 1.2);
        }
}

// ---- the rendezvous ----

static int meet_in_vain(ranks_me_t *me, void *arg) {
    (void)arg;
    err_t err = {.message = ""};
    coll_t *coll;
    if (me->rank == 1)
        return 1; // never comes
    NEED(ranks_coll(me, 0, &coll, &err) == ERR_CANCELLED);
    NEED(coll == NULL);
    return 1;
}

static void a_rendezvous_that_ends_is_an_error(void **state) {
    (void)state;
    ranks_t *ranks = ranks_start(2, meet_in_vain, NULL);
    assert_int_equal(ranks_await(ranks, 1, WAIT_MS), 1);
    assert_int_equal(ranks_await(ranks, 0, 200), -1);
    ranks_end_meeting(ranks);
    assert_int_equal(ranks_await(ranks, 0, WAIT_MS), 1);
    ranks_stop(&ranks);
}

// A rank of another version greets with another word.
static err_code_t meet_as_other(void *arg, const char *round, const void *data, size_t size,
                                coll_blob_t *all, err_t *err) {
    char *changed = malloc(size);
    memcpy(changed, data, size);
    changed[0] = 'x';
    err_code_t code = ranks_meet(arg, round, changed, size, all, err);
    free(changed);
    return code;
}

static int mix_builds(ranks_me_t *me, void *arg) {
    (void)arg;
    err_t err = {.message = ""};
    coll_t *coll;
    const coll_options_t options = {.kind = "gloo",
                                    .rank = me->rank,
                                    .world = me->world,
                                    .meet = me->rank == 1 ? meet_as_other : ranks_meet,
                                    .meet_arg = me};
    NEED(coll_new(&options, &coll, &err) == ERR_UNSUPPORTED);
    NEED(strstr(err.message, "another build") && err.remedy[0]);
    return 1;
}

static void ranks_of_other_builds_are_refused(void **state) {
    (void)state;
    ranks_t *ranks = ranks_start(2, mix_builds, NULL);
    assert_all(ranks, 2, 1);
    ranks_stop(&ranks);
}

static int use_wrong_options(ranks_me_t *me, void *arg) {
    (void)arg;
    err_t err = {.message = ""};
    coll_t *coll;
    coll_options_t options = {.kind = "auto", .rank = 2, .world = 2, .meet = ranks_meet};
    NEED(coll_new(&options, &coll, &err) == ERR_INVALID && strstr(err.message, "rank is 2"));
    options.world = 0;
    NEED(coll_new(&options, &coll, &err) == ERR_INVALID && strstr(err.message, "world is 0"));
    options = (coll_options_t){.kind = "smoke", .rank = 0, .world = 2, .meet = ranks_meet};
    NEED(coll_new(&options, &coll, &err) == ERR_UNSUPPORTED && strstr(err.message, "smoke"));
    options.kind = "local";
    NEED(coll_new(&options, &coll, &err) == ERR_INVALID && strstr(err.message, "local"));
    options = (coll_options_t){
        .kind = "gloo", .rank = 0, .world = 2, .meet = ranks_meet, .address = "192.0.2.77"};
    NEED(coll_new(&options, &coll, &err) != ERR_OK && strstr(err.message, "192.0.2.77"));
    return 1;
}

static void wrong_options_are_named(void **state) {
    (void)state;
    ranks_t *ranks = ranks_start(1, use_wrong_options, NULL);
    assert_all(ranks, 1, 1);
    ranks_stop(&ranks);
}

static void the_deadline_follows_the_steps(void **state) {
    (void)state;
    coll_t *coll;
    err_t err;
    const coll_options_t options = {.kind = "auto", .rank = 0, .world = 1};
    assert_int_equal(coll_new(&options, &coll, &err), ERR_OK);
    assert_int_equal(coll_deadline_ms(coll), COLL_WARM_MS); // before the first steps
    coll_step(coll, 9000);
    assert_int_equal(coll_deadline_ms(coll), 45000);
    for (int i = 0; i < 65; i++)
        coll_step(coll, 100);
    assert_int_equal(coll_deadline_ms(coll), 45000);
    for (int i = 0; i < 65; i++)
        coll_step(coll, 100);
    assert_int_equal(coll_deadline_ms(coll), COLL_DEADLINE_MS); // forgotten
    coll_step(coll, 1700);
    assert_int_equal(coll_deadline_ms(coll), 8500);
    coll_step(coll, 3600 * 1000);
    assert_int_equal(coll_deadline_ms(coll), COLL_DEADLINE_MAX_MS);
    coll_destroy(&coll);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(gives_right_sums_and_the_same_bits, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_killed_rank_is_noticed_at_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_stopped_rank_is_noticed_at_the_deadline, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(an_abort_from_another_thread_ends_what_waits, set_up,
                                        tear_down),
        cmocka_unit_test(a_rendezvous_that_ends_is_an_error),
        cmocka_unit_test(ranks_of_other_builds_are_refused),
        cmocka_unit_test(wrong_options_are_named),
        cmocka_unit_test(the_deadline_follows_the_steps),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
