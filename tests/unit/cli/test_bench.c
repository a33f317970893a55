// Does bench gateway notice answers that are not those of the same image and version before, and
// count the others by the version that gave them?
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cli/bench_impl.h"

#include <string.h>

// Four images; the second request has the third and the fourth.
typedef struct {
    bench_t bench;
    buf_t body;
    load_verdict_t verdict;
} scene_t;

static scene_t *begin(const char *model, const char *name, uint64_t version, size_t images) {
    static scene_t scene;
    scene = (scene_t){.bench = {.question = {.model = model},
                                .version = version,
                                .images = images,
                                .input_count = 4,
                                .request_count = 4 / images}};
    snprintf(scene.bench.name, sizeof scene.bench.name, "%s", name);
    scene.bench.judge = bench_judge_new(&scene.bench, true);
    buf_init(&scene.body, 65536);
    return &scene;
}

static void end(scene_t *scene) {
    bench_judge_destroy(&scene->bench.judge);
    buf_release(&scene->body);
}

static const char *judge(scene_t *scene, size_t request, proto_type_t type, const void *message,
                         const proto_bytes_t *attachments, size_t count) {
    err_t err;
    buf_clear(&scene->body);
    if (proto_encode(type, message, &scene->body, &err) != ERR_OK)
        fail_msg("%s", err.message);
    load_answer_t answer = {.request = request,
                            .type = type,
                            .body = {scene->body.data, scene->body.size},
                            .attachments = attachments,
                            .attachment_count = count};
    scene->verdict = (load_verdict_t){0};
    bench_judge(scene->bench.judge, &answer, &scene->verdict);
    return scene->verdict.kind ? scene->verdict.kind : "";
}

static proto_classification_t says(const char *label, double probability, uint64_t version) {
    return (proto_classification_t){
        .label = label, .probability = probability, .model = "faces", .version = version};
}

static const char *classified(scene_t *scene, size_t request, const char *label, double probability,
                              uint64_t version) {
    proto_classification_t one = says(label, probability, version);
    proto_classified_t message = {.results = {&one, 1}};
    return judge(scene, request, PROTO_classified, &message, NULL, 0);
}

static const char *inferred(scene_t *scene, size_t request, const float *rows, size_t count,
                            const char *first_label) {
    static const char *const classes[] = {"comic", "photo"};
    const char *labels[] = {first_label, "comic", "comic"};
    proto_inferred_t message = {.model = "faces",
                                .version = 1,
                                .classes = {(const char **)(uintptr_t)classes, 2},
                                .labels = {labels, count}};
    proto_bytes_t attachment = {rows, count * 2 * sizeof(float)};
    return judge(scene, request, PROTO_inferred, &message, &attachment, 1);
}

static uint64_t images_of(const scene_t *scene, uint64_t version) {
    size_t count;
    const bench_version_t *versions = bench_versions(scene->bench.judge, &count);
    for (size_t i = 0; i < count; i++)
        if (versions[i].version == version)
            return versions[i].images;
    return 0;
}

static void the_same_answer_is_right(void **state) {
    (void)state;
    scene_t *scene = begin("", "", 0, 1);
    for (int i = 0; i < 3; i++) {
        assert_string_equal(classified(scene, 0, "photo", 0.75, 1), "");
        assert_int_equal(scene->verdict.images, 1);
    }
    assert_string_equal(classified(scene, 1, "comic", 0.5, 1), ""); // of another image
    assert_int_equal(images_of(scene, 1), 4);
    end(scene);
}

static void another_answer_is_mixed_up(void **state) {
    (void)state;
    scene_t *scene = begin("", "", 0, 1);
    classified(scene, 0, "photo", 0.75, 1);
    assert_string_equal(classified(scene, 0, "photo", 0.75000000000000011, 1), LOAD_MIXED_UP);
    assert_string_equal(classified(scene, 0, "comic", 0.75, 1), LOAD_MIXED_UP);
    assert_int_equal(scene->verdict.images, 0);
    assert_string_equal(classified(scene, 0, "photo", 0.75, 1), ""); // the first one holds
    assert_int_equal(images_of(scene, 1), 2);
    end(scene);
}

