/* States: two banks, reset, initial values, and what a failed run leaves behind. */
#include <float.h>
#include <math.h>
#include <stdalign.h>
#include <stdint.h>
#include <string.h>

#include "check.h"
#include "millijoule.h"

static alignas(MJ_ALIGNMENT) const float weights[32] = {1, 1, 1, 1, 10, 20, 30, 40};
static alignas(MJ_ALIGNMENT) uint8_t arena[320];

/* One step with the frame {value, 0, -value, 0}; returns the first logit. */
static float step(mj_context *ctx, float value, int32_t valid) {
  const float x[4] = {value, 0, -value, 0};
  float logits[4];
  const void *const inputs[] = {x, &valid};
  void *const outputs[] = {logits};
  CHECK(mj_run(ctx, inputs, outputs) == MJ_OK);
  CHECK(memcmp(mj_state(ctx, 0), logits, sizeof logits) == 0); /* the state is the new one */
  return logits[0];
}

static void test_stream_and_reset(void) {
  mj_context ctx;
  memset(arena, 0xaa, sizeof arena); /* what lay in the arena must not matter */
  CHECK(mj_init(&ctx, &mj_model, weights, sizeof weights, arena, sizeof arena) == MJ_OK);
  for (int repeat = 0; repeat < 2; repeat++) {
    static const float expected[5] = {0, 0, 1, 3, 6};
    for (int t = 0; t < 5; t++) CHECK(step(&ctx, (float)(t + 1), t < 3) == expected[t]);
    CHECK(mj_reset(&ctx) == MJ_OK);
    CHECK(*(float *)mj_state(&ctx, 0) == 0.0f);
  }
  CHECK(mj_state(&ctx, 1) == (uint8_t *)mj_state(&ctx, 0) + MJ_ALIGNMENT);
  CHECK(mj_state(&ctx, 2) == NULL);
}

static void test_initial_values_come_from_the_weights(void) {
  mj_context ctx;
  mj_tensor states[2];
  mj_model_desc model = mj_model;
  memcpy(states, mj_model.states, sizeof states);
  states[0].initial = 16;
  model.states = states;
  model.weights_bytes = 32;
  CHECK(mj_init(&ctx, &model, weights, sizeof weights, arena, sizeof arena) == MJ_OK);
  CHECK(step(&ctx, 5, 1) == 10.0f);
  CHECK(mj_reset(&ctx) == MJ_OK);
  CHECK(memcmp(mj_state(&ctx, 0), weights + 4, 16) == 0);
  states[0].initial = 17; /* would read past the weights */
  CHECK(mj_init(&ctx, &model, weights, sizeof weights, arena, sizeof arena) == MJ_ERR_ABI);
}

static mj_status failing_entry(mj_context *ctx, const void *const *inputs, void *const *outputs) {
  (void)ctx, (void)inputs;
  memset(outputs[1], 0x55, 16); /* half-written next state */
  return MJ_ERR_KERNEL;
}

static void test_failed_run_keeps_the_states(void) {
  mj_context ctx;
  mj_model_desc model = mj_model;
  CHECK(mj_init(&ctx, &model, weights, sizeof weights, arena, sizeof arena) == MJ_OK);
  for (int t = 0; t < 3; t++) (void)step(&ctx, 1, 1);
  const float x[4] = {0};
  const int32_t valid = 1;
  float logits[4];
  const void *const inputs[] = {x, &valid};
  void *const outputs[] = {logits};
  model.entry = failing_entry;
  CHECK(mj_run(&ctx, inputs, outputs) == MJ_ERR_KERNEL);
  model.entry = mj_model.entry;
  CHECK(*(float *)mj_state(&ctx, 0) == 1.0f);
  CHECK(step(&ctx, 1, 1) == 2.0f);
}

static void test_frames_that_are_not_finite_keep_the_states(void) {
  static const float bad[] = {NAN, -NAN, INFINITY, -INFINITY};
  mj_context ctx;
  CHECK(mj_init(&ctx, &mj_model, weights, sizeof weights, arena, sizeof arena) == MJ_OK);
  for (int t = 0; t < 3; t++) (void)step(&ctx, 1, 1);
  const int32_t valid = 1;
  float x[4] = {0}, logits[4] = {7};
  const void *const inputs[] = {x, &valid};
  void *const outputs[] = {logits};
  for (int where = 0; where < 4; where++) {
    x[where] = bad[where];
    CHECK(mj_run_finite(&ctx, inputs, outputs) == MJ_ERR_NOT_FINITE);
    CHECK(logits[0] == 7 && *(float *)mj_state(&ctx, 0) == 1.0f);
    x[where] = where % 2 ? FLT_MAX : -FLT_MIN / 2; /* as large and as small as numbers get */
  }
  const float fine[4] = {1, 0, -1, 0};
  const void *const good[] = {fine, &valid};
  CHECK(mj_run_finite(&ctx, good, outputs) == MJ_OK);
  CHECK(logits[0] == 2.0f && *(float *)mj_state(&ctx, 0) == 2.0f);
  CHECK(mj_run_finite(&ctx, NULL, outputs) == MJ_ERR_ARGUMENT);
}

static mj_status succeed(mj_context *ctx, const void *const *inputs, void *const *outputs) {
  (void)ctx, (void)inputs, (void)outputs;
  return MJ_OK;
}

static void test_what_is_finite_depends_on_the_dtype(void) {
  static const uint16_t halves[4] = {0x7bff, 0xfbff, 0x0001, 0x7c00}; /* the last is infinity */
  static const int32_t integers[2] = {0x7f800000, -1};                 /* NaN and infinity as floats */
  mj_tensor input = mj_model.inputs[0];
  mj_model_desc model = mj_model;
  mj_context ctx;
  float logits[4];
  const void *data;
  void *const outputs[] = {logits};
  model.inputs = &input;
  model.n_inputs = 1;
  model.entry = succeed;
  CHECK(mj_init(&ctx, &model, weights, sizeof weights, arena, sizeof arena) == MJ_OK);
  data = halves;
  input.dtype = MJ_FLOAT16;
  input.bytes = sizeof halves;
  CHECK(mj_run_finite(&ctx, &data, outputs) == MJ_ERR_NOT_FINITE);
  input.bytes = sizeof halves - 2;
  CHECK(mj_run_finite(&ctx, &data, outputs) == MJ_OK);
  data = integers;
  input.dtype = MJ_INT32;
  input.bytes = sizeof integers;
  CHECK(mj_run_finite(&ctx, &data, outputs) == MJ_OK);
  input.dtype = MJ_FLOAT32;
  CHECK(mj_run_finite(&ctx, &data, outputs) == MJ_ERR_NOT_FINITE);
}

static void test_contexts_are_independent(void) {
  static alignas(MJ_ALIGNMENT) uint8_t other_arena[320];
  mj_context a, b;
  CHECK(mj_init(&a, &mj_model, weights, sizeof weights, arena, sizeof arena) == MJ_OK);
  CHECK(mj_init(&b, &mj_model, weights, sizeof weights, other_arena, 320) == MJ_OK);
  for (int t = 0; t < 4; t++) {
    CHECK(step(&a, 1, 1) == (t < 2 ? 0.0f : (float)(t - 1)));
    CHECK(step(&b, 3, 1) == (t < 2 ? 0.0f : 3.0f * (float)(t - 1)));
  }
}

int main(void) {
  test_stream_and_reset();
  test_initial_values_come_from_the_weights();
  test_failed_run_keeps_the_states();
  test_frames_that_are_not_finite_keep_the_states();
  test_what_is_finite_depends_on_the_dtype();
  test_contexts_are_independent();
  return 0;
}
