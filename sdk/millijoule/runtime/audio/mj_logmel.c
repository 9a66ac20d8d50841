/* See mj_logmel.h. Uses nothing of the C library but memset.
 *
 * A frame of 400 samples, 512 points and 40 bands takes 29,700 instructions on a Cortex-M4, 637,000 on a
 * Cortex-M3, which has no FPU. The floor on the M4 is 18,900: arithmetic (a multiply-add is one), loads
 * and stores of the passes below if addresses and loops cost nothing.
 *
 *                  times   arithmetic   loads, stores        floor
 *   samples          400    2 + 2 conversions       3        2,800
 *   butterflies   85+171    16, 28                 16       10,200  (85 need no roots)
 *   powers           128   16                       8        3,100
 *   bands            486    1                       2        1,500
 *   logarithms        40   25                       3        1,100, and 200 for zeros
 */
#include "mj_logmel.h"

#include <string.h>

/* The indices are shared with an interrupt or another thread: whoever sees an index moved must also see
 * the samples behind it. */
#define READ(index) __atomic_load_n(&(index), __ATOMIC_ACQUIRE)
#define PUBLISH(index, value) __atomic_store_n(&(index), (value), __ATOMIC_RELEASE)

/* a b + c, fused where that is one instruction. Spelled out, because whether a compiler fuses by itself
 * depends on its flags, and so would the features. */
static inline float multiply_add(float a, float b, float c) {
#ifdef __FP_FAST_FMAF
  return __builtin_fmaf(a, b, c);
#else
  return a * b + c;
#endif
}

int mj_logmel_init(mj_logmel *logmel, const mj_logmel_tables *tables, int16_t *ring, uint32_t samples,
                   float *work) {
  if (samples < tables->window || (samples & (samples - 1u)) != 0) return -1;
  *logmel = (mj_logmel){.tables = tables, .ring = ring, .mask = samples - 1u, .work = work};
  return 0;
}

void mj_logmel_reset(mj_logmel *logmel) { logmel->taken = logmel->written; }

size_t mj_logmel_push(mj_logmel *logmel, const int16_t *samples, size_t count) {
  const uint32_t written = logmel->written;
  const uint32_t room = logmel->mask + 1u - (written - READ(logmel->taken));
  const uint32_t fits = count < room ? (uint32_t)count : room;
  for (uint32_t i = 0; i < fits; i++) logmel->ring[(written + i) & logmel->mask] = samples[i];
  PUBLISH(logmel->written, written + fits);
  return fits;
}

/* ---- transform ------------------------------------------------------------------------------------
 * A real transform of 2n points is a complex one of n points (even samples real, odd ones imaginary) and
 * a pass that takes the two apart: Cooley and Tukey, 1965; Press et al., "Numerical Recipes", 12.3.
 * The complex transform decimates in time with radix 4, on input in bit-reversed order; two radix-2 steps
 * make one radix-4 step, which is why the middle two of its four inputs are swapped.
 */
typedef struct {
  float re, im;
} complex_float;

static inline complex_float times(complex_float a, complex_float w) {
  return (complex_float){multiply_add(-a.im, w.im, a.re * w.re),
                         multiply_add(a.im, w.re, a.re * w.im)};
}

/* Four transforms of length `quarter`, at z, z + quarter, ..., become one of length 4 quarter. */
static inline void butterfly(complex_float *z, uint32_t quarter, complex_float b, complex_float c,
                             complex_float d) {
  const complex_float a = z[0];
  const complex_float s = {a.re + c.re, a.im + c.im}, t = {a.re - c.re, a.im - c.im};
  const complex_float u = {b.re + d.re, b.im + d.im}, v = {b.re - d.re, b.im - d.im};
  z[0] = (complex_float){s.re + u.re, s.im + u.im};
  z[quarter] = (complex_float){t.re + v.im, t.im - v.re};
  z[2u * quarter] = (complex_float){s.re - u.re, s.im - u.im};
  z[3u * quarter] = (complex_float){t.re - v.im, t.im + v.re};
}

static void radix_2(complex_float *z, uint32_t n) {
  for (uint32_t i = 0; i < n; i += 2u) {
    const complex_float a = z[i], b = z[i + 1u];
    z[i] = (complex_float){a.re + b.re, a.im + b.im};
    z[i + 1u] = (complex_float){a.re - b.re, a.im - b.im};
  }
}

static void radix_4(complex_float *z, uint32_t n, uint32_t quarter, const complex_float *roots) {
  const uint32_t length = 4u * quarter, stride = 2u * n / length; /* roots are those of 2n points */
  for (complex_float *at = z; at < z + n; at += length) { /* j = 0: nothing to rotate */
    butterfly(at, quarter, at[2u * quarter], at[quarter], at[3u * quarter]);
  }
  for (uint32_t j = 1; j < quarter; j++) {
    const complex_float w1 = roots[j * stride], w2 = roots[2u * j * stride];
    const complex_float w3 = roots[3u * j * stride];
    for (complex_float *at = z + j; at < z + n; at += length) {
      butterfly(at, quarter, times(at[2u * quarter], w1), times(at[quarter], w2),
                times(at[3u * quarter], w3));
    }
  }
}