static void another_version_may_differ(void **state) {
    (void)state;
    scene_t *scene = begin("faces", "faces", 0, 1);
    for (int i = 0; i < 2; i++) { // back and forth
        assert_string_equal(classified(scene, 0, "photo", 0.75, 1), "");
        assert_string_equal(classified(scene, 0, "photo", 0.5, 2), "");
    }
    assert_string_equal(classified(scene, 0, "photo", 0.75, 2), LOAD_MIXED_UP);
    assert_int_equal(images_of(scene, 1), 2);
    assert_int_equal(images_of(scene, 2), 2);
    end(scene);
}

static void another_one_than_asked_for_is_mixed_up(void **state) {
    (void)state;
    scene_t *scene = begin("faces@2", "faces", 2, 1);
    assert_string_equal(classified(scene, 0, "photo", 0.75, 2), "");
    assert_string_equal(classified(scene, 0, "photo", 0.75, 3), LOAD_MIXED_UP);
    end(scene);
    scene = begin("heads", "heads", 0, 1);
    assert_string_equal(classified(scene, 0, "photo", 0.75, 1), LOAD_MIXED_UP);
    end(scene);
}

static void images_are_told_apart_within_a_request(void **state) {
    (void)state;
    static const float rows[] = {0.25f, 0.75f, 0.5f, 0.5f}, swapped[] = {0.5f, 0.5f, 0.25f, 0.75f};
    scene_t *scene = begin("", "", 0, 2);
    assert_string_equal(inferred(scene, 0, rows, 2, "photo"), "");
    assert_string_equal(inferred(scene, 1, swapped, 2, "photo"), ""); // of other images
    assert_string_equal(inferred(scene, 0, swapped, 2, "photo"), LOAD_MIXED_UP);
    assert_string_equal(inferred(scene, 0, rows, 2, "comic"), LOAD_MIXED_UP);
    assert_string_equal(inferred(scene, 0, rows, 2, "photo"), "");
    assert_int_equal(images_of(scene, 1), 6);
    end(scene);
}

static void answers_of_another_shape_are_unreadable(void **state) {
    (void)state;
    static const float rows[] = {0.25f, 0.75f, 0.5f, 0.5f, 0.1f, 0.9f};
    scene_t *scene = begin("", "", 0, 2);
    assert_string_equal(inferred(scene, 0, rows, 3, "photo"), LOAD_BAD_ANSWER);
    assert_string_equal(inferred(scene, 0, rows, 1, "photo"), LOAD_BAD_ANSWER);
    assert_string_equal(classified(scene, 0, "photo", 0.75, 1), LOAD_BAD_ANSWER);
    assert_string_equal(judge(scene, 0, PROTO_ok, &(proto_ok_t){0}, NULL, 0), LOAD_BAD_ANSWER);
    load_answer_t noise = {.type = PROTO_inferred, .body = {"\xff", 1}};
    bench_judge(scene->bench.judge, &noise, &scene->verdict);
    assert_string_equal(scene->verdict.kind, LOAD_BAD_ANSWER);
    end(scene);
}

static void errors_are_kinds_of_their_own(void **state) {
    (void)state;
    scene_t *scene = begin("", "", 0, 2);
    proto_error_t error = {.code = "FULL", .message = "the queue is full"};
    assert_string_equal(judge(scene, 0, PROTO_error, &error, NULL, 0), "FULL");
    assert_string_equal(scene->verdict.message, "the queue is full");
    proto_failure_t failure = {.code = "CORRUPT", .message = "it ends early"};
    proto_classification_t both[] = {says("photo", 0.75, 1), {.label = "", .model = ""}};
    both[1].error = &failure;
    proto_classified_t message = {.results = {both, 2}};
    assert_string_equal(judge(scene, 0, PROTO_classified, &message, NULL, 0), "CORRUPT");
    assert_int_equal(scene->verdict.images, 1); // the other one has its answer
    assert_int_equal(images_of(scene, 1), 1);
    both[1] = says("photo", 0.75, 2);
    assert_string_equal(judge(scene, 0, PROTO_classified, &message, NULL, 0), LOAD_BAD_ANSWER);
    end(scene);
}

// --- HTTP

