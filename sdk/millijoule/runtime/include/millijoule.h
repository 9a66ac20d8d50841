/* Millijoule C API: run a compiled model with nothing but the C library.
 *
 * A built model is one constant descriptor (`mj_model`, generated), its kernels (an object file) and
 * a weights blob. The caller owns every byte: weights stay where they are (flash, mmap), scratch
 * memory is one arena whose exact size the descriptor states. No call but mj_set_threads allocates, and
 * mj_init of a program for a GPU, which gets the GPU's memory.
 *
 *   static uint8_t arena[MJ_MODEL_ARENA_BYTES] __attribute__((aligned(MJ_ALIGNMENT)));
 *   mj_context ctx;
 *   if (mj_init(&ctx, &mj_model, weights, weights_bytes, arena, sizeof arena) != MJ_OK) ...
 *   const void *in[] = {x};  void *out[] = {logits};
 *   mj_run(&ctx, in, out);
 *
 * One context serves one thread at a time; several contexts may share one descriptor and weights.
 */
#ifndef MILLIJOULE_H
#define MILLIJOULE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Everything declared here is public, whatever -fvisibility a library is compiled with. */
#pragma GCC visibility push(default)

#define MJ_ABI_VERSION 1u
/* Of arena, weights blob and every planned buffer. 64 (a cache line) on Linux; microcontrollers are built
 * with less, which model.h states. A caller may always align to more. */
#ifndef MJ_ALIGNMENT
#define MJ_ALIGNMENT 64u
#endif

typedef enum {
  MJ_OK = 0,
  MJ_ERR_ARGUMENT = -1, /* a NULL pointer or a count out of range */
  MJ_ERR_ABI = -2,      /* descriptor built for another MJ_ABI_VERSION, or inconsistent */
  MJ_ERR_WEIGHTS = -3,  /* weights blob too small or not aligned */
  MJ_ERR_ARENA = -4,    /* arena too small or not aligned */
  MJ_ERR_KERNEL = -5,   /* a kernel returned non-zero; see mj_context.failed_kernel */
  MJ_ERR_WORKSPACE = -6,/* a kernel asked for more workspace than was planned */
  MJ_ERR_THREADS = -7,  /* threads could not be started (or the build has none) */
  MJ_ERR_LIMIT = -8,    /* more inputs, outputs and states than MJ_MAX_TENSORS (a compile-time limit) */
  MJ_ERR_NOT_FINITE = -9, /* mj_run_finite: an input holds NaN or infinity */
  MJ_ERR_DEVICE = -10     /* the GPU or its driver; mj_device_error says what */
} mj_status;

typedef enum {
  MJ_FLOAT32 = 0, MJ_FLOAT16 = 1, MJ_INT8 = 2, MJ_UINT8 = 3, MJ_INT32 = 4, MJ_INT64 = 5, MJ_UINT16 = 6,
  MJ_UINT32 = 7, MJ_INT16 = 8
} mj_dtype;

typedef struct {
  const char *name;
  mj_dtype dtype;
  uint32_t rank;
  const int32_t *shape;
  size_t bytes;
  int64_t initial; /* states: offset of the initial value in the weights blob, or -1 for zeros */
} mj_tensor;

/* A dimension whose size may vary from run to run. Buffers of the caller need no more bytes than the
 * tensors have; shapes and bytes of mj_tensor are those of the largest sizes. */
typedef struct {
  const char *name;
  int32_t min, max;
} mj_dim;

#define MJ_MAX_DIMS 8u

typedef struct mj_context mj_context;

/* Called before (phase 0) and after (phase 1) kernel `index`. After kernel `index`, its output still
 * lies in the arena at the offset that the manifest's kernel list gives. */
typedef void (*mj_hook)(void *user, uint32_t index, int phase);
/* Monotonic time in any unit the caller likes (nanoseconds on Linux, cycles on a microcontroller). */
typedef uint64_t (*mj_clock)(void);

/* What a program whose kernels run on another processor brings along. The arena is that processor's own;
 * the caller's arena has the same layout and holds what was fetched last. */
typedef struct {
  mj_status (*open)(mj_context *);
  void (*close)(mj_context *);
  /* Copy `bytes` at `offset` of the caller's arena to the processor's, and back. */
  mj_status (*upload)(mj_context *, size_t offset, size_t bytes);
  mj_status (*fetch)(mj_context *, size_t offset, size_t bytes);
  const char *(*error)(void); /* what went wrong last on this thread */
} mj_device_ops;

