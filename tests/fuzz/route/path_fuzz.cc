// Any bytes as a target (the first one chooses the options): what comes out is within its bound, normal, and
// stays as it is; no segment of it is, or could be taken for, a dot segment.
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "lb/http/chars.h"
#include "lb/route/host.h"
#include "lb/route/path.h"
#include "tests/fuzz/http/fuzz_util.h"

namespace weir::lb {
namespace {

using http::Require;

void RequireNoDots(std::string_view segment) {
  std::string name(segment.substr(0, segment.find(';')));
  if (const size_t at = name.find("%3B"); at != std::string::npos) name.resize(at);
  Require(name != "." && name != "..", "no dot segment, with parameters or without");
}

void RequireNormal(std::string_view path, const PathOptions& options) {
  Require(path.starts_with('/'), "a path begins with a slash");
  if (options.merge_slashes) Require(path.find("//") == std::string_view::npos, "no two slashes");
  for (size_t i = 0; i < path.size(); ++i) {
    if (path[i] != '%') continue;
    Require(path.size() - i >= 3, "whole encodings");
    const int high = http::HexValue(path[i + 1]);
    const int low = http::HexValue(path[i + 2]);
    Require(high >= 0 && low >= 0, "whole encodings");
    Require(!(path[i + 1] >= 'a') && !(path[i + 2] >= 'a'), "in upper case");
    const char c = static_cast<char>(high * 16 + low);
    Require(c != '\0', "no NUL");
    Require(!http::IsAlnum(c) && !http::IsOneOf(c, "-._~"), "no encoded unreserved character");
    if (options.escaped_slashes == EscapedSlashes::kReject)
      Require(c != '/' && c != '\\', "no encoded slash");
  }
  // However a reader splits it.
  std::string split(path);
  for (const char* slash : {"%2F", "%5C"}) {
    for (size_t at = split.find(slash); at != std::string::npos; at = split.find(slash, at))
      split.replace(at, 3, "/");
  }
  for (size_t i = 1; i <= split.size();) {
    const size_t end = std::min(split.find('/', i), split.size());
    RequireNoDots(std::string_view(split).substr(i, end - i));
    i = end + 1;
  }
}

void CheckTarget(std::string_view target, const PathOptions& options) {
  std::vector<char> out(MaxNormalBytes(target));
  const NormalTarget normal = NormaliseTarget(target, options, out.data());
  if (IsPlainTarget(target, options))
    Require(normal.ok() && normal.text.data() == target.data(), "what is plain stays");
  if (!normal.ok()) {
    Require(normal.text.empty(), "no text with an error");
    return;
  }
  Require(normal.text.size() <= MaxNormalBytes(target), "the bound holds");
  Require(normal.path_bytes <= normal.text.size(), "the path is in the target");
  Require(
      normal.query() == (target.find('?') == std::string_view::npos ? std::string_view()
                                                                    : target.substr(target.find('?') + 1)),
      "the query is untouched");
  if (target != "*") RequireNormal(normal.path(), options);

  const std::string once(normal.text);
  std::vector<char> again(MaxNormalBytes(once));
  const NormalTarget twice = NormaliseTarget(once, options, again.data());
  Require(twice.ok() && twice.text == once && twice.path_bytes == normal.path_bytes, "normal stays normal");
}

void CheckHost(std::string_view authority) {
  char out[kHostBytes];
  const std::string once(NormaliseHost(authority, out));
  Require(once.size() <= kHostBytes, "the bound holds");
  if (once.ends_with('.')) return;  // of several dots one goes
  Require(NormaliseHost(once, out) == once, "normal stays normal");
}

}  // namespace
}  // namespace weir::lb

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data + 1), size - 1);
  weir::lb::CheckTarget(text, {.merge_slashes = (data[0] & 1) != 0,
                               .escaped_slashes = (data[0] & 2) != 0 ? weir::lb::EscapedSlashes::kReject
                                                                     : weir::lb::EscapedSlashes::kKeep});
  weir::lb::CheckHost(text);
  return 0;
}
