#include "lb/l4/proxy_hello.h"

#include <cstring>
#include <new>

#include "lb/proxy.h"
#include "lb/proxy_protocol/tlv.h"
#include "lb/proxy_protocol/write.h"

namespace weir::lb {
namespace {

constexpr size_t kMadeIdBytes = 32;

// "[::1]:80" is "::1" there, as names of hosts have no brackets.
std::string_view WithoutPort(std::string_view host) {
  if (host.starts_with('[')) return host.substr(1, host.find(']') - 1);
  return host.substr(0, host.rfind(':'));
}

// One for the connection, also in its log lines. Empty: no memory.
std::string_view MakeUniqueId(Proxy& proxy, ClientConnection& client) {
  Arena& arena = proxy.shard().arena();
  Introduction* const before = client.introduction;
  const std::string_view tlvs = before == nullptr ? std::string_view() : before->tlvs();
  constexpr size_t kAddedBytes = TlvReader::kFrontBytes + kMadeIdBytes;
  void* const memory = arena.Allocate(sizeof(Introduction) + tlvs.size() + kAddedBytes);
  if (memory == nullptr) return {};
  auto* const after = new (memory) Introduction;
  if (before != nullptr) {
    *after = *before;
  } else {
    after->peer = client.peer;
  }
  char* at = reinterpret_cast<char*>(after + 1);
  at += tlvs.copy(at, tlvs.size());
  *at++ = static_cast<char>(ProxyHeader::kUniqueId);
  *at++ = 0;
  *at++ = static_cast<char>(kMadeIdBytes);
  proxy.MakeRequestId(at);
  after->tlv_bytes = static_cast<uint32_t>(tlvs.size() + kAddedBytes);
  if (before != nullptr) arena.Free(before);
  client.introduction = after;
  return {at, kMadeIdBytes};
}

Slice Write(BufferPool& buffers, const ProxyHelloSettings& settings, const ProxyFacts& facts) {
  Buffer* const chunk = buffers.TakeChunk(kMostWrittenProxyBytes);
  if (chunk == nullptr) return {};
  return {chunk, 0, static_cast<uint32_t>(WriteProxyHeader(settings.version, facts, chunk->data))};
}

}  // namespace

Slice MakeProxyHello(Proxy& proxy, ClientConnection& client, const ProxyHelloSettings& settings,
                     std::string_view host) {
  ProxyFacts facts;
  std::string_view id;
  if (settings.unique_id) {
    const Introduction* const said = client.introduction;
    id = FindTlv(said == nullptr ? std::string_view() : said->tlvs(), ProxyHeader::kUniqueId)
             .value_or(std::string_view());
    if (id.empty()) id = MakeUniqueId(proxy, client);
    if (id.empty()) return {};
  }
  const Introduction* const said = client.introduction;
  facts.source = client.peer;
  if (said != nullptr) facts.destination = said->destination;
  if (facts.destination.family == 0) {
    proxy.shard().backend().LocalAddress(client.stream.fd(), facts.destination);
  }
  if (settings.authority) {
    const std::optional<std::string_view> given =
        said == nullptr ? std::nullopt : FindTlv(said->tlvs(), ProxyHeader::kAuthority);
    facts.authority = given ? *given : WithoutPort(host);
  }
  facts.unique_id = id;
  facts.crc32c = settings.crc32c;
  return Write(proxy.shard().buffers(), settings, facts);
}

Slice MakeOwnProxyHello(BufferPool& buffers, const ProxyHelloSettings& settings) {
  ProxyFacts facts;
  facts.local = true;
  return Write(buffers, settings, facts);
}

}  // namespace weir::lb
