// AVX-512 with VPOPCNTDQ: exclusive or, popcount and add of 512 bits are three instructions.
//
// A tile of 7 pixels x 32 filters keeps 14 accumulators of 16 sums in registers; 7 divides the widths of the usual
// maps (7, 14, 28, 56). A word is read as two halves, whose sums need no narrowing.
#include <immintrin.h>

#define LANES 16
#define FLOAT_PIXELS 14
#define WINOGRAD
#define PIXELS 7

#include "any.h"
#include "tile.h"

namespace {

const int FILTERS = 32;
const int SPREAD = 2;  // halves of a word
typedef uint32_t __attribute__((may_alias)) Element;
typedef uint16_t Mask;

// The sum stays in its register; GCC would move it.
inline __m512i added(__m512i sum, __m512i more) {
    __asm__("vpaddd %1, %0, %0" : "+v"(sum) : "v"(more));
    return sum;
}

template <int P>
struct Counts {
    __m512i sum[P][2];

    inline void clear() {
        for (int p = 0; p < P; p++) sum[p][0] = sum[p][1] = _mm512_setzero_si512();
    }
    template <int FROM, int TO>
    inline void add(const Element *window, int64_t step, const Element *weight, int64_t halves) {
        for (int64_t i = 0; i < halves; i++, weight += FILTERS) {
            const __m512i low = _mm512_loadu_si512(weight), high = _mm512_loadu_si512(weight + LANES);
#pragma GCC unroll 7
            for (int p = FROM; p < TO; p++) {
                const __m512i a = _mm512_set1_epi32((int32_t)window[p * step + i]);
                sum[p][0] = added(sum[p][0], _mm512_popcnt_epi32(_mm512_xor_si512(a, low)));
                sum[p][1] = added(sum[p][1], _mm512_popcnt_epi32(_mm512_xor_si512(a, high)));
            }
        }
    }
    inline Ints ints(int p, int part) const { return (Ints)sum[p][part]; }
};

inline Floats fused(Floats a, Floats b, Floats c) {
    return (Floats)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
}
inline Mask below(Floats a, Floats b) { return _mm512_cmp_ps_mask((__m512)a, (__m512)b, _CMP_LT_OQ); }

const int NO_NUMBER = 0x99;  // of vfpclassps: quiet and signalling NaN, both infinities

// 64 channels of a pixel that follow each other in memory.
inline uint64_t word_of(const float *x, int64_t channels, const Cut &cut, __mmask16 &bad) {
    uint64_t word = 0;
    for (int64_t k = 0; k < 64 && k < channels; k += 16) {
        const __mmask16 there = channels - k < 16 ? (1u << (channels - k)) - 1 : 0xffff;
        __m512 v = _mm512_maskz_loadu_ps(there, x + k);
        bad |= _mm512_fpclass_ps_mask(v, NO_NUMBER);
        if (cut.side) v = _mm512_mul_ps(v, _mm512_maskz_loadu_ps(there, cut.side + k));
        const __m512 at = cut.cut ? _mm512_maskz_loadu_ps(there, cut.cut + k) : _mm512_setzero_ps();
        word |= (uint64_t)_mm512_mask_cmp_ps_mask(there, v, at, _CMP_LT_OQ) << k;
    }
    return word;
}

// 64 channels of 16 pixels that follow each other in memory.
inline void words_of_16(
    const float *x, int64_t plane, int64_t channels, int pixels, const Cut &cut, uint64_t *word, __mmask16 &bad
) {
    const __mmask16 there = pixels < 16 ? (1u << pixels) - 1 : 0xffff;
    __m512i low = _mm512_setzero_si512(), high = low;
    for (int64_t k = 0; k < channels; k++) {
        __m512 v = _mm512_maskz_loadu_ps(there, x + k * plane);
        bad |= _mm512_fpclass_ps_mask(v, NO_NUMBER);
        if (cut.side) v = _mm512_mul_ps(v, _mm512_set1_ps(cut.side[k]));
        const __m512 at = cut.cut ? _mm512_set1_ps(cut.cut[k]) : _mm512_setzero_ps();
        const __mmask16 negative = _mm512_mask_cmp_ps_mask(there, v, at, _CMP_LT_OQ);
        const __m512i bit = _mm512_set1_epi64((int64_t)(1ull << k));
        low = _mm512_mask_or_epi64(low, (__mmask8)negative, low, bit);
        high = _mm512_mask_or_epi64(high, (__mmask8)(negative >> 8), high, bit);
    }
    _mm512_storeu_si512(word, low);
    _mm512_storeu_si512(word + 8, high);
}

inline bool pack_row(
    const float *x, int64_t sc, int64_t sw, int64_t channels, int64_t width, Cut cut, uint64_t *out, int64_t step
) {
    if (sc != 1 && sw != 1) return pack_any(x, sc, sw, channels, width, cut, out, step);
    __mmask16 bad = 0;
    const int64_t words = (channels + 63) / 64;
    for (int64_t w = 0; w < words; w++) {
        const int64_t c = w * 64, some = channels - c < 64 ? channels - c : 64;
        const Cut own = {cut.cut ? cut.cut + c : nullptr, cut.side ? cut.side + c : nullptr};
        if (sc == 1) {
            for (int64_t p = 0; p < width; p++) out[p * step + w] = word_of(x + p * sw + c, some, own, bad);
            continue;
        }
        for (int64_t p = 0; p < width; p += 16) {
            uint64_t word[16];
            const int pixels = width - p < 16 ? (int)(width - p) : 16;
            words_of_16(x + c * sc + p, sc, some, pixels, own, word, bad);
            for (int i = 0; i < pixels; i++) out[(p + i) * step + w] = word[i];
        }
    }
    return !bad;
}

inline void put(Element *to, uint64_t word) { to[0] = (uint32_t)word, to[FILTERS] = (uint32_t)(word >> 32); }
inline void spread(const uint64_t *, int64_t, Element *) {}

}  // namespace

#include "arrange.h"

extern const Path concord_avx512;
const Path concord_avx512 = {"avx512", FILTERS, SPREAD, 1, convolve, pack, arranged, arrange, first, halving, spin};
