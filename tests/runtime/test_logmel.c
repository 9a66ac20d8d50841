/* The log-mel front end against a discrete Fourier transform written as its definition, in double, for
 * transforms of both kinds (with and without a radix-2 pass); and the ring that samples arrive in. */
#include <math.h>
#include <stdint.h>
#include <string.h>
#ifndef MJ_NO_THREADS
#include <pthread.h>
#include <sched.h>
#endif

#include "check.h"
#include "mj_logmel.h"

enum { MOST = 512, MELS = 3 };
static const double pi = 3.14159265358979323846;

static float hann[MOST], roots[2 * MOST];
static const uint16_t first[MELS] = {1, 2, 5}, start[MELS + 1] = {0, 3, 5, 7};
static const float weight[7] = {0.25f, 1.0f, 0.5f, 0.75f, 1.0f, 1.0f, 0.125f};
static int16_t ring[1024];
static float work[MOST];

static mj_logmel_tables made(uint16_t window, uint16_t shift, uint16_t fft) {
  memset(hann, 0, sizeof hann);
  for (int n = 0; n < window; n++) {
    hann[n] = (float)((0.5 - 0.5 * cos(2 * pi * n / (window - 1))) / 65536);
  }
  for (int k = 0; k < 3 * fft / 4; k++) {
    roots[2 * k] = (float)cos(2 * pi * k / fft);
    roots[2 * k + 1] = (float)-sin(2 * pi * k / fft);
  }
  return (mj_logmel_tables){.window = window,
                            .shift = shift,
                            .fft = fft,
                            .n_mels = MELS,
                            .preemphasis = 0.9f,
                            .floor = 1e-6f,
                            .scale = 0.5f,
                            .offset = -2.0f,
                            .hann = hann,
                            .roots = roots,
                            .first = first,
                            .start = start,
                            .weight = weight};
}

static int16_t noise(void) {
  static uint32_t state = 1;
  state = state * 1664525u + 1013904223u;
  return (int16_t)(state >> 16);
}

static double bin_power(const mj_logmel_tables *tables, const int16_t *x, int bin) {
  double re = 0, im = 0;
  for (int n = 0; n < tables->window; n++) {
    const double h = 0.5 - 0.5 * cos(2 * pi * n / (tables->window - 1));
    const double y = h * (x[n] - 0.9 * x[n > 0 ? n - 1 : 0]) / 32768;
    re += y * cos(2 * pi * bin * n / tables->fft);
    im -= y * sin(2 * pi * bin * n / tables->fft);
  }
  return re * re + im * im;
}

static void expect_frame(const mj_logmel_tables *tables, const int16_t *x, const float *features) {
  for (int band = 0; band < MELS; band++) {
    double energy = 0;
    for (int i = start[band]; i < start[band + 1]; i++) {
      energy += weight[i] * bin_power(tables, x, first[band] + i - start[band]);
    }
    const double expected = log(energy > 1e-6 ? energy : 1e-6) * 0.5 - 2.0;
    CHECK(fabs(features[band] - expected) < 2e-5);
  }
}

static void test_numbers(void) {
  static int16_t x[MOST * 4];
  for (uint16_t fft = 16; fft <= MOST; fft *= 2) {
    for (uint16_t window = (uint16_t)(fft - 3); window <= fft; window++) { /* even and odd */
      const mj_logmel_tables tables = made(window, (uint16_t)(window / 2 - 1), fft);
      mj_logmel logmel;
      float features[MELS];
      for (int n = 0; n < 4 * fft; n++) x[n] = noise();
      CHECK(mj_logmel_init(&logmel, &tables, ring, fft, work) == 0);
      int frames = 0;
      for (int n = 0; n < 4 * fft; n++) { /* sample by sample, through a ring that just fits */
        CHECK(mj_logmel_push(&logmel, x + n, 1) == 1);
        while (mj_logmel_frame(&logmel, features)) {
          expect_frame(&tables, x + frames * tables.shift, features);
          frames++;
        }
      }
      CHECK(frames == 1 + (4 * fft - window) / tables.shift);
    }
  }
}

