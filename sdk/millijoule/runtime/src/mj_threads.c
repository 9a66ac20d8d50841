/* The thread pool behind TVMBackendParallelLaunch.
 *
 * Threads are made once, by mj_set_threads. A launch writes the job, bumps `launched` and runs task 0
 * itself; each pool thread takes the task of its own number. Waiting is a short spin (kernels follow
 * each other within microseconds) and then sleep (an idle model must not burn energy).
 *
 *   caller  ──job──launched+1──task 0──────────wait pending = 0──▶
 *   thread 1 ···spin/sleep······──task 1──pending-1──spin/sleep···▶
 */
#include "mj_backend.h"
#include "mj_internal.h"

/* One task after the other on the calling thread. A barrier has nothing to wait for in a single task and
 * can never be met by several, so `sync_handle` NULL makes it fail for those. */
static int run_in_turn(FTVMParallelLambda lambda, void *cdata, int num_task) {
  TVMParallelGroupEnv env = {NULL, num_task};
  for (int task = 0; task < num_task; task++) {
    const int result = lambda(task, &env, cdata);
    if (result != 0) return result;
  }
  return 0;
}

#ifdef MJ_NO_THREADS

int TVMBackendParallelLaunch(FTVMParallelLambda lambda, void *cdata, int num_task) {
  return run_in_turn(lambda, cdata, num_task > 0 ? num_task : 1);
}

int TVMBackendParallelBarrier(int task_id, TVMParallelGroupEnv *env) {
  (void)task_id;
  return env->num_task == 1 ? 0 : -1;
}

mj_status mj_pool_resize(mj_context *ctx, int threads) {
  (void)ctx;
  return threads == 1 ? MJ_OK : MJ_ERR_THREADS;
}

int mj_pool_threads(const mj_context *ctx) {
  (void)ctx;
  return 1;
}

#else

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

/* Turns before sleeping, some 25 ns each. A worker spins through kernels that run on the caller's thread
 * alone, because waking it takes longer than most of them; a caller has as much work as its workers. */
#ifndef MJ_SPIN
#define MJ_SPIN 10000 /* a worker: 0.25 ms */
#endif
#ifndef MJ_SPIN_CALLER
#define MJ_SPIN_CALLER 2000
#endif
#define MJ_MAX_THREADS 1024

typedef struct mj_pool mj_pool;

typedef struct {
  mj_pool *pool;
  int id; /* 1..threads-1; the caller is 0 */
  pthread_t handle;
} worker;

struct mj_pool {
  int threads;
  int busy; /* a launch is under way; touched by the caller's thread only */
  /* The job: written by the caller before `launched`, read by workers after it. */
  FTVMParallelLambda lambda;
  void *cdata;
  TVMParallelGroupEnv env;
  atomic_uint launched; /* counts launches */
  atomic_int pending;   /* workers that have not finished the launch */
  atomic_int result;    /* first non-zero task result */
  atomic_int stop;
  atomic_int arrived; /* at the barrier */
  atomic_uint passed; /* barriers passed */
  /* Sleeping: a sleeper counts itself in before its last look at what it waits for, and a waker changes
   * that before it reads the count, so one of the two always notices the other. */
  pthread_mutex_t mutex;
  pthread_cond_t work, done;
  atomic_int sleepers, caller_sleeps;
  worker workers[];
};

static void pause_briefly(void) {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__) || (defined(__arm__) && __ARM_ARCH >= 7)
  __asm__ volatile("isb"); /* `yield` does nothing on most cores; this takes about as long as on x86 */
#else
  atomic_signal_fence(memory_order_seq_cst);
#endif
}

static void wake(mj_pool *pool, atomic_int *sleepers, pthread_cond_t *condition) {
  if (atomic_load(sleepers) == 0) return;
  pthread_mutex_lock(&pool->mutex);
  pthread_cond_broadcast(condition);
  pthread_mutex_unlock(&pool->mutex);
}

static int has_work(mj_pool *pool, unsigned seen) {
  return atomic_load(&pool->launched) != seen || atomic_load(&pool->stop);
}

static void wait_for_work(mj_pool *pool, unsigned seen) {
  for (int turn = 0; turn < MJ_SPIN; turn++) {
    if (has_work(pool, seen)) return;
    pause_briefly();
  }
  pthread_mutex_lock(&pool->mutex);
  atomic_fetch_add(&pool->sleepers, 1);
  while (!has_work(pool, seen)) pthread_cond_wait(&pool->work, &pool->mutex);
  atomic_fetch_sub(&pool->sleepers, 1);
  pthread_mutex_unlock(&pool->mutex);
}

static void wait_until_done(mj_pool *pool) {
  for (int turn = 0; turn < MJ_SPIN_CALLER; turn++) {
    if (atomic_load(&pool->pending) == 0) return;
    pause_briefly();
  }
  pthread_mutex_lock(&pool->mutex);
  atomic_store(&pool->caller_sleeps, 1);
  while (atomic_load(&pool->pending) != 0) pthread_cond_wait(&pool->done, &pool->mutex);
  atomic_store(&pool->caller_sleeps, 0);
  pthread_mutex_unlock(&pool->mutex);
}

