/* How much work the core did: clock cycles on a chip, instructions in an emulator. */
#ifndef COUNTER_H
#define COUNTER_H

#include <stdint.h>

/* Choose and start the counter. */
void counter_start(void);
/* What it counts: "cycles" or "instructions". */
const char *counter_unit(void);
/* Now. Differences count, modulo 2^32; up to 600 million instructions or 4 billion cycles apart. */
uint32_t counter_now(void);

#endif
