/* Fibers and the order that they run in; see emulator.h. */
#include "emulator.h"

#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

mj_size mj_thread_index, mj_block_index, mj_block_size, mj_grid_size;
char *mj_dynamic_shared;

static const size_t STACK = 256u << 10;
static const unsigned WARP = 32, MOST = 1024;

enum state { FREE, DONE, AT_BLOCK = MJ_BLOCK + 2, AT_WARP = MJ_WARP + 2 };

struct fiber {
  jmp_buf here;
  void *stack;
  int started;
};

struct thread {
  fiber *on;
  state now;
  unsigned exchanges; /* with its warp, so far */
};

static fiber fibers[MOST];
static fiber *spare[MOST];
static unsigned spares, made;
static thread threads[MOST];
static unsigned count, running;
static uint64_t shown[2][MOST];
static uint32_t boards[2][MOST][MJ_SHOWN];
static jmp_buf scheduler;
static ucontext_t starter;
static const mj_kernel *kernel;
static void **arguments;
static uint64_t random_state = 1;

void mj_seed(uint64_t seed) { random_state = seed * 2654435769u + 1u; }

static unsigned draw(unsigned below) { /* xorshift64*; below is small, its bias does not matter */
  random_state ^= random_state >> 12;
  random_state ^= random_state << 25;
  random_state ^= random_state >> 27;
  return (unsigned)((random_state * 2685821657736338717u >> 33) % below);
}

static void shuffle(unsigned *order, unsigned n) {
  for (unsigned i = n; i > 1; i--) {
    const unsigned j = draw(i), last = order[i - 1];
    order[i - 1] = order[j];
    order[j] = last;
  }
}

static void body() { /* one thread after another, for good */
  for (;;) {
    fiber *self = threads[running].on;
    kernel->call(arguments);
    threads[running].now = DONE;
    if (_setjmp(self->here) == 0) _longjmp(scheduler, 1);
  }
}

static int prepare(fiber *f) {
  f->stack = mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return f->stack != MAP_FAILED;
}

/* Run thread `index` until it waits or is done. */
static void resume(unsigned index) {
  running = index;
  mj_thread_index.x = index % mj_block_size.x;
  mj_thread_index.y = index / mj_block_size.x % mj_block_size.y;
  mj_thread_index.z = index / (mj_block_size.x * mj_block_size.y);
  fiber *f = threads[index].on;
  if (_setjmp(scheduler) == 0) {
    if (f->started) _longjmp(f->here, 1);
    f->started = 1;
    getcontext(&starter);
    starter.uc_stack.ss_sp = f->stack;
    starter.uc_stack.ss_size = STACK;
    starter.uc_link = NULL;
    makecontext(&starter, body, 0);
    setcontext(&starter);
  }
  thread &t = threads[running];
  if (t.now == DONE) spare[spares++] = t.on;
}

void mj_wait(mj_place where) {
  thread &t = threads[running];
  t.now = where == MJ_BLOCK ? AT_BLOCK : AT_WARP;
  if (_setjmp(t.on->here) == 0) _longjmp(scheduler, 1);
}

int mj_lane() { return (int)(running % WARP); }

unsigned mj_active() {
  const unsigned first = running / WARP * WARP;
  unsigned alive = 0;
  for (unsigned lane = 0; lane < WARP && first + lane < count; lane++) {
    if (threads[first + lane].now != DONE) alive |= 1u << lane;
  }
  return alive;
}

uint64_t mj_lanes(uint64_t bits, int lane) {
  const unsigned first = running / WARP * WARP;
  uint64_t *board = shown[threads[running].exchanges++ % 2u]; /* nobody is two exchanges ahead */
  board[running] = bits;
  mj_wait(MJ_WARP);
  return first + (unsigned)lane < count ? board[first + (unsigned)lane] : bits;
}

void mj_show(const uint32_t *words, unsigned count_of_words) {
  const unsigned side = threads[running].exchanges++ % 2u;
  memcpy(boards[side][running], words, count_of_words * sizeof *words);
  mj_wait(MJ_WARP);
}

