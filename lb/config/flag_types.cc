#include "lb/config/flag_types.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <string_view>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "core/unix_path.h"
#include "lb/balance/balancer.h"

namespace weir::lb {
namespace {

// Debian's absl::string_view is a type of its own.
std::string_view Std(absl::string_view text) { return {text.data(), text.size()}; }

bool Fail(std::string* error, std::string_view expected) {
  *error = expected;
  return false;
}

// The whole of `text` as digits.
bool Digits(std::string_view text, uint64_t* value) {
  if (text.empty() || text.front() < '0' || text.front() > '9') return false;
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), *value);
  return code == std::errc() && end == text.data() + text.size();
}

struct Unit {
  std::string_view name;
  uint64_t factor;
};
constexpr Unit kDurations[] = {{"ms", 1}, {"s", 1'000}, {"m", 60'000}, {"h", 3'600'000}};
constexpr Unit kSizes[] = {{"", 1},          {"B", 1},         {"k", 1 << 10},
                           {"K", 1 << 10},   {"KiB", 1 << 10}, {"M", 1 << 20},
                           {"MiB", 1 << 20}, {"G", 1 << 30},   {"GiB", 1 << 30}};

// Digits, then one of the units.
template <size_t kCount>
bool WithUnit(std::string_view text, const Unit (&units)[kCount], uint64_t* value) {
  const size_t digits = std::min(text.find_first_not_of("0123456789"), text.size());
  if (!Digits(text.substr(0, digits), value)) return false;
  const auto unit = std::find_if(std::begin(units), std::end(units),
                                 [&](const Unit& unit) { return unit.name == text.substr(digits); });
  if (unit == std::end(units) || *value > UINT64_MAX / unit->factor) return false;
  *value *= unit->factor;
  return true;
}

std::string ListText(const auto& items, const auto& text) {
  std::string list;
  for (const auto& item : items) absl::StrAppend(&list, list.empty() ? "" : ",", text(item));
  return list;
}

template <class List>
bool ParseList(absl::string_view text, List* flag, std::string* error) {
  flag->items.clear();
  if (text.empty()) return true;
  for (const absl::string_view element : absl::StrSplit(text, ',')) {
    if (!ParseElement(element, flag, error)) return false;
  }
  return true;
}

constexpr std::string_view kListenerExpected = "expected http:// or tcp://, and ADDRESS:PORT or unix:/PATH";
constexpr std::string_view kBackendExpected =
    "expected HOST:PORT or HOST:PORT=WEIGHT (HOST: a name, an IPv4 address, or an IPv6 address in brackets), "
    "or unix:/PATH";
constexpr std::string_view kPortExpected = "expected a port from 1 to 65535";

bool LooksLikeHostName(std::string_view host) {
  if (host.empty() || host.size() > 253) return false;
  const bool characters = std::all_of(host.begin(), host.end(), [](unsigned char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' ||
           c == '.' || c == '_';
  });
  // Digits and dots alone are an address, if anything.
  return characters && host.find_first_not_of("0123456789.") != std::string_view::npos && host.front() != '-';
}

}  // namespace

bool ParseDuration(absl::string_view text, uint32_t* ms, std::string* error) {
  uint64_t value;
  if (WithUnit(Std(text), kDurations, &value)) {
    *ms = static_cast<uint32_t>(std::min<uint64_t>(value, UINT32_MAX));
    return true;
  }
  if (Digits(Std(text), &value)) {
    *ms = 0;
    if (value == 0) return true;
    return Fail(error,
                absl::StrCat("expected a unit: ", value, "ms, ", value, "s, ", value, "m or ", value, "h"));
  }
  return Fail(error, "expected a duration such as 500ms, 10s, 5m or 1h");
}

std::string DurationText(uint64_t ms) {
  if (ms == 0) return "0";
  for (auto unit = std::rbegin(kDurations); unit != std::rend(kDurations); ++unit) {
    if (ms % unit->factor == 0) return std::to_string(ms / unit->factor) + std::string(unit->name);
  }
  return "";
}

bool ParseSize(absl::string_view text, uint64_t* bytes, std::string* error) {
  if (WithUnit(Std(text), kSizes, bytes)) return true;
  constexpr std::string_view kExpected = "expected a size such as 65536, 64KiB, 256MiB or 1GiB";
  // 10m and 10MB, as others have it.
  const size_t digits = std::min(text.find_first_not_of("0123456789"), text.size());
  const std::string unit = absl::AsciiStrToUpper(text.substr(digits));
  for (const std::string_view known : {"KiB", "MiB", "GiB"}) {
    if (unit != known.substr(0, 1) && unit != absl::StrCat(Absl(known.substr(0, 1)), "B")) continue;
    const std::string meant = absl::StrCat(text.substr(0, digits), Absl(known));
    if (!WithUnit(meant, kSizes, bytes)) break;
    return Fail(error, absl::StrCat(Absl(kExpected), "; did you mean ", meant, "?"));
  }
  return Fail(error, kExpected);
}

