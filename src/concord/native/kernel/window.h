// What the pixels of a tile see: runs of words that are counted, and what the border takes off.
#pragma once
#include "layer.h"

namespace {

// What is counted for the pixels of a tile. The dot product of pixel p is constant[p] - 2 popcount, plus sums of
// signs where `summed`.
struct Window {
    int64_t x, pixels;    // of the tile, if it is at a border; pixels are 0 where no window was made yet
    int64_t first, last;  // rows of the kernel that meet the image, last excluded
    int64_t count;        // runs; their inputs are counted from the window's first column in row 0 of the kernel
    bool summed;
    int32_t constant[PIXELS];
    Run runs[MAX_RUNS];
};

// Pixels that column kx of the kernel is counted for: one at an end, which alone lies outside there, is left out.
inline Ends ends_at(const Geometry &g, int64_t x, int64_t pixels, int64_t kx) {
    const int64_t first = x * g.sx - g.px + kx * g.dx, last = first + (pixels - 1) * g.sx;
    if (pixels == 1 || g.ones) return BOTH;
    if (first < 0 && first + g.sx >= 0 && last < g.w) return NO_FIRST;
    if (first >= 0 && last >= g.w && last - g.sx < g.w) return NO_LAST;
    return BOTH;
}

inline bool outside(const Geometry &g, int64_t x, int64_t kx) {
    const int64_t column = x * g.sx - g.px + kx * g.dx;
    return column < 0 || column >= g.w;
}

// Runs of a row of the kernel; words of neighbouring columns follow each other if dx is 1.
inline void look_along(const Layer &l, const Place &at, int64_t pixels, int64_t ky, int64_t line, Window &window) {
    const Geometry &g = l.g;
    const bool joined = g.dx == 1 && g.groups == 1;
    for (int64_t kx = 0; kx < g.kw; kx++) {
        const Ends ends = ends_at(g, at.x, pixels, kx);
        if (joined && kx && window.runs[window.count - 1].ends == ends)
            window.runs[window.count - 1].words += l.s.words;
        else
            window.runs[window.count++] = {
                line + kx * g.dx * l.s.pixel, (ky * g.kw + kx) * l.s.words, l.s.words, ends};
    }
}

inline void look(const Layer &l, const Place &at, int64_t pixels, Window &window) {
    const Geometry &g = l.g;
    window.x = at.x, window.pixels = pixels;
    window.first = at.first, window.last = at.last;
    window.count = 0;
    window.summed = g.ones && window.last - window.first < g.kh;
    for (int64_t ky = window.first; ky < window.last; ky++)
        look_along(l, at, pixels, ky, ky * g.dy * l.s.row, window);
    const int32_t column = (int32_t)((window.last - window.first) * (g.c / g.groups));
    for (int64_t p = 0; p < PIXELS; p++) {
        window.constant[p] = column * (int32_t)g.kw;
        for (int64_t kx = 0; kx < g.kw && p < pixels && !g.ones; kx++) {
            if (!outside(g, at.x + p, kx)) continue;
            if (ends_at(g, at.x, pixels, kx) == BOTH)
                window.summed = true;  // it was counted as +1, and is 0
            else
                window.constant[p] -= column;
        }
    }
}

// Sums of signs of pixel p: rows outside, which were left out, are +1; or columns outside were +1, and are 0.
inline Ints sums_at(const Layer &l, const Place &at, const Window &window, int64_t pixels, int64_t p, int64_t part) {
    const Geometry &g = l.g;
    const int32_t *sums = l.sums + (at.group * l.s.blocks + at.block) * l.s.places * FILTERS + part * LANES;
    Ints sum = {};
    for (int64_t ky = 0; ky < g.kh; ky++) {
        const bool counted = ky >= window.first && ky < window.last;
        for (int64_t kx = 0; kx < g.kw; kx++) {
            const Ints signs = load(sums + (ky * g.kw + kx) * FILTERS);
            if (g.ones && !counted)
                sum += signs;
            else if (!g.ones && counted && outside(g, at.x + p, kx) && ends_at(g, at.x, pixels, kx) == BOTH)
                sum -= signs;
        }
    }
    return sum;
}

// Whether the windows of these output pixels lie within the columns of the image.
inline bool inside(const Geometry &g, int64_t x, int64_t pixels) {
    return !outside(g, x, 0) && !outside(g, x + pixels - 1, g.kw - 1);
}

// Windows of a thread: most rows have the same.
struct Windows {
    Window left, within, right;  // of tiles at a border, or of all within the columns of the image

    Windows() { left.pixels = within.pixels = right.pixels = 0; }

    const Window &of(const Layer &l, const Place &at, int64_t pixels) {
        const bool whole = inside(l.g, at.x, pixels);
        Window &window = whole ? within : at.x ? right : left;
        const bool same = window.pixels && (whole || (window.x == at.x && window.pixels == pixels));
        if (!same || window.first != at.first || window.last != at.last) look(l, at, pixels, window);
        return window;
    }
};

}  // namespace
