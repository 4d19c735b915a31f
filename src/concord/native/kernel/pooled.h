// Maximum pooling 3x3 of stride 2 and padding 1 while the tiles of winograd.h are in registers.
#pragma once
#include "winograd.h"

namespace {

inline bool in_tiles(const Floating &g) {
    return g.winograd && g.pool == 3 && g.pool_s == 2 && g.pool_p == 1 && g.oh % OUTPUTS == 0 && g.ow % OUTPUTS == 0;
}

// The larger one; NaN stays where that is asked for, which takes four instructions and not one.
template <bool STAYS>
inline Floats most(Floats v, Floats before) {
    return (STAYS ? (v > before) | (v != v) : v > before) ? v : before;
}

// Two rows after pooling from four rows of the convolution and the last one before these.
struct Pooled {
    Transformed rows;
    float *last[2];  // rows of the convolution, in turns: the one before the four, and the last of the four
    bool odd;        // NaN or infinity was seen

    Pooled(const Floating &g, const FloatMemory &m, int64_t image) : rows(g, m, image), odd(false) {
        last[0] = (float *)scratch(ROWS, 2 * g.ow * g.o * 4), last[1] = last[0] + g.ow * g.o;
        for (int64_t i = 0; last[0] && i < g.ow * g.o; i++) last[1][i] = -INFINITY;
    }

    bool there() const { return rows.there() && last[0]; }

    // A vector of filters from o on. Gives whether all numbers are finite.
    template <bool STAYS>
    bool vector_of(int64_t o, const float *before, float *after, float *out) const {
        const Floating &g = rows.g;
        Floats left[2] = {splat(-INFINITY), splat(-INFINITY)}, finite = {};
        for (int64_t tile = 0; tile < rows.tiles.count; tile++, before += OUTPUTS * g.o, after += OUTPUTS * g.o) {
            Floats y[OUTPUTS][OUTPUTS], high[2][OUTPUTS];
            for (int r = 0; r < OUTPUTS; r++) rows.pixels(tile, r, o, y[r]);
            for (int k = 0; k < OUTPUTS; k++) {
                for (int r = 0; r < OUTPUTS; r++) finite = fused(y[r][k], Floats{}, finite);
                high[0][k] = most<STAYS>(y[1][k], most<STAYS>(y[0][k], load(before + k * g.o + o, LANES)));
                high[1][k] = most<STAYS>(y[3][k], most<STAYS>(y[2][k], y[1][k]));
                store(after + k * g.o + o, y[3][k], LANES);
            }
            for (int i = 0; i < 2 && out; i++) {
                float *to = out + (i * g.pw + 2 * tile) * g.o + o;
                store(to, most<STAYS>(high[i][1], most<STAYS>(high[i][0], left[i])), LANES);
                store(to + g.o, most<STAYS>(high[i][3], most<STAYS>(high[i][2], high[i][1])), LANES);
                left[i] = high[i][3];
            }
        }
        const Ints sound = finite == finite;
        for (int i = 0; i < LANES; i++)
            if (!sound[i]) return false;
        return true;
    }

    // Four rows from 4 strip on; out is null where only their last one is wanted.
    void operator()(int64_t strip, float *out) {
        const float *before = last[(strip + 1) % 2];
        float *after = last[strip % 2];
        rows.rows_from(strip * OUTPUTS, [&](int64_t o) {
            odd = odd || !vector_of<false>(o, before, after, out);
            if (odd) vector_of<true>(o, before, after, out);
        });
    }
};

inline bool pooled_in_tiles(const Floating &g, const FloatMemory &m, int64_t image) {
    const int64_t strips = g.oh / OUTPUTS, shares = smaller(g.threads, strips);
    bool there = true;
#pragma omp parallel for schedule(static) num_threads(shares) if (shares > 1) reduction(&& : there)
    for (int64_t i = 0; i < shares; i++) {
        Pooled make(g, m, image);
        const int64_t first = strips * i / shares, end = strips * (i + 1) / shares;
        there = there && make.there();
        for (int64_t s = larger(first - 1, 0); there && s < end; s++)
            make(s, s < first ? nullptr : m.out + (image * g.ph + 2 * s) * g.pw * g.o);
    }
    return there;
}

}  // namespace
