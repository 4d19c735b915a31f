// Which set of instructions this processor has, and the functions that Python calls.
//
// This file and portable.cpp are compiled for any processor of the platform: nothing that only some of them have
// runs before it was asked for here.
#include <string.h>

#include "api.h"

#define ABI 3

extern const Path concord_portable;
#if defined(__x86_64__)
extern const Path concord_avx512, concord_avx2, concord_popcnt;

static bool has_avx512() {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512vpopcntdq");
}
static bool has_avx2() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }
static bool has_popcnt() { return __builtin_cpu_supports("popcnt"); }
#endif
static bool always() { return true; }

static const struct {
    const Path &path;
    bool (*runs)();
} PATHS[] = {  // fastest first
#if defined(__x86_64__)
    {concord_avx512, has_avx512},
    {concord_avx2, has_avx2},
    {concord_popcnt, has_popcnt},
#endif
    {concord_portable, always},
};
static const int COUNT = sizeof PATHS / sizeof *PATHS;

CONCORD_EXPORT int concord_abi() { return ABI; }
CONCORD_EXPORT int64_t concord_record_bytes() {
    return (sizeof(Geometry) * 1000 + sizeof(Memory)) * 1000 + sizeof(Floating) + sizeof(FloatMemory);
}

CONCORD_EXPORT int concord_paths() { return COUNT; }
CONCORD_EXPORT const char *concord_path_name(int path) { return PATHS[path].path.name; }
CONCORD_EXPORT int concord_path_runs(int path) { return PATHS[path].runs(); }

CONCORD_EXPORT int concord_convolve(int path, const Geometry *geometry, const Memory *memory) {
    return PATHS[path].path.convolve(geometry, memory);
}
CONCORD_EXPORT int concord_pack(int path, const Geometry *geometry, const Memory *memory, uint64_t *bits) {
    return PATHS[path].path.pack(geometry, memory, bits);
}
CONCORD_EXPORT int64_t concord_arranged(int path, const Geometry *geometry) {
    return PATHS[path].path.arranged(geometry);
}
CONCORD_EXPORT void concord_arrange(int path, const Geometry *geometry, const uint64_t *weight, uint8_t *to) {
    PATHS[path].path.arrange(geometry, weight, to);
}
CONCORD_EXPORT int concord_winograd(int path) { return (int)PATHS[path].path.winograd; }
CONCORD_EXPORT int concord_first(int path, const Floating *geometry, const FloatMemory *memory) {
    return PATHS[path].path.first(geometry, memory);
}
CONCORD_EXPORT int concord_halving(int path, const Floating *geometry, const FloatMemory *memory) {
    return PATHS[path].path.halving(geometry, memory);
}
// Calls that were recorded, one after the other, up to the first that fails. See concord/native/replay.py.
struct Step {
    int64_t kind;
    const void *geometry, *memory;
};

CONCORD_EXPORT void concord_pool(const Geometry *geometry, const uint64_t *bits, const uint64_t *any, uint64_t *out);

static int again(const Path &path, const Step &step) {
    const void *const *at = (const void *const *)step.memory;
    switch (step.kind) {
        case 0: return path.convolve((const Geometry *)step.geometry, (const Memory *)step.memory);
        case 1: return path.first((const Floating *)step.geometry, (const FloatMemory *)step.memory);
        case 2: return path.halving((const Floating *)step.geometry, (const FloatMemory *)step.memory);
        case 3:
            concord_pool(
                (const Geometry *)step.geometry, (const uint64_t *)at[0], (const uint64_t *)at[1], (uint64_t *)at[2]
            );
    }
    return DONE;
}

CONCORD_EXPORT int concord_replay(int path, const Step *steps, int64_t count) {
    for (int64_t i = 0; i < count; i++) {
        const int status = again(PATHS[path].path, steps[i]);
        if (status != DONE) return status;
    }
    return DONE;
}

CONCORD_EXPORT int64_t concord_spin(int path, int64_t rounds) { return PATHS[path].path.spin(rounds); }

// Maximum pooling of bits (N, H, W, words) to (N, OH, OW + 2 out_px, words). A maximum is negative where all are;
// in channels of `any`, where one is: there the values fall as what was compared rises. c, kernel, stride,
// padding, dilation and sizes are those of the geometry. A window without a place in the
// image holds minus infinity, as in PyTorch.
CONCORD_EXPORT void concord_pool(const Geometry *geometry, const uint64_t *bits, const uint64_t *any, uint64_t *out) {
    const Geometry &g = *geometry;
    const int64_t words = (g.c + 63) / 64, row = (g.ow + 2 * g.out_px) * words;
    const uint64_t last = ~0ull >> (words * 64 - g.c);  // channels of the last word
    memset(out, 0, g.n * g.oh * row * 8);
    for (int64_t line = 0; line < g.n * g.oh; line++)
        for (int64_t x = 0; x < g.ow; x++)
            for (int64_t w = 0; w < words; w++) {
                uint64_t all = w == words - 1 ? last : ~0ull, one = 0;
                for (int64_t ky = 0; ky < g.kh; ky++) {
                    const int64_t y = line % g.oh * g.sy - g.py + ky * g.dy;
                    if (y < 0 || y >= g.h) continue;
                    for (int64_t kx = 0; kx < g.kw; kx++) {
                        const int64_t column = x * g.sx - g.px + kx * g.dx;
                        if (column < 0 || column >= g.w) continue;
                        const uint64_t word = bits[((line / g.oh * g.h + y) * g.w + column) * words + w];
                        all &= word, one |= word;
                    }
                }
                out[line * row + (g.out_px + x) * words + w] = (all & ~any[w]) | (one & any[w]);
            }
}
