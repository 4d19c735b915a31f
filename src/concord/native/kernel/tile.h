// LANES numbers at a time: as many floats as a register has, but at least 8, the bits of a byte.
#pragma once
#include <stdint.h>
#include <string.h>

// A statement for each pixel p of P.
#define EACH(...)                 \
    _Pragma("GCC unroll 16")      \
    for (int p = 0; p < P; p++) { \
        __VA_ARGS__;              \
    }

namespace {

typedef float Floats __attribute__((vector_size(4 * LANES), aligned(4)));
typedef int32_t Ints __attribute__((vector_size(4 * LANES), aligned(4)));

const int MAX_RUNS = 1024;  // places of a kernel whose words do not follow each other

// Pixels of a tile that a run is for: one at an end may lie outside the image.
enum Ends { BOTH, NO_FIRST, NO_LAST };

// Words of a window that follow each other: offsets from its first word and from that of the filters.
struct Run {
    int64_t input, weight, words;
    Ends ends;
};

// Where a value counts as negative: side x < cut, for each channel; x < 0 where both are null.
struct Cut {
    const float *cut, *side;
};

inline Ints splat(int32_t value) { return Ints{} + value; }
inline Floats splat(float value) { return value - Floats{}; }  // 0 + value would be an addition
inline Floats floats(Ints values) { return __builtin_convertvector(values, Floats); }
inline Ints load(const int32_t *from) { return *(const Ints *)from; }

// `lanes` is a constant where the call is inlined with LANES.
inline Floats load(const float *from, int lanes) {
    if (lanes == LANES) return *(const Floats *)from;
    Floats some = {};
    memcpy(&some, from, lanes * 4);
    return some;
}

inline void store(float *to, Floats values, int lanes) {
    if (lanes == LANES)
        *(Floats *)to = values;
    else
        memcpy(to, &values, lanes * 4);
}

}  // namespace
