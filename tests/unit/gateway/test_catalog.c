// Is the right version served, whatever is promoted, fails to load, is asked for or is short of
// memory? With a fake loader and a fake clock.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/philox.h"
#include "gateway/catalog.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SPARES 3

// Loading that the test steps through. An engine is a malloc'ed copy of "name@version".
typedef struct {
    catalog_t *catalog;
    version_t *opening[64], *building[64];
    int open_count, build_count, engines, opened_total;
    int64_t now;
} fake_t;

static void on_open(void *arg, version_t *version) {
    fake_t *fake = arg;
    fake->opening[fake->open_count++] = version;
    fake->opened_total++;
}

static void on_build(void *arg, version_t *version) {
    fake_t *fake = arg;
    assert_non_null(version->engine);
    fake->building[fake->build_count++] = version;
}

static void on_unload(void *arg, void *engine) {
    ((fake_t *)arg)->engines--;
    memset(engine, 'x', 4); // nobody may read it any more
    free(engine);
}

static const catalog_ops_t ops = {on_open, on_build, on_unload};

static fake_t *fake_new(uint64_t memory_max) {
    fake_t *fake = mem_zero(1, sizeof *fake);
    fake->catalog = catalog_new(
        &(catalog_limits_t){.spare_max = SPARES, .memory_max = memory_max, .seed = 3}, &ops, fake);
    fake->now = 1000;
    return fake;
}

static version_t *take(version_t **list, int *count) {
    assert_true(*count > 0);
    version_t *first = list[0];
    memmove(list, list + 1, (size_t)-- * count * sizeof *list);
    return first;
}

static void open_next(fake_t *fake, uint64_t memory, const err_t *failure) {
    version_t *version = take(fake->opening, &fake->open_count);
    void *engine =
        failure ? NULL : mem_format("%s@%llu", version->name, (unsigned long long)version->number);
    fake->engines += engine != NULL;
    catalog_opened(fake->catalog, version, engine, memory, failure, fake->now);
}

static void build_next(fake_t *fake, const err_t *failure) {
    catalog_built(fake->catalog, take(fake->building, &fake->build_count), failure, fake->now);
}

static void load_all(fake_t *fake) {
    while (fake->open_count || fake->build_count) {
        if (fake->build_count)
            build_next(fake, NULL);
        else
            open_next(fake, 10, NULL);
    }
}

static void fake_destroy(fake_t *fake) {
    load_all(fake);
    catalog_destroy(&fake->catalog);
    assert_int_equal(fake->engines, 0);
    free(fake);
}

static proto_model_info_t model(const char *name, uint64_t version, uint64_t promoted_at) {
    static char paths[16][80];
    static int next;
    char *path = paths[next++ % 16];
    snprintf(path, sizeof paths[0], "models/%s/%llu", name, (unsigned long long)version);
    return (proto_model_info_t){.name = name,
                                .version = version,
                                .path = path,
                                .digest = "",
                                .promoted = true,
                                .promoted_at = promoted_at};
}

static proto_model_info_t canary(const char *name, uint64_t version, double percent) {
    proto_model_info_t info = model(name, version, 0);
    info.promoted = false;
    info.canary = percent;
    return info;
}

static void promote(fake_t *fake, const proto_model_info_t *models, size_t count) {
    catalog_promoted(fake->catalog, models, count, fake->now);
}

// What is told of it: state, and a letter for each of error, promoted, served and canary; "" if it
// is not there.
static const char *told(fake_t *fake, const char *name, uint64_t number) {
    static char text[64];
    catalog_entry_t entries[64];
    size_t count = catalog_list(fake->catalog, entries, 64);
    assert_true(count <= 64);
    assert_int_equal(catalog_list(fake->catalog, NULL, 0), count);
    assert_int_equal(catalog_count(fake->catalog), count);
    text[0] = 0;
    for (size_t i = 0; i < count; i++) {
        const catalog_entry_t *entry = &entries[i];
        if (entry->version->number != number || strcmp(entry->version->name, name) != 0)
            continue;
        assert_string_equal(text, ""); // once
        snprintf(text, sizeof text, "%s%s%s%s%s", entry->state, entry->error ? " e" : "",
                 entry->promoted ? " p" : "", entry->served ? " s" : "",
                 entry->canary > 0 ? " c" : "");
    }
    return text;
}

