// Which source of a setting wins, what is refused, and where does a stack keep its sockets?
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/fs.h"
#include "conf/conf.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char home[64];

static int make_home(void **state) {
    (void)state;
    strcpy(home, "/tmp/inkling-conf-XXXXXX");
    return mkdtemp(home) ? setenv("INKLING_HOME", home, 1) : -1;
}

static int remove_home(void **state) {
    (void)state;
    unsetenv("INKLING_LEASE_MS");
    return fs_remove_all(home, NULL) == ERR_OK ? 0 : -1;
}

static void write_file(const char *text) {
    char *path = fs_join(home, "inkling.conf");
    assert_int_equal(fs_write(path, text, strlen(text), NULL), ERR_OK);
    free(path);
}

// Loads with the given arguments (ended by NULL); the number of arguments left goes to *left.
static err_code_t load(conf_t *conf, const char *const *extra, int *left, err_t *err) {
    char *argv[16] = {mem_dup("program")};
    char *own[16] = {argv[0]};
    int argc = 1;
    for (; extra && extra[argc - 1]; argc++)
        own[argc] = argv[argc] = mem_dup(extra[argc - 1]);
    int count = argc;
    err_code_t code = conf_load(conf, &argc, argv, err);
    if (left)
        *left = argc;
    for (int i = 0; i < count; i++)
        free(own[i]);
    return code;
}

static void later_sources_win(void **state) {
    (void)state;
    conf_t conf;
    err_t err;
    assert_int_equal(load(&conf, NULL, NULL, &err), ERR_OK);
    assert_int_equal(conf.lease_ms, 15000);
    assert_string_equal(conf.home, home);
    conf_release(&conf);
    write_file("# comment\n\n lease_ms = 2000 # two seconds\nname=x\n");
    assert_int_equal(load(&conf, NULL, NULL, &err), ERR_OK);
    assert_int_equal(conf.lease_ms, 2000);
    assert_string_equal(conf.name, "x");
    conf_release(&conf);
    setenv("INKLING_LEASE_MS", "3000", 1);
    assert_int_equal(load(&conf, NULL, NULL, &err), ERR_OK);
    assert_int_equal(conf.lease_ms, 3000);
    conf_release(&conf);
    const char *option[] = {"--lease-ms", "4000", "rest", "--name=y", "--", "--name", NULL};
    int left;
    assert_int_equal(load(&conf, option, &left, &err), ERR_OK);
    assert_int_equal(conf.lease_ms, 4000);
    assert_string_equal(conf.name, "y");
    assert_int_equal(left, 4); // program rest -- --name
    conf_release(&conf);
}

