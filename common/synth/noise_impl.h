// Textures: functions of a place, without memory.
#ifndef INKLING_SYNTH_NOISE_IMPL_H
#define INKLING_SYNTH_NOISE_IMPL_H

#include <stdint.h>

// Smooth noise in -1 … 1 with one bump per unit of length. salt: drawn from a stream.
float noise_at(uint32_t salt, float x, float y);
// Three octaves of it, -1 … 1.
float noise_cloud(uint32_t salt, float x, float y);
// 0 … 1 inside cell (x, y), without any smoothness.
float noise_cell(uint32_t salt, int32_t x, int32_t y);

#endif
