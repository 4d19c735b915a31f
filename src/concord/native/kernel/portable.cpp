// Any processor: sums of bits within ever larger fields (Warren, Hacker's Delight, 2013, section 5-1).
#include <stdint.h>

namespace {
inline uint64_t ones(uint64_t x) {
    x -= x >> 1 & 0x5555555555555555;
    x = (x & 0x3333333333333333) + (x >> 2 & 0x3333333333333333);
    x = (x + (x >> 4)) & 0x0f0f0f0f0f0f0f0f;
    return x * 0x0101010101010101 >> 56;
}
}  // namespace

#include "scalar.h"

extern const Path concord_portable;
const Path concord_portable = {"portable", FILTERS, SPREAD, 0, convolve, pack, arranged, arrange, first, halving, spin};
