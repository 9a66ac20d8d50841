/* What CUDA C has and C++ has not, for kernels that run on a processor: see emulator.h. */
#ifndef MJ_BUILTINS_H
#define MJ_BUILTINS_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "emulator.h"

#define __global__
#define __device__
#define __host__
#define __constant__ static const
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))

/* Vector types, aligned as on a GPU, so that a misaligned access traps here, too. */
#define MJ_VECTORS(T, name, a2, a4)                                                            \
  struct alignas(sizeof(T)) name##1 { T x; };                                                  \
  struct alignas(a2) name##2 { T x, y; };                                                      \
  struct name##3 { T x, y, z; };                                                               \
  struct alignas(a4) name##4 { T x, y, z, w; };                                                \
  static inline name##2 make_##name##2(T x, T y) { return name##2{x, y}; }                     \
  static inline name##3 make_##name##3(T x, T y, T z) { return name##3{x, y, z}; }             \
  static inline name##4 make_##name##4(T x, T y, T z, T w) { return name##4{x, y, z, w}; }

MJ_VECTORS(signed char, char, 2, 4)
MJ_VECTORS(unsigned char, uchar, 2, 4)
MJ_VECTORS(short, short, 4, 8)
MJ_VECTORS(unsigned short, ushort, 4, 8)
MJ_VECTORS(int, int, 8, 16)
MJ_VECTORS(unsigned int, uint, 8, 16)
MJ_VECTORS(float, float, 8, 16)
MJ_VECTORS(double, double, 16, 16)
MJ_VECTORS(long long, longlong, 16, 16)
MJ_VECTORS(unsigned long long, ulonglong, 16, 16)

#define threadIdx mj_thread_index
#define blockIdx mj_block_index
#define blockDim mj_block_size
#define gridDim mj_grid_size

static inline void __syncthreads() { mj_wait(MJ_BLOCK); }
static inline void __syncwarp(unsigned = 0xffffffffu) { mj_wait(MJ_WARP); }
static inline void __threadfence() {}
static inline void __threadfence_block() {}

/* Warps: every lane shows its value, all meet, each looks at the lane it wants. */
template <class T>
static inline T mj_exchange(T value, int lane, bool valid) {
  static_assert(sizeof(T) <= 8, "one register, or two");
  uint64_t bits = 0;
  memcpy(&bits, &value, sizeof value);
  bits = mj_lanes(bits, valid ? lane : mj_lane());
  memcpy(&value, &bits, sizeof value);
  return value;
}
template <class T>
static inline T __shfl_sync(unsigned, T value, int lane, int width = 32) {
  const int base = mj_lane() & ~(width - 1);
  return mj_exchange(value, base + (lane & (width - 1)), true);
}
template <class T>
static inline T __shfl_xor_sync(unsigned, T value, int mask, int width = 32) {
  const int lane = mj_lane() ^ mask;
  return mj_exchange(value, lane, lane / width <= mj_lane() / width);
}
template <class T>
static inline T __shfl_down_sync(unsigned, T value, unsigned by, int width = 32) {
  const int lane = mj_lane() + (int)by;
  return mj_exchange(value, lane, lane / width == mj_lane() / width);
}
template <class T>
static inline T __shfl_up_sync(unsigned, T value, unsigned by, int width = 32) {
  const int lane = mj_lane() - (int)by;
  return mj_exchange(value, lane, lane >= 0 && lane / width == mj_lane() / width);
}
static inline unsigned __activemask() { return mj_active(); }
static inline unsigned __ballot_sync(unsigned, int predicate) {
  unsigned found = 0;
  for (int lane = 0; lane < 32; lane++) {
    if (mj_active() >> lane & 1u) found |= (unsigned)(mj_exchange(predicate != 0, lane, true)) << lane;
  }
  return found;
}

static inline int __popc(unsigned x) { return __builtin_popcount(x); }
static inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
static inline int __clz(int x) { return x == 0 ? 32 : __builtin_clz((unsigned)x); }
static inline int __clzll(long long x) { return x == 0 ? 64 : __builtin_clzll((unsigned long long)x); }
static inline int __ffs(int x) { return __builtin_ffs(x); }
static inline unsigned __brev(unsigned x) {
  unsigned r = 0;
  for (int i = 0; i < 32; i++) r |= (x >> i & 1u) << (31 - i);
  return r;
}
template <class T>
static inline T __ldg(const T *p) { return *p; }
static inline float __int_as_float(int x) { float f; memcpy(&f, &x, 4); return f; }
static inline int __float_as_int(float x) { int i; memcpy(&i, &x, 4); return i; }
static inline float __uint_as_float(unsigned x) { float f; memcpy(&f, &x, 4); return f; }
static inline unsigned __float_as_uint(float x) { unsigned i; memcpy(&i, &x, 4); return i; }