static const char *replied(scene_t *scene, bench_form_t form, int status, size_t json_bytes,
                           const void *body, size_t size) {
    const reply_t reply = {.status = status, .body_bytes = size, .json_bytes = json_bytes};
    load_answer_t answer = {.reply = &reply, .body = {body, size}};
    scene->bench.form = form;
    scene->bench.http = true;
    scene->verdict = (load_verdict_t){0};
    bench_judge(scene->bench.judge, &answer, &scene->verdict);
    return scene->verdict.kind ? scene->verdict.kind : "";
}

static const char *says_json(scene_t *scene, bench_form_t form, int status, const char *text) {
    return replied(scene, form, status, SIZE_MAX, text, strlen(text));
}

#define HEAD "{\"model_name\":\"faces\",\"model_version\":\"3\",\"outputs\":["
#define ROWS(shape, data)                                                                          \
    "{\"name\":\"probabilities\",\"datatype\":\"FP32\",\"shape\":" shape ",\"data\":" data "}"
#define LABELS(data) "{\"name\":\"label\",\"datatype\":\"BYTES\",\"shape\":[2],\"data\":" data "}"
#define GOOD         HEAD ROWS("[2,2]", "[0.25,0.75,0.9,0.1]") "," LABELS("[\"photo\",\"comic\"]") "]}"

static void tensors_come_as_json(void **state) {
    (void)state;
    scene_t *scene = begin("faces", "faces", 3, 2);
    assert_string_equal(says_json(scene, BENCH_JSON, 200, GOOD), "");
    assert_int_equal(scene->verdict.images, 2);
    // Other outputs first, and more of a number's digits than a float has: the same answer.
    assert_string_equal(says_json(scene, BENCH_JSON, 200,
                                  HEAD LABELS("[\"photo\",\"comic\"]") "," ROWS(
                                      "[2,2]", "[0.25,0.75,0.899999976158142,0.100000001]") "]}"),
                        "");
    assert_string_equal(says_json(scene, BENCH_JSON, 200,
                                  HEAD ROWS("[2,2]", "[0.75,0.25,0.9,0.1]") "," LABELS(
                                      "[\"photo\",\"comic\"]") "]}"),
                        LOAD_MIXED_UP);
    assert_int_equal(images_of(scene, 3), 4);
    end(scene);
}

static void tensors_come_behind_the_json(void **state) {
    (void)state;
    static const char json[] =
        HEAD "{\"name\":\"probabilities\",\"datatype\":\"FP32\",\"shape\":[2,2],\"parameters\":{"
             "\"binary_data_size\":16}},{\"name\":\"label\",\"datatype\":\"BYTES\",\"shape\":[2],"
             "\"parameters\":{\"binary_data_size\":18}}]}";
    static const float rows[] = {0.25f, 0.75f, 0.9f, 0.1f};
    char body[sizeof json + 64];
    const size_t json_size = sizeof json - 1;
    memcpy(body, json, json_size);
    memcpy(body + json_size, rows, sizeof rows);
    memcpy(body + json_size + 16, "\5\0\0\0photo\5\0\0\0comic", 18);
    scene_t *scene = begin("", "", 0, 2);
    assert_string_equal(replied(scene, BENCH_PIXELS, 200, json_size, body, json_size + 34), "");
    assert_string_equal(says_json(scene, BENCH_JSON, 200, GOOD), ""); // the same as JSON
    for (size_t size = json_size; size < json_size + 34; size++)
        assert_string_equal(replied(scene, BENCH_PIXELS, 200, json_size, body, size),
                            LOAD_BAD_ANSWER);
    assert_string_equal(replied(scene, BENCH_PIXELS, 200, json_size, body, json_size + 35),
                        LOAD_BAD_ANSWER); // more than they say
    memcpy(body + json_size + 16, "\xff\xff\xff\xff", 4);
    assert_string_equal(replied(scene, BENCH_PIXELS, 200, json_size, body, json_size + 34),
                        LOAD_BAD_ANSWER);
    end(scene);
}