static void test_levels(void) {
  const mj_logmel_tables tables = made(25, 10, 32);
  static const int16_t levels[] = {0, 1, 32767, -32768};
  for (size_t i = 0; i < sizeof levels / sizeof *levels; i++) {
    mj_logmel logmel;
    int16_t x[25];
    float features[MELS];
    for (int n = 0; n < 25; n++) x[n] = levels[i];
    CHECK(mj_logmel_init(&logmel, &tables, ring, 32, work) == 0);
    CHECK(mj_logmel_push(&logmel, x, 25) == 25);
    CHECK(mj_logmel_frame(&logmel, features) == 1);
    expect_frame(&tables, x, features);
  }
}

static void test_ring(void) {
  const mj_logmel_tables tables = made(32, 16, 32);
  mj_logmel logmel;
  float features[MELS], again[MELS];
  int16_t x[64];
  for (int n = 0; n < 64; n++) x[n] = noise();
  CHECK(mj_logmel_init(&logmel, &tables, ring, 16, work) == -1); /* less than a frame */
  CHECK(mj_logmel_init(&logmel, &tables, ring, 48, work) == -1); /* no power of two */
  CHECK(mj_logmel_init(&logmel, &tables, ring, 32, work) == 0);
  CHECK(mj_logmel_frame(&logmel, features) == 0);
  CHECK(mj_logmel_push(&logmel, x, 31) == 31);
  CHECK(mj_logmel_frame(&logmel, features) == 0); /* one sample is missing */
  CHECK(mj_logmel_push(&logmel, x + 31, 33) == 1); /* full: the others are lost */
  CHECK(mj_logmel_push(&logmel, x, 1) == 0);
  CHECK(mj_logmel_frame(&logmel, features) == 1);
  expect_frame(&tables, x, features);
  CHECK(mj_logmel_push(&logmel, x + 32, 32) == 16); /* a shift was freed */
  mj_logmel_reset(&logmel);
  CHECK(mj_logmel_frame(&logmel, again) == 0);
  CHECK(mj_logmel_push(&logmel, x, 32) == 32);
  CHECK(mj_logmel_frame(&logmel, again) == 1);
  CHECK(memcmp(features, again, sizeof features) == 0); /* nothing of before is left */
  logmel.written = logmel.taken = UINT32_MAX - 7u; /* the counters wrap around after 74 hours */
  CHECK(mj_logmel_push(&logmel, x, 32) == 32);
  CHECK(mj_logmel_push(&logmel, x, 1) == 0);
  CHECK(mj_logmel_frame(&logmel, features) == 1);
  expect_frame(&tables, x, features);
}

#ifdef MJ_NO_THREADS

static void test_two_threads(void) {}

#else

enum { SOUND = 20000 };
static int16_t sound[SOUND];

static void *microphone(void *user) {
  mj_logmel *logmel = user;
  for (size_t sent = 0, block = 1; sent < SOUND; block = block % 37 + 1) {
    sent += mj_logmel_push(logmel, sound + sent, block < SOUND - sent ? block : SOUND - sent);
  }
  return NULL;
}

/* A writer and a reader without a lock: every frame is the one of its samples. The thread sanitizer sees
 * what a lucky schedule hides. */
static void test_two_threads(void) {
  const mj_logmel_tables tables = made(29, 13, 32);
  mj_logmel logmel;
  pthread_t writer;
  float features[MELS];
  for (int n = 0; n < SOUND; n++) sound[n] = noise();
  CHECK(mj_logmel_init(&logmel, &tables, ring, 32, work) == 0);
  CHECK(pthread_create(&writer, NULL, microphone, &logmel) == 0);
  for (int frames = 0; frames < 1 + (SOUND - 29) / 13;) {
    if (!mj_logmel_frame(&logmel, features)) {
      sched_yield();
      continue;
    }
    expect_frame(&tables, sound + 13 * frames, features);
    frames++;
  }
  pthread_join(writer, NULL);
}

#endif

int main(void) {
  test_two_threads();
  test_numbers();
  test_levels();
  test_ring();
  return 0;
}
