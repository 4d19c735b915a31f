// The transforms of winograd.h: of rows of an image, and of sums.
#pragma once
#include <immintrin.h>
#include <string.h>

#include "api.h"
#include "tile.h"

namespace {

const int POINTS = 7;
const int PRODUCTS = 13;
const float FAR = 1.125f, NEAR = .5625f, LAST = 3;  // and their opposites, but LAST; powers are exact
const int OUTPUTS = 4;         // rows and columns of a tile
const int SEEN = 2 * OUTPUTS;  // rows and columns from a tile to the next
const int MOST = 14;           // tiles together, in a vector of LANES
const int64_t LINE = 80;       // of every eighth column: four times MOST, the widest, and a vector more

inline int64_t both(int64_t point) { return point < POINTS - 1 ? 2 : 1; }

// B d of the points but LAST, for 3 taps.
inline void transform_odd(const Floats *d, Floats (&to)[POINTS - 1]) {
    const Floats near = splat(-NEAR * NEAR), far = splat(-FAR * FAR);
    const Floats least = splat(NEAR * NEAR * FAR * FAR), middle = splat(-NEAR * NEAR - FAR * FAR);
    const Floats even1 = fused(d[2], near, d[4]), odd1 = fused(d[1], near, d[3]);
    const Floats even2 = fused(d[2], far, d[4]), odd2 = fused(d[1], far, d[3]);
    to[0] = fused(d[0], least, fused(d[2], middle, d[4]));
    to[1] = fused(odd1, splat(FAR), even1), to[2] = fused(odd1, splat(-FAR), even1);
    to[3] = fused(odd2, splat(NEAR), even2), to[4] = fused(odd2, splat(-NEAR), even2);
    to[5] = fused(d[1], least, fused(d[3], middle, d[5]));
}

// B d of all points, for 4 taps: that of d[k + 1] - LAST d[k] for 3 taps, whose polynomials lack a root.
inline void transform_even(const Floats *d, Floats (&to)[POINTS]) {
    const Floats least = splat(NEAR * NEAR * FAR * FAR), middle = splat(-NEAR * NEAR - FAR * FAR);
    Floats next[POINTS - 1], some[POINTS - 1];
    for (int k = 0; k < POINTS - 1; k++) next[k] = fused(d[k], splat(-LAST), d[k + 1]);
    transform_odd(next, some);
    for (int j = 0; j < POINTS - 1; j++) to[j] = some[j];
    to[6] = fused(d[1], least, fused(d[3], middle, d[5]));
}

// Thirteen neighbours, of which every other one is even: to products in their order, `step` apart.
inline void transform(const Floats (&d)[PRODUCTS], float *to, int64_t step) {
    Floats even[POINTS], odd[POINTS - 1], own[POINTS], other[POINTS - 1];
    for (int k = 0; k < POINTS; k++) even[k] = d[2 * k];
    for (int k = 0; k < POINTS - 1; k++) odd[k] = d[2 * k + 1];
    transform_even(even, own), transform_odd(odd, other);
    for (int j = 0; j < POINTS; j++) store(to + 2 * j * step, own[j], LANES);
    for (int j = 0; j < POINTS - 1; j++) store(to + (2 * j + 1) * step, other[j], LANES);
}

// A of seven sums.
inline void combine(const Floats (&s)[POINTS], Floats (&to)[OUTPUTS]) {
    const Floats even1 = s[1] + s[2], odd1 = s[1] - s[2], even2 = s[3] + s[4], odd2 = s[3] - s[4];
    const float near2 = NEAR * NEAR, far2 = FAR * FAR, last2 = LAST * LAST;
    to[0] = s[0] + even1 + even2 + s[6];
    to[1] = fused(s[6], splat(LAST), fused(odd2, splat(NEAR), odd1 * FAR));
    to[2] = fused(s[6], splat(last2), fused(even2, splat(near2), even1 * far2));
    to[3] = fused(s[6], splat(last2 * LAST), fused(odd2, splat(near2 * NEAR), fused(odd1, splat(far2 * FAR), s[5])));
}

// Sizes that follow from a geometry.
struct Tiles {
    int64_t count, together, vectors;  // of a row: tiles, of these in a vector, vectors
    int64_t row;                       // floats of a transformed row of a channel

