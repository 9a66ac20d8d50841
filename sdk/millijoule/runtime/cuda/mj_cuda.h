/* What the generated entry of a program for NVIDIA GPUs is: tables of launches, and `mj_cuda_ops`.
 *
 * Kernels are called in order on one stream. Every argument is an address in the GPU's memory, which holds
 * the arena (laid out as the descriptor says), inputs, outputs and weights.
 */
#ifndef MJ_CUDA_H
#define MJ_CUDA_H

#include "millijoule.h"

typedef enum { MJ_AT_ARENA = 0, MJ_AT_WEIGHTS = 1, MJ_AT_INPUT = 2, MJ_AT_OUTPUT = 3 } mj_cuda_space;

/* `offset`: bytes into arena or weights; number of the input or output, where states follow the model's own. */
typedef struct {
  mj_cuda_space space;
  size_t offset;
} mj_cuda_place;

typedef struct {
  uint32_t symbol; /* index of the kernel's name */
  uint32_t grid[3], block[3];
  uint32_t shared; /* bytes of dynamic shared memory */
  uint32_t first_argument, n_arguments;
} mj_cuda_launch;

/* Kernel `i` of the model: its launches, and what it writes into the arena (for hooks that look there). */
typedef struct {
  uint32_t first_launch, n_launches;
  uint32_t first_write, n_writes;
} mj_cuda_call;

typedef struct {
  size_t offset, bytes;
} mj_cuda_write;

/* An output that no kernel writes. */
typedef struct {
  uint32_t output;
  mj_cuda_place source;
  size_t bytes;
} mj_cuda_copy;

/* Kernels that a callback may stand for (mj_region.h); none if it was refused. `first_place`: index among the
 * arguments of its inputs' addresses, then its outputs'. */
typedef struct {
  uint32_t first_call, n_calls;
  uint32_t first_place, n_inputs;
} mj_cuda_region;

/* Machine code for GPUs of compute capability sm / 10, and later ones of the same generation. */
typedef struct {
  int sm;
  const void *code;
} mj_cuda_image;

typedef struct {
  const mj_cuda_image *images;
  uint32_t n_images, n_symbols, n_launches, n_arguments, n_calls, n_copies;
  const char *const *symbols;
  const mj_cuda_launch *launches;
  const mj_cuda_place *arguments;
  const mj_cuda_call *calls;
  const mj_cuda_write *writes;
  const mj_cuda_copy *copies;
  uint32_t n_regions;
  const mj_cuda_region *regions;
} mj_cuda_program;

extern const mj_device_ops mj_cuda_ops;

/* The `entry` of such a program. */
mj_status mj_cuda_run(mj_context *ctx, const void *const *inputs, void *const *outputs);

#endif
