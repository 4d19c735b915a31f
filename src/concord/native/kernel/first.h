// The first convolution with its normalisation, ReLU and maximum pooling, row by row.
#pragma once
#include "floats.h"
#include "pooling.h"
#ifdef WINOGRAD
#include "pooled.h"
#endif

namespace {

// The image with zeros around it, a plane for each channel. Null where memory is short.
inline const float *planes_of(const Floating &g, const FloatMemory &m, int64_t image) {
    const int64_t line = g.w + 2 * g.px, rows = g.h + 2 * g.py;
    float *planes = (float *)scratch(PLANES, g.c * rows * line * 4);
    if (!planes) return nullptr;
    memset(planes, 0, g.c * rows * line * 4);
    for (int64_t c = 0; c < g.c; c++)
        for (int64_t y = 0; y < g.h; y++) {
            const float *from = m.x + image * g.x_n + c * g.x_c + y * g.x_h;
            float *to = planes + (c * rows + y + g.py) * line + g.px;
            for (int64_t x = 0; x < g.w; x++) to[x] = from[x * g.x_w];
        }
    return planes;
}

// Rows of the output by direct sums.
struct Direct {
    static const int64_t HIGH = 1;
    const Floating &g;
    const FloatMemory &m;
    const Inputs &in;
    const float *planes;  // the image with zeros around it

    bool there() const { return planes; }
    void operator()(int64_t y, const Rows &rows) const {
        dense_row<false>(in, m, planes + y * g.sy * (g.w + 2 * g.px), g.ow, g.o, rows.at(y));
    }
};

inline bool direct(const Floating &g, const FloatMemory &m, int64_t image) {
    const int64_t line = g.w + 2 * g.px, rows = g.h + 2 * g.py;
    Inputs in = {0, g.sx, {}};
    for (int64_t c = 0; c < g.c; c++)
        for (int64_t ky = 0; ky < g.kh; ky++)
            for (int64_t kx = 0; kx < g.kw; kx++) in.offset[in.count++] = (int32_t)((c * rows + ky) * line + kx);
    const float *planes = planes_of(g, m, image);
    return shared_rows(g, m, image, [&] { return Direct{g, m, in, planes}; });
}

#ifdef WINOGRAD
inline bool transformed(const Floating &g, const FloatMemory &m, int64_t image) {
    if (in_tiles(g)) return pooled_in_tiles(g, m, image);
    return shared_rows(g, m, image, [&] { return Transformed(g, m, image); });
}
#endif

int first(const Floating *geometry, const FloatMemory *memory) {
    for (int64_t image = 0; image < geometry->n; image++) {
#ifdef WINOGRAD
        if (geometry->winograd ? !transformed(*geometry, *memory, image) : !direct(*geometry, *memory, image))
#else
        if (!direct(*geometry, *memory, image))
#endif
            return NO_MEMORY;
    }
    return DONE;
}

}  // namespace
