// What the values of flags look like as text, one type per kind. Each has AbslParseFlag and AbslUnparseFlag,
// so that it can be an Abseil flag (which wants the one to read whatever the other writes, the empty text of
// a flag that was not given included). On failure the error says what is accepted ("expected …"), and the
// caller adds which flag and which text. Lists also have ParseElement, which adds one.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/strings/string_view.h"
#include "lb/config/settings.h"

namespace weir::lb {

// Debian's absl::string_view is a type of its own.
inline absl::string_view Absl(std::string_view text) { return {text.data(), text.size()}; }

// "10s", "500ms", "5m", "1h"; a bare number has no unit and is refused, except 0.
bool ParseDuration(absl::string_view text, uint32_t* ms, std::string* error);
std::string DurationText(uint64_t ms);
// "64MiB", "1GiB", "16k", "4096": KiB, MiB, GiB are powers of 1024, as are k, M and G.
bool ParseSize(absl::string_view text, uint64_t* bytes, std::string* error);
std::string SizeText(uint64_t bytes);
std::string SizeInWords(uint64_t bytes);  // with a unit in any case, for people: 512B
std::string OctalText(uint32_t mode);     // 0660
bool ParseCount(absl::string_view text, uint64_t* count, std::string* error);

template <uint32_t kMin, uint32_t kMax>
struct CountIn {
  static constexpr uint32_t kMost = kMax;
  static constexpr const char* kPlaceholder = "COUNT";
  uint32_t value = kMin;

  friend bool AbslParseFlag(absl::string_view text, CountIn* flag, std::string* error) {
    uint64_t count;
    const bool fits = ParseCount(text, &count, error) && count >= kMin && count <= kMax;
    if (fits) {
      flag->value = static_cast<uint32_t>(count);
    } else {
      *error = "expected a whole number from " + std::to_string(kMin) + " to " + std::to_string(kMax);
    }
    return fits;
  }
  friend std::string AbslUnparseFlag(const CountIn& flag) { return std::to_string(flag.value); }
};

// kMin 0 lets 0 stand for "choose"; what is chosen is the table's business.
template <uint64_t kMin, uint64_t kMax, typename Value>
struct SizeIn {
  static constexpr const char* kPlaceholder = "SIZE";
  Value value = kMin;

  friend bool AbslParseFlag(absl::string_view text, SizeIn* flag, std::string* error) {
    uint64_t bytes;
    if (!ParseSize(text, &bytes, error)) return false;
    if (bytes < kMin || bytes > kMax) {
      *error = "expected a size from " + SizeInWords(kMin) + " to " + SizeInWords(kMax);
      return false;
    }
    flag->value = static_cast<Value>(bytes);
    return true;
  }
  friend std::string AbslUnparseFlag(const SizeIn& flag) { return SizeText(flag.value); }
};

template <bool kZeroAllowed>
struct DurationIn {
  static constexpr uint32_t kMaxMs = 24 * 3'600'000;  // also below what a timer can hold
  static constexpr const char* kPlaceholder = "DURATION";
  uint32_t value = 0;

  friend bool AbslParseFlag(absl::string_view text, DurationIn* flag, std::string* error) {
    if (!ParseDuration(text, &flag->value, error)) return false;
    if (flag->value <= kMaxMs && (flag->value > 0 || kZeroAllowed)) return true;
    *error = std::string("expected a duration from 1ms to ") + DurationText(kMaxMs) +
             (kZeroAllowed ? ", or 0" : "");
    return false;
  }
  friend std::string AbslUnparseFlag(const DurationIn& flag) { return DurationText(flag.value); }
};

struct ListenerList {
  static constexpr const char* kPlaceholder = "URL,...";
  std::vector<ListenerSettings> items;
};
bool ParseElement(absl::string_view text, ListenerList* flag, std::string* error);
bool AbslParseFlag(absl::string_view text, ListenerList* flag, std::string* error);
std::string AbslUnparseFlag(const ListenerList& flag);

// As written: names are resolved later.
struct BackendList {
  static constexpr const char* kPlaceholder = "HOST:PORT[=WEIGHT],...";
  struct Item {
    SocketAddress address;  // family 0: `host` is a name
    std::string host;
    uint16_t port = 0;
    uint32_t weight = 1;
    std::string text;  // without the weight
  };
  std::vector<Item> items;
};
bool ParseElement(absl::string_view text, BackendList* flag, std::string* error);
bool AbslParseFlag(absl::string_view text, BackendList* flag, std::string* error);
std::string AbslUnparseFlag(const BackendList& flag);

struct BalanceName {
  static constexpr const char* kPlaceholder = "NAME";
  Balance value = Balance::kRoundRobin;
};
bool AbslParseFlag(absl::string_view text, BalanceName* flag, std::string* error);
std::string AbslUnparseFlag(const BalanceName& flag);

struct CpuList {
  static constexpr const char* kPlaceholder = "CPU,FIRST-LAST,...";
  std::vector<int> items;
};
bool ParseElement(absl::string_view text, CpuList* flag, std::string* error);
bool AbslParseFlag(absl::string_view text, CpuList* flag, std::string* error);
std::string AbslUnparseFlag(const CpuList& flag);

struct OptionalAddress {
  static constexpr const char* kPlaceholder = "ADDRESS:PORT";
  SocketAddress value;  // family 0: none
};
bool AbslParseFlag(absl::string_view text, OptionalAddress* flag, std::string* error);
std::string AbslUnparseFlag(const OptionalAddress& flag);

// A token (RFC 9110 section 5.6.2).
struct TokenText {
  static constexpr const char* kPlaceholder = "TOKEN";
  std::string value;
};
bool AbslParseFlag(absl::string_view text, TokenText* flag, std::string* error);
std::string AbslUnparseFlag(const TokenText& flag);

// Of a zone: letters, digits, ".", "_" and "-".
struct ZoneText {
  static constexpr const char* kPlaceholder = "NAME";
  std::string value;
};
bool AbslParseFlag(absl::string_view text, ZoneText* flag, std::string* error);
std::string AbslUnparseFlag(const ZoneText& flag);

// "10%", "0.5%", "1/100".
struct ShareText {
  static constexpr const char* kPlaceholder = "PERCENT% or 1/COUNT";
  Share value;
};
bool AbslParseFlag(absl::string_view text, ShareText* flag, std::string* error);
std::string AbslUnparseFlag(const ShareText& flag);

struct PathText {
  static constexpr const char* kPlaceholder = "FILE";
  std::string value;
};
bool AbslParseFlag(absl::string_view text, PathText* flag, std::string* error);
std::string AbslUnparseFlag(const PathText& flag);

}  // namespace weir::lb
