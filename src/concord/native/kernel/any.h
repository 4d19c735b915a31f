// Bits of a row of pixels, by plain loops: for every layout and every number of channels.
#pragma once
#include "tile.h"

namespace {

inline bool pack_any(
    const float *x, int64_t sc, int64_t sw, int64_t channels, int64_t width, Cut cut, uint64_t *out, int64_t step
) {
    bool finite = true;
    for (int64_t c = 0; c < channels; c += 64) {
        const int64_t some = channels - c < 64 ? channels - c : 64;
        for (int64_t p = 0; p < width; p++) {
            uint64_t word = 0;
            for (int64_t k = 0; k < some; k++) {
                float v = x[p * sw + (c + k) * sc];
                finite &= v - v == 0;
                if (cut.side) v *= cut.side[c + k];
                word |= (uint64_t)(v < (cut.cut ? cut.cut[c + k] : 0)) << k;
            }
            out[p * step + c / 64] = word;
        }
    }
    return finite;
}

}  // namespace
