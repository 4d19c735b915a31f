// AVX2, which has no popcount: a table of 16 bytes answers for four channels and 32 filters at once.
//
// For a nibble a of the activations, entry w of the table is popcount(a ^ w), so that one shuffle, with the
// nibbles of 32 filters as its indices, does the exclusive or and the count. Byte sums hold 63 of these, sums of
// 16 bits 260 times as many; what a larger filter counts is moved to 32 bits.
#include <immintrin.h>

#define LANES 8
#define FLOAT_PIXELS 6
#define PIXELS 4

#include "any.h"
#include "tile.h"

namespace {

const int FILTERS = 64;
const int SPREAD = 16;  // nibbles of a word
typedef uint8_t Element, Mask;

alignas(64) const uint8_t DIFFERENT[16][16] = {
#define ROW(a) \
    {BITS(a ^ 0), BITS(a ^ 1), BITS(a ^ 2), BITS(a ^ 3), BITS(a ^ 4), BITS(a ^ 5), BITS(a ^ 6), BITS(a ^ 7), \
     BITS(a ^ 8), BITS(a ^ 9), BITS(a ^ 10), BITS(a ^ 11), BITS(a ^ 12), BITS(a ^ 13), BITS(a ^ 14), BITS(a ^ 15)}
#define BITS(n) ((n) & 1) + ((n) >> 1 & 1) + ((n) >> 2 & 1) + ((n) >> 3 & 1)
    ROW(0), ROW(1), ROW(2), ROW(3), ROW(4), ROW(5), ROW(6), ROW(7), ROW(8), ROW(9), ROW(10), ROW(11), ROW(12),
    ROW(13), ROW(14), ROW(15)
#undef ROW
#undef BITS
};

template <int P>
struct Counts {
    alignas(64) uint16_t sum[P][FILTERS];
    alignas(64) uint32_t wide[P][FILTERS];  // of use where `moved`
    int chunks;
    bool moved;

    inline void clear() {
        memset(sum, 0, sizeof sum);
        chunks = 0, moved = false;
    }

    __attribute__((noinline)) void move() {
        if (!moved) memset(wide, 0, sizeof wide);
        for (int p = 0; p < P; p++)
            for (int f = 0; f < FILTERS; f++) wide[p][f] += sum[p][f];
        memset(sum, 0, sizeof sum);
        chunks = 0, moved = true;
    }

    // Elements of the window are offsets into the table, of the weights nibbles.
    template <int FROM, int TO>
    inline void add(const Element *window, int64_t step, const Element *weight, int64_t nibbles) {
        for (int64_t i = 0; i < nibbles; i += 63) {
            if (chunks++ == 260) move(), chunks = 1;
            const int64_t last = i + 63 < nibbles ? i + 63 : nibbles;
            some<FROM, TO>(window, step, weight, i, last);
        }
    }

