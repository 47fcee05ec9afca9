// Any bytes as the ClientHello that a connection begins with: it is the same in one piece, byte by byte, and
// in a few others; nothing behind what has come is read; the name is one of a host, and the protocols a list.
// What was read keeps to be that when its message is put into other records.
#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "lb/tls_hello/alpn.h"
#include "lb/tls_hello/parse.h"
#include "tests/fuzz/http/fuzz_util.h"

namespace weir::lb {
namespace {

using http::Require;
using State = TlsHelloParser::State;

// Each time from a copy of just what has come, so that a read behind its end is seen.
State InPieces(std::string_view wire, const std::vector<size_t>& cuts, TlsHello* hello) {
  TlsHelloParser parser;
  const auto read = [&](size_t size) {
    const std::unique_ptr<char[]> copy(new char[size]);
    std::copy_n(wire.data(), size, copy.get());
    return parser.Read({copy.get(), size}, hello);
  };
  for (const size_t cut : cuts) {
    const State state = read(cut);
    if (state != State::kNeedMore) return state;
  }
  return read(wire.size());
}

void RequireSame(State state, const TlsHello& hello, State again, const TlsHello& other) {
  Require(state == again, "the same state in pieces");
  if (state != State::kDone) return;
  Require(hello.name() == other.name() && hello.alpn() == other.alpn(), "the same names in pieces");
}

void CheckHello(const TlsHello& hello) {
  const std::string_view name = hello.name();
  Require(name.size() <= TlsHello::kMostNameBytes && hello.alpn().size() <= TlsHello::kMostAlpnBytes,
          "bounds");
  Require(name.empty() || (name.front() != '.' && name.back() != '.'), "no dots around");
  Require(name.find("..") == std::string_view::npos, "no empty label");
  for (const char c : name) {
    Require((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.',
            "a host's name");
  }
  AlpnReader protocols(hello.alpn());
  while (protocols.Next()) Require(HasProtocol(hello.alpn(), protocols.name()), "a protocol is found");
  Require(protocols.well_formed(), "a list of protocols");
}

// REQUIRES: it is a whole hello.
std::string InOtherRecords(std::string_view wire, size_t each) {
  std::string message;
  size_t length = 4;
  for (size_t at = 0; message.size() < length;) {
    const auto byte = [&](size_t i) { return static_cast<size_t>(static_cast<uint8_t>(wire[i])); };
    const size_t size = byte(at + 3) << 8 | byte(at + 4);
    message += wire.substr(at + 5, size);
    at += 5 + size;
    if (message.size() < 4) continue;
    const auto of = [&](size_t i) { return static_cast<size_t>(static_cast<uint8_t>(message[i])); };
    length = 4 + (of(1) << 16 | of(2) << 8 | of(3));
  }
  message.resize(length);
  std::string records;
  for (size_t at = 0; at < message.size(); at += each) {
    const size_t size = std::min(each, message.size() - at);
    records += std::string("\x16\x03\x03", 3) + static_cast<char>(size >> 8) + static_cast<char>(size & 0xff);
    records.append(message, at, size);
  }
  return records;
}

}  // namespace
}  // namespace weir::lb

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace weir::lb;
  const std::string_view wire(reinterpret_cast<const char*>(data), size);
  TlsHello hello, other;
  const State state = InPieces(wire, {}, &hello);
  if (size <= weir::http::kEveryByteLimit) {
    RequireSame(state, hello, InPieces(wire, weir::http::EveryByte(wire), &other), other);
  }
  RequireSame(state, hello, InPieces(wire, weir::http::CutsOf(wire), &other), other);
  if (state != State::kDone) return 0;
  CheckHello(hello);
  for (const size_t each : {16384, 100, 13}) {
    RequireSame(state, hello, InPieces(InOtherRecords(wire, each), {}, &other), other);
  }
  return 0;
}
