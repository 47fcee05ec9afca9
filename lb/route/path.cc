#include "lb/route/path.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "lb/http/chars.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace weir::lb {
namespace {

constexpr http::CharSet kUnreserved =
    http::CharSet::Where([](char c) { return http::IsAlnum(c) || http::IsOneOf(c, "-._~"); });

// Is the segment that begins at p, with a dot, one that must be looked at: "." or "..", perhaps with
// something behind that an origin might cut off?
bool MayBeDotSegment(const char* p, const char* end) {
  ++p;
  if (p < end && *p == '.') ++p;
  return p == end || http::IsOneOf(*p, "/;?");
}

// `slash` begins something that is not normal, or may not be.
bool IsOddSlash(const char* slash, const char* end, const PathOptions& options) {
  if (slash + 1 == end) return false;
  return (slash[1] == '/' && options.merge_slashes) || (slash[1] == '.' && MayBeDotSegment(slash + 1, end));
}

#if defined(__SSE2__)
// What of `p` needs a look: '%', '?', and a slash before a slash or a dot. Reads 17 bytes.
unsigned MarksOf(const char* p) {
  const auto is = [](__m128i v, char c) { return _mm_cmpeq_epi8(v, _mm_set1_epi8(c)); };
  const __m128i here = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  const __m128i next = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p + 1));
  const __m128i pair = _mm_and_si128(is(here, '/'), _mm_or_si128(is(next, '/'), is(next, '.')));
  const __m128i marks = _mm_or_si128(pair, _mm_or_si128(is(here, '%'), is(here, '?')));
  return static_cast<unsigned>(_mm_movemask_epi8(marks));
}
#endif

// The end of the path that begins at `begin` if it is normal at a glance, else null.
const char* EndOfPlainPath(const char* begin, const char* end, const PathOptions& options) {
  const char* p = begin;
#if defined(__SSE2__)
  constexpr ptrdiff_t kStep = 16;
  for (; end - p > kStep; p += kStep) {
    for (unsigned marks = MarksOf(p); marks != 0; marks &= marks - 1) {
      const char* const mark = p + std::countr_zero(marks);
      if (*mark == '?') return mark;
      if (*mark == '%' || IsOddSlash(mark, end, options)) return nullptr;
    }
  }
#endif
  for (; p < end; ++p) {
    if (*p == '?') return p;
    if (*p == '%' || (*p == '/' && IsOddSlash(p, end, options))) return nullptr;
  }
  return end;
}

bool IsDots(std::string_view text) { return text == "." || text == ".."; }

// Has a segment (decoded, but for encodings that stay) a dot segment in it for those who read ';' as the
// beginning of a parameter, or decode slashes before they look for segments?
bool HidesDotSegment(std::string_view segment) {
  size_t begin = 0;
  size_t end = std::string_view::npos;  // of the name, before its parameters
  for (size_t i = 0; i <= segment.size(); ++i) {
    const std::string_view encoded = segment.substr(i, 3);
    const bool slash = encoded == "%2F" || encoded == "%5C";
    if (end == std::string_view::npos &&
        (i == segment.size() || slash || segment[i] == ';' || encoded == "%3B"))
      end = i;
    if (i < segment.size() && !slash) continue;
    if (IsDots(segment.substr(begin, end - begin))) return true;
    begin = i + 3;
    end = std::string_view::npos;
    i += slash ? 2 : 0;
  }
  return false;
}

// Writes a path segment by segment. What is written is always normal but for the segment that is under way.
class PathWriter {
 public:
  PathWriter(const PathOptions& options, char* out) : options_(options), out_(out), at_(out), segment_(out) {}

  // `path` begins with a slash. Null, or what is wrong.
  const char* Write(std::string_view path) {
    const char* const end = path.data() + path.size();
    *at_++ = '/';
    segment_ = at_;
    for (const char* p = path.data() + 1; p < end;) {
      if (*p == '/') {
        if (const char* error = EndSegment(true)) return error;
        ++p;
      } else if (*p == '%') {
        if (const char* error = WriteEncoded(p, end)) return error;
        p += 3;
      } else {
        odd_ |= *p == ';';
        *at_++ = *p++;
      }
    }
    return EndSegment(false);
  }

  char* at() const { return at_; }

 private:
  const char* WriteEncoded(const char* p, const char* end) {
    const int high = end - p >= 3 ? http::HexValue(p[1]) : -1;
    const int low = end - p >= 3 ? http::HexValue(p[2]) : -1;
    if (high < 0 || low < 0) return "malformed percent-encoding in the path";
    const char c = static_cast<char>(high * 16 + low);
    if (c == '\0') return "encoded NUL in the path";
    if (kUnreserved.Has(c)) {
      *at_++ = c;
      return nullptr;
    }
    if ((c == '/' || c == '\\') && options_.escaped_slashes == EscapedSlashes::kReject)
      return "encoded slash in the path";
    constexpr char kDigits[] = "0123456789ABCDEF";
    odd_ |= c == '/' || c == '\\' || c == ';';
    *at_++ = '%';
    *at_++ = kDigits[high];
    *at_++ = kDigits[low];
    return nullptr;
  }

  // `slash`: one follows. After a segment that leaves nothing, the slash before it stands for both.
  const char* EndSegment(bool slash) {
    const std::string_view segment(segment_, static_cast<size_t>(at_ - segment_));
    if (odd_ && HidesDotSegment(segment)) return "ambiguous dot segment in the path";
    odd_ = false;
    if (IsDots(segment)) {
      at_ = segment_;
      if (segment.size() == 2) {
        if (segment_ == out_ + 1) return "the path climbs above its root";
        --at_;
        while (at_[-1] != '/') --at_;
      }
    } else if (slash && !(segment.empty() && options_.merge_slashes)) {
      *at_++ = '/';
    }
    segment_ = at_;
    return nullptr;
  }

  const PathOptions& options_;
  char* const out_;
  char* at_;
  char* segment_;     // where the one under way begins: behind a slash
  bool odd_ = false;  // it has a ';' or a slash, encoded: there may be more in it than one name
};

NormalTarget Refuse(const char* error) { return {.error = error}; }

}  // namespace

bool IsPlainTarget(std::string_view target, const PathOptions& options) {
  if (target.empty() || target.front() != '/') return target == "*";
  return EndOfPlainPath(target.data(), target.data() + target.size(), options) != nullptr;
}

NormalTarget NormaliseTarget(std::string_view target, const PathOptions& options, char* out) {
  if (target == "*") return {.text = target, .path_bytes = 1};
  if (target.empty() || target.front() == '?') {
    out[0] = '/';
    std::copy(target.begin(), target.end(), out + 1);
    return {.text = {out, target.size() + 1}, .path_bytes = 1};
  }
  if (target.front() != '/') return Refuse("the path does not begin with a slash");
  const char* const begin = target.data();
  const char* const end = begin + target.size();
  if (const char* path_end = EndOfPlainPath(begin, end, options)) [[likely]]
    return {.text = target, .path_bytes = static_cast<size_t>(path_end - begin)};

  const std::string_view path = target.substr(0, target.find('?'));
  PathWriter writer(options, out);
  if (const char* error = writer.Write(path)) return Refuse(error);
  const auto path_bytes = static_cast<size_t>(writer.at() - out);
  if (std::string_view(out, path_bytes) == path) return {.text = target, .path_bytes = path_bytes};
  const std::string_view query = target.substr(path.size());
  std::copy(query.begin(), query.end(), writer.at());
  return {.text = {out, path_bytes + query.size()}, .path_bytes = path_bytes};
}

}  // namespace weir::lb
