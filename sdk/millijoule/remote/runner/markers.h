/* Marker instructions, which the counting plugin of the emulator knows.
 *
 * They are hints that the architecture leaves unallocated, so they do nothing on any core, and no compiler
 * emits them. Sources: Arm ARM for A-profile, C6.2 "HINT" (#0x60 and up); Armv7-M and Armv8-M ARM, "NOP
 * compatible hints" (hint numbers 0x60 to 0x6f).
 */
#ifndef MJ_MARKERS_H
#define MJ_MARKERS_H

#if defined(__aarch64__)
#define MJ_MARK_BEGIN "hint #0x60"
#define MJ_MARK_TICK "hint #0x61"
#define MJ_MARK_END "hint #0x62"
#define MJ_RETURN "ret"
#define MJ_CODE_MODE ""
#elif defined(__thumb__)
#define MJ_MARK_BEGIN ".inst.w 0xf3af8060"
#define MJ_MARK_TICK ".inst.w 0xf3af8061"
#define MJ_MARK_END ".inst.w 0xf3af8062"
#define MJ_RETURN "bx lr"
#define MJ_CODE_MODE ".thumb_func\n"
#elif defined(__arm__)
#define MJ_MARK_BEGIN ".inst 0xe320f060"
#define MJ_MARK_TICK ".inst 0xe320f061"
#define MJ_MARK_END ".inst 0xe320f062"
#define MJ_RETURN "bx lr"
#define MJ_CODE_MODE ""
#else
#error "no marker instructions for this architecture"
#endif

#define MJ_MARK(text) __asm__ volatile(text ::: "memory")

#endif
