/* Where audio comes from. microphone.c plays a recording; replace it by your board's driver. */
#ifndef MICROPHONE_H
#define MICROPHONE_H

#include <stdint.h>

/* The keyword that the recording holds, or "" if that is not known. */
extern const char *const microphone_keyword;

/* Wait for the next `count` samples (16 bits, mono, at MJ_FRONTEND_SAMPLE_RATE) and write them. */
void microphone_read(int16_t *samples, uint32_t count);

#endif
