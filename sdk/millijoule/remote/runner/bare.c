/* The runner's system on a bare Cortex-M: semihosting files, linked weights, the only stack there is. */
#include "mj_board.h"
#include "millijoule.h"
#include "port.h"
#include "semihosting.h"

#ifndef MJ_RUNNER_MEMORY
#error "MJ_RUNNER_MEMORY: bytes of arena and tensors, each rounded up to 64"
#endif

enum { PAINT = 0xa5, MARGIN = 64 };

extern const uint8_t mj_weights[];
extern uint8_t __stack_limit[];

/* The linker script puts this section where the board has most memory. */
__attribute__((section(".bss.mj_arena"), aligned(64))) static uint8_t memory[MJ_RUNNER_MEMORY];
static size_t taken;
static int in = -1, out = -1;
static uint8_t *entered;

int mj_port_open(void) {
  in = mj_semi_open("in", MJ_SEMI_READ);
  out = mj_semi_open("out", MJ_SEMI_WRITE);
  return in >= 0 && out >= 0 ? 0 : -1;
}

int mj_port_read(void *data, size_t bytes) {
  uint8_t *next = data;
  while (bytes > 0) {
    const long got = mj_semi_read(in, next, bytes);
    if (got <= 0) return -1;
    next += got;
    bytes -= (size_t)got;
  }
  return 0;
}

int mj_port_write(const void *data, size_t bytes) {
  const uint8_t *next = data;
  while (bytes > 0) {
    const long put = mj_semi_write(out, next, bytes);
    if (put <= 0) return -1;
    next += put;
    bytes -= (size_t)put;
  }
  return 0;
}

void *mj_port_memory(size_t bytes) {
  const size_t whole = bytes > 0 ? (bytes + 63u) & ~(size_t)63u : 64;
  if (whole > sizeof memory - taken) return NULL;
  taken += whole;
  return memory + taken - whole;
}

const void *mj_port_weights(size_t bytes) {
  (void)bytes; /* linked from the same bundle, and the host has compared the sizes */
  return mj_weights;
}

__attribute__((noinline)) void mj_port_call(void (*function)(void), int paint) {
  entered = __builtin_frame_address(0);
  if (paint) {
    for (volatile uint8_t *byte = __stack_limit; byte < entered - MARGIN; byte++) *byte = PAINT;
  }
  function();
}

size_t mj_port_stack_used(void) {
  const uint8_t *lowest = __stack_limit;
  while (lowest < entered && *lowest == PAINT) lowest++;
  return (size_t)(entered - lowest);
}
