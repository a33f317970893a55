// tests/bench/queue: how fast is the queue with Redis at fsync always, and is every job run once,
// whatever is killed?
#include "base/clock.h"
#include "peers.h"
#include "report.h"
#include "target.h"

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#define IDLE_JOBS   500
#define HALF_MS     2000 // of the phase at half load
#define WARM_JOBS   200
#define KILLS       6 // with --chaos: dispatcher and Redis by turns
#define UNANSWERED  4096
#define PER_CLIENT  512
#define PATIENCE_MS 30000

typedef struct {
    size_t jobs, clients, workers, slots;
    bool json, peers, chaos;
} options_t;

static const char usage[] =
    "usage: tests/bench/queue [--jobs 10000] [--clients 4] [--workers 8] [--slots 8] [--chaos]\n"
    "                         [--peers] [--json]\n"
    "  Submits jobs of a kind of its own to a real dispatcher with a private Redis (appendfsync\n"
    "  always), takes and finishes them with workers of its own, and counts.\n"
    "  --chaos  kill -9 of the dispatcher and of Redis while it runs\n"
    "  --peers  Celery and RQ in the same run, from the virtual environment INKLING_PEERS\n"
    "           (tests/bench/peers DIR queue makes it)\n"
    "  Exit code: 0 none lost and none doubled, 1 otherwise, 2 wrong usage.\n";

static bool read_count(const char *text, size_t most, size_t *count) {
    char *end;
    unsigned long value = strtoul(text, &end, 10);
    *count = value;
    return *text >= '0' && *text <= '9' && *end == 0 && value >= 1 && value <= most;
}

static bool read_options(int argc, char **argv, options_t *options) {
    static const struct option table[] = {
        {"jobs", required_argument, NULL, 'n'},    {"clients", required_argument, NULL, 'c'},
        {"workers", required_argument, NULL, 'w'}, {"slots", required_argument, NULL, 's'},
        {"json", no_argument, NULL, 'j'},          {"peers", no_argument, NULL, 'p'},
        {"chaos", no_argument, NULL, 'x'},         {NULL, 0, NULL, 0},
    };
    *options = (options_t){.jobs = 10000, .clients = 4, .workers = 8, .slots = 8};
    bool good = true;
    int option;
    while (good && (option = getopt_long(argc, argv, "", table, NULL)) != -1)
        if (option == 'n')
            good = read_count(optarg, 10000000, &options->jobs);
        else if (option == 'c')
            good = read_count(optarg, 256, &options->clients);
        else if (option == 'w')
            good = read_count(optarg, 1024, &options->workers);
        else if (option == 's')
            good = read_count(optarg, 256, &options->slots);
        else if (option == 'j')
            options->json = true;
        else if (option == 'p')
            options->peers = true;
        else if (option == 'x')
            options->chaos = true;
        else
            good = false;
    return good && optind == argc;
}

// --- Killing -------------------------------------------------------------------------------------

typedef struct {
    target_t *target;
    load_t *load;
    size_t jobs, done; // kills done
    err_t err;
} killer_t;

static void strike(void *arg) {
    killer_t *killer = arg;
    target_t *target = killer->target;
    bool dispatcher = killer->done++ % 2 == 0;
    err_code_t code = dispatcher ? target_kill_dispatcher(target, &killer->err)
                                 : target_kill_redis(target, &killer->err);
    if (code) {
        fprintf(stderr, "queue: %s\n", killer->err.message);
        bus_loop_stop(load_loop(killer->load));
    }
}

// After every seventh of the jobs.
static void on_end(void *arg, size_t ended) {
    killer_t *killer = arg;
    if (killer->done < KILLS && ended >= killer->jobs * (killer->done + 1) / (KILLS + 1))
        bus_loop_defer(load_loop(killer->load), strike, killer);
}

// --- Phases --------------------------------------------------------------------------------------

#define BETWEEN(jobs, span, from, to)                                                              \
    spread_of(jobs, (span).first, (span).count, offsetof(load_job_t, from),                        \
              offsetof(load_job_t, to))

static err_code_t run_idle(load_t *load, report_t *report, err_t *err) {
    load_phase_t phase = {
        .count = WARM_JOBS, .unanswered = 1, .unfinished = 1, .timeout_ms = PATIENCE_MS};
    load_span_t span;
    err_code_t code = load_run(load, &phase, &span, err);
    phase.count = IDLE_JOBS;
    if (code == ERR_OK)
        code = load_run(load, &phase, &span, err);
    if (code)
        return code;
    size_t count;
    const load_job_t *jobs = load_jobs(load, &count);
    report->dispatch_idle = BETWEEN(jobs, span, submitted_us, begun_us);
    report->ack_idle = BETWEEN(jobs, span, submitted_us, acked_us);
    return ERR_OK;
}

