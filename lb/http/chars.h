// Character classes of the HTTP and URI grammars, and scanning for their ends.
//
// A CharSet holds any set of ASCII characters; bytes from 0x80 up are never in one. Skip() and SkipValue()
// run over members 16 bytes at a time (SSSE3, part of x86-64-v2), with a plain loop on other CPUs and in less
// than 16 bytes of memory. Nothing is read outside the Memory given.
//
// Sources: token and field-value RFC 9110 section 5, reg-name and pchar RFC 3986 sections 3.2 and 3.3.
#ifndef LB_HTTP_CHARS_H_
#define LB_HTTP_CHARS_H_

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

#if defined(__SSSE3__)
#include <tmmintrin.h>
#endif

namespace weir::http {

constexpr bool IsDigit(char c) { return c >= '0' && c <= '9'; }
constexpr bool IsAlpha(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
constexpr bool IsAlnum(char c) { return IsDigit(c) || IsAlpha(c); }
constexpr bool IsBlank(char c) { return c == ' ' || c == '\t'; }  // OWS, BWS
constexpr char ToLower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c; }
constexpr bool IsOneOf(char c, std::string_view set) { return set.find(c) != std::string_view::npos; }

constexpr int HexValue(char c) {  // -1: not a hex digit
  if (IsDigit(c)) return c - '0';
  const char lower = ToLower(c);
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

// Field values, and reason phrases: HTAB, SP, VCHAR and obs-text, so everything but other controls and DEL.
constexpr bool IsValueChar(char c) {
  const unsigned char u = static_cast<unsigned char>(c);
  return (u >= 0x20 && u != 0x7f) || u == '\t';
}

// What may be looked at around the text of interest, which spares slow paths: a message received so far.
struct Memory {
  Memory(const char* first, const char* last) : begin(first), end(last) {}
  explicit Memory(std::string_view text) : begin(text.data()), end(begin + text.size()) {}

  const char* begin;
  const char* end;
};

#if defined(__SSSE3__)
inline constexpr ptrdiff_t kVectorBytes = 16;

// Less than a vector is left: looks at the memory's last one, which begins before p.
template <typename Stops, typename Has>
[[gnu::noinline]] const char* ScanTail(const char* p, const Memory& memory, Stops stops, Has has) {
  const ptrdiff_t earlier = kVectorBytes - (memory.end - p);
  if (p - memory.begin >= earlier) {
    const unsigned mask = stops(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p - earlier))) >> earlier;
    return mask != 0 ? p + __builtin_ctz(mask) : memory.end;
  }
  while (p < memory.end && has(*p)) ++p;
  return p;
}
#endif

// The first byte from p on that is not `has`, or memory.end. `stops` is a mask of such bytes in a vector.
template <typename Stops, typename Has>
inline const char* Scan(const char* p, const Memory& memory, [[maybe_unused]] Stops stops, Has has) {
#if defined(__SSSE3__)
  while (memory.end - p >= kVectorBytes) {
    const unsigned mask = stops(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
    if (mask != 0) [[likely]]
      return p + __builtin_ctz(mask);
    p += kVectorBytes;
  }
  return ScanTail(p, memory, stops, has);
#else
  while (p < memory.end && has(*p)) ++p;
  return p;
#endif
}

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

  // The first byte from p on that is not in the set, or memory.end.
  const char* Skip(const char* p, const Memory& memory) const {
#if defined(__SSSE3__)
    const auto stops = [this](__m128i v) {
      const __m128i rows = _mm_load_si128(reinterpret_cast<const __m128i*>(rows_.data()));
      const __m128i bits = _mm_setr_epi8(1, 2, 4, 8, 16, 32, 64, -128, 0, 0, 0, 0, 0, 0, 0, 0);
      const __m128i high = _mm_and_si128(_mm_srli_epi16(v, 4), _mm_set1_epi8(15));
      const __m128i in = _mm_and_si128(_mm_shuffle_epi8(rows, v), _mm_shuffle_epi8(bits, high));
      return static_cast<unsigned>(_mm_movemask_epi8(_mm_cmpeq_epi8(in, _mm_setzero_si128())));
    };
#else
    constexpr int stops = 0;
#endif
    return Scan(p, memory, stops, [this](char c) { return Has(c); });
  }

 private:
  alignas(16) std::array<uint8_t, 16> rows_ = {};
};

inline constexpr CharSet kTokenChars =
    CharSet::Where([](char c) { return IsAlnum(c) || IsOneOf(c, "!#$%&'*+-.^_`|~"); });

// What nearly all field names consist of. A name beyond it may be read by a CGI-like origin as another name.
inline constexpr CharSet kPlainNameChars = CharSet::Where([](char c) { return IsAlnum(c) || c == '-'; });

inline bool IsToken(std::string_view text) { return !text.empty() && kTokenChars.HasAll(text); }

// The first byte from p on that no field value may contain, or memory.end.
inline const char* SkipValue(const char* p, const Memory& memory) {
#if defined(__SSSE3__)
  const auto stops = [](__m128i v) {
    const __m128i printable = _mm_cmpeq_epi8(_mm_max_epu8(v, _mm_set1_epi8(0x20)), v);
    const __m128i tab = _mm_cmpeq_epi8(v, _mm_set1_epi8('\t'));
    const __m128i del = _mm_cmpeq_epi8(v, _mm_set1_epi8(0x7f));
    const __m128i good = _mm_andnot_si128(del, _mm_or_si128(printable, tab));
    return static_cast<unsigned>(_mm_movemask_epi8(good)) ^ 0xffffu;
  };
#else
  constexpr int stops = 0;
#endif
  return Scan(p, memory, stops, IsValueChar);
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

// As EqualsIgnoreCase, for a keyword of letters, digits and '-', several bytes at a time: setting bit 5 makes
// one of those only from itself, the other case, or a control character. REQUIRES: `text` has no control
// characters but HTAB, as every field name and value.
inline bool IsKeyword(std::string_view text, std::string_view keyword) {
  const auto same = [&]<typename Word>(size_t at, Word) {
    constexpr Word kBit5 = static_cast<Word>(0x2020202020202020u);
    Word a;
    Word b;
    memcpy(&a, text.data() + at, sizeof(Word));
    memcpy(&b, keyword.data() + at, sizeof(Word));
    return (a | kBit5) == (b | kBit5);
  };
  const size_t size = keyword.size();
  if (text.size() != size) return false;
  if (size >= 8) {
    for (size_t at = 0; at + 8 < size; at += 8) {
      if (!same(at, uint64_t{})) return false;
    }
    return same(size - 8, uint64_t{});
  }
  if (size >= 4) return same(0, uint32_t{}) && same(size - 4, uint32_t{});
  for (size_t at = 0; at < size; ++at) {
    if (!same(at, uint8_t{})) return false;
  }
  return true;
}

}  // namespace weir::http

#endif  // LB_HTTP_CHARS_H_
