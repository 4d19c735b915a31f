// Whole numbers and memory.
#pragma once
#include <stdint.h>
#include <stdlib.h>

namespace {

inline int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
inline int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }
inline int64_t rounded(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

enum Kind { BITS, SPREAD_BITS, PLANES, ROWS, KINDS };

// Memory of a thread that is kept between calls, so that its pages are there.
inline void *scratch(Kind which, int64_t bytes) {
    static thread_local struct Kept {
        void *memory[KINDS];
        int64_t bytes[KINDS];
        ~Kept() {
            for (void *each : memory) free(each);
        }
    } kept = {};
    if (kept.bytes[which] < bytes) {
        free(kept.memory[which]);
        kept.memory[which] = aligned_alloc(64, rounded(bytes, 64));
        kept.bytes[which] = kept.memory[which] ? bytes : 0;
    }
    return kept.memory[which];
}

}  // namespace
