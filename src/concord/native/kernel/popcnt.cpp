// The popcount instruction of x86 since 2008.
#include <stdint.h>

namespace {
inline uint64_t ones(uint64_t word) { return (uint64_t)__builtin_popcountll(word); }
}  // namespace

#include "scalar.h"

extern const Path concord_popcnt;
const Path concord_popcnt = {"popcnt", FILTERS, SPREAD, 0, convolve, pack, arranged, arrange, first, halving, spin};
