#include "load/load.h"

#include "base/clock.h"
#include "bus/parcel.h"
#include "load/schedule.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define TICK_MS       20  // how exactly requests are given up
#define SENDS_A_ROUND 256 // then answers are read
#define OPEN_LEAST    1024
#define NONE          UINT32_MAX
#define INDEX_BITS    20
#define NS_A_MS       1000000

typedef enum { SLOT_FREE, SLOT_WAITING, SLOT_SENT } slot_state_t;

// A request without an end. Its ticket names the slot and counts its uses, so that an answer that
// comes too late finds no other request.
typedef struct {
    int64_t due_ns;
    uint32_t next, previous, generation, request;
    slot_state_t state;
} slot_t;

// In the order of their times.
typedef struct {
    uint32_t first, last;
} list_t;

struct load {
    load_plan_t plan;
    load_judge_fn judge;
    void *arg;
    bus_loop_t *loop;
    load_wire_t *wire;
    load_result_t *result;
    schedule_t schedule;
    slot_t *slots;
    uint32_t slot_room, slot_fresh, free, open;
    list_t waiting, sent;
    int64_t begin_ns, measure_ns, end_ns, next_ns; // next_ns: when the schedule's next one is due
    size_t next_request;
    int timer;
    bool over; // no more requests begin
};

_Static_assert(LOAD_OPEN_MAX >> INDEX_BITS <= 1, "a ticket names every slot");

// --- Slots

static uint64_t ticket_of(const load_t *load, uint32_t index) {
    return BUS_PARCEL_ID_MIN + ((uint64_t)load->slots[index].generation << INDEX_BITS | index);
}

static uint32_t slot_of(const load_t *load, uint64_t ticket) {
    uint32_t index = (uint32_t)(ticket - BUS_PARCEL_ID_MIN) & ((1u << INDEX_BITS) - 1);
    bool known = ticket >= BUS_PARCEL_ID_MIN && index < load->slot_fresh &&
                 load->slots[index].state == SLOT_SENT && ticket_of(load, index) == ticket;
    return known ? index : NONE;
}

static void list_add(load_t *load, list_t *list, uint32_t index) {
    slot_t *slot = &load->slots[index];
    slot->next = NONE;
    slot->previous = list->last;
    if (list->last != NONE)
        load->slots[list->last].next = index;
    else
        list->first = index;
    list->last = index;
}

static void list_take(load_t *load, list_t *list, uint32_t index) {
    const slot_t *slot = &load->slots[index];
    if (slot->previous != NONE)
        load->slots[slot->previous].next = slot->next;
    else
        list->first = slot->next;
    if (slot->next != NONE)
        load->slots[slot->next].previous = slot->previous;
    else
        list->last = slot->previous;
}

static uint32_t slot_take(load_t *load, int64_t due_ns) {
    uint32_t index = load->free;
    if (index != NONE)
        load->free = load->slots[index].next;
    else if (load->slot_fresh < load->slot_room)
        index = load->slot_fresh++;
    else
        return NONE;
    slot_t *slot = &load->slots[index];
    slot->due_ns = due_ns;
    slot->request = (uint32_t)load->next_request;
    load->next_request = (load->next_request + 1) % load->plan.requests;
    load->open++;
    return index;
}

static void slot_give(load_t *load, uint32_t index) {
    slot_t *slot = &load->slots[index];
    if (slot->state == SLOT_WAITING)
        list_take(load, &load->waiting, index);
    else if (slot->state == SLOT_SENT)
        list_take(load, &load->sent, index);
    slot->state = SLOT_FREE;
    slot->generation++;
    slot->next = load->free;
    load->free = index;
    load->open--;
}

// --- Counting

static bool is_measured(const load_t *load, int64_t due_ns) {
    return due_ns >= load->measure_ns && due_ns < load->end_ns;
}

static load_kind_t *kind_of(load_result_t *result, const char *name) {
    for (size_t i = 0; i < result->kind_count; i++)
        if (strncmp(result->kinds[i].name, name, sizeof result->kinds[i].name - 1) == 0)
            return &result->kinds[i];
    if (result->kind_count == LOAD_KINDS_MAX)
        return &result->kinds[LOAD_KINDS_MAX - 1];
    load_kind_t *kind = &result->kinds[result->kind_count++];
    snprintf(kind->name, sizeof kind->name, "%s",
             result->kind_count == LOAD_KINDS_MAX ? "other" : name);
    return kind;
}

static void count_kind(load_t *load, const char *name, const char *message, bool measured) {
    load_kind_t *kind = kind_of(load->result, name);
    if (kind->count++ == 0)
        snprintf(kind->message, sizeof kind->message, "%s", message ? message : "");
    kind->measured += measured;
}

static void count_failure(load_t *load, int64_t due_ns, const char *kind, const char *message) {
    bool measured = is_measured(load, due_ns);
    if (measured)
        load->result->failed++;
    else
        load->result->warmup_failed++;
    count_kind(load, kind, message, measured);
}

