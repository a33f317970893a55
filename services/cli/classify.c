// classify: image files through the gateway.
#include "base/clock.h"
#include "base/fs.h"
#include "cli_impl.h"
#include "table_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BATCH_FILES 64
#define BATCH_BYTES (64u << 20)
#define WORK_MS     120000 // for a batch, on top of the wait for a version: it is there, it works

typedef struct {
    cli_t *cli;
    client_t *gateway;
    proto_classify_t question;
    bool asked;       // the gateway has answered a ping
    int files, first; // the batch: arguments first … first + files - 1
    proto_bytes_t images[BATCH_FILES];
    int places[BATCH_FILES]; // image i is argument places[i]
    size_t image_count, bytes;
    json_t *results; // in the order of the arguments
    int failed, missing;
} work_t;

// --- One file's answer

static const char *remedy_of(const char *code) {
    if (strcmp(code, "NOT_FOUND") == 0)
        return "check the path";
    if (strcmp(code, "INVALID") == 0 || strcmp(code, "CORRUPT") == 0)
        return "give a whole image: JPEG, PNG, WebP, GIF or TIFF";
    if (strcmp(code, "IO") == 0)
        return "its owner can allow reading: chmod u+r";
    if (strcmp(code, "TOO_LARGE") == 0)
        return "give a smaller file";
    return "";
}

static void put_error(work_t *work, int index, const char *code, const char *message,
                      const char *remedy) {
    json_t *entry = json_object();
    if (!remedy || !*remedy)
        remedy = remedy_of(code);
    json_object_set_new(entry, "file", say_json_text(work->cli->call.arguments[index]));
    json_object_set_new(entry, "error", say_error_json(code, message, remedy));
    json_array_set_new(work->results, (size_t)index, entry);
    if (strcmp(code, "NOT_FOUND") == 0)
        work->missing++;
    else
        work->failed++;
}

static void put_answer(work_t *work, int index, const proto_classification_t *answer) {
    if (answer->error) {
        // NOT_FOUND is about the file itself, which was read.
        bool lost = strcmp(answer->error->code, "NOT_FOUND") == 0;
        put_error(work, index, lost ? "INVALID" : answer->error->code, answer->error->message,
                  answer->error->remedy);
        return;
    }
    json_t *entry = json_object();
    json_object_set_new(entry, "file", say_json_text(work->cli->call.arguments[index]));
    json_object_set_new(entry, "label", say_json_text(answer->label));
    json_object_set_new(entry, "probability", json_real(answer->probability));
    json_object_set_new(entry, "model", say_json_text(answer->model));
    json_object_set_new(entry, "version", json_integer((json_int_t)answer->version));
    json_array_set_new(work->results, (size_t)index, entry);
}

// --- A batch

static void drop_batch(work_t *work) {
    for (size_t i = 0; i < work->image_count; i++)
        free((void *)work->images[i].data);
    work->image_count = work->bytes = 0;
}

// A gateway that is away is told soon; one that works may take its time.
static err_code_t greet(work_t *work, err_t *err) {
    proto_ping_t ping = {0};
    proto_pong_t pong;
    if (work->asked)
        return ERR_OK;
    err_code_t code =
        cli_connect(work->cli, work->cli->conf.gateway, "the gateway", &work->gateway, err);
    if (code == ERR_OK)
        code = client_request(work->gateway, PROTO_ping, &ping, NULL, 0, PROTO_pong, &pong,
                              work->cli->arena, cli_patience_ms(work->cli), NULL, err);
    work->asked = code == ERR_OK;
    return code;
}

static err_code_t send_batch(work_t *work, err_t *err) {
    if (work->image_count == 0)
        return ERR_OK;
    proto_classified_t answer;
    err_code_t code = greet(work, err);
    if (code == ERR_OK)
        code = client_request(work->gateway, PROTO_classify, &work->question, work->images,
                              work->image_count, PROTO_classified, &answer, work->cli->arena,
                              (int64_t)work->question.wait_ms + WORK_MS, NULL, err);
    if (code == ERR_OK && answer.results.count != work->image_count)
        code = err_set(err, ERR_PROTOCOL, "the gateway gave %zu answers for %zu images",
                       answer.results.count, work->image_count);
    for (size_t i = 0; i < work->image_count && code == ERR_OK; i++)
        put_answer(work, work->places[i], &answer.results.items[i]);
    if (code == ERR_NOT_FOUND && !err->remedy[0])
        err_remedy(err, "`inkling models` lists the models, `inkling promote MODEL@V` serves one");
    drop_batch(work);
    proto_arena_reset(work->cli->arena);
    return code;
}