std::string SizeText(uint64_t bytes) {
  for (const auto& [name, factor] : {Unit{"GiB", 1 << 30}, Unit{"MiB", 1 << 20}, Unit{"KiB", 1 << 10}}) {
    if (bytes > 0 && bytes % factor == 0) return std::to_string(bytes / factor) + std::string(name);
  }
  return std::to_string(bytes);
}

std::string SizeInWords(uint64_t bytes) {
  const std::string text = SizeText(bytes);
  return bytes == 0 || text.back() == 'B' ? text : text + "B";
}

std::string OctalText(uint32_t mode) {
  std::string text = "0";
  for (const int shift : {6, 3, 0}) text += static_cast<char>('0' + (mode >> shift & 7));
  return text;
}

bool ParseCount(absl::string_view text, uint64_t* count, std::string* error) {
  return Digits(Std(text), count) || Fail(error, "expected a whole number");
}

bool ParseElement(absl::string_view text, ListenerList* flag, std::string* error) {
  ListenerSettings listener;
  listener.text = std::string(text);
  std::string_view rest = Std(text);
  if (rest.starts_with("http://")) {
    listener.protocol = Protocol::kHttp;
    rest.remove_prefix(7);
  } else if (rest.starts_with("tcp://")) {
    listener.protocol = Protocol::kTcp;
    rest.remove_prefix(6);
  } else {
    return Fail(error, kListenerExpected);
  }
  const bool is_unix = rest.starts_with(kUnixPrefix);
  const std::optional<SocketAddress> address =
      is_unix ? ParseUnixAddress(rest, error) : SocketAddress::Parse(rest);
  if (!address && is_unix) return false;
  if (!address) {
    return Fail(error, std::string(kListenerExpected) + ", with a numeric address such as 0.0.0.0 or [::]");
  }
  listener.address = *address;
  flag->items.push_back(std::move(listener));
  return true;
}

bool AbslParseFlag(absl::string_view text, ListenerList* flag, std::string* error) {
  return ParseList(text, flag, error);
}

std::string AbslUnparseFlag(const ListenerList& flag) {
  return ListText(flag.items, [](const ListenerSettings& item) { return item.text; });
}

bool ParseElement(absl::string_view text, BackendList* flag, std::string* error) {
  BackendList::Item item;
  std::string_view rest = Std(text);
  if (const size_t equals = rest.find('='); equals != std::string_view::npos) {
    uint64_t weight;
    if (!Digits(rest.substr(equals + 1), &weight) || weight == 0 || weight > Balancer::kMaxWeight) {
      return Fail(error, absl::StrCat("expected a weight from 1 to ", Balancer::kMaxWeight, " behind the ="));
    }
    item.weight = static_cast<uint32_t>(weight);
    rest = rest.substr(0, equals);
  }
  item.text = rest;
  if (rest.starts_with(kUnixPrefix)) {
    const std::optional<SocketAddress> address = ParseUnixAddress(rest, error);
    if (!address) return false;
    item.address = *address;
    flag->items.push_back(std::move(item));
    return true;
  }
  if (const std::optional<SocketAddress> address = SocketAddress::Parse(rest)) {
    item.address = *address;
    item.port = address->port;
  } else {
    const size_t colon = rest.rfind(':');
    const bool bracketed = !rest.empty() && rest.front() == '[';
    const bool no_port = bracketed ? rest.back() == ']' : colon == std::string_view::npos;
    if (!rest.empty() && no_port) {
      return Fail(error, "the port is missing: expected HOST:PORT or HOST:PORT=WEIGHT");
    }
    uint64_t port;
    if (colon == std::string_view::npos || !Digits(rest.substr(colon + 1), &port)) {
      return Fail(error, kBackendExpected);
    }
    if (port > UINT16_MAX) return Fail(error, kPortExpected);
    if (!LooksLikeHostName(rest.substr(0, colon))) return Fail(error, kBackendExpected);
    item.host = rest.substr(0, colon);
    item.port = static_cast<uint16_t>(port);
  }
  if (item.port == 0) return Fail(error, kPortExpected);
  flag->items.push_back(std::move(item));
  return true;
}

bool AbslParseFlag(absl::string_view text, BackendList* flag, std::string* error) {
  return ParseList(text, flag, error);
}

std::string AbslUnparseFlag(const BackendList& flag) {
  return ListText(flag.items, [](const BackendList::Item& item) {
    return item.weight == 1 ? item.text : absl::StrCat(item.text, "=", item.weight);
  });
}

bool AbslParseFlag(absl::string_view text, BalanceName* flag, std::string* error) {
  const auto name = std::find(std::begin(kBalanceNames), std::end(kBalanceNames), text);
  if (name == std::end(kBalanceNames)) {
    return Fail(error, "expected round_robin, random, least_conn, p2c, ewma, maglev, ring_hash or first");
  }
  flag->value = static_cast<Balance>(name - std::begin(kBalanceNames));
  return true;
}

std::string AbslUnparseFlag(const BalanceName& flag) { return BalanceText(flag.value); }

