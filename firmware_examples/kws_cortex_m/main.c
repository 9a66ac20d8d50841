/* Keyword spotting on a microcontroller: 10 ms of audio in, one step of the model, a word per second.
 *
 *   microphone ──160 samples──▶ ring ──400 samples──▶ log-mel ──40 features──▶ mj_run ──▶ logits
 *
 * Nothing here depends on the model: its sizes, labels and front end come from model.h and frontend.h of
 * the exported package, whatever dtype it was built for.
 */
#include <math.h>
#include <string.h>

#include "counter.h"
#include "frontend.h"
#include "microphone.h"
#include "mj_board.h"
#include "model.h"
#include "print.h"

#ifndef ROUNDS
#define ROUNDS 0u /* decisions before the program ends; 0: never, as in a product */
#endif

_Static_assert(MJ_MODEL_STREAMING, "build the model with --streaming");
_Static_assert(MJ_MODEL_INPUT_0_BYTES == MJ_FRONTEND_MELS * sizeof(float), "another front end");
_Static_assert(MJ_FRONTEND_FRAMES > 0, "this model decides on no fixed number of frames");

static const char *const labels[MJ_MODEL_LABELS] = MJ_MODEL_LABEL_NAMES;

static uint8_t arena[MJ_MODEL_ARENA_BYTES]
    __attribute__((section(".bss.mj_arena"), aligned(MJ_ALIGNMENT)));
static mj_context model;
static mj_logmel audio;
static int16_t ring[MJ_FRONTEND_RING];
static float work[MJ_FRONTEND_FFT];
static float logits[MJ_MODEL_LABELS];

typedef struct {
  uint32_t total, most, calls;
} cost;
static cost frontend_cost, model_cost;

static void add_cost(cost *sum, uint32_t count) {
  sum->total += count;
  sum->calls++;
  if (count > sum->most) sum->most = count;
}

static void fail(const char *what, const char *why) {
  print(what);
  print(": ");
  print(why);
  print("\n");
  mj_board_exit(1);
}

/* One step. `valid` 0 feeds nothing: it drains the frames that convolutions still hold back. */
static void step(const float *features, int32_t valid) {
  const void *const inputs[MJ_MODEL_INPUTS] = {features, &valid};
  void *const outputs[MJ_MODEL_OUTPUTS] = {logits};
  const uint32_t start = counter_now();
  const mj_status status = mj_run(&model, inputs, outputs);
  add_cost(&model_cost, counter_now() - start);
  if (status != MJ_OK) fail("mj_run", mj_status_string(status));
}

/* Take a block from the microphone; 1 if that completes a frame. */
static int next_frame(float *features) {
  int16_t block[MJ_FRONTEND_SHIFT];
  microphone_read(block, MJ_FRONTEND_SHIFT);
  const uint32_t start = counter_now();
  if (mj_logmel_push(&audio, block, MJ_FRONTEND_SHIFT) < MJ_FRONTEND_SHIFT) {
    fail("microphone", "samples were lost: the model is slower than the audio");
  }
  const int complete = mj_logmel_frame(&audio, features);
  if (complete) add_cost(&frontend_cost, counter_now() - start);
  return complete;
}

/* Listen for as many frames as the model decides on; the index of the likeliest label. */
static uint32_t listen(void) {
  float features[MJ_FRONTEND_MELS];
  mj_logmel_reset(&audio);
  mj_reset(&model);
  for (uint32_t frames = 0; frames < MJ_FRONTEND_FRAMES;) {
    if (!next_frame(features)) continue;
    step(features, 1);
    frames++;
  }
  memset(features, 0, sizeof features);
  for (int i = 0; i < MJ_MODEL_DELAY; i++) step(features, 0);
  uint32_t best = 0;
  for (uint32_t i = 1; i < MJ_MODEL_LABELS; i++) best = logits[i] > logits[best] ? i : best;
  return best;
}

static void report(uint32_t best) {
  float sum = 0.0f; /* softmax: the probability of the best label is 1 / sum */
  for (uint32_t i = 0; i < MJ_MODEL_LABELS; i++) sum += expf(logits[i] - logits[best]);
  print(labels[best]);
  print(" ");
  print_share(1.0f / sum);
  print("\n");
}

static void report_cost(const char *name, const cost *sum) {
  print(name);
  print_number(sum->total / sum->calls);
  print(" ");
  print(counter_unit());
  print(" a frame, at most ");
  print_number(sum->most);
  print("\n");
}

int main(void) {
  counter_start();
  if (mj_logmel_init(&audio, &mj_frontend, ring, MJ_FRONTEND_RING, work) != 0) {
    fail("mj_logmel_init", "the ring must hold a frame and a power of two of samples");
  }
  const mj_status status =
      mj_init(&model, &mj_model, mj_weights, MJ_MODEL_WEIGHTS_BYTES, arena, sizeof arena);
  if (status != MJ_OK) fail("mj_init", mj_status_string(status));
  int wrong = 0;
  for (uint32_t round = 0; ROUNDS == 0u || round != ROUNDS; round++) {
    const uint32_t best = listen();
    report(best);
    wrong |= *microphone_keyword != '\0' && strcmp(labels[best], microphone_keyword) != 0;
  }
  report_cost("front end: ", &frontend_cost);
  report_cost("model:     ", &model_cost);
  print("stack:     ");
  print_number((uint32_t)mj_board_stack_peak());
  print(" of ");
  print_number((uint32_t)mj_board_stack_size());
  print(" bytes\n");
  if (wrong) fail("expected keyword", microphone_keyword);
  return 0;
}