static double load_seconds(void) {
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
           (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

static err_code_t run_full(load_t *load, target_t *target, const options_t *options,
                           report_t *report, err_t *err) {
    killer_t killer = {.target = target, .load = load, .jobs = options->jobs};
    size_t window = options->clients * PER_CLIENT;
    load_phase_t phase = {.count = options->jobs,
                          .unanswered = window < UNANSWERED ? window : UNANSWERED,
                          .timeout_ms = 4 * PATIENCE_MS + (int64_t)options->jobs,
                          .on_end = options->chaos ? on_end : NULL,
                          .arg = &killer};
    load_span_t span;
    pid_t dispatcher = target->dispatcher.pid, redis = target->redis.pid;
    int64_t dispatcher_ms = proc_cpu_ms(dispatcher), redis_ms = proc_cpu_ms(redis);
    double own_s = load_seconds();
    err_code_t code = load_run(load, &phase, &span, err);
    if (code)
        return code;
    report->load_s = load_seconds() - own_s;
    if (!options->chaos) {
        report->dispatcher_s = (double)(proc_cpu_ms(dispatcher) - dispatcher_ms) / 1000;
        report->redis_s = (double)(proc_cpu_ms(redis) - redis_ms) / 1000;
    }
    double count = (double)options->jobs;
    report->jobs_per_second = count * 1e6 / (double)(span.finished_us - span.begin_us);
    report->submit_per_second = count * 1e6 / (double)(span.acked_us - span.begin_us);
    size_t all;
    const load_job_t *jobs = load_jobs(load, &all);
    report->dispatch_full = BETWEEN(jobs, span, submitted_us, begun_us);
    report->ack_full = BETWEEN(jobs, span, submitted_us, acked_us);
    return ERR_OK;
}

static size_t half_jobs(double per_second) {
    return (size_t)(per_second * HALF_MS / 1000) + 1;
}

static err_code_t run_half(load_t *load, const options_t *options, size_t room, report_t *report,
                           err_t *err) {
    report->half_per_second = report->jobs_per_second / 2;
    size_t count = half_jobs(report->half_per_second);
    load_phase_t phase = {.count = count < room ? count : room,
                          .unanswered = options->clients * PER_CLIENT,
                          .per_second = report->half_per_second,
                          .timeout_ms = 2 * PATIENCE_MS};
    load_span_t span;
    err_code_t code = load_run(load, &phase, &span, err);
    size_t all;
    const load_job_t *jobs = load_jobs(load, &all);
    if (code == ERR_OK)
        report->dispatch_half = BETWEEN(jobs, span, submitted_us, begun_us);
    return code;
}

static err_code_t measure(const options_t *options, report_t *report, err_t *err) {
    size_t half_room = 200000, room = WARM_JOBS + IDLE_JOBS + options->jobs + half_room;
    target_t target;
    load_t *load = NULL;
    err_code_t code = target_open(&target, room, err);
    if (code == ERR_OK)
        code = load_new(target.endpoint, options->clients, options->workers, options->slots, room,
                        &load, err);
    if (code == ERR_OK)
        code = load_hello(load, PATIENCE_MS, err);
    if (code == ERR_OK)
        code = run_idle(load, report, err);
    if (code == ERR_OK)
        code = run_full(load, &target, options, report, err);
    if (code == ERR_OK && !options->chaos)
        code = run_half(load, options, half_room, report, err);
    report->dispatcher_kills = target.dispatcher_kills;
    report->redis_kills = target.redis_kills;
    if (load)
        report->counts = load_counts(load);
    if (code == ERR_OK)
        code = verify(target.endpoint, load, options->chaos, &report->checked, err);
    if (code) {
        char *log = target_log(&target);
        fputs(log, stderr);
        free(log);
    }
    load_destroy(&load);
    target_close(&target);
    return code;
}

int main(int argc, char **argv) {
    options_t options;
    if (!read_options(argc, argv, &options)) {
        fputs(usage, stderr);
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    report_t report = {.jobs = options.jobs,
                       .clients = options.clients,
                       .workers = options.workers,
                       .slots = options.slots};
    json_t *peers = NULL;
    err_t err;
    err_code_t code = measure(&options, &report, &err);
    if (code == ERR_OK && options.peers)
        code = peers_run(options.jobs, &peers, &err);
    if (code) {
        fprintf(stderr, "queue: %s%s%s\n", err.message, err.remedy[0] ? "; " : "", err.remedy);
        return code == ERR_USAGE ? 2 : 1;
    }
    bool good = report.checked.lost == 0 && report.checked.doubled == 0;
    if (!options.json)
        report_text(&report, peers);
    json_t *document = report_json(&report, peers);
    if (options.json) {
        json_dumpf(document, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
        putchar('\n');
    }
    json_decref(document);
    return good ? 0 : 1;
}
