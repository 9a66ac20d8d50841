/* The whole of the C API in one file: memory, mj_init, mj_run. The model is exclusive or. */
#include "model.h"

void mj_board_puts(const char *text); /* semihosting on a board, standard output on a computer */

static uint8_t arena[MJ_MODEL_ARENA_BYTES]
    __attribute__((section(".bss.mj_arena"), aligned(MJ_ALIGNMENT)));

int main(void) {
  static const float rows[4][2] = {{0, 0}, {0, 1}, {1, 0}, {1, 1}};
  static const char *const names[4] = {"0 xor 0", "0 xor 1", "1 xor 0", "1 xor 1"};
  mj_context model;
  int wrong = 0;
  mj_status status =
      mj_init(&model, &mj_model, mj_weights, MJ_MODEL_WEIGHTS_BYTES, arena, sizeof arena);
  for (int i = 0; i < 4 && status == MJ_OK; i++) {
    float y = -1.0f;
    const void *const inputs[] = {rows[i]};
    void *const outputs[] = {&y};
    status = mj_run(&model, inputs, outputs);
    mj_board_puts(names[i]);
    mj_board_puts(y > 0.5f ? " = 1\n" : " = 0\n");
    wrong |= y != (float)(i == 1 || i == 2);
  }
  if (status != MJ_OK) mj_board_puts(mj_status_string(status));
  mj_deinit(&model);
  return wrong || status != MJ_OK;
}