static void fail(load_t *load, uint32_t index, const char *kind, const char *message) {
    count_failure(load, load->slots[index].due_ns, kind, message);
    slot_give(load, index);
}

static void count_answer(load_t *load, int64_t due_ns, int64_t now) {
    load_result_t *result = load->result;
    if (!is_measured(load, due_ns))
        return;
    uint64_t took = now > due_ns ? (uint64_t)(now - due_ns) : 0;
    result->answered++;
    hist_add(&result->latency, took);
    if (load->plan.deadline_ms && took <= (uint64_t)load->plan.deadline_ms * NS_A_MS)
        result->in_time++;
}

// --- Sending

static void pump(void *arg);

// A slot of the waiting, or a fresh one.
static bool send_slot(load_t *load, uint32_t index) {
    slot_t *slot = &load->slots[index];
    if (!load->wire->class->send(load->wire, slot->request, ticket_of(load, index)))
        return false;
    if (slot->state == SLOT_WAITING)
        list_take(load, &load->waiting, index);
    slot->state = SLOT_SENT;
    list_add(load, &load->sent, index);
    return true;
}

static void count_departure(load_t *load, int64_t due_ns) {
    int64_t late = clock_mono_ns() - due_ns;
    if (is_measured(load, due_ns))
        hist_add(&load->result->departure, late > 0 ? (uint64_t)late : 0);
}

// Oldest first.
static void send_waiting(load_t *load) {
    for (int i = 0; i < SENDS_A_ROUND && load->waiting.first != NONE; i++) {
        uint32_t index = load->waiting.first;
        if (!send_slot(load, index))
            return;
        count_departure(load, load->slots[index].due_ns);
    }
}

static void begin_due(load_t *load, int64_t now) {
    for (int i = 0; i < SENDS_A_ROUND && load->next_ns <= now && !load->over; i++) {
        int64_t due_ns = load->next_ns;
        load->next_ns = load->begin_ns + schedule_next(&load->schedule);
        if (due_ns >= load->end_ns) {
            load->over = true;
            return;
        }
        if (is_measured(load, due_ns)) {
            load->result->offered++;
            hist_add(&load->result->lag, (uint64_t)(now - due_ns));
        }
        uint32_t index = slot_take(load, due_ns);
        if (index == NONE) {
            count_failure(load, due_ns, LOAD_NOT_BEGUN,
                          "too many requests wait for their answers or for a connection");
            continue;
        }
        load->slots[index].state = SLOT_WAITING;
        list_add(load, &load->waiting, index);
    }
}

static void arm(load_t *load) {
    struct itimerspec at = {.it_value = {load->next_ns / 1000000000, load->next_ns % 1000000000}};
    timerfd_settime(load->timer, TFD_TIMER_ABSTIME, &at, NULL);
}

static void pump_open(load_t *load) {
    begin_due(load, clock_mono_ns());
    send_waiting(load);
    if (load->over)
        return;
    if (load->next_ns <= clock_mono_ns())
        bus_loop_defer(load->loop, pump, load);
    else
        arm(load);
}

static void pump_closed(load_t *load) {
    int sends = 0;
    while (load->open < load->plan.concurrency && !load->over) {
        int64_t now = clock_mono_ns();
        load->over = now >= load->end_ns;
        if (load->over)
            return;
        if (sends++ == SENDS_A_ROUND) {
            bus_loop_defer(load->loop, pump, load);
            return;
        }
        uint32_t index = slot_take(load, now);
        if (!send_slot(load, index)) {
            slot_give(load, index);
            return; // load_room() follows, or the next tick
        }
        load->result->offered += is_measured(load, now);
    }
}

static void pump(void *arg) {
    load_t *load = arg;
    if (load->plan.rate > 0)
        pump_open(load);
    else
        pump_closed(load);
    if (load->over && load->open == 0)
        bus_loop_stop(load->loop);
}

static void on_timer(void *arg, int events) {
    load_t *load = arg;
    uint64_t times;
    (void)events;
    if (read(load->timer, &times, sizeof times) == (ssize_t)sizeof times)
        pump(load);
}

// --- From the wire

static void wants_pump(load_t *load) {
    bus_loop_defer(load->loop, pump, load);
}

void load_answered(load_t *load, uint64_t ticket, load_answer_t *answer) {
    uint32_t index = slot_of(load, ticket);
    int64_t now = clock_mono_ns();
    if (index == NONE) {
        load->result->late++;
        return;
    }
    load_verdict_t verdict = {0};
    answer->request = load->slots[index].request;
    load->judge(load->arg, answer, &verdict);
    if (is_measured(load, now))
        load->result->images += verdict.images;
    if (verdict.kind) {
        fail(load, index, verdict.kind, verdict.message);
    } else {
        count_answer(load, load->slots[index].due_ns, now);
        slot_give(load, index);
    }
    wants_pump(load);
}

