// LineWriter: appends the parts of an access line: numbers, times, addresses, and texts from peers, escaped
// so that none of them can break the line or pass for something else. Whatever is in a text, what is written
// is printable ASCII: quotes, backslashes, control bytes and everything above 0x7e are escaped, as JSON does
// (\u00XX) or as nginx does in its logs (\xXX). A text that is longer than its bound is cut and ends with a
// "…", which by that rule cannot come from the peer. Looks at no other bound: whoever makes the line has
// added them all up.
#pragma once

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "core/address.h"

namespace weir::lb {

enum class Escapes : uint8_t { kJson, kHex };

class LineWriter {
 public:
  static constexpr std::string_view kCutMark = "\u2026";

  explicit LineWriter(char* out, Escapes escapes = Escapes::kJson) : at_(out), escapes_(escapes) {}
  char* at() const { return at_; }

  void Raw(std::string_view text) {
    if (!text.empty()) std::memcpy(at_, text.data(), text.size());
    at_ += text.size();
  }
  void Raw(char c) { *at_++ = c; }
  void Number(uint64_t value) { at_ = std::to_chars(at_, at_ + 20, value).ptr; }
  // `digits` decimal digits.
  void Padded(uint32_t value, int digits) {
    for (int i = digits - 1; i >= 0; --i, value /= 10) at_[i] = static_cast<char>('0' + value % 10);
    at_ += digits;
  }
  void Field(std::string_view key_and_colon, uint64_t value) {
    Raw(key_and_colon);
    Number(value);
  }

  // A text in parts, which together become at most `limit` bytes.
  void BeginText(size_t limit) {
    text_end_ = at_ + limit;
    cut_ = false;
  }
  void TextPart(std::string_view part);
  // A part of one character, escaped whatever it is.
  void EscapedPart(char c);
  // For a text of which this is not all.
  void CutText() {
    if (!cut_) Raw(kCutMark);
    cut_ = true;
  }
  void Text(std::string_view text, size_t limit) {
    BeginText(limit);
    TextPart(text);
  }
  void QuotedText(std::string_view text, size_t limit) {
    Raw('"');
    Text(text, limit);
    Raw('"');
  }

  // "192.0.2.7:80", "[2001:db8::1]:80", "unix:/run/app.sock": nothing in it has to be escaped. Without the
  // port "192.0.2.7", "2001:db8::1", "-".
  // Without a port where it is not known: who is behind a proxy has none.
  void Address(const SocketAddress& address) {
    at_ += address.port == 0 && !address.is_unix() ? address.WriteIp(at_) : address.Write(at_);
  }
  void Ip(const SocketAddress& address) {
    char ip[SocketAddress::kMaxIpText + 1];
    Raw(std::string_view(ip, address.WriteIp(ip)));
  }
  // "2026-11-22T14:55:52.123Z", or as NCSA has it "22/Nov/2026:14:55:52 +0000". `wall_ms`: Unix time.
  void IsoTime(int64_t wall_ms);
  void NcsaTime(int64_t wall_ms);

 private:
  // While this much room is left, the next byte fits whatever it becomes, and so does the mark behind it.
  static constexpr ptrdiff_t kRoom = 6 + static_cast<ptrdiff_t>(kCutMark.size());

  void ClockTime(uint32_t hour, uint32_t minute, uint32_t second);
  void Escape(unsigned char c);

  char* at_;
  char* text_end_ = nullptr;
  bool cut_ = false;
  Escapes escapes_;
};

}  // namespace weir::lb
