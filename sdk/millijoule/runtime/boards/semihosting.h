/* Semihosting: a debugger or an emulator does input and output for the core.
 *
 * Source of the operations: Arm, "Semihosting for AArch32 and AArch64", version 2024Q3 and earlier.
 * Without a debugger the breakpoint instruction is a fault: firmware in the field must not call these.
 */
#ifndef MJ_SEMIHOSTING_H
#define MJ_SEMIHOSTING_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Modes of mj_semi_open, as fopen's "rb", "wb", "ab". */
enum { MJ_SEMI_READ = 1, MJ_SEMI_WRITE = 5, MJ_SEMI_APPEND = 9 };

/* Write a string to the debugger's console. */
void mj_semi_write0(const char *text);
/* Open a file of the host; a handle, or -1. */
int mj_semi_open(const char *path, int mode);
int mj_semi_close(int handle);
/* Read or write up to `bytes`; how many were, or -1. Pipes may give fewer than asked for. */
long mj_semi_read(int handle, void *data, size_t bytes);
long mj_semi_write(int handle, const void *data, size_t bytes);
/* Go to an offset from the file's start; 0, or negative. */
int mj_semi_seek(int handle, size_t offset);
/* Length of a file, or -1. */
long mj_semi_length(int handle);
/* The command line into `text`, zero-terminated; 0, or -1 if it does not fit. */
int mj_semi_command_line(char *text, size_t bytes);
/* End the emulation with an exit code. */
__attribute__((noreturn)) void mj_semi_exit(int code);

#ifdef __cplusplus
}
#endif
#endif
