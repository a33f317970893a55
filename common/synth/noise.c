#include "noise_impl.h"

#include <math.h>

// A cheap hash of a lattice point (the finaliser of murmur3); good enough for the eye.
static uint32_t hash(uint32_t salt, int32_t x, int32_t y) {
    uint32_t h = salt ^ ((uint32_t)x * 0x8da6b343u) ^ ((uint32_t)y * 0xd8163841u);
    h = (h ^ (h >> 16)) * 0x85ebca6bu;
    h = (h ^ (h >> 13)) * 0xc2b2ae35u;
    return h ^ (h >> 16);
}

float noise_cell(uint32_t salt, int32_t x, int32_t y) {
    return (float)(hash(salt, x, y) >> 8) * 0x1p-24f;
}

float noise_at(uint32_t salt, float x, float y) {
    float fx = floorf(x), fy = floorf(y), u = x - fx, v = y - fy;
    int32_t ix = (int32_t)fx, iy = (int32_t)fy;
    float a = noise_cell(salt, ix, iy), b = noise_cell(salt, ix + 1, iy);
    float c = noise_cell(salt, ix, iy + 1), d = noise_cell(salt, ix + 1, iy + 1);
    u = u * u * (3 - 2 * u);
    v = v * v * (3 - 2 * v);
    float top = a + (b - a) * u, bottom = c + (d - c) * u;
    return 2 * (top + (bottom - top) * v) - 1;
}

float noise_cloud(uint32_t salt, float x, float y) {
    return 0.57f * noise_at(salt, x, y) + 0.29f * noise_at(salt + 1, 2.1f * x, 2.1f * y) +
           0.14f * noise_at(salt + 2, 4.3f * x, 4.3f * y);
}