bool ParseElement(absl::string_view text, CpuList* flag, std::string* error) {
  constexpr uint64_t kMaxCpu = 4095;
  const std::string_view range = Std(text);
  const size_t dash = range.find('-');
  uint64_t first;
  uint64_t last;
  bool good = Digits(range.substr(0, dash), &first);
  last = first;
  if (good && dash != std::string_view::npos) good = Digits(range.substr(dash + 1), &last);
  if (!good || first > last || last > kMaxCpu)
    return Fail(error, "expected CPU numbers and ranges such as 0-3,5");
  for (uint64_t cpu = first; cpu <= last; ++cpu) flag->items.push_back(static_cast<int>(cpu));
  return true;
}

// Neighbours as ranges: 0-3,5.
bool AbslParseFlag(absl::string_view text, CpuList* flag, std::string* error) {
  return ParseList(text, flag, error);
}

std::string AbslUnparseFlag(const CpuList& flag) {
  std::string list;
  for (size_t i = 0; i < flag.items.size();) {
    size_t end = i + 1;
    while (end < flag.items.size() && flag.items[end] == flag.items[end - 1] + 1) ++end;
    absl::StrAppend(&list, list.empty() ? "" : ",", flag.items[i]);
    if (end - i > 1) absl::StrAppend(&list, "-", flag.items[end - 1]);
    i = end;
  }
  return list;
}

bool AbslParseFlag(absl::string_view text, OptionalAddress* flag, std::string* error) {
  flag->value = {};
  if (text.empty()) return true;
  const bool is_unix = Std(text).starts_with(kUnixPrefix);
  const std::optional<SocketAddress> address =
      is_unix ? ParseUnixAddress(Std(text), error) : SocketAddress::Parse(Std(text));
  if (!address && is_unix) return false;
  if (!address) {
    return Fail(error,
                "expected ADDRESS:PORT with a numeric address, such as 127.0.0.1:9901 or [::1]:9901, or "
                "unix:/PATH");
  }
  if (is_unix && address->unix_path()->is_abstract()) {
    return Fail(error, "expected unix:/PATH: an abstract name has no mode, and everybody may connect to it");
  }
  flag->value = *address;
  return true;
}

std::string AbslUnparseFlag(const OptionalAddress& flag) {
  return flag.value.family == 0 ? "" : flag.value.ToString();
}

bool AbslParseFlag(absl::string_view text, TokenText* flag, std::string* error) {
  constexpr size_t kLongest = 64;
  const bool token = std::all_of(text.begin(), text.end(), [](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) ||
           absl::string_view("!#$%&'*+-.^_`|~").find(c) != absl::string_view::npos;
  });
  if (!token || text.size() > kLongest) {
    *error = "expected letters, digits and any of !#$%&'*+-.^_`|~, at most 64 of them";
    return false;
  }
  flag->value = std::string(text);
  return true;
}

std::string AbslUnparseFlag(const TokenText& flag) { return flag.value; }

bool AbslParseFlag(absl::string_view text, ZoneText* flag, std::string* error) {
  constexpr size_t kLongest = 64;
  const bool fits =
      text.size() <= kLongest && std::all_of(text.begin(), text.end(), [](char c) {
        return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '.' || c == '_' || c == '-';
      });
  if (!fits) {
    *error = "expected letters, digits and any of ._-, at most 64 of them";
    return false;
  }
  flag->value = std::string(text);
  return true;
}

std::string AbslUnparseFlag(const ZoneText& flag) { return flag.value; }

bool AbslParseFlag(absl::string_view text, ShareText* flag, std::string* error) {
  constexpr size_t kMostDigits = 9;
  *error = "expected a share, such as 10%, 0.5% or 1/100";
  // Digits, and behind a point more of them: in units of 10^-decimals.
  const auto number = [](absl::string_view digits, uint64_t* value, uint64_t* unit) {
    *value = 0;
    *unit = 1;
    bool point = false;
    size_t count = 0;
    for (const char c : digits) {
      if (c == '.' && !point && count > 0) {
        point = true;
        continue;
      }
      if (c < '0' || c > '9' || ++count > kMostDigits) return false;
      *value = *value * 10 + static_cast<uint64_t>(c - '0');
      if (point) *unit *= 10;
    }
    return count > 0 && digits[digits.size() - 1] != '.';
  };
  uint64_t part;
  uint64_t unit;
  uint64_t whole;
  if (text.size() > 1 && text[text.size() - 1] == '%') {
    if (!number(text.substr(0, text.size() - 1), &part, &unit)) return false;
    whole = 100 * unit;
  } else if (text.size() > 2 && text[0] == '1' && text[1] == '/') {
    part = 1;
    if (!number(text.substr(2), &whole, &unit) || unit != 1 || whole == 0) return false;
  } else {
    return false;
  }
  if (part > whole) return false;
  // At most 10^9 * 2^32 < 2^62.
  flag->value = {.value = part * Share::kAll / whole, .text = std::string(text.data(), text.size())};
  error->clear();
  return true;
}
std::string AbslUnparseFlag(const ShareText& flag) { return flag.value.text; }

bool AbslParseFlag(absl::string_view text, PathText* flag, std::string* /*error*/) {
  flag->value = std::string(text);
  return true;
}

std::string AbslUnparseFlag(const PathText& flag) { return flag.value; }

}  // namespace weir::lb
