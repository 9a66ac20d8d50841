/* Runs a model for a host that sends requests down a wire: one frame in, one or more frames out.
 *
 * A frame is a header of four little-endian words (magic, kind, argument, length) and `length` bytes.
 *
 *   request    argument       payload                                        answer
 *   HELLO      -              -                                              SIZES, or FAILED
 *   RUN        flags          number of taps, (kernel, offset, bytes) each,  TAP for each, RESULT | FAILED
 *                             then the inputs one after the other
 *   RESET      -              -                                              RESULT, or FAILED
 *   THREADS    how many       -                                              RESULT, or FAILED
 *   SIZE       dimension      its size from now on, 64-bit                   RESULT, or FAILED
 *   QUIT       -              -                                              none: the program ends
 *
 * Tensors have the bytes of the current sizes; SIZE is there where MJ_RUNNER_SIZES is 1.
 * SIZES: 64-bit numbers, see `greet`. RESULT of RUN: bytes of stack used (0 unless painted), a word of
 * padding, the outputs. FAILED: argument = mj_status; kernel that failed or -1, then the reason as text.
 * Anything malformed ends the program with a non-zero code: the host made a mistake, and has the wire.
 */
#include <stdint.h>
#include <string.h>

#include "markers.h"
#include "millijoule.h"
#include "port.h"

#ifndef MJ_RUNNER_SIZES
#define MJ_RUNNER_SIZES 0 /* 1 for programs whose sizes vary: those of others may lack mj_set_size */
#endif

enum { MAGIC = 0x4d4a5231 }; /* "MJR1" */
enum request { HELLO = 1, RUN = 2, RESET = 3, THREADS = 4, QUIT = 5, SIZE = 6 };
enum answer { SIZES = 101, TAP = 102, RESULT = 103, FAILED = 104 };
enum flag { FLAG_KERNELS = 1, FLAG_PAINT = 2 };
enum { MAX_TAPS = 512, MAX_IO = 128 };

typedef struct {
  uint32_t magic, kind, argument, bytes;
} header;

typedef struct {
  uint32_t kernel, offset, bytes;
} tap;

static mj_context context;
static uint8_t *arena;
static const void *inputs[MAX_IO];
static void *outputs[MAX_IO];
static tap taps[MAX_TAPS];
static uint32_t tap_count;
static int tap_failed;
static mj_status run_status;

static int send(enum answer kind, uint32_t argument, const void *data, size_t bytes) {
  const header head = {MAGIC, (uint32_t)kind, argument, (uint32_t)bytes};
  if (mj_port_write(&head, sizeof head) != 0) return -1;
  return bytes > 0 ? mj_port_write(data, bytes) : 0;
}

static int send_failure(mj_status status) {
  char text[4 + 128];
  const int32_t kernel = mj_failed_kernel(&context);
  const char *reason = mj_status_string(status);
  size_t length = strlen(reason);
  if (length > sizeof text - 4) length = sizeof text - 4;
  memcpy(text, &kernel, 4);
  memcpy(text + 4, reason, length);
  return send(FAILED, (uint32_t)status, text, 4 + length);
}

static int finish(mj_status status) {
  return status == MJ_OK ? send(RESULT, 0, NULL, 0) : send_failure(status);
}

static size_t total(const mj_tensor *tensors, uint32_t count) {
  size_t bytes = 0;
  for (uint32_t i = 0; i < count; i++) bytes += tensors[i].bytes;
  return bytes;
}

/* Bytes that tensor `index` has now; inputs are counted before outputs. */
static size_t bytes_of(uint32_t index) {
  const mj_model_desc *model = &mj_model;
#if MJ_RUNNER_SIZES
  if (model->n_dims > 0) return mj_tensor_bytes(&context, index);
#endif
  return index < model->n_inputs ? model->inputs[index].bytes : model->outputs[index - model->n_inputs].bytes;
}

/* The sum over `count` tensors from `first`, of what they have now. */
static size_t current(uint32_t first, uint32_t count) {
  size_t bytes = 0;
  for (uint32_t i = 0; i < count; i++) bytes += bytes_of(first + i);
  return bytes;
}

/* Memory for arena and tensors, and the context; once. */
static mj_status start(void) {
  const mj_model_desc *model = &mj_model;
  if (model->n_inputs > MAX_IO || model->n_outputs > MAX_IO) return MJ_ERR_LIMIT;
  for (uint32_t i = 0; i < model->n_inputs; i++) {
    inputs[i] = mj_port_memory(model->inputs[i].bytes);
    if (inputs[i] == NULL) return MJ_ERR_ARENA;
  }
  for (uint32_t i = 0; i < model->n_outputs; i++) {
    outputs[i] = mj_port_memory(model->outputs[i].bytes);
    if (outputs[i] == NULL) return MJ_ERR_ARENA;
  }
  arena = mj_port_memory(model->arena_bytes);
  const void *weights = mj_port_weights(model->weights_bytes);
  return mj_init(&context, model, weights, model->weights_bytes, arena, model->arena_bytes);
}

