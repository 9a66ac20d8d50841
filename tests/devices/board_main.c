/* What start-up code and semihosting promise; the command line says which promise to try. */
#include <string.h>

#include "mj_board.h"
#include "semihosting.h"

static int initialized = 42, zeroed[100];
static unsigned char arena[1000] __attribute__((section(".bss.mj_arena"), aligned(16)));

static int deep(volatile int *levels) {
  volatile char frame[256];
  memset((char *)frame, 1, sizeof frame);
  return *levels == 0 ? 0 : (*levels -= 1, deep(levels) + frame[*levels & 255]);
}

static int memory(void) {
  for (int i = 0; i < 100; i++) {
    if (zeroed[i] != 0) return 1;
  }
  return initialized != 42 || (size_t)arena % 16 != 0;
}

static int stack(void) {
  volatile int levels = 8; /* of 256 bytes and a little */
  const size_t before = mj_board_stack_peak();
  deep(&levels);
  const size_t after = mj_board_stack_peak();
  if (mj_board_stack_size() != 4096) return 1;
  if (before > 1024 || after < 8 * 256 || after > 3500) return 2;
  mj_board_stack_paint();
  return mj_board_stack_peak() > 1024 ? 3 : 0;
}

static int files(const char *path) {
  char text[16] = "";
  int file = mj_semi_open(path, MJ_SEMI_WRITE);
  if (mj_semi_write(file, "0123456789", 10) != 10 || mj_semi_close(file) != 0) return 1;
  file = mj_semi_open(path, MJ_SEMI_READ);
  if (mj_semi_length(file) != 10 || mj_semi_seek(file, 4) != 0) return 2;
  if (mj_semi_read(file, text, 16) != 6 || strcmp(text, "456789") != 0) return 3;
  if (mj_semi_read(file, text, 16) != 0) return 4; /* the end */
  return mj_semi_open("/no/such/file", MJ_SEMI_READ) == -1 ? 0 : 5;
}

int main(void) {
  static char line[300], small[4];
  if (mj_semi_command_line(small, sizeof small) != -1) return 90;
  if (mj_semi_command_line(line, sizeof line) != 0) return 91;
  const char *const what = strchr(line, ' ') + 1;
  volatile int levels = 100;
  switch (what[0]) {
    case 'm': return memory();
    case 's': return stack();
    case 'f': return files(strchr(what, ' ') + 1);
    case 'o': return deep(&levels);
    case 'u': __asm__ volatile("udf #0");
  }
  mj_board_puts("seven\n");
  return 7;
}
