// The first convolution with its normalisation, ReLU and maximum pooling, row by row.
#pragma once
#include "floats.h"
#ifdef WINOGRAD
#include "winograd.h"
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

// Row y after pooling, from a ring of rows of the convolution.
inline void pool_row(const Floating &g, const float *ring, int64_t y, float *out) {
    const int64_t top = larger(y * g.pool_s - g.pool_p, 0);
    const int64_t bottom = smaller(y * g.pool_s - g.pool_p + g.pool, g.oh);
    for (int64_t x = 0; x < g.pw; x++) {
        const int64_t left = larger(x * g.pool_s - g.pool_p, 0);
        const int64_t right = smaller(x * g.pool_s - g.pool_p + g.pool, g.ow);
        for (int64_t o = 0; o < g.o; o += LANES) {
            Floats most = splat(-INFINITY);
            for (int64_t row = top; row < bottom; row++)
                for (int64_t column = left; column < right; column++) {
                    const Floats v = load(ring + (row % g.pool * g.ow + column) * g.o + o, LANES);
                    most = (v > most) | (v != v) ? v : most;  // NaN stays
                }
            store(out + x * g.o + o, most, LANES);
        }
    }
}

// Rows from..to of the output of one image; row(y, out) makes one of the convolution.
template <typename Row>
inline bool pooled_rows(
    const Floating &g, const FloatMemory &m, int64_t image, int64_t from, int64_t to, Row &row
) {
    if (!g.pool) {
        for (int64_t y = from; y < to; y++) row(y, m.out + (image * g.oh + y) * g.ow * g.o);
        return true;
    }
    float *ring = (float *)scratch(ROWS, g.pool * g.ow * g.o * 4);
    if (!ring) return false;
    int64_t made = larger(from * g.pool_s - g.pool_p, 0);
    for (int64_t y = from; y < to; y++) {
        for (; made < smaller(y * g.pool_s - g.pool_p + g.pool, g.oh); made++)
            row(made, ring + made % g.pool * g.ow * g.o);
        pool_row(g, ring, y, m.out + (image * g.ph + y) * g.pw * g.o);
    }
    return true;
}

// The rows of an image are shared out among threads, which make those at their borders twice. make() gives what
// makes the rows of a thread, with `ring` null where memory is short.
template <typename Make>
inline bool shared_rows(const Floating &g, const FloatMemory &m, int64_t image, const Make &make) {
    const int64_t height = g.pool ? g.ph : g.oh, shares = smaller(g.threads, height);
    bool there = true;
#pragma omp parallel for schedule(static) num_threads(shares) if (shares > 1) reduction(&& : there)
    for (int64_t i = 0; i < shares; i++) {
        auto row = make();
        there = there && row.ring && pooled_rows(g, m, image, height * i / shares, height * (i + 1) / shares, row);
    }
    return there;
}

// Rows of the output by direct sums.
struct Direct {
    const Floating &g;
    const FloatMemory &m;
    const Inputs &in;
    const float *ring;  // the image with zeros around it

    void operator()(int64_t y, float *out) const {
        dense_row(in, m, ring + y * g.sy * (g.w + 2 * g.px), g.ow, g.o, out);
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
inline bool halved(const Floating &g, const FloatMemory &m, int64_t image) {
    return shared_rows(g, m, image, [&] { return Transformed(g, m, image); });
}
#endif

int first(const Floating *geometry, const FloatMemory *memory) {
    for (int64_t image = 0; image < geometry->n; image++) {
#ifdef WINOGRAD
        if (geometry->winograd ? !halved(*geometry, *memory, image) : !direct(*geometry, *memory, image))
#else
        if (!direct(*geometry, *memory, image))
#endif
            return NO_MEMORY;
    }
    return DONE;
}

}  // namespace
