// A first convolution of 7x7 and stride 2 with a fifth of the products: Winograd's F(4x4, 4x4).
//
// Even and odd rows and columns of the image are four images, seen by kernels of 4 or 3 taps a side with stride 1.
// Sixteen neighbouring outputs are A [sum (G g G') (B d B')] A'. The points of each side are 0, 9/8, -9/8, 9/16,
// -9/16, infinity, and 3, which 3 taps do not need: A is the same for both, so that sums run over all four
// images. These are 13 x 13 products for each channel, where direct sums take 16 x 49. Of points that were tried
// these have the smallest rounding errors, about four times those of direct sums.
//
// Products of a channel are numbered by column and row, 2 point + (1 where odd): 0 to 12. Weights are
// (O / 32, PRODUCTS, PRODUCTS, C, 32) here; G is applied to them before, in Python.
// Source: A. Lavin, S. Gray, "Fast algorithms for convolutional neural networks", 2016, arXiv:1509.09308.
#pragma once
#include "floats.h"
#include "pooling.h"
#include "transform.h"

namespace {

// The sums of one point for T tiles and two vectors of filters. Shape: -> (T, 2, LANES)
template <int T>
__attribute__((always_inline)) inline void sums(
    const float *value, const float *weight, int64_t columns, int64_t steps, int64_t jump, Floats (*to)[2]
) {
    Floats low[T], high[T];
#pragma GCC unroll 14
    for (int t = 0; t < T; t++) low[t] = high[t] = Floats{};
    for (int64_t column = 0; column < columns; column++)
        for (int64_t i = column * jump; i < column * jump + steps; i++) {
            Floats left = load(weight + i * BLOCK, LANES), right = load(weight + i * BLOCK + LANES, LANES);
            __asm__("" : "+v"(left), "+v"(right));  // in registers: each is used often
#pragma GCC unroll 14
            for (int t = 0; t < T; t++) {
                const Floats v = splat(value[i * LANES + t]);
                low[t] = fused(v, left, low[t]);
                high[t] = fused(v, right, high[t]);
            }
        }
#pragma GCC unroll 14
    for (int t = 0; t < T; t++) to[t][0] = low[t], to[t][1] = high[t];
}

// The sums of one column of points, combined along the rows. Shape: -> (OUTPUTS, T, 2, LANES)
template <int T>
inline void column_sums(const Floating &g, const float *value, const float *weight, int64_t h, Floats (*to)[2]) {
    alignas(64) Floats made[POINTS][T][2];
    const int64_t jump = PRODUCTS * g.c;
    for (int64_t v = 0; v < POINTS; v++) {
        const int64_t first = 2 * h * jump + 2 * v * g.c;
        sums<T>(value + first * LANES, weight + first * BLOCK, both(h), both(v) * g.c, jump, made[v]);
    }
    for (int t = 0; t < T; t++)
        for (int half = 0; half < 2; half++) {
            Floats s[POINTS], y[OUTPUTS];
            for (int v = 0; v < POINTS; v++) s[v] = made[v][t][half];
            combine(s, y);
            for (int r = 0; r < OUTPUTS; r++) to[r * T + t][half] = y[r];
        }
}

// Rows of the output, four at a time from any on.
struct Transformed {
    static const int64_t HIGH = OUTPUTS;
    static const int64_t RING = 16;  // transformed rows of the image that are kept: at least PRODUCTS
    const Floating &g;
    const FloatMemory &m;
    const Tiles tiles;
    int64_t image, made;  // rows that were transformed
    float *ring, *values, *partial;  // partial is null where memory is short

    Transformed(const Floating &geometry, const FloatMemory &memory, int64_t number)
        : g(geometry), m(memory), tiles(geometry), image(number), made(0) {
        const int64_t rows = RING * g.c * tiles.row, all = PRODUCTS * g.c * tiles.row;
        ring = (float *)scratch(PLANES, (rows + all + tiles.vectors * POINTS * column() * LANES) * 4);
        values = ring + rows, partial = ring ? values + all : nullptr;
    }

