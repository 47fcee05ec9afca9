// Character classes of the HTTP and URI grammars, and scanning for their ends.
//
// A CharSet holds any set of ASCII characters; bytes from 0x80 up are never in one. Skip() runs over members
// 16 bytes at a time (SSSE3, part of x86-64-v2) with a plain loop for the last bytes and other CPUs. Nothing
// reads beyond `end`. Sources: token and field-value RFC 9110 section 5, reg-name and pchar RFC 3986
// sections 3.2 and 3.3.
#ifndef LB_HTTP_CHARS_H_
#define LB_HTTP_CHARS_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

#if defined(__SSSE3__)
#include <tmmintrin.h>
#endif

namespace weir::http {

// Row i holds the characters whose low nibble is i, one bit for each high nibble 0 to 7.
class CharSet {
 public:
  template <typename Predicate>
  static consteval CharSet Where(Predicate in_set) {
    CharSet set;
    for (unsigned c = 0; c < 128; ++c) {
      if (in_set(static_cast<char>(c))) set.rows_[c & 15] |= static_cast<uint8_t>(1u << (c >> 4));
    }
    return set;
  }

  constexpr bool Has(char c) const {
    const unsigned u = static_cast<unsigned char>(c);
    return ((rows_[u & 15] >> (u >> 4)) & 1) != 0;
  }

  constexpr bool HasAll(std::string_view text) const {
    for (char c : text) {
      if (!Has(c)) return false;
    }
    return true;
  }

  // The first byte in [p, end) that is not in the set, or end.
  const char* Skip(const char* p, const char* end) const {
#if defined(__SSSE3__)
    const __m128i rows = _mm_load_si128(reinterpret_cast<const __m128i*>(rows_.data()));
    const __m128i bits = _mm_setr_epi8(1, 2, 4, 8, 16, 32, 64, -128, 0, 0, 0, 0, 0, 0, 0, 0);
    while (end - p >= 16) {
      const __m128i v = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
      const __m128i high = _mm_and_si128(_mm_srli_epi16(v, 4), _mm_set1_epi8(15));
      const __m128i in = _mm_and_si128(_mm_shuffle_epi8(rows, v), _mm_shuffle_epi8(bits, high));
      const int out = _mm_movemask_epi8(_mm_cmpeq_epi8(in, _mm_setzero_si128()));
      if (out != 0) return p + __builtin_ctz(static_cast<unsigned>(out));
      p += 16;
    }
#endif
    while (p < end && Has(*p)) ++p;
    return p;
  }

 private:
  alignas(16) std::array<uint8_t, 16> rows_ = {};
};

constexpr bool IsDigit(char c) { return c >= '0' && c <= '9'; }
constexpr bool IsAlpha(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
constexpr bool IsAlnum(char c) { return IsDigit(c) || IsAlpha(c); }
constexpr bool IsBlank(char c) { return c == ' ' || c == '\t'; }  // OWS, BWS
constexpr char ToLower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c; }

constexpr int HexValue(char c) {  // -1: not a hex digit
  if (IsDigit(c)) return c - '0';
  const char lower = ToLower(c);
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

constexpr bool IsOneOf(char c, std::string_view set) { return set.find(c) != std::string_view::npos; }

inline constexpr CharSet kTokenChars =
    CharSet::Where([](char c) { return IsAlnum(c) || IsOneOf(c, "!#$%&'*+-.^_`|~"); });

// What nearly all field names consist of. A name beyond it may be read by a CGI-like origin as another name.
inline constexpr CharSet kPlainNameChars = CharSet::Where([](char c) { return IsAlnum(c) || c == '-'; });

// Field values, and reason phrases: HTAB, SP, VCHAR and obs-text, so everything but other controls and DEL.
constexpr bool IsValueChar(char c) {
  const unsigned char u = static_cast<unsigned char>(c);
  return (u >= 0x20 && u != 0x7f) || u == '\t';
}

// The first byte in [p, end) that no field value may contain, or end.
inline const char* SkipValue(const char* p, const char* end) {
#if defined(__SSSE3__)
  const __m128i space = _mm_set1_epi8(0x20);
  while (end - p >= 16) {
    const __m128i v = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    const __m128i printable = _mm_cmpeq_epi8(_mm_max_epu8(v, space), v);
    const __m128i good = _mm_andnot_si128(_mm_cmpeq_epi8(v, _mm_set1_epi8(0x7f)),
                                          _mm_or_si128(printable, _mm_cmpeq_epi8(v, _mm_set1_epi8('\t'))));
    const unsigned bad = static_cast<unsigned>(_mm_movemask_epi8(good)) ^ 0xffffu;
    if (bad != 0) return p + __builtin_ctz(bad);
    p += 16;
  }
#endif
  while (p < end && IsValueChar(*p)) ++p;
  return p;
}

// ASCII case only.
inline bool EqualsIgnoreCase(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    if (ToLower(a[i]) != ToLower(b[i])) return false;
  }
  return true;
}

inline bool StartsWithIgnoreCase(std::string_view text, std::string_view prefix) {
  return text.size() >= prefix.size() && EqualsIgnoreCase(text.substr(0, prefix.size()), prefix);
}

inline bool IsToken(std::string_view text) { return !text.empty() && kTokenChars.HasAll(text); }

}  // namespace weir::http

#endif  // LB_HTTP_CHARS_H_
