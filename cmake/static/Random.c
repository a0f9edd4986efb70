/* LLVM names temporary files with arc4random, which glibc has since 2.36 only;
 * this one keeps the library usable from 2.35 on. */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/random.h>

__attribute__((visibility("hidden"))) uint32_t arc4random(void) {
  uint32_t number;
  ssize_t got;
  do
    got = getrandom(&number, sizeof number, 0);
  while (got < 0 && errno == EINTR);
  if (got != (ssize_t)sizeof number)
    abort();
  return number;
}
