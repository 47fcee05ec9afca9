// What the fuzz targets share.
#ifndef TESTS_FUZZ_HTTP_FUZZ_UTIL_H_
#define TESTS_FUZZ_HTTP_FUZZ_UTIL_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string_view>
#include <vector>

namespace weir::http {

// Stops the process, which is how a fuzz target reports a finding.
inline void Require(bool condition, const char* what) {
  if (condition) return;
  fprintf(stderr, "violated: %s\n", what);
  abort();
}

// A few cuts that depend on the input only.
inline std::vector<size_t> CutsOf(std::string_view input) {
  uint64_t hash = 0xcbf29ce484222325u;
  for (char c : input) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  std::vector<size_t> cuts(hash % 5);
  for (size_t& cut : cuts) {
    hash = hash * 6364136223846793005u + 1442695040888963407u;
    cut = static_cast<size_t>(hash >> 33) % (input.size() + 1);
  }
  std::sort(cuts.begin(), cuts.end());
  return cuts;
}

inline std::vector<size_t> EveryByte(std::string_view input) {
  std::vector<size_t> cuts;
  for (size_t cut = 1; cut < input.size(); ++cut) cuts.push_back(cut);
  return cuts;
}

inline constexpr size_t kEveryByteLimit = 400;

// A head that no reader can see two messages in: lines end with CRLF, and only the end has an empty line.
inline void RequireCleanHead(std::string_view head) {
  Require(head.ends_with("\r\n\r\n"), "a head ends with an empty line");
  Require(head.find("\r\n\r\n") == head.size() - 4, "a head has one empty line");
  for (size_t i = 0; i < head.size(); ++i) {
    const unsigned char c = static_cast<unsigned char>(head[i]);
    if (c == '\r') Require(i + 1 < head.size() && head[i + 1] == '\n', "no bare CR");
    if (c == '\n') Require(i > 0 && head[i - 1] == '\r', "no bare LF");
    Require(c >= 0x20 || c == '\r' || c == '\n' || c == '\t', "no control characters");
    Require(c != 0x7f, "no DEL");
  }
  Require(head.find("\r\n ") == std::string_view::npos, "no folding");
  Require(head.find("\r\n\t") == std::string_view::npos, "no folding with a tab");
}

}  // namespace weir::http

#endif  // TESTS_FUZZ_HTTP_FUZZ_UTIL_H_