/* What the host compares with the manifest before it trusts any offset. */
static int greet(void) {
  const mj_model_desc *model = &mj_model;
  const uint64_t sizes[] = {
      model->abi_version,    model->n_inputs,
      model->n_outputs,      model->n_states,
      model->n_kernels,      (uint64_t)model->weights_bytes,
      model->arena_bytes,    model->workspace_bytes,
      model->state_bytes,    (uint64_t)(int64_t)model->delay,
      total(model->inputs, model->n_inputs),
      total(model->outputs, model->n_outputs),
      total(model->states, model->n_states),
      mj_context_size(),
  };
  return send(SIZES, 0, sizes, sizeof sizes);
}

/* Two instructions, so that the host can say what the hook costs: see profiling/instructions.py. */
void mj_tick(void *user, uint32_t index, int phase);
__asm__(
    ".text\n.balign 4\n.global mj_tick\n.type mj_tick, %function\n" MJ_CODE_MODE
    "mj_tick:\n" MJ_MARK_TICK "\n" MJ_RETURN "\n.size mj_tick, . - mj_tick\n");

/* Send the values of kernel `index` while they lie in the arena. */
static void send_taps(void *user, uint32_t index, int phase) {
  (void)user;
  if (phase == 0) return;
  for (uint32_t i = 0; i < tap_count; i++) {
    if (taps[i].kernel != index || tap_failed) continue;
    tap_failed = send(TAP, i, arena + taps[i].offset, taps[i].bytes);
  }
}

static void call_model(void) {
  MJ_MARK(MJ_MARK_BEGIN);
  run_status = mj_run(&context, inputs, outputs);
  MJ_MARK(MJ_MARK_END);
}

static int read_taps(uint32_t payload) {
  if (payload < 4 || mj_port_read(&tap_count, 4) != 0 || tap_count > MAX_TAPS) return -1;
  if (payload != 4 + tap_count * sizeof(tap) + current(0, mj_model.n_inputs)) return -1;
  if (tap_count > 0 && mj_port_read(taps, tap_count * sizeof(tap)) != 0) return -1;
  for (uint32_t i = 0; i < tap_count; i++) {
    const size_t offset = taps[i].offset, bytes = taps[i].bytes;
    if (offset > mj_model.arena_bytes || bytes > mj_model.arena_bytes - offset) return -1;
  }
  return 0;
}

static int run(uint32_t flags, uint32_t payload) {
  if (read_taps(payload) != 0) return -1;
  for (uint32_t i = 0; i < mj_model.n_inputs; i++) {
    /* The buffers are ours: only the API sees them as constant. */
    if (mj_port_read((void *)(uintptr_t)inputs[i], bytes_of(i)) != 0) return -1;
  }
  tap_failed = 0;
  const mj_hook hook = tap_count > 0 ? send_taps : flags & FLAG_KERNELS ? mj_tick : NULL;
  mj_set_hook(&context, hook, NULL);
  mj_port_call(call_model, (flags & FLAG_PAINT) != 0);
  mj_set_hook(&context, NULL, NULL);
  if (tap_failed) return -1;
  if (run_status != MJ_OK) return send_failure(run_status);
  const uint32_t used[2] = {flags & FLAG_PAINT ? (uint32_t)mj_port_stack_used() : 0, 0};
  const uint32_t first = mj_model.n_inputs;
  const size_t bytes = current(first, mj_model.n_outputs);
  const header head = {MAGIC, RESULT, 0, (uint32_t)(sizeof used + bytes)};
  if (mj_port_write(&head, sizeof head) != 0 || mj_port_write(used, sizeof used) != 0) return -1;
  for (uint32_t i = 0; i < mj_model.n_outputs; i++) {
    if (mj_port_write(outputs[i], bytes_of(first + i)) != 0) return -1;
  }
  return 0;
}

#if MJ_RUNNER_SIZES
static int set_size(uint32_t dim, uint32_t payload) {
  int64_t size;
  if (payload != sizeof size || mj_port_read(&size, sizeof size) != 0) return -1;
  return finish(mj_set_size(&context, dim, size));
}
#endif

static int answer(const header *head) {
  if (head->kind == RUN) return run(head->argument, head->bytes);
#if MJ_RUNNER_SIZES
  if (head->kind == SIZE) return set_size(head->argument, head->bytes);
#endif
  if (head->bytes != 0) return -1;
  switch (head->kind) {
    case HELLO: return greet();
    case RESET: return finish(mj_reset(&context));
    case THREADS: return finish(mj_set_threads(&context, (int)head->argument));
    default: return -1;
  }
}

int main(void) {
  if (mj_port_open() != 0) return 2;
  const mj_status status = start();
  for (;;) {
    header head;
    if (mj_port_read(&head, sizeof head) != 0 || head.magic != MAGIC) return 3;
    if (head.kind == QUIT) return 0;
    const int failed = status == MJ_OK ? answer(&head) : send_failure(status);
    if (failed != 0) return 4;
  }
}
