// demo-data: a made-up data set to play with.
#include "cli_impl.h"
#include "prep/prep.h"
#include "synth/synth.h"

#include <stdlib.h>

static bool on_drawn(void *arg, uint32_t done, uint32_t count) {
    (void)arg;
    (void)done;
    (void)count;
    return !cli_interrupted();
}

err_code_t verb_demo_data(cli_t *cli, int *exit_code, err_t *err) {
    (void)exit_code;
    uint32_t count = (uint32_t)call_number(&cli->call, "count");
    uint64_t seed = call_number(&cli->call, "seed");
    char *dir = cli_absolute(cli->call.arguments[0]);
    cli_catch_interrupts();
    err_code_t code = prep_init(err);
    if (code == ERR_OK) {
        code = synth_write_set(dir, count, seed, 0, on_drawn, NULL, err);
        prep_shutdown();
        if (code == ERR_IO || code == ERR_NOT_FOUND)
            err_remedy(err, "give a folder that can be made and written, on a disk with room");
    }
    if (code == ERR_OK && say_is_json())
        say_json(json_pack("{s:o, s:I, s:I, s:[s,s]}", "dir", say_json_text(dir), "images",
                           (json_int_t)count, "seed", (json_int_t)seed, "classes", "comics",
                           "photos"));
    else if (code == ERR_OK)
        printf("%u images in %s: comics and photos\n", count, dir);
    free(dir);
    return code;
}
