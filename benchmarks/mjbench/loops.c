/* Loops that Python is too slow for: steps through the C entry, reads of memory, multiply-adds. */
#include <stdint.h>
#include <string.h>
#include <time.h>

typedef float vec __attribute__((vector_size(64), aligned(64)));

static uint64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* `n` steps of a streaming program whose inputs are a frame of `width` floats and `valid`.
 * ns[i]: time of step i. outputs: n rows of `classes` floats. Returns the first bad status, or 0. */
int mjb_time_steps(int (*run)(void *, const void *const *, void *const *), void *ctx,
                   const float *frames, int n, int width, float *logits, float *outputs,
                   int classes, uint64_t *ns) {
  int32_t valid = 1;
  for (int i = 0; i < n; i++) {
    const void *in[] = {frames + (size_t)i * width, &valid};
    void *out[] = {logits};
    uint64_t start = now_ns();
    int status = run(ctx, in, out);
    ns[i] = now_ns() - start;
    if (status) return status;
    memcpy(outputs + (size_t)i * classes, logits, classes * sizeof(float));
  }
  return 0;
}

/* Nanoseconds to read `rows` rows of `width` floats (a multiple of 128), `passes` times over.
 * The sum goes to *sink so that the reads are not optimised away. */
uint64_t mjb_read_rows(const float *data, long rows, long width, long passes, float *sink) {
  vec acc[8] = {{0}};
  uint64_t start = now_ns();
  for (long pass = 0; pass < passes; pass++)
    for (long r = 0; r < rows; r++) {
      const vec *row = (const vec *)(data + r * width);
      for (long i = 0; i < width / 16; i += 8)
        for (int k = 0; k < 8; k++) acc[k] += row[i + k];
    }
  uint64_t spent = now_ns() - start;
  for (int k = 0; k < 8; k++) *sink += acc[k][0] + acc[k][15];
  return spent;
}

/* Nanoseconds for `passes` × 16 independent vector multiply-adds of 16 floats each. */
uint64_t mjb_multiply_add(long passes, float *sink) {
  vec acc[16] = {{0}}, a, b;
  for (int i = 0; i < 16; i++) a[i] = *sink, b[i] = *sink;
  uint64_t start = now_ns();
  for (long pass = 0; pass < passes; pass++) {
    __asm__ volatile("" : "+x"(a), "+x"(b)); /* keep the loop from being folded */
#pragma GCC unroll 16
    for (int k = 0; k < 16; k++) acc[k] += a * b;
  }
  uint64_t spent = now_ns() - start;
  for (int k = 0; k < 16; k++) *sink += acc[k][0] + acc[k][15];
  return spent;
}
