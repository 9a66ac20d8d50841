/* What the runner needs of the system it runs on: linux.c and bare.c implement it. */
#ifndef MJ_PORT_H
#define MJ_PORT_H

#include <stddef.h>
#include <stdint.h>

/* Open the two ends of the wire, the files "in" and "out"; 0, or -1. */
int mj_port_open(void);
/* Read or write just `bytes`; 0, or -1 when the other side is gone. */
int mj_port_read(void *data, size_t bytes);
int mj_port_write(const void *data, size_t bytes);

/* `bytes` of memory, aligned for arena and tensors, never given back; NULL when there is none left. */
void *mj_port_memory(size_t bytes);
/* The model's weights, `bytes` of them; NULL if there are fewer. */
const void *mj_port_weights(size_t bytes);

/* Call `function` on the stack whose use is measured. `paint`: forget how deep the stack went before. */
void mj_port_call(void (*function)(void), int paint);
/* Bytes of stack below the caller of the last painted call's function. */
size_t mj_port_stack_used(void);

#endif
