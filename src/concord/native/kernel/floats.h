// The float layers at the edges of a binary network, each in one go: the first convolution with what follows it,
// and the shortcut that halves a map. Sums run over the inputs in their order, by fused multiply-add.
//
// The file that includes this defines FLOAT_PIXELS and fused(a, b, c) = a b + c, rounded once.
#pragma once
#include <math.h>
#include <string.h>

#include "api.h"
#include "memory.h"
#include "tile.h"

namespace {

const int64_t FLOAT_FILTERS = 2 * LANES;
const int64_t MAX_INPUTS = 2048;  // of a sum

// What sums are made of: input i of a pixel lies at x[offset[i]], and pixels lie `step` apart.
struct Inputs {
    int64_t count, step;
    int32_t offset[MAX_INPUTS];
};

template <int P>
__attribute__((always_inline)) inline void dense(
    const Inputs &in, const FloatMemory &m, const float *x, int64_t filters, int64_t f, float *out
) {
    Floats low[P], high[P];
    EACH(low[p] = high[p] = Floats{});
    const float *weight = m.weight + f;
    for (int64_t i = 0; i < in.count; i++, weight += filters) {
        const Floats left = load(weight, LANES), right = load(weight + LANES, LANES);
        const float *at = x + in.offset[i];
#pragma GCC unroll 14
        for (int p = 0; p < P; p++) {
            const Floats value = Floats{} + at[p * in.step];
            low[p] = fused(value, left, low[p]);
            high[p] = fused(value, right, high[p]);
        }
    }
    const Floats least = Floats{} + m.least;
#pragma GCC unroll 14
    for (int p = 0; p < P; p++)
        for (int half = 0; half < 2; half++) {
            const int64_t o = f + half * LANES;
            Floats y = fused(half ? high[p] : low[p], load(m.factor + o, LANES), load(m.shift + o, LANES));
            y = y > least ? y : least;
            store(out + p * filters + o, y, LANES);
        }
}

// A row of pixels. Shape: -> (width, filters)
inline void dense_row(
    const Inputs &in, const FloatMemory &m, const float *x, int64_t width, int64_t filters, float *out
) {
    const int P = FLOAT_PIXELS;
    for (int64_t f = 0; f < filters; f += FLOAT_FILTERS) {
        if (width < P) {
            for (int64_t p = 0; p < width; p++) dense<1>(in, m, x + p * in.step, filters, f, out + p * filters);
            continue;
        }
        for (int64_t start = 0; start < width; start += P) {
            const int64_t p = smaller(start, width - P);  // the last tile overlaps the one before it
            dense<P>(in, m, x + p * in.step, filters, f, out + p * filters);
        }
    }
}

// The image with zeros around it, a plane for each channel. Null where memory is short.
inline const float *planes_of(const Floating &g, const FloatMemory &m, int64_t image) {
    const int64_t line = g.w + 2 * g.px, rows = g.h + 2 * g.py;
    float *planes = (float *)scratch(PLANES, g.c * rows * line * 4);
    if (!planes) return nullptr;
    memset(planes, 0, g.c * rows * line * 4);
    for (int64_t c = 0; c < g.c; c++)
        for (int64_t y = 0; y < g.h; y++) {
            const float *from = m.x + image * g.x_n + c * g.x_c + y * g.x_h;
            float *to = planes + (c * rows + y + g.py) * line + g.px;
            for (int64_t x = 0; x < g.w; x++) to[x] = from[x * g.x_w];
        }
    return planes;
}

// Row y after pooling, from a ring of rows of the convolution.
inline void pool_row(const Floating &g, const float *ring, int64_t y, float *out) {
    const int64_t top = larger(y * g.pool_s - g.pool_p, 0);
    const int64_t bottom = smaller(y * g.pool_s - g.pool_p + g.pool, g.oh);
    for (int64_t x = 0; x < g.pw; x++) {
        const int64_t left = larger(x * g.pool_s - g.pool_p, 0);
        const int64_t right = smaller(x * g.pool_s - g.pool_p + g.pool, g.ow);
        for (int64_t o = 0; o < g.o; o += LANES) {
            Floats most = Floats{} - INFINITY;
            for (int64_t row = top; row < bottom; row++)
                for (int64_t column = left; column < right; column++) {
                    const Floats v = load(ring + (row % g.pool * g.ow + column) * g.o + o, LANES);
                    most = v > most ? v : most;
                }
            store(out + x * g.o + o, most, LANES);
        }
    }
}

// Rows from..to of the output of one image.
inline bool first_rows(
    const Floating &g, const FloatMemory &m, const Inputs &in, const float *planes, int64_t image, int64_t from, int64_t to
) {
    const int64_t line = (g.w + 2 * g.px) * g.sy;
    if (!g.pool) {
        for (int64_t y = from; y < to; y++)
            dense_row(in, m, planes + y * line, g.ow, g.o, m.out + (image * g.oh + y) * g.ow * g.o);
        return true;
    }
    float *ring = (float *)scratch(ROWS, g.pool * g.ow * g.o * 4);
    if (!ring) return false;
    int64_t made = larger(from * g.pool_s - g.pool_p, 0);
    for (int64_t y = from; y < to; y++) {
        for (; made < smaller(y * g.pool_s - g.pool_p + g.pool, g.oh); made++)
            dense_row(in, m, planes + made * line, g.ow, g.o, ring + made % g.pool * g.ow * g.o);
        pool_row(g, ring, y, m.out + (image * g.ph + y) * g.pw * g.o);
    }
    return true;
}

int first(const Floating *geometry, const FloatMemory *memory) {
    const Floating &g = *geometry;
    const int64_t line = g.w + 2 * g.px, rows = g.h + 2 * g.py;
    Inputs in = {0, g.sx, {}};
    for (int64_t c = 0; c < g.c; c++)
        for (int64_t ky = 0; ky < g.kh; ky++)
            for (int64_t kx = 0; kx < g.kw; kx++) in.offset[in.count++] = (int32_t)((c * rows + ky) * line + kx);
    const int64_t height = g.pool ? g.ph : g.oh, shares = smaller(g.threads, height);
    bool there = true;
    for (int64_t image = 0; image < g.n; image++) {
        const float *planes = planes_of(g, *memory, image);
        if (!planes) return NO_MEMORY;
#pragma omp parallel for schedule(static) num_threads(shares) if (shares > 1) reduction(&& : there)
        for (int64_t i = 0; i < shares; i++)
            there = there && first_rows(g, *memory, in, planes, image, height * i / shares, height * (i + 1) / shares);
    }
    return there ? DONE : NO_MEMORY;
}

// Mean of a window of a channels-last map, cut at its end. Shape: -> (C,)
inline void mean_of(const Floating &g, const float *map, int64_t y, int64_t x, float *to) {
    const int64_t bottom = smaller((y + 1) * g.kh, g.h), right = smaller((x + 1) * g.kw, g.w);
    const float share = (float)((bottom - y * g.kh) * (right - x * g.kw));
    memset(to, 0, g.c * 4);
    for (int64_t row = y * g.kh; row < bottom; row++)
        for (int64_t column = x * g.kw; column < right; column++) {
            const float *from = map + row * g.x_h + column * g.x_w;
            for (int64_t c = 0; c < g.c; c++) to[c] += from[c];
        }
    for (int64_t c = 0; c < g.c; c++) to[c] /= share;
}

int halving(const Floating *geometry, const FloatMemory *memory) {
    const Floating &g = *geometry;
    Inputs in = {g.c, g.c, {}};
    for (int64_t c = 0; c < g.c; c++) in.offset[c] = (int32_t)c;
    const int64_t pixels = g.oh * g.ow;
    for (int64_t image = 0; image < g.n; image++) {
        float *means = (float *)scratch(ROWS, pixels * g.c * 4);
        if (!means) return NO_MEMORY;
        for (int64_t i = 0; i < pixels; i++) mean_of(g, memory->x + image * g.x_n, i / g.ow, i % g.ow, means + i * g.c);
        float *out = memory->out + image * pixels * g.o;
        const int64_t shares = smaller(g.threads, pixels / FLOAT_PIXELS + 1);
#pragma omp parallel for schedule(static) num_threads(shares) if (shares > 1)
        for (int64_t i = 0; i < shares; i++) {
            const int64_t from = pixels * i / shares, to = pixels * (i + 1) / shares;
            dense_row(in, *memory, means + from * g.c, to - from, g.o, out + from * g.o);
        }
    }
    return DONE;
}

}  // namespace
