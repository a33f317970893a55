#include "rig.h"

#include "proto/json.h"

#include <stdlib.h>

fake_t *rig_open(void) {
    fake_t *fake = malloc(sizeof *fake);
    assert_non_null(fake);
    fake_open(fake, PLAY_PARENT, "play");
    return fake;
}

void rig_close(fake_t *fake) {
    fake_close(fake);
    free(fake);
}

int rig_set_up(void **state) {
    fake_t *fake = rig_open();
    fake_listen(fake, fake->endpoint);
    *state = fake;
    return 0;
}

int rig_tear_down(void **state) {
    rig_close(*state);
    return 0;
}

const got_t *rig_next_but_reports(fake_t *fake, proto_type_t type) {
    const got_t *got;
    while ((got = fake_next(fake))->type == PROTO_job_report)
        fake_ok(fake, got);
    assert_int_equal(got->type, type);
    return got;
}

json_t *rig_result(const proto_job_finish_t *finish) {
    json_t *result = proto_map_json(finish->result);
    assert_non_null(result);
    return result;
}
