/* Matrix products by oneDNN, one thread, for `mjbench.onednn`.
 *
 * Standard input: a line "COUNT", COUNT lines "M K N", then a line for every round.
 * Standard output: a line with version and instruction set, one line per shape with the name of each
 * form's implementation, then per round a line of nanoseconds: all shapes in the first form, all in
 * the second and so on, so that weights are as cold as in a model. An error ends the process. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <oneapi/dnnl/dnnl.h>

#define CHECK(call)                                                                     \
  do {                                                                                  \
    dnnl_status_t status_ = (call);                                                     \
    if (status_ != dnnl_success) {                                                      \
      fprintf(stderr, "%s fails with status %d\n", #call, (int)status_);                \
      exit(1);                                                                          \
    }                                                                                   \
  } while (0)

/* Packed as the library likes best, K×N, N×K, and the primitive made for layers, packed. */
enum form { MATMUL_PACKED, MATMUL_KN, MATMUL_NK, INNER_PRODUCT, FORMS };

typedef struct {
  dnnl_primitive_t primitive;
  dnnl_exec_arg_t arguments[3];
} product;

static dnnl_engine_t engine;
static dnnl_stream_t stream;

static dnnl_memory_t memory(const_dnnl_memory_desc_t kind) {
  dnnl_memory_t made;
  CHECK(dnnl_memory_create(&made, kind, engine, DNNL_MEMORY_ALLOCATE));
  return made;
}

static float *data(dnnl_memory_t of) {
  void *handle;
  CHECK(dnnl_memory_get_data_handle(of, &handle));
  return handle;
}

static dnnl_memory_desc_t kind(long rows, long columns, dnnl_format_tag_t tag) {
  const dnnl_dims_t dims = {rows, columns};
  dnnl_memory_desc_t made;
  CHECK(dnnl_memory_desc_create_with_tag(&made, 2, dims, dnnl_f32, tag));
  return made;
}

static void fill(float *at, long count, unsigned seed) {
  for (long i = 0; i < count; i++) {
    seed = seed * 1664525u + 1013904223u;
    at[i] = (float)(seed >> 8) / (1 << 23) - 1.0f;
  }
}

/* The implementation's name, e.g. "brg_matmul:avx512_core". */
static const char *made_by(const_dnnl_primitive_desc_t of) {
  const char *name;
  CHECK(dnnl_primitive_desc_query(of, dnnl_query_impl_info_str, 0, &name));
  return name;
}

static dnnl_memory_t converted(dnnl_memory_t from, const_dnnl_memory_desc_t to) {
  const_dnnl_memory_desc_t is;
  CHECK(dnnl_memory_get_memory_desc(from, &is));
  dnnl_memory_t made = memory(to);
  dnnl_primitive_desc_t description;
  dnnl_primitive_t reorder;
  CHECK(dnnl_reorder_primitive_desc_create(&description, is, engine, to, engine, NULL));
  CHECK(dnnl_primitive_create(&reorder, description));
  const dnnl_exec_arg_t arguments[] = {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, made}};
  CHECK(dnnl_primitive_execute(reorder, stream, 2, arguments));
  CHECK(dnnl_stream_wait(stream));
  CHECK(dnnl_primitive_destroy(reorder));
  CHECK(dnnl_primitive_desc_destroy(description));
  return made;
}

