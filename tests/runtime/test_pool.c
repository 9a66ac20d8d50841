/* The workspace stack and the thread pool, called as kernels call them: from inside an entry. */
#include <stdalign.h>
#include <stdint.h>
#include <string.h>
#ifndef MJ_NO_THREADS
#include <time.h>
#endif

#include "check.h"
#include "millijoule.h"
#include "mj_backend.h"

static alignas(MJ_ALIGNMENT) uint8_t arena[4 * MJ_ALIGNMENT];
static void (*body)(void); /* what the entry does */

static mj_status entry(mj_context *ctx, const void *const *inputs, void *const *outputs) {
  (void)ctx, (void)inputs, (void)outputs;
  body();
  return MJ_OK;
}

const mj_model_desc mj_model = {.abi_version = MJ_ABI_VERSION,
                                .name = "pool",
                                .arena_bytes = sizeof arena,
                                .workspace_bytes = sizeof arena,
                                .state_offset = 0,
                                .entry = entry};

static void inside(mj_context *ctx, void (*what)(void)) {
  body = what;
  CHECK(mj_run(ctx, NULL, NULL) == MJ_OK);
}

static mj_context started(void) {
  mj_context ctx;
  CHECK(mj_init(&ctx, &mj_model, NULL, 0, arena, sizeof arena) == MJ_OK);
  return ctx;
}

static void *allocate(uint64_t bytes) { return TVMBackendAllocWorkspace(1, 0, bytes, 2, 32); }

static void workspace_is_a_stack(void) {
  uint8_t *first = allocate(1);
  uint8_t *second = allocate(MJ_ALIGNMENT + 1u);
  CHECK(first == arena && second == arena + MJ_ALIGNMENT);
  CHECK(allocate(UINT64_MAX) == NULL); /* rounding up must not wrap around */
  CHECK(allocate(MJ_ALIGNMENT + 1u) == NULL);
  uint8_t *third = allocate(MJ_ALIGNMENT);
  CHECK(third == arena + 3u * MJ_ALIGNMENT);
  CHECK(allocate(1) == NULL);
  CHECK(TVMBackendFreeWorkspace(1, 0, third) == 0);
  CHECK(TVMBackendFreeWorkspace(1, 0, second) == 0);
  CHECK(TVMBackendFreeWorkspace(1, 0, arena + sizeof arena) == -1);
  CHECK(allocate(3u * MJ_ALIGNMENT) == second);
}

static void test_workspace(void) {
  mj_context ctx = started();
  CHECK(allocate(1) == NULL); /* nothing is running */
  CHECK(TVMBackendFreeWorkspace(1, 0, arena) == -1);
  inside(&ctx, workspace_is_a_stack);
  inside(&ctx, workspace_is_a_stack); /* a run starts with all of it free */
  CHECK(mj_workspace_peak(&ctx) == sizeof arena);
}

enum { MAX_TASKS = 64 };
static int counts[MAX_TASKS];
static int seen_tasks;

static int count_task(int task, TVMParallelGroupEnv *env, void *cdata) {
  CHECK(cdata == counts && task >= 0 && task < env->num_task);
  if (task == 0) seen_tasks = env->num_task;
  counts[task]++;
  return 0;
}

static int launch(FTVMParallelLambda lambda, int tasks) {
  memset(counts, 0, sizeof counts);
  return TVMBackendParallelLaunch(lambda, counts, tasks);
}

static void expect_each_once(int tasks) {
  for (int i = 0; i < MAX_TASKS; i++) CHECK(counts[i] == (i < tasks));
}

static int failing_task(int task, TVMParallelGroupEnv *env, void *cdata) {
  (void)env, (void)cdata;
  return task == 1 ? 7 : 0;
}

static int nested_task(int task, TVMParallelGroupEnv *env, void *cdata) {
  (void)task, (void)env;
  return TVMBackendParallelLaunch(count_task, cdata, 0);
}

static void any_number_of_tasks(void) {
  static const int tasks[] = {1, 2, 3, 5, MAX_TASKS};
  for (size_t i = 0; i < sizeof tasks / sizeof *tasks; i++) {
    CHECK(launch(count_task, tasks[i]) == 0);
    expect_each_once(tasks[i]);
  }
  CHECK(launch(failing_task, 3) == 7);
  CHECK(launch(count_task, 2) == 0); /* a failure does not stick */
  CHECK(launch(nested_task, 1) == 0); /* runs in turn, does not wait for itself */
  expect_each_once(1);
}