/* The tasks of thread `id`: its own number and, when tasks outnumber threads, every threads-th after. */
static void run_tasks(mj_pool *pool, int id) {
  for (int task = id; task < pool->env.num_task; task += pool->threads) {
    const int result = pool->lambda(task, &pool->env, pool->cdata);
    int none = 0;
    if (result != 0) atomic_compare_exchange_strong(&pool->result, &none, result);
  }
}

static void *worker_main(void *argument) {
  const worker *self = argument;
  mj_pool *pool = self->pool;
  for (unsigned seen = 0;; seen++) {
    wait_for_work(pool, seen);
    if (atomic_load(&pool->stop)) return NULL;
    run_tasks(pool, self->id);
    if (atomic_fetch_sub(&pool->pending, 1) == 1) wake(pool, &pool->caller_sleeps, &pool->done);
  }
}

static int launch(mj_pool *pool, FTVMParallelLambda lambda, void *cdata, int num_task) {
  pool->busy = 1;
  pool->lambda = lambda;
  pool->cdata = cdata;
  pool->env = (TVMParallelGroupEnv){num_task <= pool->threads ? pool : NULL, num_task};
  atomic_store(&pool->result, 0);
  atomic_store(&pool->arrived, 0);
  atomic_store(&pool->pending, pool->threads - 1);
  atomic_fetch_add(&pool->launched, 1);
  wake(pool, &pool->sleepers, &pool->work);
  run_tasks(pool, 0);
  wait_until_done(pool);
  pool->busy = 0;
  return atomic_load(&pool->result);
}

int TVMBackendParallelLaunch(FTVMParallelLambda lambda, void *cdata, int num_task) {
  mj_pool *pool = mj_current != NULL ? mj_current->pool : NULL;
  /* A launch inside a task has no threads left to use. */
  if (pool == NULL || pool->busy) return run_in_turn(lambda, cdata, num_task > 0 ? num_task : 1);
  return launch(pool, lambda, cdata, num_task > 0 ? num_task : pool->threads);
}

int TVMBackendParallelBarrier(int task_id, TVMParallelGroupEnv *env) {
  (void)task_id;
  if (env->num_task == 1) return 0;
  mj_pool *pool = env->sync_handle;
  if (pool == NULL) return -1;
  const unsigned round = atomic_load(&pool->passed);
  if (atomic_fetch_add(&pool->arrived, 1) + 1 == env->num_task) {
    atomic_store(&pool->arrived, 0);
    atomic_fetch_add(&pool->passed, 1);
    return 0;
  }
  for (int turn = 0; atomic_load(&pool->passed) == round; turn++) {
    if (atomic_load(&pool->result) != 0) return -1; /* a task that failed never gets here */
    if (turn < MJ_SPIN_CALLER) {
      pause_briefly();
    } else {
      sched_yield();
    }
  }
  return 0;
}

static void destroy(mj_pool *pool, int started) {
  atomic_store(&pool->stop, 1);
  wake(pool, &pool->sleepers, &pool->work);
  for (int i = 0; i < started; i++) pthread_join(pool->workers[i].handle, NULL);
  pthread_cond_destroy(&pool->done);
  pthread_cond_destroy(&pool->work);
  pthread_mutex_destroy(&pool->mutex);
  free(pool);
}

/* Memory and locks, no threads yet. */
static mj_pool *allocate(int threads) {
  mj_pool *pool = calloc(1, sizeof(mj_pool) + (size_t)(threads - 1) * sizeof(worker));
  if (pool == NULL) return NULL;
  pool->threads = threads;
  if (pthread_mutex_init(&pool->mutex, NULL) != 0) goto no_mutex;
  if (pthread_cond_init(&pool->work, NULL) != 0) goto no_work;
  if (pthread_cond_init(&pool->done, NULL) != 0) goto no_done;
  return pool;
no_done:
  pthread_cond_destroy(&pool->work);
no_work:
  pthread_mutex_destroy(&pool->mutex);
no_mutex:
  free(pool);
  return NULL;
}

static mj_pool *create(int threads) {
  mj_pool *pool = allocate(threads);
  if (pool == NULL) return NULL;
  for (int i = 0; i < threads - 1; i++) {
    worker *w = &pool->workers[i];
    w->pool = pool;
    w->id = i + 1;
    if (pthread_create(&w->handle, NULL, worker_main, w) != 0) {
      destroy(pool, i);
      return NULL;
    }
  }
  return pool;
}

mj_status mj_pool_resize(mj_context *ctx, int threads) {
  if (threads == mj_pool_threads(ctx)) return MJ_OK;
  if (threads > MJ_MAX_THREADS) return MJ_ERR_THREADS;
  mj_pool *pool = NULL;
  if (threads > 1 && (pool = create(threads)) == NULL) return MJ_ERR_THREADS;
  if (ctx->pool != NULL) destroy(ctx->pool, mj_pool_threads(ctx) - 1);
  ctx->pool = pool;
  return MJ_OK;
}

int mj_pool_threads(const mj_context *ctx) {
  return ctx->pool == NULL ? 1 : ((const mj_pool *)ctx->pool)->threads;
}

#endif

int (*__TVMBackendParallelLaunch)(FTVMParallelLambda, void *, int) = TVMBackendParallelLaunch;
int (*__TVMBackendParallelBarrier)(int, TVMParallelGroupEnv *) = TVMBackendParallelBarrier;