/* The product of `x` [M, K] and `w` [K, N]; prints a name. An inner product has weights [N, K]. */
static product make(enum form form, long m, long k, long n, dnnl_memory_t x, dnnl_memory_t w) {
  const int layer = form == INNER_PRODUCT;
  dnnl_memory_desc_t xs = kind(m, k, dnnl_ab), ys = kind(m, n, dnnl_ab), ws;
  if (layer)
    ws = kind(n, k, dnnl_format_tag_any);
  else
    ws = kind(k, n, form == MATMUL_KN ? dnnl_ab : form == MATMUL_NK ? dnnl_ba : dnnl_format_tag_any);
  dnnl_primitive_desc_t description;
  if (layer)
    CHECK(dnnl_inner_product_forward_primitive_desc_create(
        &description, engine, dnnl_forward_inference, xs, ws, NULL, ys, NULL));
  else
    CHECK(dnnl_matmul_primitive_desc_create(&description, engine, xs, ws, NULL, ys, NULL));
  printf("%s ", made_by(description));
  const_dnnl_memory_desc_t wanted =
      dnnl_primitive_desc_query_md(description, dnnl_query_weights_md, 0);
  dnnl_memory_t source = w;
  if (layer) { /* [K, N] row by row is [N, K] column by column */
    dnnl_memory_desc_t turned = kind(n, k, dnnl_ba);
    CHECK(dnnl_memory_create(&source, turned, engine, data(w)));
  }
  product made;
  made.arguments[0] = (dnnl_exec_arg_t){DNNL_ARG_SRC, x};
  made.arguments[1] = (dnnl_exec_arg_t){DNNL_ARG_WEIGHTS, converted(source, wanted)};
  made.arguments[2] = (dnnl_exec_arg_t){DNNL_ARG_DST, memory(ys)};
  CHECK(dnnl_primitive_create(&made.primitive, description));
  return made;
}

static void execute(const product *p) {
  CHECK(dnnl_primitive_execute(p->primitive, stream, 3, p->arguments));
  CHECK(dnnl_stream_wait(stream));
}

/* Some elements beside their sums in double. */
static void verify(const product *p, long m, long k, long n, const float *x, const float *w) {
  execute(p);
  const float *y = data(p->arguments[2].memory);
  for (long e = 0; e < 64; e++) {
    const long row = e * 7919 % m, column = e * 104729 % n;
    double sum = 0;
    for (long i = 0; i < k; i++) sum += (double)x[row * k + i] * w[i * n + column];
    if (fabs(sum - y[row * n + column]) > 1e-5 * sqrt(k) * (1 + fabs(sum))) {
      fprintf(stderr, "%ldx%ldx%ld: [%ld, %ld] is %g, not %g\n", m, k, n, row, column,
              y[row * n + column], sum);
      exit(1);
    }
  }
}

static long long now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000LL + t.tv_nsec;
}

int main(void) {
  long count;
  if (scanf("%ld", &count) != 1) return 1;
  CHECK(dnnl_engine_create(&engine, dnnl_cpu, 0));
  CHECK(dnnl_stream_create(&stream, engine, dnnl_stream_default_flags));
  const dnnl_version_t *version = dnnl_version();
  printf("%d.%d.%d %d\n", version->major, version->minor, version->patch,
         (int)dnnl_get_effective_cpu_isa());
  product *products[FORMS];
  for (int form = 0; form < FORMS; form++) products[form] = calloc(count, sizeof(product));
  for (long i = 0; i < count; i++) {
    long m, k, n;
    if (scanf("%ld %ld %ld", &m, &k, &n) != 3) return 1;
    dnnl_memory_t x = memory(kind(m, k, dnnl_ab)), w = memory(kind(k, n, dnnl_ab));
    fill(data(x), m * k, 1);
    fill(data(w), k * n, 2);
    for (int form = 0; form < FORMS; form++) {
      products[form][i] = make(form, m, k, n, x, w);
      verify(&products[form][i], m, k, n, data(x), data(w));
    }
    printf("\n");
  }
  fflush(stdout);
  while (getchar() != '\n') continue; /* the rest of the last shape's line */
  for (int c = getchar(); c != EOF; c = getchar()) {
    if (c != '\n') continue;
    for (int form = 0; form < FORMS; form++)
      for (long i = 0; i < count; i++) {
        const long long start = now_ns();
        execute(&products[form][i]);
        printf("%lld ", now_ns() - start);
      }
    printf("\n");
    fflush(stdout);
  }
  return 0;
}
