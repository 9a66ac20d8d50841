/* Run a model on Linux with nothing but the C library: no Python, no Millijoule on the device.
 *
 *   ./model weights.bin < inputs.raw > outputs.raw
 *
 * inputs.raw holds the input tensors one after the other, outputs.raw gets the output tensors, as the
 * bytes of dense row-major arrays. A streaming model reads the inputs of one step after another until
 * they end, and carries its state; the first mj_model.delay outputs come from an empty delay line.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "millijoule.h"

static int fail(const char *what, const char *why) {
  fprintf(stderr, "%s: %s\n", what, why);
  return 1;
}

/* `bytes` of memory aligned as mj_init wants it. */
static void *allocate(size_t bytes) {
  void *memory = NULL;
  return posix_memalign(&memory, MJ_ALIGNMENT, bytes > 0 ? bytes : 1) == 0 ? memory : NULL;
}

/* Buffers for `count` tensors; 0 if memory ran out. */
static int allocate_tensors(void **buffers, const mj_tensor *tensors, uint32_t count) {
  for (uint32_t i = 0; i < count; i++) {
    if ((buffers[i] = allocate(tensors[i].bytes)) == NULL) return 0;
    fprintf(stderr, "%s: %zu bytes\n", tensors[i].name, tensors[i].bytes);
  }
  return 1;
}

static int read_inputs(void **buffers) {
  for (uint32_t i = 0; i < mj_model.n_inputs; i++) {
    if (fread(buffers[i], 1, mj_model.inputs[i].bytes, stdin) != mj_model.inputs[i].bytes) return 0;
  }
  return 1;
}

int main(int argc, char **argv) {
  if (argc != 2) return fail("usage", "model weights.bin < inputs.raw > outputs.raw");
  const int file = open(argv[1], O_RDONLY);
  struct stat status;
  if (file < 0 || fstat(file, &status) != 0) return fail(argv[1], "cannot open it");
  void *weights = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, file, 0);
  if (weights == MAP_FAILED) return fail(argv[1], "cannot map it");

  void **inputs = calloc(mj_model.n_inputs, sizeof *inputs);
  void **outputs = calloc(mj_model.n_outputs, sizeof *outputs);
  void *arena = allocate(mj_model.arena_bytes);
  if (inputs == NULL || outputs == NULL || arena == NULL ||
      !allocate_tensors(inputs, mj_model.inputs, mj_model.n_inputs) ||
      !allocate_tensors(outputs, mj_model.outputs, mj_model.n_outputs)) {
    return fail("model", "out of memory");
  }

  static mj_context context;
  mj_status result = mj_init(&context, &mj_model, weights, (size_t)status.st_size, arena,
                             mj_model.arena_bytes);
  while (result == MJ_OK && read_inputs(inputs)) {
    result = mj_run(&context, (const void *const *)inputs, outputs);
    for (uint32_t i = 0; result == MJ_OK && i < mj_model.n_outputs; i++) {
      fwrite(outputs[i], 1, mj_model.outputs[i].bytes, stdout);
    }
  }
  mj_deinit(&context);
  return result == MJ_OK && fflush(stdout) == 0 ? 0 : fail(mj_model.name, mj_status_string(result));
}
