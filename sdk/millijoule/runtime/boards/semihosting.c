/* Semihosting calls for Cortex-M, and the board's text and exit through them. */
#include "semihosting.h"

#include <stdint.h>
#include <string.h>

#include "mj_board.h"

enum operation {
  SYS_OPEN = 0x01,
  SYS_CLOSE = 0x02,
  SYS_WRITE0 = 0x04,
  SYS_WRITE = 0x05,
  SYS_READ = 0x06,
  SYS_SEEK = 0x0A,
  SYS_FLEN = 0x0C,
  SYS_GET_CMDLINE = 0x15,
  SYS_EXIT_EXTENDED = 0x20
};

#define APPLICATION_EXIT 0x20026u /* ADP_Stopped_ApplicationExit */

/* `block`: the operation's arguments, one word each, or the argument itself. */
static int32_t call(enum operation operation, const void *block) {
  register uint32_t r0 __asm__("r0") = (uint32_t)operation;
  register const void *r1 __asm__("r1") = block;
  __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory", "cc");
  return (int32_t)r0;
}

static uint32_t word(const void *pointer) { return (uint32_t)(uintptr_t)pointer; }

void mj_semi_write0(const char *text) { (void)call(SYS_WRITE0, text); }

int mj_semi_open(const char *path, int mode) {
  const uint32_t block[3] = {word(path), (uint32_t)mode, (uint32_t)strlen(path)};
  return call(SYS_OPEN, block);
}

int mj_semi_close(int handle) {
  const uint32_t block[1] = {(uint32_t)handle};
  return call(SYS_CLOSE, block);
}

/* Both answer with the number of bytes that were *not* transferred. */
static long transfer(enum operation operation, int handle, const void *data, size_t bytes) {
  const uint32_t block[3] = {(uint32_t)handle, word(data), (uint32_t)bytes};
  const int32_t left = call(operation, block);
  return left < 0 || (size_t)left > bytes ? -1 : (long)(bytes - (size_t)left);
}

long mj_semi_read(int handle, void *data, size_t bytes) {
  return transfer(SYS_READ, handle, data, bytes);
}

long mj_semi_write(int handle, const void *data, size_t bytes) {
  return transfer(SYS_WRITE, handle, data, bytes);
}

int mj_semi_seek(int handle, size_t offset) {
  const uint32_t block[2] = {(uint32_t)handle, (uint32_t)offset};
  return call(SYS_SEEK, block);
}

long mj_semi_length(int handle) {
  const uint32_t block[1] = {(uint32_t)handle};
  return call(SYS_FLEN, block);
}

int mj_semi_command_line(char *text, size_t bytes) {
  const uint32_t block[2] = {word(text), (uint32_t)bytes};
  return call(SYS_GET_CMDLINE, block);
}

void mj_semi_exit(int code) {
  const uint32_t block[2] = {APPLICATION_EXIT, (uint32_t)code};
  for (;;) (void)call(SYS_EXIT_EXTENDED, block);
}

void mj_board_puts(const char *text) { mj_semi_write0(text); }

void mj_board_exit(int code) { mj_semi_exit(code); }
