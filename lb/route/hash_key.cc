#include "lb/route/hash_key.h"

#include <bit>
#include <cstring>

#include "lb/http/chars.h"
#include "lb/route/cookies.h"
#include "lb/route/query.h"

namespace weir::lb {
namespace {

constexpr size_t kMaxNameBytes = 256;

struct Named {
  std::string_view text;  // of those with a name, what stands before it
  HashKey::Of of;
};
constexpr Named kKinds[] = {{"client_ip", HashKey::Of::kClientIp}, {"header:", HashKey::Of::kHeader},
                            {"cookie:", HashKey::Of::kCookie},     {"path", HashKey::Of::kPath},
                            {"query:", HashKey::Of::kQuery},       {"sni", HashKey::Of::kServerName}};

// IPv4-mapped IPv6 as IPv4.
std::string_view AddressBytes(const SocketAddress& address) {
  static constexpr char kMapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, '\xff', '\xff'};
  const std::string_view bytes(reinterpret_cast<const char*>(address.bytes), sizeof(address.bytes));
  if (address.family == AF_INET) return bytes.substr(0, 4);
  if (address.family != AF_INET6) return {};
  return bytes.starts_with(std::string_view(kMapped, sizeof(kMapped))) ? bytes.substr(12) : bytes;
}

std::string_view FirstField(const http::FieldList* fields, std::string_view name) {
  if (fields == nullptr) return {};
  for (const http::Field& field : fields->fields()) {
    if (http::EqualsIgnoreCase(field.name(), name)) return field.value();
  }
  return {};
}

std::string_view FirstCookie(const http::FieldList* fields, std::string_view name) {
  CookieReader reader(fields, name);
  return reader.Next() ? reader.value() : std::string_view();
}

std::optional<uint64_t> Hashed(std::string_view bytes) {
  if (bytes.empty()) return std::nullopt;
  return StableHash(bytes);
}

std::optional<uint64_t> HashOfParameter(std::string_view query, std::string_view name) {
  for (QueryReader reader(query); reader.Next();) {
    if (!DecodedEquals(reader.parameter().name, name)) continue;
    char memory[kMaxDecodedBytes];
    std::string_view decoded;
    return Hashed(Decode(reader.parameter().value, memory, &decoded) ? decoded : reader.parameter().value);
  }
  return std::nullopt;
}

}  // namespace

uint64_t MixBits(uint64_t z) {
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

uint64_t StableHash(std::string_view bytes) {
  static_assert(std::endian::native == std::endian::little, "words are read as they lie");
  constexpr uint64_t kOdd = 0x9e3779b97f4a7c15u;
  uint64_t hash = MixBits(bytes.size() + kOdd);
  uint64_t word = 0;
  for (; bytes.size() >= sizeof(word); bytes.remove_prefix(sizeof(word))) {
    std::memcpy(&word, bytes.data(), sizeof(word));
    hash = MixBits((hash ^ word) + kOdd);
  }
  word = 0;
  if (!bytes.empty()) std::memcpy(&word, bytes.data(), bytes.size());
  return MixBits((hash ^ word) + kOdd);
}

bool HashKey::Parse(std::string_view text, HashKey* out, std::string* error) {
  for (const Named& kind : kKinds) {
    const bool named = kind.text.ends_with(':');
    if (named ? !text.starts_with(kind.text) : text != kind.text) continue;
    const std::string_view name = text.substr(kind.text.size());
    // A parameter's name is compared decoded, and may be anything.
    const bool good = kind.of == Of::kQuery ? !name.empty() : http::IsToken(name);
    if (named && (!good || name.size() > kMaxNameBytes)) break;
    out->of = kind.of;
    out->name = name;
    return true;
  }
  *error = "expected client_ip, header:NAME, cookie:NAME, path, query:NAME or sni";
  return false;
}

std::string HashKey::ToString() const { return std::string(kKinds[static_cast<size_t>(of)].text) + name; }

std::optional<uint64_t> HashKey::HashOf(const RouteRequest& request) const {
  switch (of) {
    case Of::kClientIp:
      return Hashed(AddressBytes(request.client));
    case Of::kHeader:
      return Hashed(FirstField(request.fields, name));
    case Of::kCookie:
      return Hashed(FirstCookie(request.fields, name));
    case Of::kPath:
      return Hashed(request.path);
    case Of::kQuery:
      return HashOfParameter(request.query, name);
    case Of::kServerName:
      return Hashed(request.server_name);
  }
  return std::nullopt;
}

std::string_view WriteHashId(uint64_t id, char (&memory)[kHashIdBytes]) {
  static constexpr char kHex[] = "0123456789abcdef";
  for (char& c : memory) {
    c = kHex[id & 15];
    id >>= 4;
  }
  return {memory, kHashIdBytes};
}

const HashKey* FindHash(std::span<const HashKey> keys, const RouteRequest& request, uint64_t* hash) {
  for (const HashKey& key : keys) {
    const std::optional<uint64_t> found = key.HashOf(request);
    if (!found) continue;
    *hash = *found;
    return &key;
  }
  return nullptr;
}

}  // namespace weir::lb
