#include "lb/tls_hello/parse.h"

#include <algorithm>
#include <bitset>
#include <cstring>

#include "lb/tls_hello/alpn.h"

namespace weir::lb {
namespace {

using State = TlsHelloParser::State;

constexpr uint32_t kRecordHeaderBytes = 5;
constexpr uint32_t kMessageHeaderBytes = 4;
constexpr uint8_t kHandshakeRecord = 22;
constexpr uint8_t kClientHello = 1;
constexpr size_t kMostRecordBytes = 1 << 14;
constexpr size_t kRandomBytes = 32;
constexpr size_t kMostSessionIdBytes = 32;
constexpr size_t kMostLabelBytes = 63;
constexpr uint8_t kHostName = 0;
enum Extension : uint16_t { kServerName = 0, kAlpn = 16 };

uint8_t ByteAt(std::string_view bytes, size_t at) { return static_cast<uint8_t>(bytes[at]); }

uint16_t ShortAt(std::string_view bytes, size_t at) {
  return static_cast<uint16_t>(ByteAt(bytes, at) << 8 | ByteAt(bytes, at + 1));
}

// Takes fields from the front of a text. False: it is too short for that.
class Fields {
 public:
  explicit Fields(std::string_view rest) : rest_(rest) {}
  bool empty() const { return rest_.empty(); }
  bool Bytes(size_t count, std::string_view* out) {
    if (count > rest_.size()) return false;
    *out = rest_.substr(0, count);
    rest_.remove_prefix(count);
    return true;
  }
  bool Byte(uint8_t* out) {
    std::string_view bytes;
    if (!Bytes(1, &bytes)) return false;
    *out = ByteAt(bytes, 0);
    return true;
  }
  bool Short(uint16_t* out) {
    std::string_view bytes;
    if (!Bytes(2, &bytes)) return false;
    *out = ShortAt(bytes, 0);
    return true;
  }
  // With a length of one byte, or of two, before them.
  bool Vector8(std::string_view* out) {
    uint8_t length = 0;
    return Byte(&length) && Bytes(length, out);
  }
  bool Vector16(std::string_view* out) {
    uint16_t length = 0;
    return Short(&length) && Bytes(length, out);
  }

 private:
  std::string_view rest_;
};

bool IsHostChar(char c) {
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
}

// As a request's host is spelled for routes: in lower case, without one trailing dot. Addresses of IPv4 look
// like names, and pass.
bool TakeHostName(std::string_view text, TlsHello& hello) {
  if (text.ends_with('.')) text.remove_suffix(1);
  if (text.empty() || text.size() > TlsHello::kMostNameBytes) return false;
  size_t label = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i] >= 'A' && text[i] <= 'Z' ? static_cast<char>(text[i] + ('a' - 'A')) : text[i];
    if (!IsHostChar(c)) return false;
    if (c == '.' && label == 0) return false;
    label = c == '.' ? 0 : label + 1;
    if (label > kMostLabelBytes) return false;
    hello.name_bytes[i] = c;
  }
  if (label == 0) return false;
  hello.name_length = static_cast<uint16_t>(text.size());
  return true;
}

// Null: it is as it should be.
const char* ReadServerName(std::string_view extension, TlsHello& hello) {
  Fields fields(extension);
  std::string_view list;
  if (!fields.Vector16(&list) || !fields.empty()) return "a server name that does not fit";
  Fields names(list);
  uint8_t type = 0;
  std::string_view name;
  if (!names.Byte(&type) || !names.Vector16(&name)) return "a server name that does not fit";
  if (type != kHostName || !names.empty()) return "expected one server name, of a host";
  return TakeHostName(name, hello) ? nullptr : "the server name is not that of a host";
}

bool IsGrease(std::string_view name) {
  return name.size() == 2 && name[0] == name[1] && (ByteAt(name, 0) & 0xf) == 0xa;
}

const char* ReadAlpn(std::string_view extension, TlsHello& hello) {
  Fields fields(extension);
  std::string_view list;
  if (!fields.Vector16(&list) || !fields.empty() || list.empty())
    return "a list of protocols that does not fit";
  AlpnReader reader(list);
  while (reader.Next()) {
    const std::string_view name = reader.name();
    if (IsGrease(name) || hello.alpn_length + 1 + name.size() > TlsHello::kMostAlpnBytes) continue;
    char* const at = hello.alpn_bytes + hello.alpn_length;
    at[0] = static_cast<char>(name.size());
    std::memcpy(at + 1, name.data(), name.size());
    hello.alpn_length = static_cast<uint16_t>(hello.alpn_length + 1 + name.size());
  }
  return reader.well_formed() ? nullptr : "a protocol without a name, or cut short";
}

