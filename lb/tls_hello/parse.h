// Reads the ClientHello that a TLS connection begins with, for the server name and the protocols that the
// client asks for. Nothing is decrypted and no TLS library is asked: what is read is what everybody on the
// way can read (of Encrypted ClientHello the outer names).
//
// Source: RFC 8446 4.1.2, 4.2 and 5.1, which TLS 1.0 to 1.2 are in keeping with; server names RFC 6066 3;
// protocols RFC 7301 3.1. Strict where these are: records of handshake type, version 3.1 to 3.3, 1 to 2^14
// bytes each; lengths that fill what they are in to the byte; no extension twice; one server name, which is
// that of a host; protocols with a name. What is not known (GREASE, RFC 8701, too) is passed over.
//
// A parser is 24 bytes of state for one connection, and looks at each record once, however its bytes arrive.
// Pure: no clock, no sockets, no allocation.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace weir::lb {

// What was asked for. Value type.
struct TlsHello {
  static constexpr size_t kMostBytes = 16 * 1024;  // of the message, without records
  // With its records: 16 KiB in fragments of seven bytes, or 5,000 bytes in fragments of one.
  static constexpr size_t kMostWireBytes = 30'000;
  static constexpr size_t kMostNameBytes = 253;  // RFC 1035 2.3.4
  static constexpr size_t kMostAlpnBytes = 256;

  // In lower case, without a trailing dot. Empty: none is named.
  std::string_view name() const { return {name_bytes, name_length}; }
  // As a list that AlpnReader reads, without GREASE. Of those that do not fit none is here.
  std::string_view alpn() const { return {alpn_bytes, alpn_length}; }

  uint16_t name_length = 0;
  uint16_t alpn_length = 0;
  char name_bytes[kMostNameBytes];  // what lies behind these lengths means nothing
  char alpn_bytes[kMostAlpnBytes];
};

class TlsHelloParser {
 public:
  enum class State : uint8_t {
    kNeedMore,
    kDone,
    kNotTls,     // this is something else
    kMalformed,  // TLS it is, and breaks a rule
    kTooLong,    // likewise: it is longer than may be
  };

  // `wire` is all that has come so far: each time the same bytes with others behind them. kDone: `hello` is
  // what they say; else it is nothing. Any but kNeedMore is the last word: call no more.
  State Read(std::string_view wire, TlsHello* hello);
  // kMalformed: a constant sentence, for tests and people.
  const char* why() const { return why_; }

 private:
  State ReadRecordHeader(std::string_view wire);
  State ReadMessageHeader(uint8_t byte);
  State Wrong(const char* why) {
    why_ = why;
    return State::kMalformed;
  }

  uint32_t at_ = 0;         // in the wire: all before it was looked at
  uint32_t in_record_ = 0;  // bytes of the current record that come next
  uint32_t got_ = 0;        // bytes of the message
  uint32_t length_ = 0;     // of the message, without its header; as far as it is known
  const char* why_ = "";
};

}  // namespace weir::lb
