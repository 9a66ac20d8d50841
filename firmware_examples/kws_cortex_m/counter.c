/* A chip counts its own cycles (DWT->CYCCNT, on every Cortex-M from M3 on). QEMU leaves that register at
 * zero, but `-icount shift=0` lets virtual time go on by one nanosecond per instruction, which the system
 * timer shows: at 25 MHz a tick is 40 instructions. So a count is exact to a tick, the same in every run.
 *
 * Register addresses: Armv7-M Architecture Reference Manual, sections B3.3 and C1.8.
 */
#include "counter.h"

#ifndef MJ_SYSTICK_HZ
#define MJ_SYSTICK_HZ 25000000u /* of the emulated board */
#endif

#define REGISTER(address) (*(volatile uint32_t *)(address))
#define SYST_CSR REGISTER(0xE000E010u)
#define SYST_RVR REGISTER(0xE000E014u)
#define SYST_CVR REGISTER(0xE000E018u)
#define DWT_CTRL REGISTER(0xE0001000u)
#define DWT_CYCCNT REGISTER(0xE0001004u)
#define DWT_LAR REGISTER(0xE0001FB0u)
#define DEMCR REGISTER(0xE000EDFCu)

#define SYSTICK_MASK 0xFFFFFFu

static int has_cycles;
static uint32_t last_tick, ticks;

static int start_cycles(void) {
  DEMCR |= 1u << 24; /* trace on */
  DWT_LAR = 0xC5ACCE55u; /* a Cortex-M7 locks these registers against the program */
  DWT_CYCCNT = 0;
  DWT_CTRL |= 1u;
  return DWT_CYCCNT != DWT_CYCCNT; /* two reads: it runs if they differ */
}

void counter_start(void) {
  has_cycles = start_cycles();
  if (has_cycles) return;
  SYST_RVR = SYSTICK_MASK;
  SYST_CVR = 0;
  SYST_CSR = 5u; /* run on the core's clock, without an interrupt */
  last_tick = SYST_CVR;
}

const char *counter_unit(void) { return has_cycles ? "cycles" : "instructions"; }

uint32_t counter_now(void) {
  if (has_cycles) return DWT_CYCCNT;
  const uint32_t tick = SYST_CVR; /* counts down */
  ticks += (last_tick - tick) & SYSTICK_MASK;
  last_tick = tick;
  return (uint32_t)((uint64_t)ticks * 1000000000u / MJ_SYSTICK_HZ);
}
