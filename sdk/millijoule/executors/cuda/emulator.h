/* A GPU on a processor: blocks one after another, threads of a block as fibers.
 *
 * A thread runs until it waits: at a barrier, or where a warp exchanges values. Blocks, and threads between
 * two barriers, come in an order that is drawn anew every time, and shared memory starts as NaN: a thread
 * that reads what another one has yet to write gets something else than on the next run. A barrier that
 * not all threads of a block reach is an error.
 */
#ifndef MJ_EMULATOR_H
#define MJ_EMULATOR_H

#include <stddef.h>
#include <stdint.h>

struct mj_size { unsigned x, y, z; };

/* Of the thread that runs. */
extern mj_size mj_thread_index, mj_block_index, mj_block_size, mj_grid_size;
extern char *mj_dynamic_shared;

enum mj_place { MJ_BLOCK = 1, MJ_WARP = 2 };

/* Go on when every thread of the block, or of the warp, has come here. */
void mj_wait(mj_place where);
/* Number of this thread in its warp, and which ones are alive. */
int mj_lane();
unsigned mj_active();
/* Show `bits` to the warp and see what `lane` shows. */
uint64_t mj_lanes(uint64_t bits, int lane);

/* Show up to MJ_SHOWN words to the warp; then look at any lane's. */
enum { MJ_SHOWN = 8 };
void mj_show(const uint32_t *words, unsigned count);
uint32_t mj_look(int lane, unsigned index);

struct mj_kernel {
  const char *name;
  void (*call)(void **arguments);
  unsigned arguments;
  char *shared, *shared_end; /* static shared memory */
};
extern const mj_kernel mj_kernels[];
extern const unsigned mj_kernel_count;

/* Run a grid. NULL, or what went wrong. */
const char *mj_grid(const mj_kernel &kernel, mj_size grid, mj_size block, unsigned shared, void **arguments);
/* Start the sequence of drawn orders anew. */
void mj_seed(uint64_t seed);

#endif