// What is answered: "a@1", "loading a@1", "unknown a@1" or the code of the error.
static const char *found_by(fake_t *fake, const char *text, uint64_t number) {
    static char answer[128];
    catalog_found_t got;
    err_t err;
    catalog_answer_t kind = catalog_find(fake->catalog, text, number, fake->now, &got, &err);
    if (kind == CATALOG_FAILED)
        return err_name(err.code);
    if (kind == CATALOG_READY)
        return strcpy(answer, got.version->engine);
    bool unknown = kind == CATALOG_UNKNOWN;
    snprintf(answer, sizeof answer, "%s %s@%llu", unknown ? "unknown" : "loading",
             unknown ? got.name : got.version->name,
             (unsigned long long)(unknown ? got.number : got.version->number));
    return answer;
}

static const char *found(fake_t *fake, const char *text) {
    return found_by(fake, text, 0);
}

static version_t *get(fake_t *fake, const char *text) {
    catalog_found_t got;
    assert_int_equal(catalog_find(fake->catalog, text, 0, fake->now, &got, NULL), CATALOG_READY);
    return got.version;
}

static err_code_t add(fake_t *fake, const char *name, uint64_t version) {
    proto_model_info_t info = model(name, version, 0);
    return catalog_add(fake->catalog, &info, fake->now, NULL);
}

static const err_t *broken(void) {
    static err_t err;
    err_set(&err, ERR_CORRUPT, "model.safetensors is damaged");
    return &err;
}

