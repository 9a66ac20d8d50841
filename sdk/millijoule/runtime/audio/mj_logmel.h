/* Log-mel features on a microcontroller: samples in, one frame of features per hop out.
 *
 * The maths is that of millijoule/audio/logmel.py, in float32; the tables of a model's own front end are
 * generated with its bundle (frontend.h, `mj_frontend`). Nothing is allocated:
 *
 *   static int16_t ring[MJ_FRONTEND_RING];
 *   static float work[MJ_FRONTEND_FFT];
 *   mj_logmel audio;
 *   mj_logmel_init(&audio, &mj_frontend, ring, MJ_FRONTEND_RING, work);
 *   ... from the interrupt of the microphone's DMA: mj_logmel_push(&audio, block, samples);
 *   ... in the main loop: while (mj_logmel_frame(&audio, features)) mj_run(&model, in, out);
 *
 * One writer and one reader may share an mj_logmel without a lock.
 */
#ifndef MJ_LOGMEL_H
#define MJ_LOGMEL_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Constants of one front end; millijoule.targets.mcu.frontend writes them. */
typedef struct {
  uint16_t window, shift; /* samples in a frame, and from one frame to the next */
  uint16_t fft;           /* length of the transform, a power of two from 16 to 8192 */
  uint16_t n_mels;
  float preemphasis, floor;
  float scale, offset;    /* feature = ln(energy) * scale + offset */
  const float *hann;      /* [window], / 65536 for 16-bit samples and the halves of the transform */
  const float *roots;     /* cos and -sin of 2 pi k / fft, k = 0 to 3/4 fft - 1, in pairs */
  const uint16_t *first;  /* [n_mels] first bin of every band */
  const uint16_t *start;  /* [n_mels + 1] where its weights begin */
  const float *weight;    /* [start[n_mels]] */
} mj_logmel_tables;

typedef struct {
  const mj_logmel_tables *tables;
  int16_t *ring;
  uint32_t mask;    /* samples in the ring, less one */
  uint32_t written; /* samples ever pushed, modulo 2^32 */
  uint32_t taken;   /* where the next frame begins */
  float *work;      /* [fft] */
} mj_logmel;

/* `ring` holds `samples`, a power of two of at least the window; `work` holds `tables->fft` floats.
 * Returns 0, or -1 for a ring that is too small or no power of two. */
int mj_logmel_init(mj_logmel *logmel, const mj_logmel_tables *tables, int16_t *ring, uint32_t samples,
                   float *work);
/* Append samples; how many found room. The others are lost: the reader is too slow. */
size_t mj_logmel_push(mj_logmel *logmel, const int16_t *samples, size_t count);
/* Write the next frame's n_mels features and return 1, or return 0 if its samples are not there yet. */
int mj_logmel_frame(mj_logmel *logmel, float *features);
/* Forget the samples held: the next ones start a new recording. Not while another thread pushes. */
void mj_logmel_reset(mj_logmel *logmel);

#ifdef __cplusplus
}
#endif
#endif