static int barrier_result;

static int barrier_task(int task, TVMParallelGroupEnv *env, void *cdata) {
  (void)cdata;
  const int result = TVMBackendParallelBarrier(task, env);
  if (task == 0) barrier_result = result;
  return result;
}

static void unmeetable_barrier_fails(void) {
  CHECK(launch(barrier_task, 1) == 0);
  CHECK(launch(barrier_task, MAX_TASKS) != 0 && barrier_result != 0);
}

static void test_without_threads(void) {
  mj_context ctx = started();
  inside(&ctx, any_number_of_tasks);
  inside(&ctx, unmeetable_barrier_fails);
  CHECK(launch(count_task, 0) == 0 && seen_tasks == 1); /* outside a run, too */
}

#ifdef MJ_NO_THREADS

static void test_threads(void) {
  mj_context ctx = started();
  CHECK(mj_set_threads(&ctx, 1) == MJ_OK);
  CHECK(mj_set_threads(&ctx, 2) == MJ_ERR_THREADS && mj_threads(&ctx) == 1);
}

#else

static int expected_threads;

static void one_task_for_each_thread(void) {
  CHECK(launch(count_task, 0) == 0);
  CHECK(seen_tasks == expected_threads);
  expect_each_once(expected_threads);
}

static int no_workspace_task(int task, TVMParallelGroupEnv *env, void *cdata) {
  (void)env, (void)cdata;
  return (allocate(8) != NULL) != (task == 0); /* the caller's thread alone has a workspace */
}

static void workspace_is_the_callers(void) { CHECK(launch(no_workspace_task, 0) == 0); }

/* Each task writes its slot, all meet, each reads every slot: a broken barrier shows (and so does a
 * data race, under the thread sanitizer). */
static int meeting_task(int task, TVMParallelGroupEnv *env, void *cdata) {
  int *slots = cdata;
  for (int round = 1; round <= 50; round++) {
    slots[task] = round;
    if (TVMBackendParallelBarrier(task, env) != 0) return -1;
    for (int i = 0; i < env->num_task; i++) {
      if (slots[i] != round) return -2;
    }
    if (TVMBackendParallelBarrier(task, env) != 0) return -1;
  }
  return 0;
}

static int deserting_task(int task, TVMParallelGroupEnv *env, void *cdata) {
  (void)cdata;
  return task == env->num_task - 1 ? 9 : (TVMBackendParallelBarrier(task, env), 0);
}

static void tasks_meet_at_barriers(void) {
  CHECK(launch(meeting_task, 0) == 0);
  CHECK(launch(deserting_task, 0) == 9); /* others are let go, not left waiting */
  CHECK(launch(meeting_task, 0) == 0);
}

static void sleep_a_little(void) {
  const struct timespec pause = {0, 3000000};
  nanosleep(&pause, NULL);
}

static int slow_task(int task, TVMParallelGroupEnv *env, void *cdata) {
  (void)cdata;
  if (task == env->num_task - 1) sleep_a_little(); /* the caller must fall asleep waiting */
  return 0;
}

static void sleepers_wake(void) {
  for (int i = 0; i < 10; i++) {
    sleep_a_little(); /* the workers must fall asleep */
    CHECK(launch(slow_task, 0) == 0);
    one_task_for_each_thread();
  }
}

static void test_threads(void) {
  static const int sizes[] = {2, 4, 3, 1, 2};
  mj_context ctx = started();
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    expected_threads = sizes[i];
    CHECK(mj_set_threads(&ctx, sizes[i]) == MJ_OK && mj_threads(&ctx) == sizes[i]);
    for (int repeat = 0; repeat < 300; repeat++) inside(&ctx, one_task_for_each_thread);
    inside(&ctx, any_number_of_tasks);
    inside(&ctx, unmeetable_barrier_fails);
    if (sizes[i] == 1) continue;
    inside(&ctx, workspace_is_the_callers);
    inside(&ctx, tasks_meet_at_barriers);
    inside(&ctx, sleepers_wake);
  }
  CHECK(mj_set_threads(&ctx, 1 << 20) == MJ_ERR_THREADS);
  CHECK(mj_threads(&ctx) == 2); /* a failure keeps the pool there was */
  mj_deinit(&ctx);
  CHECK(mj_threads(&ctx) == 1);
}

#endif

int main(void) {
  test_workspace();
  test_without_threads();
  test_threads();
  return 0;
}
