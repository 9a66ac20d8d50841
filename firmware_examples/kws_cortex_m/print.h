/* Text and whole numbers, without printf and its kilobytes. */
#ifndef PRINT_H
#define PRINT_H

#include <stdint.h>

void print(const char *text);
/* 1234567 as "1,234,567". */
void print_number(uint32_t value);
/* A share from 0 to 1 as "97.3 %". */
void print_share(float share);

#endif
