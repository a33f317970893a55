// The text form of preprocessing recipes.
#include "fuzz.h"
#include "prep/prep.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    prep_recipe_t recipe;
    err_t err;
    char *text = mem_alloc(size + 1), written[PREP_RECIPE_TEXT_MAX];
    if (size)
        memcpy(text, data, size);
    text[size] = 0;
    if (prep_recipe_parse(text, &recipe, &err) == ERR_OK) {
        ERR_ASSERT(prep_recipe_check(&recipe, &err) == ERR_OK);
        prep_recipe_write(&recipe, written);
        ERR_ASSERT(strcmp(text, written) == 0); // it accepts what it writes and nothing else
    } else {
        ERR_ASSERT(err.code != ERR_OK && err.message[0]);
    }
    free(text);
    return 0;
}

static void seed(prep_recipe_t recipe) {
    char text[PREP_RECIPE_TEXT_MAX];
    prep_recipe_write(&recipe, text);
    fuzz_seed(text, strlen(text));
}

void fuzz_seeds(void) {
    seed(PREP_RECIPE_DEFAULT);
    seed((prep_recipe_t){.size = 8,
                         .channels = 3,
                         .fit = PREP_PAD,
                         .mean_subtract = true,
                         .mean = {1.5f, 127.25f, 254.999f}});
    seed((prep_recipe_t){
        .size = 1024, .channels = 1, .fit = PREP_CROP, .mean_subtract = true, .mean = {0.1f}});
}

void fuzz_end(void) {
}
