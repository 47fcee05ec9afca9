// Frames a piece of body for the next hop (RFC 9112 section 7.1), in place: the piece lies in the slice it
// was received in, and a chunk header and the line ends go around it, into bytes that are dead already
// (framing that was consumed) or into the buffer's head- and tailroom. So a body passes without being copied
// whatever its framing.
#pragma once

#include <string_view>

#include "core/buffer.h"
#include "lb/http/chunked.h"
#include "lb/http/framing.h"

namespace weir::lb {

// What to send for `piece` of `in`. `last`: the body ends with it and no trailers follow. The result shares
// the buffer, and may be empty. REQUIRES: `in` lies in a pool buffer, and the bytes consumed are nobody
// else's any more.
Slice FrameBody(const Slice& in, const http::BodyPiece& piece, http::Framing framing, bool last);

// Writes `head` directly before `body`, where most often the head was received that came with it, and takes
// it in: one plain send instead of a gathered one. False, and nothing done, when there is no room or anybody
// else holds a part of the buffer: it may lie before, and be on its way somewhere.
bool WriteBefore(std::string_view head, Slice& body);

// The same as FrameBody, copied: appends to `out` and returns the bytes written, at most piece.size +
// kMaxFramingBytes.
inline constexpr size_t kMaxFramingBytes = http::kMaxChunkHeaderBytes + 2 + http::kLastChunk.size();
size_t CopyFramedBody(const char* data, const http::BodyPiece& piece, http::Framing framing, bool last,
                      char* out);

}  // namespace weir::lb
