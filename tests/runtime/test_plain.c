/* The stateless tiny model: numbers, arguments, hooks, clock, failures. */
#include <stdalign.h>
#include <stdint.h>
#include <string.h>

#include "check.h"
#include "millijoule.h"

static alignas(MJ_ALIGNMENT) const float weights[4] = {1.0f, -1.0f, 0.5f, 2.0f};
static alignas(MJ_ALIGNMENT) uint8_t arena[128];
static const float x[8] = {1, 2, 3, 4, -1, -2, -3, -4};
static float y[2];
static const void *const inputs[] = {x};
static void *const outputs[] = {y};

static mj_context started(void) {
  mj_context ctx;
  CHECK(mj_init(&ctx, &mj_model, weights, sizeof weights, arena, sizeof arena) == MJ_OK);
  return ctx;
}

static void test_numbers(void) {
  mj_context ctx = started();
  for (int repeat = 0; repeat < 2; repeat++) { /* twice: nothing may be left over from a run */
    memset(y, 0xff, sizeof y);
    CHECK(mj_run(&ctx, inputs, outputs) == MJ_OK);
    CHECK(y[0] == 10.5f && y[1] == 2.0f);
  }
  CHECK(mj_failed_kernel(&ctx) == -1);
  CHECK(mj_workspace_peak(&ctx) == (MJ_ALIGNMENT > 32u ? MJ_ALIGNMENT : 32u)); /* 2 × 4 floats */
  CHECK(mj_state(&ctx, 0) == NULL);
  mj_deinit(&ctx);
  CHECK(mj_run(&ctx, inputs, outputs) == MJ_ERR_ARGUMENT);
}

static void test_arguments(void) {
  mj_context ctx;
  uint8_t *odd = arena + 4;
  CHECK(mj_init(NULL, &mj_model, weights, 16, arena, 128) == MJ_ERR_ARGUMENT);
  CHECK(mj_init(&ctx, NULL, weights, 16, arena, 128) == MJ_ERR_ARGUMENT);
  CHECK(mj_init(&ctx, &mj_model, NULL, 16, arena, 128) == MJ_ERR_WEIGHTS);
  CHECK(mj_init(&ctx, &mj_model, weights, 15, arena, 128) == MJ_ERR_WEIGHTS);
  CHECK(mj_init(&ctx, &mj_model, odd, 16, arena, 128) == MJ_ERR_WEIGHTS);
  CHECK(mj_init(&ctx, &mj_model, weights, 16, NULL, 128) == MJ_ERR_ARENA);
  CHECK(mj_init(&ctx, &mj_model, weights, 16, arena, 127) == MJ_ERR_ARENA);
  CHECK(mj_init(&ctx, &mj_model, weights, 16, odd, 128) == MJ_ERR_ARENA);
  CHECK(mj_run(&ctx, inputs, outputs) == MJ_ERR_ARGUMENT); /* never initialised */
  const void *const no_input[] = {NULL};
  void *const no_output[] = {NULL};
  ctx = started();
  CHECK(mj_run(&ctx, NULL, outputs) == MJ_ERR_ARGUMENT);
  CHECK(mj_run(&ctx, inputs, NULL) == MJ_ERR_ARGUMENT);
  CHECK(mj_run(&ctx, no_input, outputs) == MJ_ERR_ARGUMENT);
  CHECK(mj_run(&ctx, inputs, no_output) == MJ_ERR_ARGUMENT);
  CHECK(mj_run(NULL, inputs, outputs) == MJ_ERR_ARGUMENT);
  CHECK(mj_reset(NULL) == MJ_ERR_ARGUMENT);
  CHECK(mj_state(NULL, 0) == NULL);
  CHECK(mj_set_threads(&ctx, 0) == MJ_ERR_ARGUMENT);
  CHECK(mj_threads(&ctx) == 1);
}

