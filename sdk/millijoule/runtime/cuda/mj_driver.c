/* Opening the CUDA driver's library, and saying what went wrong. */
#include "mj_driver.h"

#include <dlfcn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIBRARY "libcuda.so.1"

static _Thread_local char message[256];

void mj_cuda_say(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(message, sizeof message, format, arguments);
  va_end(arguments);
}

const char *mj_cuda_error(void) { return message; }

/* A function pointer out of dlsym's object pointer, which C has no cast for. */
static void *find(void *library, const char *name, void *into) {
  void *found = dlsym(library, name);
  memcpy(into, &found, sizeof found);
  return found;
}

int mj_driver_open(mj_driver *driver) {
  memset(driver, 0, sizeof *driver);
  const char *named = getenv("MJ_LIBCUDA");
  const char *name = named != NULL && named[0] != '\0' ? named : LIBRARY;
  driver->library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
  if (driver->library == NULL) {
    mj_cuda_say("no NVIDIA driver: cannot open %s (%s)", name, dlerror());
    return -1;
  }
#define FIND(member, symbol, arguments)                                    \
  if (find(driver->library, #symbol, &driver->member) == NULL) {           \
    mj_cuda_say("the NVIDIA driver is too old: %s lacks %s", name, #symbol); \
    mj_driver_close(driver);                                               \
    return -1;                                                             \
  }
  MJ_DRIVER_FUNCTIONS(FIND)
#undef FIND
  driver->has_graphs = 1;
#define FIND(member, symbol, arguments) \
  if (find(driver->library, #symbol, &driver->member) == NULL) driver->has_graphs = 0;
  MJ_DRIVER_GRAPHS(FIND)
#undef FIND
  return 0;
}

void mj_driver_close(mj_driver *driver) {
  if (driver->library != NULL) dlclose(driver->library);
  driver->library = NULL;
}

int mj_driver_ok(const mj_driver *driver, cu_result result, const char *what) {
  if (result == 0) return 1;
  const char *name = NULL;
  if (driver->error_name(result, &name) != 0 || name == NULL) name = "unknown";
  mj_cuda_say("%s failed: %s (%d)", what, name, result);
  return 0;
}
