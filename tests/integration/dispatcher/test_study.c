// Do studies' logs grow by one writer's decisions only, each entry once, whatever dies?
#include "scene.h"

#include <stdio.h>
#include <string.h>

static void open(void **state) {
    (void)state;
    scene_open(NULL, NULL);
}

static const proto_study_info_t *make(const char *name, const char *about) {
    const proto_study_open_t message = {.study = name, .about = scene_map(about)};
    return ((proto_study_t *)scene_ask(PROTO_study_open, &message, PROTO_study))->study;
}

static proto_study_append_t entries(const char *name, uint64_t at, const char *const *texts) {
    size_t count = 0;
    while (texts[count])
        count++;
    proto_study_entry_t *items = proto_arena_alloc(scene.arena, (count + 1) * sizeof *items);
    for (size_t i = 0; i < count; i++)
        items[i] = (proto_study_entry_t){.data = scene_map(texts[i])};
    return (proto_study_append_t){.study = name, .at = at, .entries = {items, count}};
}

#define TEXTS(...) ((const char *const[]){__VA_ARGS__, NULL})

static uint64_t append(const char *name, uint64_t at, const char *const *texts) {
    const proto_study_append_t message = entries(name, at, texts);
    return ((proto_study_appended_t *)scene_ask(PROTO_study_append, &message, PROTO_study_appended))
        ->entries;
}

static void append_refused(const char *name, uint64_t at, const char *const *texts,
                           err_code_t code) {
    const proto_study_append_t message = entries(name, at, texts);
    scene_refused(PROTO_study_append, &message, code);
}

static const proto_study_entries_t *read_log(const char *name, uint64_t after) {
    const proto_study_read_t message = {.study = name, .after = after, .limit = 1000};
    return scene_ask(PROTO_study_read, &message, PROTO_study_entries);
}

static void a_log_is_what_was_appended(void **state) {
    open(state);
    assert_int_equal(make("lr", "{\"space\":\"x\"}")->entries, 0);
    assert_int_equal(append("lr", 0, TEXTS("{\"a\":1}", "{\"b\":2}")), 2);
    assert_int_equal(append("lr", 2, TEXTS("{\"c\":3}")), 3);
    const proto_study_entries_t *log = read_log("lr", 0);
    assert_int_equal(log->study->entries, 3);
    assert_string_equal(scene_json(log->study->about), "{\"space\":\"x\"}");
    assert_int_equal(log->entries.count, 3);
    assert_string_equal(scene_json(log->entries.items[2].data), "{\"c\":3}");
    log = read_log("lr", 2);
    assert_int_equal(log->entries.count, 1);
    assert_string_equal(scene_json(log->entries.items[0].data), "{\"c\":3}");
    assert_int_equal(read_log("lr", 3)->entries.count, 0);
}

static void opening_again_finds_it_and_another_is_refused(void **state) {
    open(state);
    make("lr", "{\"seed\":1}");
    append("lr", 0, TEXTS("{\"a\":1}"));
    assert_int_equal(make("lr", "{\"seed\":1}")->entries, 1);
    const proto_study_open_t other = {.study = "lr", .about = scene_map("{\"seed\":2}")};
    scene_refused(PROTO_study_open, &other, ERR_CONFLICT);
    const proto_study_open_t bad = {.study = "../x", .about = scene_map("{}")};
    scene_refused(PROTO_study_open, &bad, ERR_INVALID);
}

static void of_two_writers_one_wins_and_the_same_twice_is_once(void **state) {
    open(state);
    make("lr", "{}");
    append("lr", 0, TEXTS("{\"by\":\"ann\"}"));
    append_refused("lr", 0, TEXTS("{\"by\":\"bob\"}"), ERR_CONFLICT);
    append_refused("lr", 2, TEXTS("{\"by\":\"bob\"}"), ERR_CONFLICT); // a gap
    assert_int_equal(append("lr", 0, TEXTS("{\"by\":\"ann\"}")), 1);  // its answer was lost
    append_refused("lr", 0, TEXTS("{\"by\":\"ann\"}", "{\"by\":\"ann\"}"), ERR_CONFLICT);
    assert_int_equal(read_log("lr", 0)->entries.count, 1);
    append_refused("none", 0, TEXTS("{}"), ERR_NOT_FOUND);
}

static void kills_lose_and_double_nothing(void **state) {
    char text[64];
    open(state);
    make("lr", "{}");
    for (uint64_t i = 0; i < 60; i++) {
        snprintf(text, sizeof text, "{\"n\":%d}", (int)i);
        assert_int_equal(append("lr", i, TEXTS(text)), i + 1);
        if (i % 20 == 10) {
            scene_kill_dispatcher();
            scene_start_dispatcher();
        }
    }
    const proto_study_entries_t *log = read_log("lr", 0);
    assert_int_equal(log->entries.count, 60);
    for (int i = 0; i < 60; i++) {
        snprintf(text, sizeof text, "{\"n\":%d}", i);
        assert_string_equal(scene_json(log->entries.items[i].data), text);
    }
}

static void studies_are_listed_and_removed(void **state) {
    const proto_study_list_t list = {0};
    open(state);
    make("one", "{}");
    make("two", "{}");
    append("one", 0, TEXTS("{}"));
    const proto_studies_t *studies = scene_ask(PROTO_study_list, &list, PROTO_studies);
    assert_int_equal(studies->studies.count, 2);
    const proto_study_rm_t rm = {.study = "one"};
    scene_ask(PROTO_study_rm, &rm, PROTO_ok);
    scene_refused(PROTO_study_rm, &rm, ERR_NOT_FOUND);
    studies = scene_ask(PROTO_study_list, &list, PROTO_studies);
    assert_int_equal(studies->studies.count, 1);
    assert_string_equal(studies->studies.items[0].study, "two");
    assert_int_equal(make("one", "{}")->entries, 0); // nothing is left of the old one
}

int main(void) {
#define TEST(name) cmocka_unit_test_teardown(name, scene_close)
    const struct CMUnitTest tests[] = {
        TEST(a_log_is_what_was_appended),
        TEST(opening_again_finds_it_and_another_is_refused),
        TEST(of_two_writers_one_wins_and_the_same_twice_is_once),
        TEST(kills_lose_and_double_nothing),
        TEST(studies_are_listed_and_removed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
