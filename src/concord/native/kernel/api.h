// The C interface of the kernel. Python reads these records by ctypes: concord/native/records.py has the same.
//
// A bit is 1 where a value is negative. Channels lie along bits: a pixel has, for each group, ceil(C/G / 64)
// words, and the tail bits of the last word are 0 in activations and in weights, so that they cancel.
#pragma once
#include <stdint.h>

#define CONCORD_EXPORT extern "C" __attribute__((visibility("default")))

// Sizes of one layer on one size of image: what stays the same from call to call.
struct Geometry {
    int64_t n, c, h, w;                      // images, channels, height, width of the input, without padding
    int64_t o, oh, ow;                       // filters, height, width of the output
    int64_t kh, kw;                          // kernel
    int64_t sy, sx, py, px, dy, dx, groups;  // stride, padding, dilation
    int64_t ones;                            // padding counts as +1, not as 0
    int64_t x_n, x_c, x_h, x_w;              // strides of the float input, in elements
    int64_t out_px;                          // columns at each side that the output's bits get for the next layer
    int64_t threads;
};

// The memory of one call. What is null is left out.
struct Memory {
    const float *x;                  // float input, or
    const uint64_t *bits;            // its bits (N, H, W + 2 px, words); columns of padding are 0
    const float *cut, *side;         // (C): a bit is 1 where side x < cut; null: where x < 0
    const void *weight;              // as concord_arrange has put it
    int64_t weight_bytes;
    const float *kmap;               // (N, OH, OW): factor of each pixel
    const float *alpha;              // (O): factor of each filter
    const float *bias;               // (O), added
    const float *factor, *shift;     // (O): y factor + shift, rounded once
    const float *shortcut;           // added last
    float *out;
    uint64_t *out_bits;              // (N, OH, OW + 2 out_px, words of O): 1 where side y < cut
    const float *out_cut, *out_side; // (O); null: y < 0
};

// A float layer at the edge of a network: least <= factor sum + shift, for O a multiple of 32.
struct Floating {
    int64_t n, c, h, w, o, oh, ow;  // of a convolution, oh and ow before pooling
    int64_t kh, kw, sy, sx, py, px;
    int64_t x_n, x_c, x_h, x_w;     // strides of the input
    int64_t pool, pool_s, pool_p, ph, pw;  // maximum pooling: side (0: none), stride, padding, size after it
    int64_t winograd;               // weights are transformed: see winograd.h
    int64_t threads;
};
struct FloatMemory {
    const float *x;
    const float *weight;            // (O / 32, C KH KW, 32), or transformed (O / 32, 13 13 C, 32)
    const float *factor, *shift;    // (O)
    float *out;                     // channels last
    float least;                    // 0 for ReLU, else -infinity
};

enum Status { DONE = 0, NOT_FINITE = 1, NO_MEMORY = 2, OTHER_LAYOUT = 3, OTHER_LAYER = 4 };

// What arranged weights begin with: they are of use to one layout and one layer alone.
struct Header {
    int64_t magic, filters, spread, bytes;
    int64_t layer[4];  // channels, filters, kernel, groups
};

// What a set of instructions offers.
struct Path {
    const char *name;
    int64_t filters, spread;
    int64_t winograd;  // whether `first` can take transformed weights
    int (*convolve)(const Geometry *, const Memory *);
    int (*pack)(const Geometry *, const Memory *, uint64_t *bits);
    int64_t (*arranged)(const Geometry *);  // bytes
    void (*arrange)(const Geometry *, const uint64_t *weight, uint8_t *arranged);
    int (*first)(const Floating *, const FloatMemory *);     // a convolution of few channels, then pooling
    int (*halving)(const Floating *, const FloatMemory *);   // average of kh x kw windows, then a 1x1 convolution
    int64_t (*spin)(int64_t rounds);  // the innermost loop alone; gives the bit products that it made
};
