// The one spelling of a request's path: what routes are matched against and what the origin gets, so that
// both read the same path. Pure functions, linear in the input, no allocation.
//
// In the path (the query is never touched): percent-encoded unreserved characters are decoded (RFC 3986
// 6.2.2.2), the digits of other encodings are in upper case (6.2.2.1), dot segments are resolved after that
// (5.2.4), and runs of slashes are one. Nothing is decoded twice: %252e stays. Normalising what is normal
// changes nothing.
//
// Refused, which is a 400: a path that climbs above its root (RFC 3986 would stop there), %00, a malformed
// percent-encoding, and what some origins take for a dot segment and others do not: one with a parameter
// (`/..;x/`, and `%3B`), or beside an encoded slash (`/..%2F`, and `%5C`).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace weir::lb {

enum class EscapedSlashes : uint8_t {
  kKeep,    // %2F and %5C are characters of a segment
  kReject,  // and a path that has them is refused
};

struct PathOptions {
  bool merge_slashes = true;
  EscapedSlashes escaped_slashes = EscapedSlashes::kKeep;
};

struct NormalTarget {
  std::string_view text = {};   // path and query; views the input if that was normal, else `out`
  size_t path_bytes = 0;        // of `text`
  const char* error = nullptr;  // the reason, for a 400; `text` is empty then

  bool ok() const { return error == nullptr; }
  std::string_view path() const { return text.substr(0, path_bytes); }
  bool has_query() const { return path_bytes < text.size(); }
  // Without its '?'.
  std::string_view query() const { return has_query() ? text.substr(path_bytes + 1) : std::string_view(); }
};

// What NormaliseTarget may write: the '/' that absolute-form can lack is the only growth.
constexpr size_t MaxNormalBytes(std::string_view target) { return target.size() + 1; }

// True if `target` is normal at a glance: NormaliseTarget will not write, and no memory needs to be had for
// it. False says nothing (percent-encodings are not looked into).
bool IsPlainTarget(std::string_view target, const PathOptions& options);

// `target` is what lb/http accepts: origin-form, "*", or the rest of an absolute-form that lacks its slash
// ("?q", or nothing). `out` has room for MaxNormalBytes(target).
NormalTarget NormaliseTarget(std::string_view target, const PathOptions& options, char* out);

}  // namespace weir::lb
