#include "lb/http/field.h"

#include <array>
#include <cstddef>

#include "lb/http/chars.h"

namespace weir::http {
namespace {

struct Entry {
  std::string_view name;
  FieldId id;
  uint8_t traits;
};

// Hop-by-hop fields, and what TE, Trailer and Upgrade need, are RFC 9110 section 7.6.1 and 11.7 (Proxy-*:
// credentials for a proxy are not for the origin).
constexpr uint8_t kHop = kHopByHop | kNotInTrailer;
constexpr uint8_t kOurs = kOursInRequest | kNotNameable | kNotInTrailer;
constexpr Entry kEntries[] = {
    {"", FieldId::kUnknown, 0},
    {"Age", FieldId::kAge, kNotInTrailer},
    {"Authorization", FieldId::kAuthorization, kNotNameable | kNotInTrailer},
    {"Cache-Control", FieldId::kCacheControl, kNotInTrailer},
    {"Connection", FieldId::kConnection, kHop | kNotNameable},
    {"Content-Encoding", FieldId::kContentEncoding, kNotInTrailer},
    {"Content-Length", FieldId::kContentLength, kOurs | kOursInResponse},
    {"Content-Range", FieldId::kContentRange, kNotInTrailer},
    {"Content-Type", FieldId::kContentType, kNotInTrailer},
    {"Cookie", FieldId::kCookie, kNotNameable | kNotInTrailer},
    {"Date", FieldId::kDate, kNotNameable | kNotInTrailer},
    {"Expect", FieldId::kExpect, kOurs},
    {"Expires", FieldId::kExpires, kNotInTrailer},
    {"Forwarded", FieldId::kForwarded, kOursInRequest | kNotInTrailer},
    {"Host", FieldId::kHost, kOurs},
    {"HTTP2-Settings", FieldId::kHttp2Settings, kHop},
    {"If-Match", FieldId::kIfMatch, kNotInTrailer},
    {"If-Modified-Since", FieldId::kIfModifiedSince, kNotInTrailer},
    {"If-None-Match", FieldId::kIfNoneMatch, kNotInTrailer},
    {"If-Range", FieldId::kIfRange, kNotInTrailer},
    {"If-Unmodified-Since", FieldId::kIfUnmodifiedSince, kNotInTrailer},
    {"Keep-Alive", FieldId::kKeepAlive, kHop},
    {"Location", FieldId::kLocation, kNotInTrailer},
    {"Max-Forwards", FieldId::kMaxForwards, kNotNameable | kNotInTrailer},
    {"Pragma", FieldId::kPragma, kNotInTrailer},
    {"Proxy-Authenticate", FieldId::kProxyAuthenticate, kHop},
    {"Proxy-Authentication-Info", FieldId::kProxyAuthenticationInfo, kHop},
    {"Proxy-Authorization", FieldId::kProxyAuthorization, kHop},
    {"Proxy-Connection", FieldId::kProxyConnection, kHop},
    {"Range", FieldId::kRange, kNotInTrailer},
    {"Retry-After", FieldId::kRetryAfter, kNotInTrailer},
    {"Set-Cookie", FieldId::kSetCookie, kNotNameable | kNotInTrailer},
    {"TE", FieldId::kTe, kHop},
    {"Trailer", FieldId::kTrailer, kNotInTrailer},
    {"Transfer-Encoding", FieldId::kTransferEncoding, kHop | kNotNameable},
    {"Upgrade", FieldId::kUpgrade, kHop},
    {"Vary", FieldId::kVary, kNotInTrailer},
    {"Via", FieldId::kVia, kOurs | kOursInResponse},
    {"Warning", FieldId::kWarning, kNotInTrailer},
    {"WWW-Authenticate", FieldId::kWwwAuthenticate, kNotInTrailer},
    {"X-Forwarded-For", FieldId::kXForwardedFor, kOurs},
    {"X-Forwarded-Host", FieldId::kXForwardedHost, kOurs},
    {"X-Forwarded-Proto", FieldId::kXForwardedProto, kOurs},
    {"X-Request-ID", FieldId::kXRequestId, kOurs},
};
constexpr size_t kEntryCount = std::size(kEntries);
static_assert(kEntryCount == static_cast<size_t>(FieldId::kCount));

consteval bool InOrder() {
  for (size_t i = 0; i < kEntryCount; ++i) {
    if (static_cast<size_t>(kEntries[i].id) != i) return false;
  }
  return true;
}
static_assert(InOrder());

consteval size_t LongestName() {
  size_t longest = 0;
  for (const Entry& entry : kEntries) longest = entry.name.size() > longest ? entry.name.size() : longest;
  return longest;
}
constexpr size_t kLongestName = LongestName();

// A perfect hash over length, first, middle and last character, found at compile time: one multiplication,
// one load, and one comparison for the names that survive it.
constexpr uint32_t HashInput(std::string_view name) {
  return static_cast<uint32_t>(name.size()) | static_cast<uint32_t>(name.front() | 0x20) << 8 |
         static_cast<uint32_t>(name[name.size() / 2] | 0x20) << 16 |
         static_cast<uint32_t>(name.back() | 0x20) << 24;
}

constexpr size_t Slot(uint32_t input, uint32_t multiplier) { return (input * multiplier) >> 24; }

struct HashTable {
  uint32_t multiplier = 0;
  std::array<uint8_t, 256> ids = {};
};

consteval HashTable FindPerfectHash() {
  std::array<uint32_t, kEntryCount> inputs = {};
  for (size_t i = 1; i < kEntryCount; ++i) inputs[i] = HashInput(kEntries[i].name);
  for (uint32_t multiplier = 2654435761u;; multiplier = multiplier * 1664525u + 1013904223u) {
    HashTable table;
    table.multiplier = multiplier;
    bool collided = false;
    for (size_t i = 1; i < kEntryCount && !collided; ++i) {
      uint8_t& id = table.ids[Slot(inputs[i], multiplier)];
      collided = id != 0;
      id = static_cast<uint8_t>(i);
    }
    if (!collided) return table;
  }
}
constexpr HashTable kHash = FindPerfectHash();

}  // namespace

FieldId FieldIdOf(std::string_view name) {
  if (name.empty() || name.size() > kLongestName) return FieldId::kUnknown;
  const uint32_t input = HashInput(name);
  const Entry& entry = kEntries[kHash.ids[Slot(input, kHash.multiplier)]];
  return IsKeyword(name, entry.name) ? entry.id : FieldId::kUnknown;
}

bool IsTwin(std::string_view a, std::string_view b) {
  const auto read = [](char c) { return IsAlnum(c) ? ToLower(c) : '_'; };
  return a.size() == b.size() &&
         std::equal(a.begin(), a.end(), b.begin(), [&](char x, char y) { return read(x) == read(y); });
}

FieldId TwinOf(std::string_view name) {
  if (name.size() > kLongestName) return FieldId::kUnknown;
  char plain[kLongestName];
  for (size_t i = 0; i < name.size(); ++i) plain[i] = IsAlnum(name[i]) ? name[i] : '-';
  return FieldIdOf({plain, name.size()});
}

std::string_view CanonicalName(FieldId id) { return kEntries[static_cast<size_t>(id)].name; }

uint8_t TraitsOf(FieldId id) { return kEntries[static_cast<size_t>(id)].traits; }

bool ListReader::Next() {
  while (!rest_.empty()) {
    size_t end = 0;
    for (bool quoted = false; end < rest_.size() && (quoted || rest_[end] != ','); ++end) {
      if (quoted && rest_[end] == '\\' && end + 1 < rest_.size()) {
        ++end;
      } else if (rest_[end] == '"') {
        quoted = !quoted;
      }
    }
    std::string_view element = rest_.substr(0, end);
    rest_.remove_prefix(end < rest_.size() ? end + 1 : end);
    while (!element.empty() && IsBlank(element.front())) element.remove_prefix(1);
    while (!element.empty() && IsBlank(element.back())) element.remove_suffix(1);
    if (element.empty()) continue;
    element_ = element;
    return true;
  }
  return false;
}

}  // namespace weir::http
