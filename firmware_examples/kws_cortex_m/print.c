#include "print.h"

#include "mj_board.h"

void print(const char *text) { mj_board_puts(text); }

void print_number(uint32_t value) {
  char text[14]; /* ten digits, three commas, the end */
  char *at = text + sizeof text - 1;
  *at = '\0';
  for (int digits = 1; value > 0 || digits == 1; digits++, value /= 10u) {
    *--at = (char)('0' + value % 10u);
    if (digits % 3 == 0 && value >= 10u) *--at = ',';
  }
  print(at);
}

void print_share(float share) {
  const uint32_t thousandths = (uint32_t)(share * 1000.0f + 0.5f);
  const char last[] = {'.', (char)('0' + thousandths % 10u), ' ', '%', '\0'};
  print_number(thousandths / 10u);
  print(last);
}
