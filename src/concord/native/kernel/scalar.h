// One word at a time, with the popcount that the compiler has.
#pragma once
#define LANES 8
#define FLOAT_PIXELS 4
#define PIXELS 4

#include "any.h"
#include "tile.h"

namespace {

const int FILTERS = 16;
const int SPREAD = 1;
typedef uint64_t Element;
typedef uint8_t Mask;

template <int P>
struct Counts {
    int32_t sum[P][FILTERS];

    inline void clear() { memset(sum, 0, sizeof sum); }
    template <int FROM, int TO>
    inline void add(const Element *window, int64_t step, const Element *weight, int64_t words) {
        for (int64_t i = 0; i < words; i++)
            for (int p = FROM; p < TO; p++) {
                const uint64_t a = window[p * step + i];
                for (int f = 0; f < FILTERS; f++) sum[p][f] += (int32_t)ones(a ^ weight[i * FILTERS + f]);
            }
    }
    inline Ints ints(int p, int part) const { return load(sum[p] + part * LANES); }
};

inline Floats fused(Floats a, const Floats &b, const Floats &c) {
    for (int i = 0; i < LANES; i++) a[i] = __builtin_fmaf(a[i], b[i], c[i]);
    return a;
}
inline Mask below(const Floats &a, const Floats &b) {
    uint32_t mask = 0;
    for (int i = 0; i < LANES; i++) mask |= (uint32_t)(a[i] < b[i]) << i;
    return (Mask)mask;
}

inline bool pack_row(
    const float *x, int64_t sc, int64_t sw, int64_t channels, int64_t width, Cut cut, uint64_t *out, int64_t step
) {
    return pack_any(x, sc, sw, channels, width, cut, out, step);
}

inline void put(Element *to, uint64_t word) { *to = word; }
inline void spread(const uint64_t *, int64_t, Element *) {}

}  // namespace

#include "arrange.h"