static void mistakes_are_named(void **state) {
    (void)state;
    static const struct {
        const char *file, *option, *value, *culprit;
    } cases[] = {
        {"lease_ms = soon\n", NULL, NULL, "inkling.conf:1"},
        {"\nleese_ms = 3\n", NULL, NULL, "leese_ms"},
        {"lease_ms\n", NULL, NULL, "inkling.conf:1"},
        {"home = /elsewhere\n", NULL, NULL, "home"},
        {"", "--lease-ms", "1", "option --lease-ms"},
        {"", "--lease-ms", "99999999999999999999", "option --lease-ms"},
        {"", "--lease-ms", "", "option --lease-ms"},
        {"", "--lease-ms", NULL, "option --lease-ms"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_file(cases[i].file);
        const char *extra[] = {cases[i].option, cases[i].value, NULL};
        conf_t conf;
        err_t err;
        assert_int_equal(load(&conf, extra, NULL, &err), ERR_USAGE);
        assert_non_null(strstr(err.message, cases[i].culprit));
        assert_true(err.remedy[0] != 0);
        conf_release(&conf);
    }
    setenv("INKLING_LEASE_MS", "x", 1);
    write_file("");
    conf_t conf;
    err_t err;
    assert_int_equal(load(&conf, NULL, NULL, &err), ERR_USAGE);
    assert_non_null(strstr(err.message, "INKLING_LEASE_MS"));
    conf_release(&conf);
}

static err_code_t load_lenient(conf_t *conf, int *argc, char **argv, err_t *skipped, err_t *err) {
    return conf_load_client(conf, CONF_STACK_CURRENT, argc, argv, skipped, err);
}

static void who_needs_only_the_places_bears_mistakes(void **state) {
    (void)state;
    conf_t conf;
    err_t err, skipped;
    char *argv[] = {"program", "--slots", "3", NULL};
    int argc = 3;
    write_file("lease_ms = 5000\nleas_ms = 1\nstall_ms = soon\nfiles = /elsewhere\n");
    assert_int_equal(load(&conf, NULL, NULL, &err), ERR_USAGE);
    assert_non_null(strstr(err.remedy, "inkling help up"));
    conf_release(&conf);
    setenv("INKLING_LEASE_MS", "x", 1);
    assert_int_equal(load_lenient(&conf, &argc, argv, &skipped, &err), ERR_OK);
    assert_int_equal(skipped.code, ERR_USAGE);
    assert_non_null(strstr(skipped.message, "inkling.conf:2")); // the first
    assert_int_equal(conf.lease_ms, 5000);
    assert_int_equal(conf.stall_ms, 60000);
    assert_int_equal(conf.slots, 3);
    assert_string_equal(conf.files, "/elsewhere");
    conf_release(&conf);
    unsetenv("INKLING_LEASE_MS");
    write_file("lease_ms = 5000\n");
    assert_int_equal(load_lenient(&conf, &argc, argv, &skipped, &err), ERR_OK);
    assert_int_equal(skipped.code, ERR_OK);
    conf_release(&conf);
    argv[1] = "--slots=many";
    argc = 2;
    argv[2] = NULL;
    assert_int_equal(load_lenient(&conf, &argc, argv, &skipped, &err), ERR_USAGE);
    conf_release(&conf);
}

// --- Remote stacks

static void write_stack(const char *name, const char *text) {
    char *path = conf_stack_path(home, name, "");
    char *folder = fs_join(home, "stacks");
    assert_int_equal(fs_mkdirs(folder, NULL), ERR_OK);
    assert_int_equal(fs_write(path, text, strlen(text), NULL), ERR_OK);
    free(folder);
    free(path);
}

static err_code_t load_as(conf_t *conf, conf_stack_t which, const char *option, err_t *err) {
    char *argv[] = {"program", (char *)(uintptr_t)option, NULL};
    int argc = option ? 2 : 1;
    return conf_load_client(conf, which, &argc, argv, NULL, err);
}

static void assert_below_home(const char *path, const char *tail) {
    char *wanted = fs_join(home, tail);
    assert_string_equal(path, wanted);
    free(wanted);
}

#define LAB "dispatcher = tcp://lab:1\ngateway = tcp://lab:2\nblobs = tcp://lab:3\n"

static void a_remote_stack_stands_between_file_and_environment(void **state) {
    (void)state;
    conf_t conf;
    err_t err;
    write_file(
        "files = /local\ngateway = ipc:///local\nclient_key = /local.key\nlease_ms = 2000\n");
    write_stack("lab", LAB "client_key = lab.key\n");
    assert_int_equal(load_as(&conf, CONF_STACK_GIVEN, "--stack=lab", &err), ERR_OK);
    assert_string_equal(conf.stack, "lab");
    assert_string_equal(conf.dispatcher, "tcp://lab:1");
    assert_string_equal(conf.gateway, "tcp://lab:2");
    assert_string_equal(conf.blobs, "tcp://lab:3");
    assert_below_home(conf.client_key, "stacks/lab.key");
    assert_below_home(conf.files, "stacks/lab.files"); // not the local stack's
    assert_int_equal(conf.lease_ms, 2000);
    conf_release(&conf);
    setenv("INKLING_STACK", "lab", 1);
    setenv("INKLING_GATEWAY", "tcp://else:9", 1);
    assert_int_equal(load_as(&conf, CONF_STACK_GIVEN, "--files=/cache", &err), ERR_OK);
    assert_string_equal(conf.stack, "lab");
    assert_string_equal(conf.dispatcher, "tcp://lab:1");
    assert_string_equal(conf.gateway, "tcp://else:9");
    assert_string_equal(conf.files, "/cache");
    conf_release(&conf);
    unsetenv("INKLING_GATEWAY");
    assert_int_equal(load_as(&conf, CONF_STACK_GIVEN, "--stack=local", &err), ERR_OK);
    assert_string_equal(conf.stack, "");
    assert_string_equal(conf.client_key, "/local.key");
    conf_release(&conf);
    unsetenv("INKLING_STACK");
}

static void the_current_stack_is_the_command_lines_alone(void **state) {
    (void)state;
    conf_t conf;
    err_t err;
    write_stack("lab", LAB);
    write_stack("other", LAB);
    write_stack("current", "lab\n");
    assert_int_equal(load_as(&conf, CONF_STACK_GIVEN, NULL, &err), ERR_OK);
    assert_string_equal(conf.stack, "");
    conf_release(&conf);
    assert_int_equal(load_as(&conf, CONF_STACK_HOME, NULL, &err), ERR_OK);
    assert_string_equal(conf.stack, "");
    assert_below_home(conf.files, "files");
    conf_release(&conf);
    assert_int_equal(load_as(&conf, CONF_STACK_CURRENT, NULL, &err), ERR_OK);
    assert_string_equal(conf.stack, "lab");
    assert_string_equal(conf.client_key, "");
    conf_release(&conf);
    assert_int_equal(load_as(&conf, CONF_STACK_CURRENT, "--stack=other", &err), ERR_OK);
    assert_string_equal(conf.stack, "other");
    conf_release(&conf);
    assert_int_equal(load_as(&conf, CONF_STACK_HOME, "--stack=nowhere", &err), ERR_OK);
    assert_string_equal(conf.stack, "nowhere"); // as it was given, and with no effect
    assert_below_home(conf.files, "files");
    conf_release(&conf);
}

static void mistakes_about_stacks_are_named(void **state) {
    (void)state;
    static const struct {
        const char *option, *culprit, *remedy;
        err_code_t code;
    } cases[] = {
        {"--stack=gone", "no stack 'gone'", "inkling stack add", ERR_NOT_FOUND},
        {"--stack=../lab", "'../lab'", "letters", ERR_USAGE},
        {"--stack=-x", "'-x'", "letters", ERR_USAGE},
        {"--stack=lab.key", "'lab.key'", "letters", ERR_USAGE},
        {"--stack=current", "'current'", "choose another", ERR_USAGE},
        {"--stack=less", "stacks/less does not tell 'blobs'", "inkling stack rm less", ERR_INVALID},
        {"--stack=more", "stacks/more:4: unknown setting 'files'", "client_key", ERR_USAGE},
        {"--stack=odd", "stacks/odd:1", "key = value", ERR_USAGE},
        {NULL, "no stack 'past'", "inkling stack use local", ERR_NOT_FOUND},
    };
    write_stack("less", "dispatcher = a\ngateway = b\n");
    write_stack("more", LAB "files = /x\n");
    write_stack("odd", "dispatcher\n");
    write_stack("current", "past\n");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        conf_t conf;
        err_t err;
        assert_int_equal(load_as(&conf, CONF_STACK_CURRENT, cases[i].option, &err), cases[i].code);
        assert_non_null(strstr(err.message, cases[i].culprit));
        assert_non_null(strstr(err.remedy, cases[i].remedy));
        conf_release(&conf);
    }
    conf_t conf;
    err_t err;
    write_file("stack = less\n");
    assert_int_equal(load_as(&conf, CONF_STACK_GIVEN, NULL, &err), ERR_USAGE);
    assert_non_null(strstr(err.remedy, "inkling stack use"));
    conf_release(&conf);
}