    explicit Tiles(const Floating &g)
        : count((g.ow + OUTPUTS - 1) / OUTPUTS),
          together(count <= MOST / 2 ? MOST / 2 : MOST),
          vectors((count + together - 1) / together),
          row(PRODUCTS * vectors * LANES) {}
};

// Every third float, 16 of them, of which the last is read last.
inline Floats thirds(const float *from) {
    const __m512i first = _mm512_set_epi32(0, 0, 0, 0, 0, 30, 27, 24, 21, 18, 15, 12, 9, 6, 3, 0);
    const __m512i then = _mm512_set_epi32(29, 26, 23, 20, 17, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    const __m512 some = _mm512_permutex2var_ps(_mm512_loadu_ps(from), first, _mm512_loadu_ps(from + LANES));
    return (Floats)_mm512_permutex2var_ps(some, then, _mm512_maskz_loadu_ps(0x3fff, from + 2 * LANES));
}

// A row of one channel, whose floats lie `step` apart.
inline void copy_row(const float *from, int64_t step, int64_t width, float *to) {
    int64_t x = 0;
    if (step == 3)
        for (; x + LANES <= width; x += LANES) store(to + x, thirds(from + 3 * x), LANES);
    if (step == 1)
        memcpy(to, from, width * 4);
    else
        for (; x < width; x++) to[x] = from[x * step];
}

// Eight vectors that follow each other: of columns 8 t + r those of each r lie together after that.
inline void part(const float *from, float *to) {
    const __m512i even = _mm512_set_epi32(30, 28, 26, 24, 22, 20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0);
    const __m512i odd = _mm512_add_epi32(even, _mm512_set1_epi32(1));
    __m512 v[SEEN], next[SEEN];
    for (int i = 0; i < SEEN; i++) v[i] = _mm512_loadu_ps(from + i * LANES);
    // columns 2 t and 2 t + 1, then of each every other one, and so on: halves of v are even and odd
#pragma GCC unroll 3
    for (int group = SEEN; group > 1; group /= 2) {
#pragma GCC unroll 8
        for (int i = 0; i < SEEN / 2; i++) {
            const int first = 2 * i / group * group, at = first + i % (group / 2);
            next[at] = _mm512_permutex2var_ps(v[2 * i], even, v[2 * i + 1]);
            next[at + group / 2] = _mm512_permutex2var_ps(v[2 * i], odd, v[2 * i + 1]);
        }
        for (int i = 0; i < SEEN; i++) v[i] = next[i];
    }
    static const int R[SEEN] = {0, 4, 2, 6, 1, 5, 3, 7};
    for (int i = 0; i < SEEN; i++) _mm512_storeu_ps(to + R[i] * LINE, v[i]);
}

// Row y of the padded image, transformed along its columns. Shape: -> (C, PRODUCTS, vectors, LANES)
inline void transform_row(
    const Floating &g, const FloatMemory &m, const Tiles &tiles, int64_t image, int64_t y, float *to
) {
    if (y < g.py || y >= g.py + g.h) {
        memset(to, 0, g.c * tiles.row * 4);
        return;
    }
    float line[SEEN * LINE] = {}, parted[SEEN * LINE];
    for (int64_t c = 0; c < g.c; c++, to += tiles.row) {
        copy_row(m.x + image * g.x_n + c * g.x_c + (y - g.py) * g.x_h, g.x_w, g.w, line + g.px);
        const int64_t end = tiles.vectors * MOST + LANES - MOST + 1;
        for (int64_t t = 0; t < end; t += LANES) part(line + t * SEEN, parted + t);
        for (int64_t v = 0; v < tiles.vectors; v++) {
            Floats d[PRODUCTS];
#pragma GCC unroll 13
            for (int k = 0; k < PRODUCTS; k++)
                d[k] = load(parted + k % SEEN * LINE + v * tiles.together + k / SEEN, LANES);
            transform(d, to + v * LANES, tiles.vectors * LANES);
        }
    }
}

}  // namespace