/* Threads take turns here, so that plain operations are atomic. */
#define MJ_ATOMIC(name, expression)                   \
  template <class T>                                  \
  static inline T name(T *p, T v) {                   \
    const T old = *p;                                 \
    *p = (expression);                                \
    return old;                                       \
  }
MJ_ATOMIC(atomicAdd, old + v)
MJ_ATOMIC(atomicMax, old > v ? old : v)
MJ_ATOMIC(atomicMin, old < v ? old : v)
MJ_ATOMIC(atomicOr, old | v)
MJ_ATOMIC(atomicExch, v)

#define fma fmaf
static inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
static inline float __fmul_rn(float a, float b) { return a * b; }
static inline float __fadd_rn(float a, float b) { return a + b; }
static inline float __fsub_rn(float a, float b) { return a - b; }
static inline float __fdividef(float a, float b) { return a / b; }
#define rsqrtf(x) (1.0f / sqrtf(x))
/* The GPU's own approximations of these have fewer digits; the C library has some of the names, too. */
#define __expf expf
#define __exp10f(x) powf(10.0f, x)
#define __logf logf
#define __log2f log2f
#define __log10f log10f
#define __sinf sinf
#define __cosf cosf
#define __tanf tanf
#define __powf powf

static inline float max(float a, float b) { return fmaxf(a, b); }
static inline float min(float a, float b) { return fminf(a, b); }
#define MJ_MINMAX(T)                                        \
  static inline T max(T a, T b) { return a > b ? a : b; }   \
  static inline T min(T a, T b) { return a < b ? a : b; }
MJ_MINMAX(int)
MJ_MINMAX(unsigned)
MJ_MINMAX(long)
MJ_MINMAX(long long)
MJ_MINMAX(unsigned long)
MJ_MINMAX(unsigned long long)
MJ_MINMAX(double)

/* mma.sync.aligned.m16n8k256.row.col.s32.b1.b1.s32.and.popc, by the fragments of the PTX ISA: lane l holds
 * words l % 4 + 4 * (r / 2) of rows l / 4 + 8 * (r % 2) of A, words l % 4 + 4 * r of column l / 4 of B, and
 * sums of rows l / 4 + 8 * (r / 2) and columns 2 * (l % 4) + r % 2. */
static inline void mj_mma_b1_and(int *d, unsigned a0, unsigned a1, unsigned a2, unsigned a3, unsigned b0,
                                 unsigned b1) {
  const uint32_t words[6] = {a0, a1, a2, a3, b0, b1};
  mj_show(words, 6);
  for (int r = 0; r < 4; r++) {
    const int row = mj_lane() / 4, high = r / 2, column = 2 * (mj_lane() % 4) + r % 2;
    for (int k = 0; k < 8; k++) {
      const uint32_t a = mj_look(row * 4 + k % 4, (unsigned)(high + 2 * (k / 4)));
      d[r] += __builtin_popcount(a & mj_look(column * 4 + k % 4, 4u + (unsigned)(k / 4)));
    }
  }
}

/* A kernel on arguments as the driver gets them: pointers to each. */
template <class... A>
struct mj_types {};
template <class F, class... Done>
static inline void mj_apply(F kernel, void **, mj_types<>, Done... done) { kernel(done...); }
template <class F, class T, class... Rest, class... Done>
static inline void mj_apply(F kernel, void **arguments, mj_types<T, Rest...>, Done... done) {
  mj_apply(kernel, arguments + 1, mj_types<Rest...>{}, done..., *(T *)arguments[0]);
}
template <class... A>
static inline void mj_call(void (*kernel)(A...), void **arguments) {
  mj_apply(kernel, arguments, mj_types<A...>{});
}

template <class... A>
static constexpr unsigned mj_count(void (*)(A...)) { return sizeof...(A); }

#define MJ_SECTION(name) __attribute__((section("mjs_" name)))
#define MJ_KERNEL(name)                                                              \
  extern "C" char __start_mjs_##name[] __attribute__((weak, visibility("hidden")));  \
  extern "C" char __stop_mjs_##name[] __attribute__((weak, visibility("hidden")));   \
  static void mj_call_##name(void **arguments) { mj_call(name, arguments); }
#define MJ_ENTRY(name) {#name, mj_call_##name, mj_count(name), __start_mjs_##name, __stop_mjs_##name}

#endif
