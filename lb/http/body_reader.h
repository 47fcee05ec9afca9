// Reads a body of any framing (RFC 9112 section 6.3) from received bytes: one type for requests and
// responses.
//
//   BodyReader reader(facts.body);
//   if (!reader.done()) { BodyPiece piece = reader.Read(bytes, size); ... }
//
// A body without bytes (none, length 0) is done from the start. On end of stream ask AtEof(): it is kDone
// only if the body was close-delimited or already whole, else kError ("truncated"): such a response must not
// look whole downstream. In state kTrailers, parse the section (trailers.h), then call TrailersDone(). 32
// bytes, no allocation.
#ifndef LB_HTTP_BODY_READER_H_
#define LB_HTTP_BODY_READER_H_

#include <cstddef>
#include <cstdint>

#include "lb/http/chunked.h"
#include "lb/http/framing.h"

namespace weir::http {

class BodyReader {
 public:
  BodyReader() = default;
  explicit BodyReader(const BodyFraming& framing);

  // REQUIRES: !done(), !in_trailers(), no earlier kError.
  BodyPiece Read(char* data, size_t size);

  BodyState AtEof();
  void TrailersDone();

  bool done() const { return state_ == BodyState::kDone; }
  bool in_trailers() const { return state_ == BodyState::kTrailers; }
  Framing framing() const { return kind_; }

  // Body bytes known to come next without anything between them, for splicing: the rest of a length, of the
  // current chunk, or UINT64_MAX for close-delimited.
  uint64_t contiguous_bytes() const;
  // The caller moved n of them without showing them. REQUIRES: n <= contiguous_bytes().
  void Skip(uint64_t n);

 private:
  union {
    ChunkedDecoder chunked_ = ChunkedDecoder();
    uint64_t remaining_;
  };
  Framing kind_ = Framing::kNone;
  BodyState state_ = BodyState::kDone;
};
static_assert(sizeof(BodyReader) <= 32);

}  // namespace weir::http

#endif  // LB_HTTP_BODY_READER_H_
