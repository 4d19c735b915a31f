// Rows of the first convolution, and maximum pooling of them.
#pragma once
#include <math.h>

#include "api.h"
#include "memory.h"
#include "tile.h"

namespace {

// Rows of the convolution: all of them, or a ring of the last ones.
struct Rows {
    float *base;
    int64_t count, width;  // in floats

    float *at(int64_t y) const { return base + y % count * width; }
};

// Row y after pooling.
inline void pool_row(const Floating &g, const Rows &rows, int64_t y, float *out) {
    const int64_t top = larger(y * g.pool_s - g.pool_p, 0);
    const int64_t bottom = smaller(y * g.pool_s - g.pool_p + g.pool, g.oh);
    for (int64_t i = 0; i < g.pw * g.o; i++) out[i] = -INFINITY;
    for (int64_t row = top; row < bottom; row++) {
        const float *line = rows.at(row);
        for (int64_t x = 0; x < g.pw; x++) {
            const int64_t left = larger(x * g.pool_s - g.pool_p, 0);
            const int64_t right = smaller(x * g.pool_s - g.pool_p + g.pool, g.ow);
            for (int64_t o = 0; o < g.o; o += LANES) {
                Floats most = load(out + x * g.o + o, LANES);
                for (int64_t column = left; column < right; column++) {
                    const Floats v = load(line + column * g.o + o, LANES);
                    most = (v > most) | (v != v) ? v : most;  // NaN stays
                }
                store(out + x * g.o + o, most, LANES);
            }
        }
    }
}

// Rows from..to of the output of one image; make(y, rows) makes Make::HIGH rows of the convolution, from a multiple
// of HIGH on: a row is rounded alike whichever thread makes it.
template <typename Make>
inline bool pooled_rows(
    const Floating &g, const FloatMemory &m, int64_t image, int64_t from, int64_t to, Make &make
) {
    if (!g.pool) {
        const Rows rows = {m.out + image * g.oh * g.ow * g.o, g.oh, g.ow * g.o};
        for (int64_t y = rounded(from, Make::HIGH); y < to; y += Make::HIGH) make(y, rows);
        return true;
    }
    const int64_t count = g.pool + Make::HIGH - 1;
    const Rows rows = {(float *)scratch(ROWS, count * g.ow * g.o * 4), count, g.ow * g.o};
    if (!rows.base) return false;
    int64_t made = larger(from * g.pool_s - g.pool_p, 0) / Make::HIGH * Make::HIGH;
    for (int64_t y = from; y < to; y++) {
        for (; made < smaller(y * g.pool_s - g.pool_p + g.pool, g.oh); made += Make::HIGH) make(made, rows);
        pool_row(g, rows, y, m.out + (image * g.ph + y) * g.pw * g.o);
    }
    return true;
}

// The rows of an image are shared out among threads, which make those at their borders twice. start() gives what
// makes the rows of a thread.
template <typename Start>
inline bool shared_rows(const Floating &g, const FloatMemory &m, int64_t image, const Start &start) {
    const int64_t height = g.pool ? g.ph : g.oh, shares = smaller(g.threads, height);
    bool there = true;
#pragma omp parallel for schedule(static) num_threads(shares) if (shares > 1) reduction(&& : there)
    for (int64_t i = 0; i < shares; i++) {
        auto make = start();
        const int64_t from = height * i / shares, to = height * (i + 1) / shares;
        there = there && make.there() && pooled_rows(g, m, image, from, to, make);
    }
    return there;
}

}  // namespace
