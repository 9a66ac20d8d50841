/* Stands in for a board when the same program is built for a computer (-DBOARD=host). */
#include <stdio.h>

void mj_board_puts(const char *text);
void mj_board_puts(const char *text) { fputs(text, stdout); }
