// Weights as a path reads them, and the speed of its innermost loop.
#pragma once
#include "driver.h"

namespace {

// Sums of signs and the elements of each block, from weights (O, KH KW, words of a group).
void arrange(const Geometry *geometry, const uint64_t *weight, uint8_t *to) {
    const Geometry &g = *geometry;
    const Sizes s(g);
    memset(to, 0, arranged(geometry));
    *(Header *)to = header(g);
    int32_t *sums = (int32_t *)(to + sizeof(Header));
    Element *elements = (Element *)((char *)sums + sums_bytes(g, s));
    const int64_t channels = g.c / g.groups;
    for (int64_t o = 0; o < g.o; o++) {
        const int64_t group = o / s.filters, own = o % s.filters;
        const int64_t block = group * s.blocks + own / FILTERS, lane = own % FILTERS;
        for (int64_t k = 0; k < s.places; k++) {
            int32_t negative = 0;
            for (int64_t w = 0; w < s.words; w++) {
                const uint64_t word = weight[(o * s.places + k) * s.words + w];
                for (uint64_t rest = word; rest; rest &= rest - 1) negative++;
                put(elements + block * s.block + (k * s.words + w) * SPREAD * FILTERS + lane, word);
            }
            sums[(block * s.places + k) * FILTERS + lane] = (int32_t)channels - 2 * negative;
        }
    }
}

// Words that lie in the nearest cache: what is left is the speed of the instructions.
int64_t spin(int64_t rounds) {
    const int64_t words = 9;
    alignas(64) static Element memory[(PIXELS + FILTERS) * words * SPREAD];
    const Element *window = memory + words * SPREAD * FILTERS, *weight = memory;
    Counts<PIXELS> counts;
    counts.clear();
    for (int64_t i = 0; i < rounds; i++) {
        __asm__ volatile("" : "+r"(window), "+r"(weight));  // what lies there is unknown to the compiler
        counts.template add<0, PIXELS>(window, words * SPREAD, weight, words * SPREAD);
    }
    Ints all = {};
    for (int p = 0; p < PIXELS; p++)
#pragma GCC unroll 2
        for (int part = 0; part < FILTERS / LANES; part++) all += counts.ints(p, part);
    volatile Ints kept = all;  // what is not used would not be computed
    (void)kept;
    return rounds * PIXELS * FILTERS * words * 64;
}

}  // namespace
