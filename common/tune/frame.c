#include "tune/frame_impl.h"

#include <math.h>

static const tune_parameter_t *of(const frame_t *frame, int dim) {
    return &frame->space->parameters[frame->parameter[dim]];
}

static const tune_parameter_t *scale_of(const frame_t *frame, int dim) {
    return &frame->scale->parameters[frame->parameter[dim]];
}

bool frame_varies(const frame_t *frame, int dim) {
    return of(frame, dim)->type != TUNE_CONSTANT;
}

void frame_init(frame_t *frame, const tune_space_t *space, const tune_space_t *scale) {
    frame->space = space;
    frame->scale = scale;
    frame->dims = frame->wide = 0;
    for (int i = 0; i < space->count; i++) {
        const tune_parameter_t *p = &scale->parameters[i];
        if (p->type == TUNE_CONSTANT)
            continue;
        int dim = frame->dims++;
        frame->parameter[dim] = i;
        frame->first[dim] = frame->wide;
        frame->width[dim] = p->type == TUNE_CATEGORY ? p->choice_count + p->retired : 1;
        for (int k = 0; k < frame->width[dim]; k++)
            frame->group[frame->wide++] = dim;
    }
}

void frame_widen(const frame_t *frame, const double *point, double *wide) {
    for (int dim = 0; dim < frame->dims; dim++) {
        double value = point[frame->parameter[dim]], *at = wide + frame->first[dim];
        if (scale_of(frame, dim)->type != TUNE_CATEGORY) {
            *at = tune_parameter_place(scale_of(frame, dim), value);
            continue;
        }
        for (int k = 0; k < frame->width[dim]; k++)
            at[k] = k == (int)value ? M_SQRT1_2 : 0;
    }
}

void frame_decode(const frame_t *frame, const double *unit, double *point) {
    for (int i = 0; i < frame->space->count; i++)
        point[i] = frame->space->parameters[i].lo; // constants
    for (int dim = 0; dim < frame->dims; dim++)
        point[frame->parameter[dim]] = tune_parameter_decode(of(frame, dim), unit[dim]);
    tune_space_canonical(frame->space, point);
}

void frame_numbers(const frame_t *frame, const double *wide, double *point) {
    for (int dim = 0; dim < frame->dims; dim++) {
        int i = frame->parameter[dim];
        if (frame_varies(frame, dim) && of(frame, dim)->type != TUNE_CATEGORY &&
            tune_space_active(frame->space, point, i))
            point[i] = tune_parameter_decode(of(frame, dim), wide[frame->first[dim]]);
    }
    tune_space_canonical(frame->space, point);
}
