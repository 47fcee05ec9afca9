// Assertions that stay on in production: a broken invariant ends the process with a sentence, instead of
// going on to corrupt somebody's bytes. For our own bugs only; what a peer, an operator or the kernel does is
// an error value.
#pragma once

#include <cstdio>
#include <cstdlib>

namespace weir {

[[noreturn, gnu::cold, gnu::noinline]] inline void CheckFailed(const char* what, const char* file, int line) {
  std::fprintf(stderr, "weir: internal error: %s at %s:%d\n", what, file, line);
  std::abort();
}

}  // namespace weir

#define WEIR_CHECK(condition)                                          \
  do {                                                                 \
    if (!(condition)) [[unlikely]] {                                   \
      ::weir::CheckFailed("expected " #condition, __FILE__, __LINE__); \
    }                                                                  \
  } while (false)
