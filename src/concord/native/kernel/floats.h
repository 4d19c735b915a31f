// Sums of products of floats, and the shortcut that halves a map in one go. Sums run over the inputs in their
// order, by fused multiply-add.
//
// The file that includes this defines FLOAT_PIXELS and fused(a, b, c) = a b + c, rounded once.
#pragma once
#include <math.h>
#include <string.h>

#include "api.h"
#include "memory.h"
#include "tile.h"

namespace {

const int64_t FLOAT_FILTERS = 2 * LANES;  // at a time
const int64_t BLOCK = 32;                 // that lie side by side in arranged weights
const int64_t MAX_INPUTS = 2048;  // of a sum

// What sums are made of: input i of a pixel lies at x[offset[i]], and pixels lie `step` apart.
struct Inputs {
    int64_t count, step;
    int32_t offset[MAX_INPUTS];
};

// AHEAD asks for the weights of the filters that follow: many weights of few pixels come from a far cache.
template <int P, bool AHEAD>
__attribute__((always_inline)) inline void dense(
    const Inputs &in, const FloatMemory &m, const float *x, int64_t filters, int64_t f, float *out
) {
    Floats low[P], high[P];
    EACH(low[p] = high[p] = Floats{});
    const float *weight = m.weight + f / BLOCK * BLOCK * in.count + f % BLOCK;
    const int64_t next = BLOCK * in.count;
    for (int64_t i = 0; i < in.count; i++, weight += BLOCK) {
        const Floats left = load(weight, LANES), right = load(weight + LANES, LANES);
        for (int64_t k = 0; AHEAD && k < FLOAT_FILTERS; k += 16) __builtin_prefetch(weight + next + k, 0, 2);
        const float *at = x + in.offset[i];
#pragma GCC unroll 14
        for (int p = 0; p < P; p++) {
            const Floats value = splat(at[p * in.step]);
            low[p] = fused(value, left, low[p]);
            high[p] = fused(value, right, high[p]);
        }
    }
    const Floats least = splat(m.least);
#pragma GCC unroll 14
    for (int p = 0; p < P; p++)
        for (int half = 0; half < 2; half++) {
            const int64_t o = f + half * LANES;
            Floats y = fused(half ? high[p] : low[p], load(m.factor + o, LANES), load(m.shift + o, LANES));
            y = least > y ? least : y;  // NaN stays
            store(out + p * filters + o, y, LANES);
        }
}

// A row of pixels. Shape: -> (width, filters)
template <bool AHEAD>
__attribute__((noinline)) void dense_row(
    const Inputs &in, const FloatMemory &m, const float *x, int64_t width, int64_t filters, float *out
) {
    const int P = FLOAT_PIXELS;
    for (int64_t f = 0; f < filters; f += FLOAT_FILTERS) {
        if (width < P) {
            for (int64_t p = 0; p < width; p++) dense<1, AHEAD>(in, m, x + p * in.step, filters, f, out + p * filters);
            continue;
        }
        for (int64_t start = 0; start < width; start += P) {
            const int64_t p = smaller(start, width - P);  // the last tile overlaps the one before it
            dense<P, AHEAD>(in, m, x + p * in.step, filters, f, out + p * filters);
        }
    }
}

// Mean of a window of a channels-last map, cut at its end. Shape: -> (C,)
inline void mean_of(const Floating &g, const float *map, int64_t y, int64_t x, float *to) {
    const int64_t bottom = smaller((y + 1) * g.kh, g.h), right = smaller((x + 1) * g.kw, g.w);
    const float share = 1 / (float)((bottom - y * g.kh) * (right - x * g.kw));
    for (int64_t c = 0; c < g.c; c += LANES) {
        const int lanes = (int)smaller(g.c - c, LANES);
        Floats sum = {};
        for (int64_t row = y * g.kh; row < bottom; row++)
            for (int64_t column = x * g.kw; column < right; column++)
                sum += load(map + row * g.x_h + column * g.x_w + c, lanes);
        store(to + c, sum * share, lanes);
    }
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
            dense_row<true>(in, *memory, means + from * g.c, to - from, g.o, out + from * g.o);
        }
    }
    return DONE;
}

}  // namespace