typedef struct {
  uint32_t abi_version;
  const char *name;
  uint32_t n_inputs, n_outputs, n_states, n_kernels;
  const mj_tensor *inputs, *outputs, *states;
  const char *const *kernels; /* names in call order */
  size_t weights_bytes;
  size_t arena_bytes;      /* everything: planned buffers + workspace + two banks of states */
  size_t workspace_offset; /* where in the arena kernels take their workspace */
  size_t workspace_bytes;
  size_t state_offset; /* first state bank; the second follows at state_offset + state_bytes */
  size_t state_bytes;  /* one bank, each state rounded up to MJ_ALIGNMENT, in descriptor order */
  int32_t delay;       /* streaming: steps before the first output is valid; else 0 */
  /* Generated. inputs/outputs hold n_inputs/n_outputs pointers followed by n_states state pointers. */
  mj_status (*entry)(mj_context *, const void *const *inputs, void *const *outputs);
  const mj_device_ops *device; /* NULL: kernels run on this processor */
  const void *device_program;  /* for `device` alone */
  uint32_t n_dims; /* 0: every size is fixed, and what follows is NULL */
  const mj_dim *dims;
  /* Generated. Size of an axis of a tensor (inputs first, then outputs) that varies; -1 for others. */
  int64_t (*extent)(const int32_t *sizes, uint32_t tensor, uint32_t axis);
} mj_model_desc;

struct mj_context {
  const mj_model_desc *model;
  const uint8_t *weights;
  uint8_t *arena;
  size_t workspace_used;
  size_t workspace_peak; /* most workspace ever in use since mj_init */
  uint32_t workspace_exhausted; /* 1: the current run asked for more than was planned */
  uint32_t bank;         /* which state bank is current */
  int32_t failed_kernel; /* index of the kernel behind the last MJ_ERR_KERNEL, else -1 */
  mj_hook hook;          /* NULL: off */
  void *hook_user;
  mj_clock clock;        /* NULL: off */
  uint64_t *kernel_ticks;/* n_kernels counters that clock differences are added to */
  void *pool;            /* thread pool, NULL for one thread */
  void *device;          /* what `open` of the descriptor's device made */
  int32_t sizes[MJ_MAX_DIMS]; /* current sizes of the model's dims; see mj_set_size */
};

/* The model this library or firmware was linked with. */
extern const mj_model_desc mj_model;

/* sizeof(mj_context), for callers that cannot see the struct (Python's ctypes). */
size_t mj_context_size(void);

/* Check sizes and alignment, remember the pointers, reset the states. */
mj_status mj_init(mj_context *ctx, const mj_model_desc *model, const void *weights, size_t weights_bytes,
                  void *arena, size_t arena_bytes);
/* Run once. Streaming models read the current states and write the next ones; a run that fails leaves
 * the states as they were. `inputs` and `outputs` hold n_inputs and n_outputs pointers to dense
 * row-major tensors; they must not overlap the arena. */
mj_status mj_run(mj_context *ctx, const void *const *inputs, void *const *outputs);
/* As mj_run, but look at every floating-point input first: MJ_ERR_NOT_FINITE, with nothing run and no state
 * changed, if one holds NaN or infinity. For callers that do not vouch for their sensors. */
mj_status mj_run_finite(mj_context *ctx, const void *const *inputs, void *const *outputs);
/* Give dimension `dim` (an index into model->dims) the size that the next runs have; every one starts at
 * its largest. MJ_ERR_ARGUMENT, with the size as it was, beyond its bounds. Tensors are dense for the
 * current sizes: a [batch, seq] of 2 × 5 is 10 elements, whatever its largest shape is. */
mj_status mj_set_size(mj_context *ctx, uint32_t dim, int64_t size);
/* The current size of dimension `dim`, or -1 if there is no such dimension. */
int64_t mj_size(const mj_context *ctx, uint32_t dim);
/* The current size of `axis` of tensor `tensor`, inputs first, then outputs; -1 if there is none such. */
int64_t mj_extent(const mj_context *ctx, uint32_t tensor, uint32_t axis);
/* The current bytes of tensor `tensor`, or 0 if there is none such. */
size_t mj_tensor_bytes(const mj_context *ctx, uint32_t tensor);
/* Put every state back to its initial value. */
mj_status mj_reset(mj_context *ctx);
/* Pointer to the current value of state `index`, or NULL. Of a GPU's state it is a copy, to be read only. */
void *mj_state(mj_context *ctx, uint32_t index);
/* Use `threads` threads (the caller's own included). 1 stops the pool. Hosted builds only. */
mj_status mj_set_threads(mj_context *ctx, int threads);
int mj_threads(const mj_context *ctx);
void mj_set_hook(mj_context *ctx, mj_hook hook, void *user);
/* `ticks` holds n_kernels counters; NULL turns timing off. `clock` NULL: the platform's own (hosted). Programs
 * for a GPU count nanoseconds by the GPU's own events, whatever the clock. */
mj_status mj_set_clock(mj_context *ctx, mj_clock clock, uint64_t *ticks);
/* Index of the kernel that failed last, or -1. */
int32_t mj_failed_kernel(const mj_context *ctx);
/* Bytes of workspace that the hungriest kernel so far has used. */
size_t mj_workspace_peak(const mj_context *ctx);
/* One English line on the last MJ_ERR_DEVICE of this thread; "" if there was none. */
const char *mj_device_error(const mj_model_desc *model);
/* Stop the pool and give a GPU's memory back. Weights and arena stay the caller's. */
void mj_deinit(mj_context *ctx);
/* One English line for a status. */
const char *mj_status_string(mj_status status);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif
#endif
