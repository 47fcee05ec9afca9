// Any bytes as a PROXY header: what is said of a part of them holds for more of them; what is read is within
// the bytes, has well-formed TLVs, and is the same when it is written and read again.
#include <cstdint>
#include <string>
#include <string_view>

#include "lb/proxy_protocol/parse.h"
#include "lb/proxy_protocol/tlv.h"
#include "lb/proxy_protocol/write.h"
#include "tests/fuzz/http/fuzz_util.h"

namespace weir::lb {
namespace {

using http::Require;
using State = ProxyParse::State;

void CheckPrefix(std::string_view bytes, size_t cut, const ProxyParse& whole) {
  // A copy: so that a read behind its end is seen.
  const std::string part(bytes.substr(0, cut));
  const ProxyParse parse = ParseProxyHeader(part);
  if (parse.begun) Require(whole.begun, "what begins a header goes on to");
  if (parse.state == State::kNeedMore) {
    Require(parse.bytes > cut, "more is needed than has come");
    Require(parse.bytes <= ProxyHeader::kMostBytes, "the bound holds");
    if (whole.state == State::kDone && cut >= ProxyHeader::kFixedBytes) {
      Require(whole.bytes <= parse.bytes, "its most is its most");
    }
    return;
  }
  Require(parse.state == whole.state && parse.bytes == whole.bytes, "what was decided stays");
}

void CheckHeader(std::string_view bytes, const ProxyParse& parse) {
  const ProxyHeader& header = parse.header;
  Require(parse.bytes > 0 && parse.bytes <= bytes.size(), "the header is within the bytes");
  TlvReader tlvs(header.tlvs);
  while (tlvs.Next()) FindTlv(header.tlvs, tlvs.type());
  Require(tlvs.well_formed(), "well-formed TLVs");
  if (header.local) return;
  for (const ProxyVersion version : {ProxyVersion::kV1, ProxyVersion::kV2}) {
    ProxyFacts facts;
    facts.source = header.source;
    facts.destination = header.destination;
    facts.authority = FindTlv(header.tlvs, ProxyHeader::kAuthority).value_or(std::string_view());
    facts.crc32c = true;
    char out[kMostWrittenProxyBytes];
    const std::string text(out, WriteProxyHeader(version, facts, out));
    const ProxyParse again = ParseProxyHeader(text);
    Require(again.state == State::kDone && again.bytes == text.size(), "what is written can be read");
    Require(!again.header.local && again.header.source == header.source &&
                again.header.destination == header.destination,
            "and says the same");
  }
}

}  // namespace
}  // namespace weir::lb

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace weir::lb;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const ProxyParse whole = ParseProxyHeader(bytes);
  if (whole.state == ProxyParse::State::kDone) CheckHeader(bytes, whole);
  const size_t most = std::min<size_t>(size, 300);
  for (size_t cut = 0; cut < most; ++cut) CheckPrefix(bytes, cut, whole);
  for (const size_t cut : weir::http::CutsOf(bytes)) CheckPrefix(bytes, cut, whole);
  return 0;
}
