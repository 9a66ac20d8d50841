/* QEMU plugin: counts the instructions that a program retires between markers.
 *
 * The runner executes BEGIN before a model's run, TICK before and after every kernel, END after the run
 * (sdk/millijoule/remote/runner/markers.h). Counters lie in a file that the host maps, as 64-bit numbers:
 *
 *   0 version of this layout   1 runs   2 instructions from BEGIN to END, neither marker included
 *   3 ticks that had no place  4…  instructions between the two ticks of kernel i, the second included
 *
 * All are sums since the program started. The declarations below follow the documentation of QEMU's plugin
 * interface (docs/devel/tcg-plugins, versions 1 to 4); MJ_PLUGIN_API says which one to speak: 1 for QEMU
 * up to 8.x, 2 for 9.0, 3 from 9.1.
 */
#define _GNU_SOURCE /* ftruncate */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef MJ_PLUGIN_API
#define MJ_PLUGIN_API 1
#endif
#define EXPORT __attribute__((visibility("default")))

typedef uint64_t qemu_plugin_id_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
typedef void (*translated)(qemu_plugin_id_t, struct qemu_plugin_tb *);
typedef void (*executed)(unsigned vcpu, void *user);
enum { ADD_U64 = 0, NO_REGISTERS = 0 };

void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t, translated);
void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *, executed, int flags, void *);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);
size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *);

EXPORT int qemu_plugin_version = MJ_PLUGIN_API;
EXPORT int qemu_plugin_install(qemu_plugin_id_t, const void *, int, char **);

/* The counter of all instructions: plain memory at first, one slot per virtual CPU from version 2 on. */
#if MJ_PLUGIN_API == 1
void qemu_plugin_register_vcpu_insn_exec_inline(struct qemu_plugin_insn *, int op, void *, uint64_t);
static uint64_t counter;
static void counter_make(void) {}
static void counter_add(struct qemu_plugin_insn *insn) {
  qemu_plugin_register_vcpu_insn_exec_inline(insn, ADD_U64, &counter, 1);
}
static uint64_t counter_now(void) { return counter; }
#else
struct qemu_plugin_scoreboard;
typedef struct {
  struct qemu_plugin_scoreboard *score;
  size_t offset;
} qemu_plugin_u64;
struct qemu_plugin_scoreboard *qemu_plugin_scoreboard_new(size_t);
void qemu_plugin_register_vcpu_insn_exec_inline_per_vcpu(struct qemu_plugin_insn *, int op,
                                                         qemu_plugin_u64, uint64_t);
uint64_t qemu_plugin_u64_sum(qemu_plugin_u64);
static qemu_plugin_u64 counter;
static void counter_make(void) { counter.score = qemu_plugin_scoreboard_new(sizeof(uint64_t)); }
static void counter_add(struct qemu_plugin_insn *insn) {
  qemu_plugin_register_vcpu_insn_exec_inline_per_vcpu(insn, ADD_U64, counter, 1);
}
static uint64_t counter_now(void) { return qemu_plugin_u64_sum(counter); }
#endif

#if MJ_PLUGIN_API < 3
const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *);
static void opcode(const struct qemu_plugin_insn *insn, void *bytes) {
  memcpy(bytes, qemu_plugin_insn_data(insn), 4);
}
#else
size_t qemu_plugin_insn_data(const struct qemu_plugin_insn *, void *, size_t);
static void opcode(const struct qemu_plugin_insn *insn, void *bytes) {
  (void)qemu_plugin_insn_data(insn, bytes, 4);
}
#endif

enum { VERSION = 0, RUNS = 1, TOTAL = 2, LOST = 3, KERNELS = 4, LAYOUT = 1 };
enum { BEGIN = 0, TICK = 1, END = 2, MARKS = 3 };

static uint64_t *shared; /* KERNELS + kernels numbers */
static uint64_t kernels;
static uint32_t marks[MARKS];
static uint64_t begun, ticked, ticks;

/* A marker is counted before its callback runs, hence the one at END. */
static void on_begin(unsigned vcpu, void *user) {
  (void)vcpu, (void)user;
  ticks = 0;
  begun = counter_now();
}

static void on_tick(unsigned vcpu, void *user) {
  (void)vcpu, (void)user;
  const uint64_t now = counter_now();
  if (ticks / 2 >= kernels) shared[LOST]++;
  else if (ticks % 2) shared[KERNELS + ticks / 2] += now - ticked;
  ticks++;
  ticked = now;
}

static void on_end(unsigned vcpu, void *user) {
  (void)vcpu, (void)user;
  shared[TOTAL] += counter_now() - begun - 1;
  shared[RUNS]++;
}

static const executed on_mark[MARKS] = {on_begin, on_tick, on_end};

static void on_translation(qemu_plugin_id_t id, struct qemu_plugin_tb *block) {
  (void)id;
  const size_t count = qemu_plugin_tb_n_insns(block);
  for (size_t i = 0; i < count; i++) {
    struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(block, i);
    counter_add(insn);
    if (qemu_plugin_insn_size(insn) != 4) continue;
    uint32_t code;
    opcode(insn, &code);
    for (int mark = 0; mark < MARKS; mark++) {
      if (code != marks[mark]) continue;
      qemu_plugin_register_vcpu_insn_exec_cb(insn, on_mark[mark], NO_REGISTERS, NULL);
    }
  }
}

static int map_counters(const char *path) {
  const size_t bytes = (KERNELS + kernels) * sizeof *shared;
  const int file = open(path, O_RDWR);
  if (file < 0 || ftruncate(file, (off_t)bytes) != 0) return -1;
  void *data = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  (void)close(file);
  if (data == MAP_FAILED) return -1;
  shared = data;
  shared[VERSION] = LAYOUT;
  return 0;
}

/* Arguments: counts=FILE kernels=N begin=HEX tick=HEX end=HEX; opcodes as little-endian words. */
EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const void *info, int argc, char **argv) {
  (void)info;
  static const char *const names[MARKS] = {"begin=", "tick=", "end="};
  const char *path = NULL;
  for (int i = 0; i < argc; i++) {
    if (strncmp(argv[i], "counts=", 7) == 0) path = argv[i] + 7;
    if (strncmp(argv[i], "kernels=", 8) == 0) kernels = strtoull(argv[i] + 8, NULL, 10);
    for (int mark = 0; mark < MARKS; mark++) {
      const size_t length = strlen(names[mark]);
      if (strncmp(argv[i], names[mark], length) == 0) {
        marks[mark] = (uint32_t)strtoul(argv[i] + length, NULL, 16);
      }
    }
  }
  if (path == NULL || map_counters(path) != 0) {
    fprintf(stderr, "mj_count: cannot map the file of counters\n");
    return -1;
  }
  counter_make();
  qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation);
  return 0;
}
