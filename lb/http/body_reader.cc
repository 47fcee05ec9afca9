#include "lb/http/body_reader.h"

#include <algorithm>

namespace weir::http {

BodyReader::BodyReader(const BodyFraming& framing) : kind_(framing.kind) {
  if (!framing.Empty()) state_ = BodyState::kMore;
  if (kind_ == Framing::kLength) remaining_ = framing.length;
}

BodyPiece BodyReader::Read(char* data, size_t size) {
  BodyPiece piece;
  switch (kind_) {
    case Framing::kNone:
      piece.state = BodyState::kDone;
      break;
    case Framing::kLength:
      piece.size = piece.consumed = static_cast<size_t>(std::min<uint64_t>(remaining_, size));
      remaining_ -= piece.size;
      piece.state = remaining_ == 0 ? BodyState::kDone : BodyState::kMore;
      break;
    case Framing::kUntilClose:
      piece.size = piece.consumed = size;
      break;
    case Framing::kChunked:
      piece = chunked_.Decode(data, size);
      break;
  }
  state_ = piece.state;
  return piece;
}

BodyState BodyReader::AtEof() {
  if (state_ == BodyState::kMore && kind_ == Framing::kUntilClose) state_ = BodyState::kDone;
  if (state_ != BodyState::kDone) state_ = BodyState::kError;
  return state_;
}

void BodyReader::TrailersDone() { state_ = BodyState::kDone; }

uint64_t BodyReader::contiguous_bytes() const {
  if (state_ != BodyState::kMore) return 0;
  switch (kind_) {
    case Framing::kNone:
      return 0;
    case Framing::kLength:
      return remaining_;
    case Framing::kChunked:
      return chunked_.chunk_remaining();
    case Framing::kUntilClose:
      return UINT64_MAX;
  }
  return 0;
}

void BodyReader::Skip(uint64_t n) {
  if (kind_ == Framing::kChunked) {
    chunked_.Skip(n);
  } else if (kind_ == Framing::kLength) {
    remaining_ -= n;
    if (remaining_ == 0) state_ = BodyState::kDone;
  }
}

}  // namespace weir::http
