/* Arithmetic that a core has no instructions for, called by kernels with floats in FPU registers.
 *
 * TVM's LLVM calls such a helper by its generic name (__floatdisf) and by the calling convention of
 * the target; GCC's library has that name for a function of the base convention, whose floats are in
 * core registers (Run-time ABI for the Arm Architecture, section 5.1.2; AAPCS32, section 6). The
 * build renames what kernels ask for (targets/mcu/library.py) to the functions below, which let the
 * C compiler call its library properly. On cores without an FPU both conventions are one.
 */
#include <stdint.h>

#if defined(__ARM_PCS_VFP) && defined(MJ_BARE_METAL)

#define CAST(name, from, to) \
  to mj_##name(from); \
  to mj_##name(from x) { return (to)x; }
#define ARITHMETIC(name, operator) \
  double mj_##name(double, double); \
  double mj_##name(double a, double b) { return a operator b; }
/* The caller looks at the result's relation to zero; a NaN makes every relation but != false. */
#define RELATION(name, relation, yes, no) \
  int mj_##name(double, double); \
  int mj_##name(double a, double b) { return relation ? yes : no; }

CAST(floatdisf, int64_t, float)
CAST(floatundisf, uint64_t, float)
CAST(floatdidf, int64_t, double)
CAST(floatundidf, uint64_t, double)
CAST(floatsidf, int32_t, double)
CAST(floatunsidf, uint32_t, double)
CAST(fixsfdi, float, int64_t)
CAST(fixunssfdi, float, uint64_t)
CAST(fixdfdi, double, int64_t)
CAST(fixunsdfdi, double, uint64_t)
CAST(fixdfsi, double, int32_t)
CAST(fixunsdfsi, double, uint32_t)
CAST(extendsfdf2, float, double)
CAST(truncdfsf2, double, float)
ARITHMETIC(adddf3, +)
ARITHMETIC(subdf3, -)
ARITHMETIC(muldf3, *)
ARITHMETIC(divdf3, /)
RELATION(eqdf2, a == b, 0, 1)
RELATION(nedf2, a != b, 1, 0)
RELATION(ltdf2, a < b, -1, 0)
RELATION(ledf2, a <= b, 0, 1)
RELATION(gtdf2, a > b, 1, 0)
RELATION(gedf2, a >= b, 0, -1)
RELATION(unorddf2, a != a || b != b, 1, 0)

#else
typedef int mj_arm_helpers_unused; /* ISO C wants a declaration in every file */
#endif