uint32_t mj_look(int lane, unsigned index) {
  return boards[(threads[running].exchanges + 1u) % 2u][running / WARP * WARP + (unsigned)lane][index];
}

/* Of `first` … `end`: whether all that are not done wait at `where`, and how many are done. */
static int together(unsigned first, unsigned end, state where, unsigned *done) {
  int waiting = 0;
  *done = 0;
  for (unsigned i = first; i < end; i++) {
    if (threads[i].now == DONE) ++*done;
    else if (threads[i].now == where) waiting++;
    else return 0;
  }
  return waiting > 0;
}

/* Collect in `next` the threads that may go on. Their number, or 0 with `wrong` set if none can. */
static unsigned released(unsigned *next, const char **wrong) {
  unsigned n = 0, done = 0, alive = 0;
  for (unsigned first = 0; first < count; first += WARP) {
    const unsigned end = first + WARP < count ? first + WARP : count;
    if (together(first, end, AT_WARP, &done)) {
      for (unsigned i = first; i < end; i++) {
        if (threads[i].now != DONE) next[n++] = i;
      }
    }
  }
  if (n > 0) return n;
  if (together(0, count, AT_BLOCK, &done)) {
    if (done > 0) {
      *wrong = "a barrier was not reached by threads of the block that had finished";
      return 0;
    }
    for (unsigned i = 0; i < count; i++) next[n++] = i;
    return n;
  }
  for (unsigned i = 0; i < count; i++) alive += threads[i].now != DONE;
  if (alive > 0) *wrong = "threads of a block wait at different barriers";
  return 0;
}

static const char *run_block() {
  static unsigned order[MOST];
  const char *wrong = NULL;
  for (unsigned i = 0; i < count; i++) order[i] = i;
  shuffle(order, count);
  for (unsigned i = 0; i < count; i++) {
    if (spares == 0) {
      if (!prepare(&fibers[made])) return "no memory for stacks";
      spare[spares++] = &fibers[made++];
    }
    threads[order[i]] = thread{spare[--spares], FREE, 0};
    resume(order[i]);
  }
  for (unsigned n; (n = released(order, &wrong)) > 0;) {
    shuffle(order, n);
    for (unsigned i = 0; i < n; i++) resume(order[i]);
  }
  if (wrong != NULL) { /* the fibers that still wait are given up */
    for (unsigned i = 0; i < made; i++) fibers[i].started = 0;
    for (spares = 0; spares < made; spares++) spare[spares] = &fibers[spares];
  }
  return wrong;
}

const char *mj_grid(const mj_kernel &which, mj_size grid, mj_size block, unsigned shared, void **given) {
  const size_t blocks = (size_t)grid.x * grid.y * grid.z;
  count = block.x * block.y * block.z;
  if (count < 1 || count > MOST || blocks < 1) return "a block must have 1 to 1024 threads";
  kernel = &which;
  arguments = given;
  mj_grid_size = grid;
  mj_block_size = block;
  unsigned *order = (unsigned *)malloc(blocks * sizeof *order);
  char *dynamic = shared > 0 ? (char *)aligned_alloc(1024, (shared + 1023u) & ~1023u) : NULL;
  const char *wrong = order == NULL || (shared > 0 && dynamic == NULL) ? "no memory" : NULL;
  for (size_t i = 0; wrong == NULL && i < blocks; i++) order[i] = (unsigned)i;
  if (wrong == NULL) shuffle(order, (unsigned)blocks);
  for (size_t i = 0; wrong == NULL && i < blocks; i++) {
    mj_block_index.x = order[i] % grid.x;
    mj_block_index.y = order[i] / grid.x % grid.y;
    mj_block_index.z = order[i] / (grid.x * grid.y);
    if (which.shared != NULL) memset(which.shared, 0xff, (size_t)(which.shared_end - which.shared));
    if (dynamic != NULL) memset(dynamic, 0xff, shared);
    mj_dynamic_shared = dynamic;
    wrong = run_block();
  }
  free(dynamic);
  free(order);
  return wrong;
}
