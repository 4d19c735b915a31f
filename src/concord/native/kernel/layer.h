// Sizes of a layer, its arranged weights, and the place of a tile.
#pragma once
#include "api.h"
#include "memory.h"
#include "tile.h"

namespace {

inline int64_t words_of(int64_t channels) { return (channels + 63) / 64; }

// Sizes that follow from a geometry.
struct Sizes {
    int64_t words;     // of one group of a pixel
    int64_t pixel;     // words of a pixel
    int64_t row;       // words of a row with its padding
    int64_t filters;   // of one group
    int64_t blocks;    // tiles that these fill
    int64_t places;    // kh kw
    int64_t block;     // elements of arranged weights of a block

    explicit Sizes(const Geometry &g)
        : words(words_of(g.c / g.groups)),
          pixel(words * g.groups),
          row((g.w + 2 * g.px) * pixel),
          filters(g.o / g.groups),
          blocks((filters + FILTERS - 1) / FILTERS),
          places(g.kh * g.kw),
          block(places * words * SPREAD * FILTERS) {}
};

// Arranged weights: a header; sums of signs (blocks of all groups, places, FILTERS) int32; elements of each block.
inline int64_t sums_bytes(const Geometry &g, const Sizes &s) {
    return rounded(g.groups * s.blocks * s.places * FILTERS * 4, 64);
}

struct Layer {
    const Geometry &g;
    const Memory &m;
    Sizes s;
    const int32_t *sums;
    const Element *weight;

    Layer(const Geometry &geometry, const Memory &memory)
        : g(geometry),
          m(memory),
          s(geometry),
          sums((const int32_t *)((const char *)memory.weight + sizeof(Header))),
          weight((const Element *)((const char *)sums + sums_bytes(geometry, s))) {}
};

// Where a tile of filters and pixels lies, and which rows of the kernel meet the image there.
struct Place {
    int64_t image, y, x, group, block, first, last;
};

inline void meet(const Geometry &g, Place &at) {
    const int64_t top = at.y * g.sy - g.py;
    at.first = top < 0 ? smaller((-top + g.dy - 1) / g.dy, g.kh) : 0;
    at.last = top + (g.kh - 1) * g.dy >= g.h ? larger((g.h - top + g.dy - 1) / g.dy, at.first) : g.kh;
}

}  // namespace
