/* Start-up code of any Cortex-M from M3 to M55, for the linker scripts beside it.
 *
 * The vector table holds the 16 system entries; a product with interrupts uses its vendor's table, calls
 * nothing here, and paints its stack between __stack_limit and __stack_top if it wants the peak.
 * Register addresses: Armv7-M and Armv8-M Architecture Reference Manuals, "System Control Space".
 */
#include <stdint.h>

#include "mj_board.h"

extern uint32_t __stack_limit[], __stack_top[];
extern uint32_t __data_load[], __data_start[], __data_end[], __bss_start[], __bss_end[];

int main(void);
void Reset_Handler(void);

#define PAINT 0x6d6a6d6au /* unlikely as data, odd as an address */
#define CCR (*(volatile uint32_t *)0xE000ED14u)   /* Configuration and Control Register */
#define CFSR (*(volatile uint32_t *)0xE000ED28u)  /* Configurable Fault Status Register */
#define CPACR (*(volatile uint32_t *)0xE000ED88u) /* Coprocessor Access Control Register */

/* Hook for clocks, caches and external memory, called before .data and .bss are set up. */
__attribute__((weak)) void SystemInit(void) {}
/* Unwind tables are discarded, but compilers name their handlers all the same. */
__attribute__((weak)) void __aeabi_unwind_cpp_pr0(void) {}
__attribute__((weak)) void __aeabi_unwind_cpp_pr1(void) {}

void mj_board_stack_paint(void) {
  volatile uint32_t *word = __stack_limit;
  /* The frame of this function lies below its own frame address by some words: leave a margin. */
  const uintptr_t end = (uintptr_t)__builtin_frame_address(0) - 64u;
  while ((uintptr_t)word < end) *word++ = PAINT;
}

size_t mj_board_stack_peak(void) {
  const volatile uint32_t *word = __stack_limit;
  while (word < __stack_top && *word == PAINT) word++;
  return (size_t)((uintptr_t)__stack_top - (uintptr_t)word);
}

size_t mj_board_stack_size(void) { return (size_t)((uintptr_t)__stack_top - (uintptr_t)__stack_limit); }

static void enable_extensions(void) {
#if defined(__ARM_FP) || defined(__ARM_FEATURE_MVE)
  CPACR |= 0xFu << 20; /* CP10 and CP11: floating point and, where there is one, the vector unit */
#endif
#if defined(__ARM_FEATURE_MVE)
  CCR |= 1u << 19; /* low-overhead loops keep their loop count in a cache */
#endif
  __asm__ volatile("dsb\n\tisb" ::: "memory");
}

void Reset_Handler(void) {
  enable_extensions();
  SystemInit();
  const uint32_t *from = __data_load;
  for (uint32_t *to = __data_start; to < __data_end;) *to++ = *from++;
  for (uint32_t *to = __bss_start; to < __bss_end;) *to++ = 0;
  mj_board_stack_paint();
  mj_board_exit(main());
}

static void put_hex(const char *name, uint32_t value) {
  char text[11] = "0x00000000";
  for (int digit = 9; digit > 1; digit--, value >>= 4) text[digit] = "0123456789abcdef"[value & 15u];
  mj_board_puts(name);
  mj_board_puts(text);
}

/* `frame`: r0-r3, r12, lr, pc, xPSR as the core pushed them. A stack overflow leaves none to read. */
__attribute__((used)) static void fault(const uint32_t *frame) {
  const uintptr_t at = (uintptr_t)frame;
  put_hex("fault: status ", CFSR);
  if (at >= (uintptr_t)__stack_limit && at + 32u <= (uintptr_t)__stack_top) {
    put_hex(", pc ", frame[6]);
    put_hex(", lr ", frame[5]);
  } else {
    mj_board_puts(", the stack has overflowed: link with a larger MJ_STACK_BYTES");
  }
  mj_board_puts("\n");
  mj_board_exit(99);
}

/* Hand the stack pointer to `fault`, on a stack that surely exists. */
__attribute__((naked)) static void Fault_Handler(void) {
  __asm__ volatile(
      "mrs r0, msp\n\t"
      "ldr r1, =__stack_top\n\t"
      "mov sp, r1\n\t"
      "ldr r1, =%c0\n\t"
      "bx r1\n\t"
      ".ltorg\n\t" ::"i"(fault));
}

typedef void (*handler)(void);
__attribute__((section(".vectors"), used)) static const handler vectors[16] = {
    (handler)(uintptr_t)__stack_top,
    Reset_Handler,
    Fault_Handler, /* non-maskable interrupt */
    Fault_Handler, /* hard fault */
    Fault_Handler, /* memory management */
    Fault_Handler, /* bus fault */
    Fault_Handler, /* usage fault */
    Fault_Handler, /* secure fault (Armv8-M) */
    0,
    0,
    0,
    Fault_Handler, /* supervisor call */
    Fault_Handler, /* debug monitor */
    0,
    Fault_Handler, /* pendable request */
    Fault_Handler, /* system tick: the timer is read, never waited for */
};