    template <int FROM, int TO>
    inline void some(const Element *window, int64_t step, const Element *weight, int64_t first, int64_t last) {
        __m256i bytes[P][2];
#pragma GCC unroll 4
        for (int p = FROM; p < TO; p++) bytes[p][0] = bytes[p][1] = _mm256_setzero_si256();
        for (int64_t i = first; i < last; i++) {
            const __m256i low = _mm256_loadu_si256((const __m256i *)(weight + i * FILTERS));
            const __m256i high = _mm256_loadu_si256((const __m256i *)(weight + i * FILTERS + 32));
#pragma GCC unroll 4
            for (int p = FROM; p < TO; p++) {
                const __m128i *at = (const __m128i *)(&DIFFERENT[0][0] + window[p * step + i]);
                const __m256i table = _mm256_broadcastsi128_si256(_mm_load_si128(at));
                bytes[p][0] = _mm256_add_epi8(bytes[p][0], _mm256_shuffle_epi8(table, low));
                bytes[p][1] = _mm256_add_epi8(bytes[p][1], _mm256_shuffle_epi8(table, high));
            }
        }
#pragma GCC unroll 4
        for (int p = FROM; p < TO; p++)
            for (int half = 0; half < 2; half++) {
                __m256i *to = (__m256i *)(sum[p] + half * 32);
                const __m128i low = _mm256_castsi256_si128(bytes[p][half]);
                const __m128i high = _mm256_extracti128_si256(bytes[p][half], 1);
                to[0] = _mm256_add_epi16(to[0], _mm256_cvtepu8_epi16(low));
                to[1] = _mm256_add_epi16(to[1], _mm256_cvtepu8_epi16(high));
            }
    }
    inline Ints ints(int p, int part) const {
        const Ints few = (Ints)_mm256_cvtepu16_epi32(_mm_load_si128((const __m128i *)(sum[p] + part * LANES)));
        return moved ? few + load((const int32_t *)wide[p] + part * LANES) : few;
    }
};

inline uint32_t less(__m256 a, __m256 b) { return (uint32_t)_mm256_movemask_ps(_mm256_cmp_ps(a, b, _CMP_LT_OQ)); }
inline Floats fused(Floats a, Floats b, Floats c) {
    return (Floats)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
}
inline Mask below(Floats a, Floats b) { return (Mask)less((__m256)a, (__m256)b); }

// 1 for each of 8 values that is infinite or none: x - x is then not 0.
inline uint32_t not_finite(__m256 v) {
    const __m256 apart = _mm256_sub_ps(v, v);
    return (uint32_t)_mm256_movemask_ps(_mm256_cmp_ps(apart, apart, _CMP_UNORD_Q));
}

inline uint64_t word_of(const float *x, const Cut &cut, uint32_t &bad) {
    uint64_t word = 0;
    for (int k = 0; k < 64; k += 8) {
        __m256 v = _mm256_loadu_ps(x + k);
        bad |= not_finite(v);
        if (cut.side) v = _mm256_mul_ps(v, _mm256_loadu_ps(cut.side + k));
        const __m256 at = cut.cut ? _mm256_loadu_ps(cut.cut + k) : _mm256_setzero_ps();
        word |= (uint64_t)less(v, at) << k;
    }
    return word;
}

inline bool pack_row(
    const float *x, int64_t sc, int64_t sw, int64_t channels, int64_t width, Cut cut, uint64_t *out, int64_t step
) {
    if (sc != 1 || channels % 64) return pack_any(x, sc, sw, channels, width, cut, out, step);
    uint32_t bad = 0;
    for (int64_t p = 0; p < width; p++)
        for (int64_t w = 0; w < channels / 64; w++) {
            const Cut own = {cut.cut ? cut.cut + w * 64 : nullptr, cut.side ? cut.side + w * 64 : nullptr};
            out[p * step + w] = word_of(x + p * sw + w * 64, own, bad);
        }
    return !bad;
}

inline void put(Element *to, uint64_t word) {
    for (int n = 0; n < SPREAD; n++) to[n * FILTERS] = (uint8_t)(word >> 4 * n & 15);
}

// Nibbles of words as offsets into the table.
inline void spread(const uint64_t *bits, int64_t words, Element *to) {
    const __m256i low = _mm256_set1_epi8((char)0xf0);
    for (int64_t i = 0; i < words; i++) {
        const __m128i word = _mm_cvtsi64_si128((int64_t)bits[i]);
        const __m128i even = _mm_and_si128(_mm_slli_epi16(word, 4), _mm256_castsi256_si128(low));
        const __m128i odd = _mm_and_si128(word, _mm256_castsi256_si128(low));
        _mm_storeu_si128((__m128i *)(to + i * SPREAD), _mm_unpacklo_epi8(even, odd));
    }
}

}  // namespace

#include "arrange.h"

extern const Path concord_avx2;
const Path concord_avx2 = {"avx2", FILTERS, SPREAD, 0, convolve, pack, arranged, arrange, first, halving, spin};
