/* The runner's system on Linux: pipes in the working directory, weights in a file, a stack of its own. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <ucontext.h>
#include <unistd.h>

#include "millijoule.h"
#include "port.h"

enum { STACK_BYTES = 8 << 20, PAINT = 0xa5 }; /* as much stack as Linux gives a main thread */

static int in = -1, out = -1;
static uint8_t *stack;
static uint8_t *entered; /* the stack pointer, about, when the function was called */
static ucontext_t here, there;
static void (*function_to_call)(void);

int mj_port_open(void) {
  in = open("in", O_RDONLY);
  out = open("out", O_WRONLY);
  return in >= 0 && out >= 0 ? 0 : -1;
}

int mj_port_read(void *data, size_t bytes) {
  uint8_t *next = data;
  while (bytes > 0) {
    const ssize_t got = read(in, next, bytes);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return -1;
    next += got;
    bytes -= (size_t)got;
  }
  return 0;
}

int mj_port_write(const void *data, size_t bytes) {
  const uint8_t *next = data;
  while (bytes > 0) {
    const ssize_t put = write(out, next, bytes);
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) return -1;
    next += put;
    bytes -= (size_t)put;
  }
  return 0;
}

void *mj_port_memory(size_t bytes) {
  const size_t whole = (bytes + 63u) & ~(size_t)63u;
  return aligned_alloc(64, whole > 0 ? whole : 64);
}

const void *mj_port_weights(size_t bytes) {
  struct stat status;
  const int file = open("weights.bin", O_RDONLY);
  if (file < 0 || fstat(file, &status) != 0 || (size_t)status.st_size < bytes) return NULL;
  if (bytes == 0) return "";
  void *data = mmap(NULL, bytes, PROT_READ, MAP_PRIVATE, file, 0);
  return data == MAP_FAILED ? NULL : data;
}

static void on_stack(void) {
  entered = (uint8_t *)__builtin_frame_address(0);
  function_to_call();
}

static int make_stack(void) {
  if (stack != NULL) return 0;
  const size_t guard = (size_t)sysconf(_SC_PAGESIZE);
  uint8_t *memory = mmap(NULL, guard + STACK_BYTES, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED || mprotect(memory, guard, PROT_NONE) != 0) return -1;
  stack = memory + guard;
  return 0;
}

void mj_port_call(void (*function)(void), int paint) {
  function_to_call = function;
  if (make_stack() != 0 || getcontext(&there) != 0) abort();
  if (paint) memset(stack, PAINT, STACK_BYTES);
  there.uc_stack.ss_sp = stack;
  there.uc_stack.ss_size = STACK_BYTES;
  there.uc_link = &here;
  makecontext(&there, on_stack, 0);
  if (swapcontext(&here, &there) != 0) abort();
}

size_t mj_port_stack_used(void) {
  const uint8_t *lowest = stack;
  while (lowest < entered && *lowest == PAINT) lowest++;
  return (size_t)(entered - lowest);
}
