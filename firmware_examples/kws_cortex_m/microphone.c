/* A microphone that hears one recording, followed by silence, and again for the next decision. The
 * recording lies in flash: recording.h is generated from a WAV file by recording.py.
 *
 * On a board: start the converter or the digital microphone with a circular DMA buffer of two blocks and
 * let the half-complete and complete interrupts call mj_logmel_push themselves; main.c then sleeps
 * between frames instead of calling this function.
 */
#include "microphone.h"

#include "frontend.h"
#include "recording.h"

/* What main.c takes for a decision: the samples of its frames, in whole blocks. */
#define SAMPLES (MJ_FRONTEND_WINDOW + (MJ_FRONTEND_FRAMES - 1) * MJ_FRONTEND_SHIFT)
#define BLOCKS ((SAMPLES + MJ_FRONTEND_SHIFT - 1) / MJ_FRONTEND_SHIFT)

_Static_assert(RECORDING_SAMPLE_RATE == MJ_FRONTEND_SAMPLE_RATE, "resample the recording");

const char *const microphone_keyword = RECORDING_KEYWORD;

void microphone_read(int16_t *samples, uint32_t count) {
  static uint32_t position;
  for (uint32_t i = 0; i < count; i++) {
    samples[i] = position < RECORDING_SAMPLES ? recording[position] : 0; /* then silence */
    if (++position == BLOCKS * MJ_FRONTEND_SHIFT) position = 0;
  }
}
