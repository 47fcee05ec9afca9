#include "lb/l7/body_encoder.h"

#include <cstring>

namespace weir::lb {
namespace {

constexpr std::string_view kLineEnd = "\r\n";

}  // namespace

Slice FrameBody(const Slice& in, const http::BodyPiece& piece, http::Framing framing, bool last) {
  Slice out = in;
  const uint32_t end = static_cast<uint32_t>(piece.offset + piece.size);
  out.Truncate(end);
  out.RemovePrefix(static_cast<uint32_t>(piece.offset));
  if (framing != http::Framing::kChunked) return out;

  char before[http::kMaxChunkHeaderBytes];
  char after[2 + http::kLastChunk.size()];
  size_t before_bytes = 0;
  size_t after_bytes = 0;
  if (piece.size > 0) {
    before_bytes = http::ChunkHeader(piece.size, before);
    std::memcpy(after, kLineEnd.data(), kLineEnd.size());
    after_bytes = kLineEnd.size();
  }
  if (last) {
    std::memcpy(after + after_bytes, http::kLastChunk.data(), http::kLastChunk.size());
    after_bytes += http::kLastChunk.size();
  }
  // Behind the data lie dead bytes: the framing that was consumed with it, or, when all of the slice was
  // consumed, nothing but tailroom. A chunk's data that ended with its own line end and last chunk leaves
  // room for ours.
  const size_t dead_behind = piece.consumed == in.size() ? BufferPool::kTailroomBytes : piece.consumed - end;
  if (after_bytes > dead_behind) {
    // The data came without its framing (earlier slices had it): move it to the front, into its headroom.
    const uint32_t shift = static_cast<uint32_t>(after_bytes - dead_behind);
    std::memmove(out.data() - shift, out.data(), out.size());
    out.Grow(shift, 0);
    out.Truncate(out.size() - shift);
  }
  const uint32_t size = out.size();
  out.Grow(static_cast<uint32_t>(before_bytes), static_cast<uint32_t>(after_bytes));
  std::memcpy(out.data(), before, before_bytes);
  std::memcpy(out.data() + before_bytes + size, after, after_bytes);
  return out;
}

bool WriteBefore(std::string_view head, Slice& body) {
  if (body.room_before() < head.size() || body.buffer()->references != 1) return false;
  body.Grow(static_cast<uint32_t>(head.size()), 0);
  std::memcpy(body.data(), head.data(), head.size());
  return true;
}

size_t CopyFramedBody(const char* data, const http::BodyPiece& piece, http::Framing framing, bool last,
                      char* out) {
  char* at = out;
  const bool chunked = framing == http::Framing::kChunked;
  if (piece.size > 0) {
    if (chunked) at += http::ChunkHeader(piece.size, at);
    std::memcpy(at, data + piece.offset, piece.size);
    at += piece.size;
    if (chunked) {
      std::memcpy(at, kLineEnd.data(), kLineEnd.size());
      at += kLineEnd.size();
    }
  }
  if (chunked && last) {
    std::memcpy(at, http::kLastChunk.data(), http::kLastChunk.size());
    at += http::kLastChunk.size();
  }
  return static_cast<size_t>(at - out);
}

}  // namespace weir::lb