void load_lost(load_t *load, uint64_t ticket, const char *kind, const char *message) {
    uint32_t index = slot_of(load, ticket);
    if (index == NONE)
        return;
    fail(load, index, kind, message);
    wants_pump(load);
}

void load_room(load_t *load) {
    wants_pump(load);
}

void load_trouble(load_t *load, const char *kind, const char *message) {
    if (load->result)
        count_kind(load, kind, message, false);
}

void load_reconnected(load_t *load) {
    if (load->result)
        load->result->reconnects++;
}

// --- The run

static void expire(load_t *load, list_t *list, const char *kind, int64_t now) {
    int64_t timeout_ns = load->plan.timeout_ms * NS_A_MS;
    while (list->first != NONE && now - load->slots[list->first].due_ns >= timeout_ns) {
        uint32_t index = list->first;
        uint64_t ticket = ticket_of(load, index);
        bool sent = load->slots[index].state == SLOT_SENT;
        fail(load, index, kind, NULL);
        if (sent)
            load->wire->class->forget(load->wire, ticket);
    }
}

static void on_tick(void *arg) {
    load_t *load = arg;
    int64_t now = clock_mono_ns();
    if (load->plan.stop && *load->plan.stop) {
        bus_loop_stop(load->loop);
        return;
    }
    expire(load, &load->sent, LOAD_NO_ANSWER, now);
    expire(load, &load->waiting, LOAD_NOT_SENT, now);
    pump(load);
}

static uint32_t room_of(const load_plan_t *plan) {
    double wanted = plan->rate > 0 ? plan->rate * (double)plan->timeout_ms / 1e3 * 1.5 + OPEN_LEAST
                                   : (double)plan->concurrency;
    return wanted < LOAD_OPEN_MAX ? (uint32_t)wanted : LOAD_OPEN_MAX;
}

err_code_t load_new(const load_plan_t *plan, load_judge_fn judge, void *arg, load_t **out,
                    err_t *err) {
    ERR_ASSERT(plan->requests > 0 && plan->length_ms > 0 && plan->timeout_ms > 0);
    ERR_ASSERT((plan->rate > 0) != (plan->concurrency > 0) && plan->concurrency <= LOAD_OPEN_MAX);
    int timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (timer < 0)
        return err_set_errno(err, "cannot make a timer");
    load_t *load = mem_zero(1, sizeof *load);
    *load = (load_t){.plan = *plan, .judge = judge, .arg = arg, .timer = timer};
    load->loop = bus_loop_new();
    load->slot_room = room_of(plan);
    load->slots = mem_zero(load->slot_room, sizeof *load->slots);
    *out = load;
    return ERR_OK;
}

void load_destroy(load_t **self) {
    load_t *load = *self;
    if (!load)
        return;
    close(load->timer);
    bus_loop_destroy(&load->loop);
    free(load->slots);
    free(load);
    *self = NULL;
}

bus_loop_t *load_loop(load_t *load) {
    return load->loop;
}

static void begin(load_t *load) {
    load->begin_ns = clock_mono_ns();
    load->measure_ns = load->begin_ns + load->plan.warmup_ms * NS_A_MS;
    load->end_ns = load->measure_ns + load->plan.length_ms * NS_A_MS;
    load->free = NONE;
    load->waiting = load->sent = (list_t){NONE, NONE};
    if (load->plan.rate > 0) {
        schedule_init(&load->schedule, load->plan.rate, load->plan.poisson, load->plan.seed);
        load->next_ns = load->begin_ns + schedule_next(&load->schedule);
        bus_loop_watch(load->loop, load->timer, BUS_READ, on_timer, load);
    }
}

// What has no end yet is so for a stop.
static void finish(load_t *load) {
    int64_t now = clock_mono_ns(), end = now < load->end_ns ? now : load->end_ns;
    load->result->seconds = end > load->measure_ns ? (double)(end - load->measure_ns) / 1e9 : 0;
    for (uint32_t i = 0; i < load->slot_fresh; i++)
        if (load->slots[i].state != SLOT_FREE && is_measured(load, load->slots[i].due_ns))
            load->result->open++;
}

void load_run(load_t *load, load_wire_t *wire, load_result_t *result) {
    memset(result, 0, sizeof *result);
    load->wire = wire;
    load->result = result;
    begin(load);
    int tick = bus_loop_timer(load->loop, TICK_MS, TICK_MS, on_tick, load);
    wants_pump(load);
    bus_loop_run(load->loop);
    bus_loop_timer_cancel(load->loop, tick);
    if (load->plan.rate > 0)
        bus_loop_watch(load->loop, load->timer, 0, NULL, NULL);
    bus_loop_undefer(load->loop, pump, load);
    finish(load);
    load->result = NULL;
}

void load_wire_destroy(load_wire_t **wire) {
    if (*wire)
        (*wire)->class->destroy(*wire);
    *wire = NULL;
}
