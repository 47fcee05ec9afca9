// How the end of a message body is found (RFC 9112 section 6.3): the one fact that must never be ambiguous.
#ifndef LB_HTTP_FRAMING_H_
#define LB_HTTP_FRAMING_H_

#include <cstdint>

namespace weir::http {

enum class Framing : uint8_t {
  kNone,        // no body bytes follow and no framing field is written
  kLength,      // exactly `length` bytes follow
  kChunked,     // chunked transfer coding
  kUntilClose,  // responses only: everything up to the end of the connection
};

struct BodyFraming {
  Framing kind = Framing::kNone;
  uint64_t length = 0;  // of kLength only, else 0; at most INT64_MAX

  static constexpr BodyFraming None() { return {}; }
  static constexpr BodyFraming Length(uint64_t n) { return {Framing::kLength, n}; }
  static constexpr BodyFraming Chunked() { return {Framing::kChunked, 0}; }
  static constexpr BodyFraming UntilClose() { return {Framing::kUntilClose, 0}; }

  // No byte of body will come.
  constexpr bool Empty() const { return kind == Framing::kNone || (kind == Framing::kLength && length == 0); }
  friend bool operator==(const BodyFraming&, const BodyFraming&) = default;
};

// Of a body and of a chunk.
inline constexpr uint64_t kMaxBodyLength = INT64_MAX;

}  // namespace weir::http

#endif  // LB_HTTP_FRAMING_H_