// The message does not name the path: it stands beside it.
static err_code_t read_image(const char *path, void **bytes, size_t *size, err_t *err) {
    struct stat info;
    int file = *path ? open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK) : -1;
    err_code_t code = ERR_OK;
    if (!*path)
        code = err_set(err, ERR_INVALID, "the path is empty");
    else if (file < 0 || fstat(file, &info) != 0)
        code = err_set_errno(err, "it cannot be read");
    else if (S_ISDIR(info.st_mode)) {
        err_set(err, ERR_INVALID, "it is a folder");
        code = err_remedy(err, "`inkling predict DIR --model M --out FILE.csv` labels its images");
    } else if (!S_ISREG(info.st_mode))
        code = err_set(err, ERR_INVALID, "it is no regular file");
    else if (info.st_size > (off_t)BUS_FRAME_MAX)
        code = err_set(err, ERR_TOO_LARGE, "it has %lld bytes; the limit is %lld",
                       (long long)info.st_size, (long long)BUS_FRAME_MAX);
    if (code && !err->remedy[0] && (!*path || (file >= 0 && code == ERR_INVALID)))
        err_remedy(err, "give image files");
    if (file >= 0)
        close(file);
    return code ? code : fs_read(path, BUS_FRAME_MAX, bytes, size, err);
}

static err_code_t add_file(work_t *work, int index, err_t *err) {
    const char *path = work->cli->call.arguments[index];
    void *bytes = NULL;
    size_t size = 0;
    err_t failure;
    if (read_image(path, &bytes, &size, &failure) != ERR_OK) {
        put_error(work, index, err_name(failure.code), failure.message, failure.remedy);
        return ERR_OK;
    }
    err_code_t code = ERR_OK;
    if (work->image_count == BATCH_FILES ||
        (work->image_count > 0 && work->bytes + size > BATCH_BYTES))
        code = send_batch(work, err);
    work->places[work->image_count] = index;
    work->images[work->image_count++] = (proto_bytes_t){bytes, size};
    work->bytes += size;
    return code;
}

// --- All of them

static void print_results(const json_t *results) {
    size_t i;
    const json_t *entry;
    table_t *table = table_new("file|label|>probability|model");
    json_array_foreach(results, i, entry) {
        const json_t *error = json_object_get(entry, "error");
        table_cell(table, SAY_PLAIN, "%s", json_string_value(json_object_get(entry, "file")));
        if (error) {
            table_cell(table, SAY_BAD, "-");
            table_cell(table, SAY_BAD, "-");
            table_cell(table, SAY_BAD, "%s", json_string_value(json_object_get(error, "message")));
            continue;
        }
        table_cell(table, SAY_BOLD, "%s", json_string_value(json_object_get(entry, "label")));
        table_cell(table, SAY_PLAIN, "%.4f",
                   json_number_value(json_object_get(entry, "probability")));
        table_cell(table, SAY_DIM, "%s@%lld", json_string_value(json_object_get(entry, "model")),
                   (long long)json_integer_value(json_object_get(entry, "version")));
    }
    table_print(&table, NULL);
}

// The errors of single files go to stderr, too.
static void tell_errors(const json_t *results) {
    size_t i;
    const json_t *entry;
    json_array_foreach(results, i, entry) {
        const json_t *error = json_object_get(entry, "error");
        if (!error)
            continue;
        buf_t line;
        buf_init(&line, 1 << 16);
        const char *file = json_string_value(json_object_get(entry, "file"));
        say_text(&line, *file ? file : "''");
        buf_puts(&line, ": ");
        say_text(&line, json_string_value(json_object_get(error, "message")));
        const char *remedy = json_string_value(json_object_get(error, "remedy"));
        if (remedy && *remedy) {
            buf_puts(&line, "; ");
            say_text(&line, remedy);
        }
        fprintf(stderr, "inkling: %s\n", line.data ? line.data : "");
        buf_release(&line);
    }
}

static err_code_t check_model_name(const proto_classify_t *question, err_t *err) {
    char name[PROTO_NAME_MAX + 1];
    uint64_t version;
    return question->model[0] ? cli_reference(question->model, "model", name, &version, err)
                              : ERR_OK;
}

err_code_t verb_classify(cli_t *cli, int *exit_code, err_t *err) {
    work_t work = {.cli = cli, .results = json_array()};
    proto_arena_t *arena = proto_arena_new(); // the question outlives the answers
    err_code_t code =
        proto_from_json(PROTO_classify, cli->call.message, arena, &work.question, err);
    if (code == ERR_OK)
        code = check_model_name(&work.question, err);
    for (int i = 0; i < cli->call.count; i++)
        json_array_append_new(work.results, json_null());
    for (int i = 0; i < cli->call.count && code == ERR_OK; i++)
        code = add_file(&work, i, err);
    if (code == ERR_OK)
        code = send_batch(&work, err);
    drop_batch(&work);
    if (code == ERR_OK) {
        *exit_code = work.missing ? 3 : work.failed ? 1 : 0;
        tell_errors(work.results);
        if (say_is_json())
            say_json(json_incref(work.results));
        else
            print_results(work.results);
    }
    client_destroy(&work.gateway);
    proto_arena_destroy(&arena);
    json_decref(work.results);
    return code;
}
