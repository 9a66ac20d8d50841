/* What a bare-metal image gets from its board: text out, an exit code, and how deep the stack went.
 *
 * startup.c implements the stack part for every Cortex-M. semihosting.c implements the text and the exit
 * through a debugger or an emulator; a product replaces that one file by its UART.
 */
#ifndef MJ_BOARD_H
#define MJ_BOARD_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Write a string. */
void mj_board_puts(const char *text);
/* End the program; never returns. 0 is success. */
__attribute__((noreturn)) void mj_board_exit(int code);

/* Bytes of stack in use at the deepest point since reset or since mj_board_stack_paint. */
size_t mj_board_stack_peak(void);
/* Bytes of stack there are. */
size_t mj_board_stack_size(void);
/* Forget the deepest point so far. */
void mj_board_stack_paint(void);

#ifdef __cplusplus
}
#endif
#endif