// Nobody may work with the local stack who meant another.
static void who_bears_mistakes_bears_no_missing_stack(void **state) {
    (void)state;
    conf_t conf;
    err_t err, skipped;
    char *argv[] = {"program", "--stack=gone", NULL};
    int argc = 2;
    assert_int_equal(load_lenient(&conf, &argc, argv, &skipped, &err), ERR_NOT_FOUND);
    conf_release(&conf);
}

// --- Places

static void a_long_home_gets_short_sockets(void **state) {
    (void)state;
    char *run = conf_run_folder("/short/home");
    assert_string_equal(run, "/short/home/run");
    free(run);
    char deep[300];
    memset(deep, 'd', sizeof deep);
    deep[0] = '/';
    deep[sizeof deep - 1] = 0;
    run = conf_run_folder(deep);
    assert_true(strlen(run) < 60);
    char *again = conf_run_folder(deep);
    assert_string_equal(run, again);
    deep[100] = 'e';
    char *other = conf_run_folder(deep);
    assert_string_not_equal(run, other);
    free(other);
    free(again);
    free(run);
}

// Endpoints below a home stand in lists with commas between them.
static void an_odd_home_gets_plain_sockets(void **state) {
    (void)state;
    static const char *const odd[] = {"/a b", "/a,b", "/ab ", "/a\tb", "/a\nb", "/a\x7f"};
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        char *endpoint = conf_endpoint(odd[i], "dispatcher");
        assert_null(strpbrk(endpoint, " ,\t\n\x7f"));
        assert_non_null(strstr(endpoint, "/inkling-"));
        free(endpoint);
    }
    char *plain = conf_run_folder("/b\xc3\xa4r(1)%s'");
    assert_string_equal(plain, "/b\xc3\xa4r(1)%s'/run");
    free(plain);
}