const char* ReadExtensions(std::string_view all, TlsHello& hello) {
  // One bit for each type that there may be: 8 KiB, and no search for those that came twice.
  std::bitset<1 << 16> seen;
  for (Fields extensions(all); !extensions.empty();) {
    uint16_t type = 0;
    std::string_view extension;
    if (!extensions.Short(&type) || !extensions.Vector16(&extension)) return "an extension is cut short";
    if (seen.test(type)) return "an extension comes twice";
    seen.set(type);
    const char* const wrong = type == kServerName ? ReadServerName(extension, hello)
                              : type == kAlpn     ? ReadAlpn(extension, hello)
                                                  : nullptr;
    if (wrong != nullptr) return wrong;
  }
  return nullptr;
}

// Of the message without its header. Null: it is as it should be.
const char* ReadHello(std::string_view message, TlsHello& hello) {
  Fields fields(message);
  uint16_t version = 0;
  std::string_view random, session_id, suites, compressions, extensions;
  if (!fields.Short(&version) || version >> 8 != 3) return "expected version 3.x";
  if (!fields.Bytes(kRandomBytes, &random)) return "cut short";
  if (!fields.Vector8(&session_id) || session_id.size() > kMostSessionIdBytes)
    return "a session id that does not fit";
  if (!fields.Vector16(&suites) || suites.empty() || suites.size() % 2 != 0)
    return "cipher suites that do not fit";
  if (!fields.Vector8(&compressions) || compressions.empty()) return "compression methods that do not fit";
  if (fields.empty()) return nullptr;  // TLS 1.2 and older may say no more
  if (!fields.Vector16(&extensions) || !fields.empty()) return "extensions that do not fill the rest";
  return ReadExtensions(extensions, hello);
}

// A message of `bytes` bytes that begins with the wire: where it lies if one record has all of it, else put
// together.
[[gnu::noinline]] const char* ReadMessage(std::string_view wire, size_t bytes, TlsHello& hello) {
  if (ShortAt(wire, 3) >= bytes) {
    return ReadHello(wire.substr(kRecordHeaderBytes, bytes).substr(kMessageHeaderBytes), hello);
  }
  char memory[TlsHello::kMostBytes];
  size_t taken = 0;
  for (size_t at = 0; taken < bytes;) {
    const size_t part = std::min<size_t>(ShortAt(wire, at + 3), bytes - taken);
    std::memcpy(memory + taken, wire.data() + at + kRecordHeaderBytes, part);
    taken += part;
    at += kRecordHeaderBytes + part;
  }
  return ReadHello(std::string_view(memory, bytes).substr(kMessageHeaderBytes), hello);
}

}  // namespace

// As far as it has come: who is no TLS is told by the first byte.
State TlsHelloParser::ReadRecordHeader(std::string_view wire) {
  const std::string_view header = wire.substr(at_, kRecordHeaderBytes);
  const size_t size = header.size();
  const bool first = at_ == 0;
  if (size > 0 && ByteAt(header, 0) != kHandshakeRecord)
    return first ? State::kNotTls : Wrong("expected a record of the handshake");
  if (size > 1 && ByteAt(header, 1) != 3) return first ? State::kNotTls : Wrong("expected version 3.x");
  // Whatever x is (RFC 5246 appendix E.1, RFC 8446 section 5.1): old clients say 0, and some say more.
  if (size < kRecordHeaderBytes) return State::kNeedMore;
  const size_t length = ShortAt(header, 3);
  if (length == 0) return Wrong("an empty record");
  if (length > kMostRecordBytes) return Wrong("a record of more than 2^14 bytes");
  in_record_ = static_cast<uint32_t>(length);
  at_ += kRecordHeaderBytes;
  return State::kDone;
}

State TlsHelloParser::ReadMessageHeader(uint8_t byte) {
  if (got_ == 0 && byte != kClientHello) return Wrong("expected a ClientHello");
  if (got_ > 0) length_ = length_ << 8 | byte;
  ++got_;
  ++at_;
  --in_record_;
  return got_ == kMessageHeaderBytes && length_ > TlsHello::kMostBytes - kMessageHeaderBytes
             ? State::kTooLong
             : State::kNeedMore;
}

State TlsHelloParser::Read(std::string_view wire, TlsHello* hello) {
  wire = wire.substr(0, TlsHello::kMostWireBytes);
  while (at_ < wire.size()) {
    if (in_record_ == 0) {
      const State state = ReadRecordHeader(wire);
      if (state == State::kNeedMore) break;
      if (state != State::kDone) return state;
    } else if (got_ < kMessageHeaderBytes) {
      const State state = ReadMessageHeader(ByteAt(wire, at_));
      if (state != State::kNeedMore) return state;
    } else {
      const uint32_t missing = kMessageHeaderBytes + length_ - got_;
      const auto here = static_cast<uint32_t>(std::min<size_t>({in_record_, wire.size() - at_, missing}));
      at_ += here;
      got_ += here;
      in_record_ -= here;
    }
    if (got_ < kMessageHeaderBytes || got_ < kMessageHeaderBytes + length_) continue;
    *hello = TlsHello();
    const char* const wrong = ReadMessage(wire, got_, *hello);
    return wrong == nullptr ? State::kDone : Wrong(wrong);
  }
  return wire.size() == TlsHello::kMostWireBytes ? State::kTooLong : State::kNeedMore;
}

}  // namespace weir::lb
