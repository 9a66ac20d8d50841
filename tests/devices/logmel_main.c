/* Features of a file of 16-bit samples, by semihosting: the command line is SAMPLES FEATURES. */
#include <string.h>

#include "frontend.h"
#include "mj_board.h"
#include "semihosting.h"

static int16_t ring[MJ_FRONTEND_RING];
static float work[MJ_FRONTEND_FFT];

int main(void) {
  static char line[512];
  mj_logmel audio;
  int16_t block[100]; /* no divisor of a frame's shift */
  float features[MJ_FRONTEND_MELS];
  if (mj_semi_command_line(line, sizeof line) != 0) return 2;
  char *const source = strchr(line, ' ') + 1; /* after the program's own name */
  char *const sink = strchr(source, ' ');
  *sink = '\0';
  const int in = mj_semi_open(source, MJ_SEMI_READ), out = mj_semi_open(sink + 1, MJ_SEMI_WRITE);
  if (in < 0 || out < 0) return 3;
  if (mj_logmel_init(&audio, &mj_frontend, ring, MJ_FRONTEND_RING, work) != 0) return 4;
  for (long bytes; (bytes = mj_semi_read(in, block, sizeof block)) > 0;) {
    const size_t samples = (size_t)bytes / sizeof *block;
    if (mj_logmel_push(&audio, block, samples) != samples) return 5;
    while (mj_logmel_frame(&audio, features)) {
      if (mj_semi_write(out, features, sizeof features) != sizeof features) return 6;
    }
  }
  return mj_semi_close(in) != 0 || mj_semi_close(out) != 0;
}