static void lists_of_classify_are_read(void **state) {
    (void)state;
    scene_t *scene = begin("", "", 0, 2);
    static const char one[] =
        "[{\"label\":\"photo\",\"probability\":0.75,\"model\":\"faces\",\"version\":2},";
    char text[512];
    snprintf(text, sizeof text,
             "%s{\"label\":\"comic\",\"probability\":1,\"model\":\"faces\",\"version\":2}]", one);
    assert_string_equal(says_json(scene, BENCH_IMAGE, 200, text), "");
    assert_int_equal(images_of(scene, 2), 2);
    snprintf(text, sizeof text, "%s{\"error\":{\"code\":\"CORRUPT\",\"message\":\"it ends\"}}]",
             one);
    assert_string_equal(says_json(scene, BENCH_IMAGE, 200, text), "CORRUPT");
    assert_int_equal(scene->verdict.images, 1);
    snprintf(text, sizeof text,
             "%s{\"label\":\"comic\",\"probability\":1,\"model\":\"faces\",\"version\":3}]", one);
    assert_string_equal(says_json(scene, BENCH_IMAGE, 200, text), LOAD_BAD_ANSWER);
    assert_string_equal(says_json(scene, BENCH_IMAGE, 200, "[]"), LOAD_BAD_ANSWER);
    assert_string_equal(says_json(scene, BENCH_IMAGE, 200, "{}"), LOAD_BAD_ANSWER);
    assert_string_equal(says_json(scene, BENCH_IMAGE, 200, "[1,2]"), LOAD_BAD_ANSWER);
    end(scene);
}

static void refusals_are_named_by_status_and_code(void **state) {
    (void)state;
    scene_t *scene = begin("", "", 0, 2);
    assert_string_equal(says_json(scene, BENCH_JSON, 503,
                                  "{\"error\":\"the queue is full; wait\",\"code\":\"FULL\"}"),
                        "HTTP 503 FULL");
    assert_string_equal(scene->verdict.message, "the queue is full; wait");
    assert_string_equal(says_json(scene, BENCH_JSON, 502, "<html>"), "HTTP 502");
    end(scene);
}

static void tensors_of_another_shape_are_unreadable(void **state) {
    (void)state;
    static const char *const wrong[] = {
        "",
        "null",
        "{}",
        HEAD "]}",
        HEAD ROWS("[2,2]", "[0.25,0.75,0.9,0.1]") "]}",
        HEAD LABELS("[\"photo\",\"comic\"]") "]}",
        HEAD ROWS("[1,2]", "[0.25,0.75]") "," LABELS("[\"photo\",\"comic\"]") "]}",
        HEAD ROWS("[2,2]", "[0.25,0.75,0.9]") "," LABELS("[\"photo\",\"comic\"]") "]}",
        HEAD ROWS("[2,2]", "[0.25,0.75,0.9,\"\"]") "," LABELS("[\"photo\",\"comic\"]") "]}",
        HEAD ROWS("[2,2]", "[0.25,0.75,0.9,0.1]") "," LABELS("[\"photo\"]") "]}",
        HEAD ROWS("[2,2]", "[0.25,0.75,0.9,0.1]") "," LABELS("[\"photo\",3]") "]}",
        HEAD ROWS("[2,-2]", "[]") "," LABELS("[\"photo\",\"comic\"]") "]}",
        HEAD ROWS("[2,9223372036854775807]", "[]") "," LABELS("[\"photo\",\"comic\"]") "]}",
    };
    scene_t *scene = begin("", "", 0, 2);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        if (strcmp(says_json(scene, BENCH_JSON, 200, wrong[i]), LOAD_BAD_ANSWER) != 0)
            fail_msg("%s", wrong[i]);
    end(scene);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_answer_is_right),
        cmocka_unit_test(another_answer_is_mixed_up),
        cmocka_unit_test(another_version_may_differ),
        cmocka_unit_test(another_one_than_asked_for_is_mixed_up),
        cmocka_unit_test(images_are_told_apart_within_a_request),
        cmocka_unit_test(answers_of_another_shape_are_unreadable),
        cmocka_unit_test(errors_are_kinds_of_their_own),
        cmocka_unit_test(tensors_come_as_json),
        cmocka_unit_test(tensors_come_behind_the_json),
        cmocka_unit_test(lists_of_classify_are_read),
        cmocka_unit_test(refusals_are_named_by_status_and_code),
        cmocka_unit_test(tensors_of_another_shape_are_unreadable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