static void a_socket_folder_must_be_private(void **state) {
    (void)state;
    err_t err;
    assert_int_equal(conf_make_home(home, &err), ERR_OK);
    char *run = conf_run_folder(home);
    chmod(run, 0755);
    assert_int_equal(conf_make_home(home, &err), ERR_CONFLICT);
    assert_non_null(strstr(err.message, run));
    chmod(run, 0700);
    assert_int_equal(conf_make_home(home, &err), ERR_OK);
    free(run);
}

static void help_lists_every_setting(void **state) {
    (void)state;
    buf_t text;
    buf_init(&text, 65536);
    conf_help(&text);
    assert_non_null(strstr(text.data, "--lease-ms"));
    assert_non_null(strstr(text.data, "INKLING_LEASE_MS"));
    assert_non_null(strstr(text.data, "(default 15000)"));
    buf_release(&text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(later_sources_win, make_home, remove_home),
        cmocka_unit_test_setup_teardown(mistakes_are_named, make_home, remove_home),
        cmocka_unit_test_setup_teardown(who_needs_only_the_places_bears_mistakes, make_home,
                                        remove_home),
        cmocka_unit_test_setup_teardown(a_remote_stack_stands_between_file_and_environment,
                                        make_home, remove_home),
        cmocka_unit_test_setup_teardown(the_current_stack_is_the_command_lines_alone, make_home,
                                        remove_home),
        cmocka_unit_test_setup_teardown(mistakes_about_stacks_are_named, make_home, remove_home),
        cmocka_unit_test_setup_teardown(who_bears_mistakes_bears_no_missing_stack, make_home,
                                        remove_home),
        cmocka_unit_test(a_long_home_gets_short_sockets),
        cmocka_unit_test(an_odd_home_gets_plain_sockets),
        cmocka_unit_test_setup_teardown(a_socket_folder_must_be_private, make_home, remove_home),
        cmocka_unit_test(help_lists_every_setting),
    };
    return cmocka_run_group_tests_name("conf", tests, NULL, NULL);
}
