// A first convolution of stride 2 with half the products: Winograd's F(4, 4) along the columns.
//
// Even and odd columns of the image are two images, seen by kernels of at most 4 taps with stride 1. Four
// neighbouring outputs are A [sum (G g) (B d)] of 7 products for each tap row, where direct sums take 16. The
// points are 0, 1, -1, 1/2, -1/2, 2 and infinity, with which rounding errors are about twice those of direct sums.
//
// Weights are (O / 32, C, KH, 2, POINTS, 32) here; G is applied to them before, in Python.
// Source: A. Lavin, S. Gray, "Fast algorithms for convolutional neural networks", 2016, arXiv:1509.09308.
#pragma once
#include "floats.h"

namespace {

const int POINTS = 7;
const int OUTPUTS = 4;

// A transformed row of the image lies as (C, 2, TILES / 2, POINTS, 2): outputs are at most 4 TILES wide.
const int64_t TILES = 32;
const int64_t PHASE = POINTS * TILES;
const int TOGETHER = 2;  // tiles
const int64_t LINE = TILES + LANES;  // of every eighth column

// B d for LANES tiles: d[k] are inputs 4 t + k of a phase.
inline void transform(const Floats (&d)[POINTS], float *to) {
    static const float B[POINTS][POINTS] = {
        {-.5f, .25f, 2.5f, -1.25f, -2, 1, 0}, {0, .5f, .25f, -2.25f, -1, 1, 0}, {0, -.5f, .75f, 1.75f, -3, 1, 0},
        {0, 1, 1.5f, -2, -1.5f, 1, 0},        {0, -1, 2.5f, 0, -2.5f, 1, 0},    {0, .25f, 0, -1.25f, 0, 1, 0},
        {0, -.5f, .25f, 2.5f, -1.25f, -2, 1}};
#pragma GCC unroll 7
    for (int j = 0; j < POINTS; j++) {
        Floats sum = {};
#pragma GCC unroll 7
        for (int k = 0; k < POINTS; k++)
            if (B[j][k] != 0) sum = fused(d[k], splat(B[j][k]), sum);
        for (int q = 0; q < LANES / TOGETHER; q++)
            memcpy(to + (q * POINTS + j) * TOGETHER, (const float *)&sum + q * TOGETHER, TOGETHER * 4);
    }
}

// One padded line of the image, whose floats of columns 8 t + r lie at [r][t].
inline void transform_line(const float *strided, float *to) {
    for (int phase = 0; phase < 2; phase++)
        for (int64_t t = 0; t < TILES; t += LANES) {
            Floats d[POINTS];
#pragma GCC unroll 7
            for (int k = 0; k < POINTS; k++) {
                const int64_t column = 2 * k + phase;
                d[k] = load(strided + column % 8 * LINE + t + column / 8, LANES);
            }
            transform(d, to + phase * PHASE + t * POINTS);
        }
}

// Row y of the padded image. Shape: -> (C, 2, TILES / 2, POINTS, 2)
inline void transform_row(const Floating &g, const FloatMemory &m, int64_t image, int64_t y, float *to) {
    if (y < g.py || y >= g.py + g.h) {
        memset(to, 0, g.c * 2 * PHASE * 4);
        return;
    }
    float strided[8 * LINE] = {};
    for (int64_t c = 0; c < g.c; c++, to += 2 * PHASE) {
        const float *from = m.x + image * g.x_n + c * g.x_c + (y - g.py) * g.x_h;
        for (int64_t x = 0; x < g.w; x++) strided[(x + g.px) % 8 * LINE + (x + g.px) / 8] = from[x * g.x_w];
        transform_line(strided, to);
    }
}

// Two tiles, of two vectors of filters: eight pixels of output row y.
__attribute__((always_inline)) inline void two_tiles(
    const Floating &g, const FloatMemory &m, const Inputs &steps, const float *rows, int64_t t, int64_t f, float *out
) {
    Floats sum[POINTS][2][2];
#pragma GCC unroll 7
    for (int j = 0; j < POINTS; j++) sum[j][0][0] = sum[j][0][1] = sum[j][1][0] = sum[j][1][1] = Floats{};
    const float *weight = m.weight + f * steps.count * POINTS;
    for (int64_t i = 0; i < steps.count; i++, weight += POINTS * FLOAT_FILTERS) {
        const float *value = rows + steps.offset[i] + t * POINTS;
#pragma GCC unroll 7
        for (int j = 0; j < POINTS; j++) {
            Floats low = load(weight + j * FLOAT_FILTERS, LANES), high = load(weight + j * FLOAT_FILTERS + LANES, LANES);
            __asm__("" : "+v"(low), "+v"(high));  // in registers: each is used twice
#pragma GCC unroll 2
            for (int q = 0; q < 2; q++) {
                const Floats v = splat(value[j * TOGETHER + q]);
                sum[j][q][0] = fused(v, low, sum[j][q][0]);
                sum[j][q][1] = fused(v, high, sum[j][q][1]);
            }
        }
    }
    const Floats least = splat(m.least);
#pragma GCC unroll 4
    for (int q = 0; q < 4; q++) {
        const int64_t o = f + q % 2 * LANES;
        const Floats factor = load(m.factor + o, LANES), shift = load(m.shift + o, LANES);
#define S(j) sum[j][q / 2][q % 2]
        const Floats even1 = S(1) + S(2), odd1 = S(1) - S(2), even2 = S(3) + S(4), odd2 = S(3) - S(4);
        const Floats made[OUTPUTS] = {
            S(0) + even1 + even2 + S(5), odd1 + odd2 * .5f + S(5) * 2.f, even1 + even2 * .25f + S(5) * 4.f,
            odd1 + odd2 * .125f + S(5) * 8.f + S(6)};
#undef S
#pragma GCC unroll 4
        for (int i = 0; i < OUTPUTS; i++) {
            const int64_t x = (t + q / 2) * OUTPUTS + i;
            Floats v = fused(made[i], factor, shift);
            v = least > v ? least : v;  // NaN stays
            if (x < g.ow) store(out + x * g.o + o, v, LANES);
        }
    }
}

// Rows of the output from the top on. As many transformed rows of the image are kept as a kernel is high: all of
// them would not fit in a near cache.
struct Transformed {
    const Floating &g;
    const FloatMemory &m;
    int64_t image, made;  // rows that were transformed
    float *ring;          // null where memory is short

    Transformed(const Floating &geometry, const FloatMemory &memory, int64_t number)
        : g(geometry),
          m(memory),
          image(number),
          made(0),
          ring((float *)scratch(PLANES, geometry.kh * geometry.c * 2 * PHASE * 4)) {}

    float *place(int64_t y) const { return ring + y % g.kh * g.c * 2 * PHASE; }

    void operator()(int64_t y, float *out) {
        const int64_t top = y * g.sy;
        for (made = larger(made, top); made < top + g.kh; made++) transform_row(g, m, image, made, place(made));
        Inputs steps = {0, 0, {}};
        for (int64_t c = 0; c < g.c; c++)
            for (int64_t ky = 0; ky < g.kh; ky++)
                for (int64_t phase = 0; phase < 2; phase++)
                    steps.offset[steps.count++] = (int32_t)(place(top + ky) - ring + (c * 2 + phase) * PHASE);
        for (int64_t f = 0; f < g.o; f += FLOAT_FILTERS)
            for (int64_t t = 0; t * OUTPUTS < g.ow; t += TOGETHER) two_tiles(g, m, steps, ring, t, f, out);
    }
};

}  // namespace
