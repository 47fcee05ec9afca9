// The chunked transfer coding (RFC 9112 section 7.1), decoded in place and strictly.
//
// Decode() takes the next bytes of the body and leaves the chunk data it found in one contiguous range of the
// same memory. One chunk (or part of one) in the bytes costs no copy: the range is where the data already
// was; further chunks are moved up behind it. Extensions are checked and dropped; they may not outweigh the
// data (kMaxExtensionDebt). Errors: a size that is not 1 to 16 hex digits at most INT64_MAX, spaces after the
// size, bare CR or LF, anything but CRLF after the data, bad or excessive extensions. Every error means 400
// from a client, 502 (or a truncated response) from an upstream, and the end of both connections. After
// kError or kDone, do not call again before Reset().
#ifndef LB_HTTP_CHUNKED_H_
#define LB_HTTP_CHUNKED_H_

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace weir::http {

enum class BodyState : uint8_t {
  kMore,      // all bytes consumed, the body goes on
  kTrailers,  // the last chunk was read; at data[consumed] begins a non-empty trailer section (see
              // trailers.h)
  kDone,      // the body is complete; bytes from data[consumed] on belong to the next message
  kError,     // the framing is broken; data found before the error is still reported
};

struct BodyPiece {
  size_t offset = 0;  // body data is data[offset, offset + size)
  size_t size = 0;
  size_t consumed = 0;  // bytes of the input that are dealt with; equals the input's size in state kMore
  BodyState state = BodyState::kMore;
  const char* reason = "";  // of kError
};

class ChunkedDecoder {
 public:
  BodyPiece Decode(char* data, size_t size);
  void Reset() { *this = ChunkedDecoder(); }

  // Data bytes of the current chunk still to come: a lower bound for what may be spliced without looking.
  uint64_t chunk_remaining() const { return step_ == Step::kData ? remaining_ : 0; }
  // The caller moved n bytes of chunk data without showing them. REQUIRES: n <= chunk_remaining().
  void Skip(uint64_t n);

  // Extension bytes allowed beyond those paid for by data (each chunk pays 16 plus its size).
  static constexpr uint32_t kMaxExtensionDebt = 4096;

 private:
  enum class Step : uint8_t {
    kSize,
    kSizeLf,
    // The extension grammar: *( BWS ";" BWS name [ BWS "=" BWS ( token / quoted-string ) ] )
    kBeforeName,
    kName,
    kAfterName,
    kBeforeValue,
    kValue,
    kQuoted,
    kQuotedPair,
    kAfterQuoted,
    kAfterValue,
    kData,
    kDataCr,
    kDataLf,
    kAfterLast,
    kEndLf,
    kFinished,
  };

  const char* SizeByte(char c);
  const char* ExtensionByte(char c);
  const char* ExtensionDelimiter(char c);
  const char* EndSizeLine();

  uint64_t remaining_ = 0;  // of the size being read, then of the data
  uint32_t extension_debt_ = 0;
  uint8_t size_digits_ = 0;
  Step step_ = Step::kSize;
};
static_assert(sizeof(ChunkedDecoder) <= 16);

// Writes "<hex n>\r\n" and returns its size, at most kMaxChunkHeaderBytes. REQUIRES: n > 0. The data is to be
// followed by "\r\n", the last chunk of a body is kLastChunk or SerializeTrailers().
inline constexpr size_t kMaxChunkHeaderBytes = 18;
size_t ChunkHeader(uint64_t n, char* out);
inline constexpr std::string_view kLastChunk = "0\r\n\r\n";

}  // namespace weir::http

#endif  // LB_HTTP_CHUNKED_H_