    bool there() const { return partial; }
    int64_t column() const { return OUTPUTS * tiles.together * 2; }  // vectors of sums
    float *place(int64_t y) const { return ring + y % RING * g.c * tiles.row; }

    // Shape: -> (vectors, PRODUCTS, PRODUCTS, C, LANES)
    void transform_columns(int64_t top) const {
        for (int64_t v = 0; v < tiles.vectors; v++)
            for (int64_t i = 0; i < PRODUCTS; i++)
                for (int64_t c = 0; c < g.c; c++) {
                    Floats d[PRODUCTS];
#pragma GCC unroll 13
                    for (int k = 0; k < PRODUCTS; k++)
                        d[k] = load(place(top + k) + c * tiles.row + (i * tiles.vectors + v) * LANES, LANES);
                    transform(d, values + (((v * PRODUCTS + i) * PRODUCTS) * g.c + c) * LANES, g.c * LANES);
                }
    }

    template <int T>
    void all_sums(const float *weight) const {
        for (int64_t h = 0; h < POINTS; h++)  // weights of a column stay in the nearest cache
            for (int64_t v = 0; v < tiles.vectors; v++)
                column_sums<T>(
                    g, values + v * PRODUCTS * PRODUCTS * g.c * LANES, weight, h,
                    (Floats(*)[2])partial + (v * POINTS + h) * OUTPUTS * T);
    }

    // Where the sums of a tile lie, of the first column of points.
    const float *sums_of(int64_t tile, int64_t r, int64_t half) const {
        const int64_t v = tile / tiles.together, t = tile % tiles.together;
        return partial + (v * POINTS * column() + (r * tiles.together + t) * 2 + half) * LANES;
    }

    // Four pixels of row r of a tile, of a vector of filters from o on.
    inline void pixels(int64_t tile, int64_t r, int64_t o, Floats (&y)[OUTPUTS]) const {
        const Floats factor = load(m.factor + o, LANES), shift = load(m.shift + o, LANES), least = splat(m.least);
        const float *from = sums_of(tile, r, o % BLOCK / LANES);
        Floats s[POINTS];
        for (int h = 0; h < POINTS; h++) s[h] = load(from + h * column() * LANES, LANES);
        combine(s, y);
        for (int k = 0; k < OUTPUTS; k++) {
            y[k] = fused(y[k], factor, shift);
            y[k] = least > y[k] ? least : y[k];  // NaN stays
        }
    }

    // Row r of the four, of a vector of filters.
    void finish(int64_t r, int64_t o, float *out) const {
        for (int64_t tile = 0; tile < tiles.count; tile++) {
            Floats y[OUTPUTS];
            pixels(tile, r, o, y);
            for (int64_t x = tile * OUTPUTS; x < smaller(g.ow, (tile + 1) * OUTPUTS); x++)
                store(out + x * g.o + o, y[x % OUTPUTS], LANES);
        }
    }

    // The sums of the four rows from y on; then(o) is called for each vector of filters.
    template <typename Then>
    void rows_from(int64_t y, const Then &then) {
        const int64_t top = 2 * y;
        for (made = larger(made, top); made < top + PRODUCTS; made++)
            transform_row(g, m, tiles, image, made, place(made));
        transform_columns(top);
        for (int64_t f = 0; f < g.o; f += BLOCK) {
            const float *weight = m.weight + f * PRODUCTS * PRODUCTS * g.c;
            if (tiles.together == MOST)
                all_sums<MOST>(weight);
            else
                all_sums<MOST / 2>(weight);
            then(f), then(f + LANES);
        }
    }

    void operator()(int64_t y, const Rows &rows) {
        rows_from(y, [&](int64_t o) {
            for (int64_t r = 0; r < OUTPUTS && y + r < g.oh; r++) finish(r, o, rows.at(y + r));
        });
    }
};

}  // namespace