static void names_are_read(void **state) {
    (void)state;
    fake_t *fake = fake_new(1000);
    char longest[66];
    memset(longest, 'n', 65);
    longest[65] = 0;
    assert_string_equal(found(fake, ""), "unknown @0");
    assert_string_equal(found(fake, "faces"), "unknown faces@0");
    assert_string_equal(found(fake, "faces@12"), "unknown faces@12");
    assert_string_equal(found(fake, "faces@9007199254740992"), "unknown faces@9007199254740992");
    static const char *const wrong[] = {"@",
                                        "@1",
                                        "a@",
                                        "a@0",
                                        "a@01",
                                        "a@-1",
                                        "a@1x",
                                        "a@1@2",
                                        "a@99999999999999999999",
                                        "a@9007199254740993"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_string_equal(found(fake, wrong[i]), "INVALID");
    assert_string_equal(found(fake, longest), "INVALID");
    fake_destroy(fake);
}

static void promoted_versions_are_served(void **state) {
    (void)state;
    fake_t *fake = fake_new(1000);
    catalog_state_t now;
    proto_model_info_t models[] = {model("a", 3, 7), model("b", 1, 9)};
    promote(fake, models, 2);
    catalog_state(fake->catalog, &now);
    assert_int_equal(now.pending, 2);
    assert_string_equal(fake->opening[0]->name, "b"); // promoted last, so loaded first
    assert_string_equal(found(fake, ""), "loading b@1");
    assert_string_equal(found(fake, "a"), "loading a@3");
    load_all(fake);
    assert_string_equal(found(fake, ""), "b@1");
    assert_string_equal(found(fake, "a"), "a@3");
    assert_string_equal(found(fake, "a@3"), "a@3");
    assert_string_equal(found(fake, "a@2"), "unknown a@2");
    catalog_state(fake->catalog, &now);
    assert_int_equal(now.served, 2);
    assert_int_equal(now.pending, 0);
    assert_int_equal(now.memory, 20);
    promote(fake, models, 2); // the same again changes nothing
    assert_int_equal(fake->open_count, 0);
    promote(fake, models, 1); // b is gone
    assert_string_equal(found(fake, "b"), "unknown b@0");
    assert_string_equal(found(fake, ""), "a@3");
    assert_int_equal(fake->engines, 1);
    fake_destroy(fake);
}

static void swap_waits_for_the_new_and_frees_the_old(void **state) {
    (void)state;
    fake_t *fake = fake_new(1000);
    proto_model_info_t one = model("a", 1, 1), two = model("a", 2, 2);
    promote(fake, &one, 1);
    load_all(fake);
    version_t *held = get(fake, "a");
    catalog_hold(held, fake->now);
    promote(fake, &two, 1);
    assert_string_equal(found(fake, "a"), "a@1");
    assert_string_equal(found(fake, "a@2"), "loading a@2");
    open_next(fake, 10, NULL);
    assert_string_equal(found(fake, "a"), "a@1");
    build_next(fake, NULL);
    assert_string_equal(found(fake, "a"), "a@2");
    assert_int_equal(fake->engines, 2); // a request still uses the old one
    assert_string_equal(held->engine, "a@1");
    assert_string_equal(told(fake, "a", 2), "ready p s");
    assert_string_equal(found(fake, "a@1"), "unknown a@1");
    catalog_release(fake->catalog, held);
    assert_int_equal(fake->engines, 1);
    fake_destroy(fake);
}

static void a_damaged_version_leaves_the_old_one(void **state) {
    (void)state;
    fake_t *fake = fake_new(1000);
    catalog_state_t now;
    proto_model_info_t one = model("a", 1, 1), two = model("a", 2, 2);
    promote(fake, &one, 1);
    load_all(fake);
    promote(fake, &two, 1);
    open_next(fake, 0, broken());
    assert_string_equal(found(fake, "a"), "a@1");
    assert_string_equal(found(fake, "a@2"), "CORRUPT");
    catalog_state(fake->catalog, &now);
    assert_int_equal(now.failed, 1);
    assert_int_equal(now.pending, 0);
    assert_non_null(strstr(now.failures[0]->err.message, "model.safetensors"));
    // Tried again after 1 s, 2 s, …, 64 s, 64 s.
    int64_t waits[8];
    for (int i = 0; i < 8; i++) {
        int64_t due = catalog_tick(fake->catalog, fake->now);
        waits[i] = due - fake->now;
        fake->now = due - 1;
        catalog_tick(fake->catalog, fake->now);
        assert_int_equal(fake->open_count, 0);
        fake->now = due;
        assert_int_equal(catalog_tick(fake->catalog, fake->now), 0);
        open_next(fake, 0, broken());
    }
    assert_int_equal(waits[0], 1000);
    assert_int_equal(waits[1], 2000);
    assert_int_equal(waits[7], 64000);
    fake->now += 64000;
    catalog_tick(fake->catalog, fake->now);
    open_next(fake, 10, NULL);
    build_next(fake, broken()); // building may fail as well
    assert_string_equal(found(fake, "a"), "a@1");
    assert_int_equal(fake->engines, 1);
    fake->now += 64000;
    catalog_tick(fake->catalog, fake->now);
    load_all(fake); // mended
    assert_string_equal(found(fake, "a"), "a@2");
    fake_destroy(fake);
}

static void a_damaged_first_version_says_so(void **state) {
    (void)state;
    fake_t *fake = fake_new(1000);
    proto_model_info_t one = model("a", 1, 1);
    promote(fake, &one, 1);
    open_next(fake, 0, broken());
    assert_string_equal(found(fake, "a"), "CORRUPT");
    assert_string_equal(found(fake, ""), "CORRUPT");
    assert_int_equal(fake->open_count, 0); // asking does not load it again at once
    fake->now += 1000;
    assert_string_equal(found(fake, "a"), "loading a@1");
    load_all(fake);
    assert_string_equal(found(fake, "a"), "a@1");
    fake_destroy(fake);
}

static void spare_versions_go_by_their_last_use(void **state) {
    (void)state;
    fake_t *fake = fake_new(1000);
    proto_model_info_t one = model("a", 1, 1);
    promote(fake, &one, 1);
    for (uint64_t version = 2; version <= 4; version++) {
        fake->now++;
        assert_int_equal(add(fake, "a", version), ERR_OK);
        load_all(fake);
    }
    assert_int_equal(fake->engines, 4);
    fake->now++;
    version_t *second = get(fake, "a@2");
    catalog_hold(second, fake->now);
    catalog_release(fake->catalog, second);
    assert_int_equal(add(fake, "a", 5), ERR_OK);
    load_all(fake);
    assert_string_equal(found(fake, "a@3"), "unknown a@3"); // the oldest
    assert_string_equal(found(fake, "a@2"), "a@2");
    assert_string_equal(found(fake, "a"), "a@1");
    assert_int_equal(add(fake, "a", 5), ERR_OK); // known already
    assert_int_equal(fake->open_count, 0);
    // All in use: refused, and nobody is hurt.
    version_t *held[3] = {get(fake, "a@2"), get(fake, "a@4"), get(fake, "a@5")};
    for (int i = 0; i < 3; i++)
        catalog_hold(held[i], fake->now);
    assert_int_equal(add(fake, "a", 6), ERR_FULL);
    for (int i = 0; i < 3; i++)
        catalog_release(fake->catalog, held[i]);
    assert_int_equal(add(fake, "a", 6), ERR_OK);
    // Promoting a spare one takes no new loading.
    load_all(fake);
    proto_model_info_t five = model("a", 5, 2);
    promote(fake, &five, 1);
    assert_int_equal(fake->open_count, 0);
    assert_string_equal(found(fake, "a"), "a@5");
    fake_destroy(fake);
}

static void memory_is_made_or_refused(void **state) {
    (void)state;
    fake_t *fake = fake_new(100);
    proto_model_info_t one = model("a", 1, 1), both[] = {model("a", 1, 1), model("b", 1, 2)};
    promote(fake, &one, 1);
    open_next(fake, 40, NULL);
    load_all(fake);
    add(fake, "a", 2);
    open_next(fake, 30, NULL);
    load_all(fake);
    fake->now++;
    add(fake, "a", 3);
    open_next(fake, 30, NULL);
    load_all(fake);
    promote(fake, both, 2);
    open_next(fake, 25, NULL); // the oldest spare one makes room
    load_all(fake);
    assert_string_equal(found(fake, "b"), "b@1");
    assert_string_equal(found(fake, "a@2"), "unknown a@2");
    assert_string_equal(found(fake, "a@3"), "a@3");
    add(fake, "c", 1);
    open_next(fake, 101, NULL); // more than there is: nothing is dropped for it
    assert_string_equal(found(fake, "c@1"), "NO_MEMORY");
    assert_string_equal(found(fake, "a@3"), "a@3");
    fake->now++;
    add(fake, "c", 2);
    open_next(fake, UINT64_MAX, NULL);
    assert_string_equal(found(fake, "c@2"), "NO_MEMORY");
    catalog_hold(get(fake, "a@3"), fake->now);
    add(fake, "c", 3);
    open_next(fake, 20, NULL); // all that is loaded is in use
    assert_string_equal(found(fake, "c@3"), "NO_MEMORY");
    catalog_release(fake->catalog, get(fake, "a@3"));
    fake_destroy(fake);
}

static void promotion_while_loading(void **state) {
    (void)state;
    fake_t *fake = fake_new(1000);
    proto_model_info_t one = model("a", 1, 1), two = model("a", 2, 2);
    promote(fake, &one, 1);
    promote(fake, &two, 1); // before the first was opened
    assert_string_equal(found(fake, "a"), "loading a@2");
    promote(fake, NULL, 0); // all gone while they load
    assert_string_equal(found(fake, "a"), "unknown a@0");
    load_all(fake);
    catalog_state_t now;
    catalog_state(fake->catalog, &now);
    assert_true(now.loaded <= 1); // the first became a spare one
    promote(fake, &one, 1);
    load_all(fake);
    assert_string_equal(found(fake, "a"), "a@1");
    // The same number with other content (a registry that began anew) is another version.
    proto_model_info_t other = one;
    other.digest = "d1";
    promote(fake, &other, 1);
    assert_int_equal(fake->open_count, 1);
    load_all(fake);
    assert_int_equal(fake->engines, 1);
    fake_destroy(fake);
}

// --- Canaries

// Of requests first … first + count − 1 for the model, those that are given to that version.
static int given_to(fake_t *fake, const char *text, uint64_t version, uint64_t first, int count) {
    int given = 0;
    for (int i = 0; i < count; i++) {
        catalog_found_t got;
        assert_int_equal(
            catalog_find(fake->catalog, text, first + (uint64_t)i, fake->now, &got, NULL),
            CATALOG_READY);
        given += got.version->number == version;
    }
    return given;
}

static void a_canary_gets_its_share(void **state) {
    (void)state;
    fake_t *fake = fake_new(1000);
    proto_model_info_t models[] = {canary("a", 2, 10), model("a", 1, 5)};
    promote(fake, models, 2);
    assert_int_equal(fake->opening[0]->number, 1); // what is promoted goes before
    catalog_state_t now;
    open_next(fake, 10, NULL);
    build_next(fake, NULL);
    assert_int_equal(given_to(fake, "a", 1, 0, 1000), 1000); // it is not there yet
    catalog_state(fake->catalog, &now);
    assert_int_equal(now.pending, 0);
    assert_int_equal(now.canaries, 1);
    load_all(fake);
    // 6 standard deviations of a fair draw: 9000 ± 180, whichever requests they are.
    for (uint64_t first = 0; first < 3; first++) {
        int given = given_to(fake, "a", 2, first << 31, 90000);
        assert_in_range(given, 9000 - 540, 9000 + 540);
    }
    assert_in_range(given_to(fake, "", 2, 0, 90000), 9000 - 540, 9000 + 540);
    assert_string_equal(catalog_served_last(fake->catalog)->engine, "a@1");
    assert_int_equal(given_to(fake, "a@1", 1, 0, 1000), 1000); // versions are as they are named
    assert_int_equal(given_to(fake, "a@2", 2, 0, 1000), 1000);
    // Every other request alone, as of a client that takes turns with another, is no other share.
    int even = 0;
    for (uint64_t i = 0; i < 45000; i++)
        even += given_to(fake, "a", 2, 2 * i, 1);
    assert_in_range(even, 4500 - 382, 4500 + 382);
    // The same request always gets the same, and keeps it when the share grows.
    bool before[1000];
    for (uint64_t i = 0; i < 1000; i++)
        before[i] = given_to(fake, "a", 2, i, 1) == 1;
    models[0].canary = 60.5;
    promote(fake, models, 2);
    assert_int_equal(fake->open_count, 0); // nothing is loaded for that
    for (uint64_t i = 0; i < 1000; i++)
        assert_true(!before[i] || given_to(fake, "a", 2, i, 1) == 1);
    assert_in_range(given_to(fake, "a", 2, 0, 90000), 54450 - 900, 54450 + 900);
    fake_destroy(fake);
}

static void a_canary_ends_either_way(void **state) {
    (void)state;
    fake_t *fake = fake_new(1000);
    proto_model_info_t models[] = {model("a", 1, 5), canary("a", 2, 50)};
    promote(fake, models, 2);
    load_all(fake);
    assert_int_equal(fake->engines, 2);
    promote(fake, models, 1); // rolled back: nobody gets it, and it is not kept
    assert_int_equal(fake->engines, 1);
    assert_int_equal(given_to(fake, "a", 1, 0, 1000), 1000);
    promote(fake, models, 2);
    load_all(fake);
    version_t *held = get(fake, "a@1");
    catalog_hold(held, fake->now);
    proto_model_info_t two = model("a", 2, 6); // promoted in full: at once, it is loaded
    promote(fake, &two, 1);
    assert_int_equal(fake->open_count, 0);
    assert_int_equal(given_to(fake, "a", 2, 0, 1000), 1000);
    assert_int_equal(fake->engines, 2); // a request still uses the old one
    catalog_release(fake->catalog, held);
    assert_int_equal(fake->engines, 1);
    // Another canary, while the one before is still being loaded.
    proto_model_info_t three[] = {two, canary("a", 3, 50)}, four[] = {two, canary("a", 4, 50)};
    promote(fake, three, 2);
    promote(fake, four, 2);
    load_all(fake);
    assert_int_equal(fake->engines, 2);
    assert_true(given_to(fake, "a", 4, 0, 1000) > 0);
    assert_string_equal(found(fake, "a@3"), "unknown a@3");
    // The two change places.
    proto_model_info_t turned[] = {model("a", 4, 9), canary("a", 2, 30)};
    promote(fake, turned, 2);
    load_all(fake);
    assert_in_range(given_to(fake, "a", 2, 0, 1000), 200, 400);
    assert_int_equal(fake->engines, 2);
    proto_model_info_t later[] = {model("a", 5, 10), canary("a", 4, 30)};
    promote(fake, later, 2); // until 5 is loaded the canary is also what is served
    assert_int_equal(given_to(fake, "a", 4, 0, 1000), 1000);
    load_all(fake);
    assert_in_range(given_to(fake, "a", 4, 0, 1000), 200, 400);
    assert_int_equal(fake->engines, 2);
    promote(fake, NULL, 0); // the model is gone
    assert_int_equal(fake->engines, 0);
    fake_destroy(fake);
}

static void a_canary_that_cannot_be_loaded_gets_nothing(void **state) {
    (void)state;
    fake_t *fake = fake_new(1000);
    catalog_state_t now;
    proto_model_info_t models[] = {model("a", 1, 5), canary("a", 2, 50)};
    promote(fake, models, 1);
    load_all(fake);
    promote(fake, models, 2);
    assert_string_equal(told(fake, "a", 2), "loading c");
    open_next(fake, 0, broken());
    assert_string_equal(told(fake, "a", 1), "ready p s");
    assert_string_equal(told(fake, "a", 2), "failed e c");
    assert_string_equal(told(fake, "a", 3), "");
    assert_int_equal(given_to(fake, "a", 1, 0, 1000), 1000);
    catalog_state(fake->catalog, &now);
    assert_int_equal(now.failed, 1);
    assert_int_equal(now.failures[0]->number, 2);
    assert_non_null(strstr(now.failures[0]->err.message, "model.safetensors"));
    assert_true(catalog_tick(fake->catalog, fake->now) == fake->now + 1000);
    fake->now += 1000;
    catalog_tick(fake->catalog, fake->now);
    assert_string_equal(told(fake, "a", 2), "loading e c"); // again: the reason stands until then
    load_all(fake);                                         // mended
    assert_string_equal(told(fake, "a", 2), "ready c");
    assert_true(given_to(fake, "a", 2, 0, 1000) > 0);
    catalog_state(fake->catalog, &now);
    assert_int_equal(now.failed, 0);
    // Beside nothing it is nothing, and beside itself neither.
    proto_model_info_t alone = canary("b", 1, 50),
                       itself[] = {model("a", 1, 5), canary("a", 1, 50)};
    promote(fake, &alone, 1);
    assert_string_equal(found(fake, "b"), "unknown b@0");
    assert_int_equal(fake->engines, 0);
    promote(fake, itself, 2);
    load_all(fake);
    assert_int_equal(given_to(fake, "a", 1, 0, 1000), 1000);
    catalog_state(fake->catalog, &now);
    assert_int_equal(now.canaries, 0);
    fake_destroy(fake);
}

// Random promotions, additions, failures and uses: what is held stays what it was, nothing leaks,
// limits hold, and at rest every name is served by what is promoted.
static void random_life(void **state) {
    (void)state;
    fake_t *fake = fake_new(120);
    static const char *const names[] = {"a", "b", "c"};
    struct {
        version_t *version;
        char text[32];
    } held[8] = {0};
    uint64_t wanted[3] = {0}, tried[3] = {0};
    for (uint32_t step = 0; step < 20000; step++) {
        philox_t random = philox(11, step, 0, 0, 0);
        uint32_t name = philox_below(random.v[1], 3), slot = philox_below(random.v[2], 8);
        fake->now += philox_below(random.v[3], 200);
        switch (philox_below(random.v[0], 8)) {
        case 0: {
            proto_model_info_t models[6];
            size_t count = 0;
            wanted[name] = philox_below(random.v[2], 6); // 0: not promoted
            tried[name] = random.v[2] % 3 ? 0 : philox_below(random.v[3], 6);
            for (size_t i = 0; i < 3; i++)
                if (wanted[i]) {
                    models[count++] = model(names[i], wanted[i], step * 3 + i);
                    if (tried[i])
                        models[count++] = canary(names[i], tried[i], 50);
                }
            promote(fake, models, count);
            break;
        }
        case 1:
            if (fake->open_count < 60)
                add(fake, names[name], 1 + philox_below(random.v[2], 9));
            break;
        case 2:
        case 3:
            if (fake->open_count)
                open_next(fake, 10, random.v[2] % 4 ? NULL : broken());
            break;
        case 4:
            if (fake->build_count)
                build_next(fake, random.v[2] % 6 ? NULL : broken());
            break;
        case 5: {
            catalog_found_t got;
            if (!held[slot].version && catalog_find(fake->catalog, names[name], step, fake->now,
                                                    &got, &(err_t){0}) == CATALOG_READY) {
                held[slot].version = got.version;
                strcpy(held[slot].text, got.version->engine);
                catalog_hold(got.version, fake->now);
            }
            break;
        }
        case 6:
            if (held[slot].version) {
                assert_string_equal(held[slot].version->engine, held[slot].text);
                catalog_release(fake->catalog, held[slot].version);
                held[slot].version = NULL;
            }
            break;
        default:
            if (fake->open_count < 60)
                catalog_tick(fake->catalog, fake->now);
        }
        catalog_state_t now;
        catalog_state(fake->catalog, &now);
        assert_true(now.memory <= 120);
        assert_true(catalog_count(fake->catalog) <= 9 + SPARES + 8 + 64);
    }
    for (int i = 0; i < 8; i++)
        if (held[i].version)
            catalog_release(fake->catalog, held[i].version);
    load_all(fake);
    fake->now += 100000;
    catalog_tick(fake->catalog, fake->now);
    load_all(fake);
    for (size_t i = 0; i < 3; i++) {
        char usual[32], other[32];
        bool has_canary = wanted[i] && tried[i] && tried[i] != wanted[i];
        int others = 0;
        snprintf(usual, sizeof usual, wanted[i] ? "%s@%llu" : "unknown %s@%llu", names[i],
                 (unsigned long long)wanted[i]);
        snprintf(other, sizeof other, "%s@%llu", names[i], (unsigned long long)tried[i]);
        for (uint64_t number = 0; number < 64; number++) {
            const char *text = found_by(fake, names[i], number);
            others += strcmp(text, other) == 0 && has_canary;
            assert_true(strcmp(text, usual) == 0 || (has_canary && strcmp(text, other) == 0));
        }
        assert_int_equal(others > 0, has_canary);
    }
    fake_destroy(fake);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_read),
        cmocka_unit_test(promoted_versions_are_served),
        cmocka_unit_test(swap_waits_for_the_new_and_frees_the_old),
        cmocka_unit_test(a_damaged_version_leaves_the_old_one),
        cmocka_unit_test(a_damaged_first_version_says_so),
        cmocka_unit_test(spare_versions_go_by_their_last_use),
        cmocka_unit_test(memory_is_made_or_refused),
        cmocka_unit_test(promotion_while_loading),
        cmocka_unit_test(a_canary_gets_its_share),
        cmocka_unit_test(a_canary_ends_either_way),
        cmocka_unit_test(a_canary_that_cannot_be_loaded_gets_nothing),
        cmocka_unit_test(random_life),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
