// One binary convolution, for any set of instructions.
//
// The file that includes this defines before it, in an anonymous namespace:
//   LANES, Mask           numbers in a vector, and that many bits
//   FILTERS               filters of a tile, a multiple of LANES
//   PIXELS                most pixels of a tile
//   Element               of which the bits of a window are read: words, or what `spread` makes of them
//   Counts<P>             popcounts of P pixels and FILTERS filters: clear, add(run), ints(pixel, part)
//   below(a, b)           bits of a < b
//   fused(a, b, c)        a b + c, rounded once
//   pack_row              bits of a row of pixels
// Only plain loops and no C++ library: an inline function of it, compiled here for one processor, could be the
// copy that the linker keeps for every other.
#pragma once
#include <stddef.h>
#include <string.h>

#include "api.h"
#include "first.h"
#include "floats.h"
#include "memory.h"
#include "tile.h"
#include "window.h"

namespace {

// From dot products to what is kept: P pixels, `lanes` filters from o on. y points at the pixel of the output.
template <int P>
__attribute__((always_inline)) inline void finish(const Layer &l, const Place &at, int64_t o, int lanes, Floats (&y)[P]) {
    const Geometry &g = l.g;
    const Memory &m = l.m;
    const int64_t line = (at.image * g.oh + at.y) * g.ow + at.x;
    if (m.kmap) EACH(y[p] *= m.kmap[line + p]);
    if (m.alpha) {
        const Floats alpha = load(m.alpha + o, lanes);
        EACH(y[p] *= alpha);
    }
    if (m.bias) {
        const Floats bias = load(m.bias + o, lanes);
        EACH(y[p] += bias);
    }
    if (m.factor) {
        const Floats factor = load(m.factor + o, lanes), shift = load(m.shift + o, lanes);
        EACH(y[p] = fused(y[p], factor, shift));
    }
    const int64_t from = line * g.o + o;
    if (m.shortcut) EACH(y[p] += load(m.shortcut + from + p * g.o, lanes));
    if (m.out) EACH(store(m.out + from + p * g.o, y[p], lanes));
    if (!m.out_bits) return;
    if (m.out_side) {
        const Floats side = load(m.out_side + o, lanes);
        EACH(y[p] *= side);
    }
    const Floats cut = m.out_cut ? load(m.out_cut + o, lanes) : Floats{};
    const Mask there = (Mask)((1u << lanes) - 1);
    const int64_t words = words_of(g.o), pixel = (at.image * g.oh + at.y) * (g.ow + 2 * g.out_px) + g.out_px + at.x;
    Mask *bits = (Mask *)(m.out_bits + pixel * words) + o / LANES;
    EACH(bits[p * words * 64 / LANES] = below(y[p], cut) & there);
}

template <int P>
__attribute__((always_inline)) inline void tile(const Layer &l, const Place &at, const Window &window, const Element *image) {
    const int64_t step = l.g.sx * l.s.pixel * SPREAD;
    const int64_t corner = (at.y * l.g.sy - l.g.py) * l.s.row + at.group * l.s.words;  // row 0 may lie above the image
    const int64_t from = at.x * step + corner * SPREAD;
    const Element *weight = l.weight + (at.group * l.s.blocks + at.block) * l.s.block;
    Counts<P> counts;
    counts.clear();
    for (int64_t r = 0; r < window.count; r++) {
        const Run &run = window.runs[r];
        const Element *input = image + from + run.input * SPREAD, *filters = weight + run.weight * SPREAD * FILTERS;
        if (run.ends == BOTH)
            counts.template add<0, P>(input, step, filters, run.words * SPREAD);
        else if (run.ends == NO_FIRST)
            counts.template add<1, P>(input, step, filters, run.words * SPREAD);
        else
            counts.template add<0, P - 1>(input, step, filters, run.words * SPREAD);
    }
#pragma GCC unroll 2
    for (int part = 0; part < FILTERS / LANES; part++) {
        const int64_t own = at.block * FILTERS + part * LANES, left = l.s.filters - own;
        if (left <= 0) return;
        Ints dot[P];
        Floats y[P];
        EACH(dot[p] = splat(window.constant[p]) - 2 * counts.ints(p, part));
        if (window.summed) EACH(dot[p] += sums_at(l, at, window, P, p, part));
        EACH(y[p] = floats(dot[p]));
        const int64_t o = at.group * l.s.filters + own;
        if (left >= LANES)
            finish<P>(l, at, o, LANES, y);
        else
            finish<P>(l, at, o, (int)left, y);
    }
}

// Tiles of P pixels at one place, for the filters of some blocks.
template <int P>
inline void tiles(const Layer &l, Place at, int64_t from, int64_t to, const Window &window, const Element *image) {
    for (at.block = from; at.block < to; at.block++) tile<P>(l, at, window, image);
}

// A row of the output in tiles of even widths, for some blocks of a group of filters.
inline void row(const Layer &l, Place at, int64_t from, int64_t to, const Element *image, Windows &windows) {
    const int64_t count = (l.g.ow + PIXELS - 1) / PIXELS;
    meet(l.g, at);
    for (int64_t t = 0, end; t < count; t++, at.x = end) {
        end = l.g.ow * (t + 1) / count;
        const int64_t pixels = end - at.x;
        const Window &window = windows.of(l, at, pixels);
        switch (pixels) {
            case 1: tiles<1>(l, at, from, to, window, image); break;
            case 2: tiles<2>(l, at, from, to, window, image); break;
            case 3: tiles<3>(l, at, from, to, window, image); break;
            case 4: tiles<4>(l, at, from, to, window, image); break;
#if PIXELS > 4
            case 5: tiles<5>(l, at, from, to, window, image); break;
            case 6: tiles<6>(l, at, from, to, window, image); break;
            case 7: tiles<7>(l, at, from, to, window, image); break;
#endif
        }
    }
}

// Bits of one image, with columns of 0 at its sides. False where a value is not finite.
inline bool pack_image(const Geometry &g, const Memory &m, int64_t image, uint64_t *bits) {
    const Sizes s(g);
    const int64_t channels = g.c / g.groups;
    bool finite = true;
    for (int64_t y = 0; y < g.h; y++) {
        uint64_t *line = bits + y * s.row;
        memset(line, 0, g.px * s.pixel * 8);
        memset(line + (g.px + g.w) * s.pixel, 0, g.px * s.pixel * 8);
        for (int64_t group = 0; group < g.groups; group++) {
            const int64_t c = group * channels;
            const float *x = m.x + image * g.x_n + y * g.x_h + c * g.x_c;
            const Cut cut = {m.cut ? m.cut + c : nullptr, m.side ? m.side + c : nullptr};
            finite &= pack_row(x, g.x_c, g.x_w, channels, g.w, cut, line + g.px * s.pixel + group * s.words, s.pixel);
        }
    }
    return finite;
}

// What a window is read from: the bits, spread if these instructions want it.
inline const Element *readable(const Layer &l, const uint64_t *bits) {
    if (SPREAD * sizeof(Element) == 8) return (const Element *)bits;
    const int64_t words = l.g.h * l.s.row;
    Element *wide = (Element *)scratch(SPREAD_BITS, words * SPREAD * sizeof(Element));
    if (wide) spread(bits, words, wide);
    return wide;
}

// Bits of one image, made from floats where they are not given; null where memory is short or a value is none.
inline const uint64_t *bits_of(const Layer &l, int64_t image, int &status) {
    if (l.m.bits) return l.m.bits + image * l.g.h * l.s.row;
    uint64_t *bits = (uint64_t *)scratch(BITS, l.g.h * l.s.row * 8);
    if (!bits) {
        status = NO_MEMORY;
        return nullptr;
    }
    if (pack_image(l.g, l.m, image, bits)) return bits;
    status = NOT_FINITE;
    return nullptr;
}

// Work that is worth a second thread: bit products below which starting it costs more.
const int64_t WORTH = 8 << 20;

inline int threads_for(const Geometry &g) {
    const int64_t work = g.n * g.o * g.oh * g.ow * g.kh * g.kw * (g.c / g.groups);
    return work < WORTH ? 1 : (int)g.threads;
}

inline void clear_sides(const Geometry &g, const Memory &m) {
    if (!m.out_bits) return;
    const int64_t words = words_of(g.o), row = (g.ow + 2 * g.out_px) * words, side = g.out_px * words * 8;
    const bool partial = g.o % 64 != 0;  // what is written leaves part of the last word
    for (int64_t line = 0; line < g.n * g.oh; line++) {
        if (partial) {
            memset(m.out_bits + line * row, 0, row * 8);
            continue;
        }
        memset(m.out_bits + line * row, 0, side);
        memset(m.out_bits + (line + 1) * row - g.out_px * words, 0, side);
    }
}

// All filters of one image.
inline int image(const Layer &l, int64_t n, int threads) {
    int status = DONE;
    const uint64_t *bits = bits_of(l, n, status);
    if (!bits) return status;
    const Element *from = readable(l, bits);
    if (!from) return NO_MEMORY;
    // a row for all filters of a group; where rows are few, its filters are shared out
    const int64_t shares = l.g.oh * l.g.groups < 4 * threads ? smaller(l.s.blocks, threads) : 1;
#pragma omp parallel num_threads(threads) if (threads > 1)
    {
        Windows windows;
#pragma omp for schedule(static)
        for (int64_t i = 0; i < l.g.oh * l.g.groups * shares; i++) {
            const int64_t share = i % shares, group = i / shares % l.g.groups, y = i / shares / l.g.groups;
            const int64_t first = l.s.blocks * share / shares, last = l.s.blocks * (share + 1) / shares;
            row(l, {n, y, 0, group, 0, 0, 0}, first, last, from, windows);
        }
    }
    return DONE;
}

const int64_t MAGIC = 0x31646f636e6f63;  // concod1

int64_t arranged(const Geometry *geometry) {
    const Sizes s(*geometry);
    return sizeof(Header) + sums_bytes(*geometry, s) + geometry->groups * s.blocks * s.block * (int64_t)sizeof(Element);
}

Header header(const Geometry &g) { return {MAGIC, FILTERS, SPREAD, arranged(&g), {g.c, g.o, g.kh << 32 | g.kw, g.groups}}; }

// Whether arranged weights are of this layout and of this layer, and whole.
int fitting(const Geometry &g, const Memory &m) {
    if (m.weight_bytes < (int64_t)sizeof(Header) || (uintptr_t)m.weight % 8) return OTHER_LAYOUT;
    const Header &own = header(g), &given = *(const Header *)m.weight;
    if (memcmp(&own, &given, offsetof(Header, bytes))) return OTHER_LAYOUT;
    if (memcmp(own.layer, given.layer, sizeof own.layer)) return OTHER_LAYER;
    return given.bytes == own.bytes && m.weight_bytes == own.bytes ? DONE : OTHER_LAYOUT;
}

int convolve(const Geometry *geometry, const Memory *memory) {
    const int fits = fitting(*geometry, *memory);
    if (fits != DONE) return fits;
    const Layer l(*geometry, *memory);
    const int threads = threads_for(l.g);
    clear_sides(l.g, l.m);
    int worst = DONE;
    if (threads == 1 || l.g.n < threads) {
        for (int64_t n = 0; n < l.g.n && worst == DONE; n++) worst = image(l, n, threads);
        return worst;
    }
#pragma omp parallel for schedule(static) num_threads(threads) reduction(max : worst)
    for (int64_t n = 0; n < l.g.n; n++) {
        const int status = image(l, n, 1);
        if (status > worst) worst = status;
    }
    return worst;
}

int pack(const Geometry *geometry, const Memory *memory, uint64_t *bits) {
    const Geometry &g = *geometry;
    const Sizes s(g);
    const int threads = g.n * g.c * g.h * g.w < WORTH / 8 ? 1 : (int)g.threads;
    int worst = DONE;
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1) reduction(max : worst)
    for (int64_t n = 0; n < g.n; n++)
        if (!pack_image(g, *memory, n, bits + n * g.h * s.row)) worst = NOT_FINITE;
    return worst;
}

}  // namespace