/* Powers of bins 1 to n - 1 of the real transform, left in the real parts; no band holds bin 0 or n. */
static void powers(complex_float *z, uint32_t n, const complex_float *roots) {
  for (uint32_t k = 1; k <= n / 2u; k++) {
    const complex_float a = z[k], b = z[n - k];
    const complex_float even = {a.re + b.re, a.im - b.im};
    const complex_float odd = times((complex_float){a.im + b.im, b.re - a.re}, roots[k]);
    const float re = even.re + odd.re, im = even.im + odd.im;
    const float mirror_re = even.re - odd.re, mirror_im = even.im - odd.im;
    z[n - k].re = multiply_add(mirror_re, mirror_re, mirror_im * mirror_im);
    z[k].re = multiply_add(re, re, im * im);
  }
}

/* ---- one frame ------------------------------------------------------------------------------------ */

/* Pre-emphasis and window, written in bit-reversed order. */
static void load(const mj_logmel *logmel, uint32_t from, complex_float *z, uint32_t n) {
  const mj_logmel_tables *tables = logmel->tables;
  const int16_t *ring = logmel->ring;
  const float *h = tables->hann, factor = -tables->preemphasis;
  const uint32_t mask = logmel->mask, window = tables->window, pairs = window / 2u;
  uint32_t reversed = 0;
  float before = ring[from & mask];
  memset(z, 0, n * sizeof *z);
  for (uint32_t i = 0; i < pairs; i++, h += 2) {
    const float even = ring[(from + 2u * i) & mask], odd = ring[(from + 2u * i + 1u) & mask];
    z[reversed].re = multiply_add(factor, before, even) * h[0];
    z[reversed].im = multiply_add(factor, even, odd) * h[1];
    before = odd;
    /* Adding 1 flips the trailing ones and the zero above them; reversed, those are leading bits. */
    reversed ^= n - (n >> (1u + (uint32_t)__builtin_ctz(i + 1u)));
  }
  if (window % 2u != 0) {
    z[reversed].re = multiply_add(factor, before, ring[(from + window - 1u) & mask]) * h[0];
  }
}

/* ln x of a normal x > 0, to 1e-7 absolute or 1 unit in the last place, whichever is more.
 * x = 2^e m with m from sqrt(1/2) to sqrt(2); ln m = 2 artanh((m - 1) / (m + 1)), the series to s^9. */
static float natural_log(float x) {
  union {
    float value;
    uint32_t bits;
  } number = {x};
  const uint32_t sqrt_half = 0x3f3504f3u;
  const int32_t exponent = (int32_t)(number.bits - sqrt_half) >> 23;
  number.bits -= (uint32_t)exponent << 23;
  const float s = (number.value - 1.0f) / (number.value + 1.0f), s2 = s * s;
  float series = multiply_add(s2, 0.22222222f, 0.28571429f);
  series = multiply_add(s2, series, 0.4f);
  series = multiply_add(s2, series, 0.66666667f) * s2;
  return multiply_add((float)exponent, 0.69314718f, multiply_add(s, series, s + s));
}

static float band_energy(const mj_logmel_tables *tables, uint32_t band, const complex_float *z) {
  const float *weight = tables->weight + tables->start[band];
  const float *const end = tables->weight + tables->start[band + 1u];
  float energy = 0.0f;
  for (z += tables->first[band]; weight < end; z++, weight++) energy = multiply_add(z->re, *weight, energy);
  return energy;
}

int mj_logmel_frame(mj_logmel *logmel, float *features) {
  const mj_logmel_tables *tables = logmel->tables;
  const uint32_t from = logmel->taken, n = tables->fft / 2u;
  if (READ(logmel->written) - from < tables->window) return 0;
  complex_float *z = (complex_float *)(void *)logmel->work;
  const complex_float *roots = (const complex_float *)(const void *)tables->roots;
  load(logmel, from, z, n);
  PUBLISH(logmel->taken, from + tables->shift);
  uint32_t quarter = 1;
  if ((__builtin_ctz(n) & 1) != 0) {
    radix_2(z, n);
    quarter = 2;
  }
  for (; quarter < n; quarter *= 4u) radix_4(z, n, quarter, roots);
  powers(z, n, roots);
  for (uint32_t band = 0; band < tables->n_mels; band++) {
    const float energy = band_energy(tables, band, z);
    const float audible = energy > tables->floor ? energy : tables->floor;
    features[band] = multiply_add(natural_log(audible), tables->scale, tables->offset);
  }
  return 1;
}