static void test_descriptors(void) {
  mj_context ctx;
  mj_model_desc model = mj_model;
  model.abi_version = MJ_ABI_VERSION + 1;
  CHECK(mj_init(&ctx, &model, weights, 16, arena, 128) == MJ_ERR_ABI);
  model = mj_model;
  model.workspace_bytes = 128; /* beyond the arena */
  CHECK(mj_init(&ctx, &model, weights, 16, arena, 128) == MJ_ERR_ABI);
  model = mj_model;
  model.state_offset = SIZE_MAX - 63; /* must not wrap around */
  model.state_bytes = 64;
  CHECK(mj_init(&ctx, &model, weights, 16, arena, 128) == MJ_ERR_ABI);
  model = mj_model;
  model.n_inputs = 1000;
  CHECK(mj_init(&ctx, &model, weights, 16, arena, 128) == MJ_ERR_LIMIT);
  model = mj_model;
  model.workspace_bytes = 0; /* now row_sum, kernel 1, has none */
  CHECK(mj_init(&ctx, &model, weights, 16, arena, 128) == MJ_OK);
  CHECK(mj_run(&ctx, inputs, outputs) == MJ_ERR_WORKSPACE);
  CHECK(mj_failed_kernel(&ctx) == 1);
}

typedef struct {
  int calls;
  float tap[8];
} record;

static void hook(void *user, uint32_t index, int phase) {
  record *r = user;
  CHECK(r->calls == (int)index * 2 + phase); /* in order: 0 before, 0 after, 1 before, 1 after */
  r->calls++;
  if (index == 0 && phase == 1) memcpy(r->tap, arena, sizeof r->tap);
}

static void test_hook_sees_kernel_outputs(void) {
  static const float expected[8] = {1, 0, 1.5f, 8, 0, 2, 0, 0};
  mj_context ctx = started();
  record r = {0};
  mj_set_hook(&ctx, hook, &r);
  CHECK(mj_run(&ctx, inputs, outputs) == MJ_OK);
  CHECK(r.calls == 4);
  CHECK(memcmp(r.tap, expected, sizeof expected) == 0);
  mj_set_hook(&ctx, NULL, NULL);
  CHECK(mj_run(&ctx, inputs, outputs) == MJ_OK);
  CHECK(r.calls == 4);
}

static uint64_t fake_clock(void) {
  static uint64_t now;
  return now += 5;
}

static void test_clock(void) {
  mj_context ctx = started();
  uint64_t ticks[2] = {0, 0};
  CHECK(mj_set_clock(&ctx, fake_clock, ticks) == MJ_OK);
  CHECK(mj_run(&ctx, inputs, outputs) == MJ_OK);
  CHECK(mj_run(&ctx, inputs, outputs) == MJ_OK);
  CHECK(ticks[0] == 10 && ticks[1] == 10);
  CHECK(mj_set_clock(&ctx, NULL, NULL) == MJ_OK);
  CHECK(mj_run(&ctx, inputs, outputs) == MJ_OK);
  CHECK(ticks[0] == 10 && ticks[1] == 10);
#ifdef MJ_BARE_METAL
  CHECK(mj_set_clock(&ctx, NULL, ticks) == MJ_ERR_ARGUMENT);
#else
  CHECK(mj_set_clock(&ctx, NULL, ticks) == MJ_OK);
  for (int i = 0; i < 1000; i++) CHECK(mj_run(&ctx, inputs, outputs) == MJ_OK);
  CHECK(ticks[0] > 10 && ticks[1] > 10);
#endif
}

static void test_status_strings(void) {
  for (int status = 0; status >= MJ_ERR_NOT_FINITE; status--) {
    CHECK(strcmp(mj_status_string((mj_status)status), "unknown status") != 0);
  }
  CHECK(strcmp(mj_status_string((mj_status)1), "unknown status") == 0);
  CHECK(mj_context_size() == sizeof(mj_context));
}

int main(void) {
  test_numbers();
  test_arguments();
  test_descriptors();
  test_hook_sees_kernel_outputs();
  test_clock();
  test_status_strings();
  return 0;
}
