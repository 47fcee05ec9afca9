#include "lb/http/chunked.h"

#include <algorithm>
#include <cstring>

#include "lb/http/chars.h"
#include "lb/http/framing.h"

namespace weir::http {
namespace {

constexpr uint8_t kMaxSizeDigits = 16;
constexpr uint64_t kDebtPaidPerChunk = 16;

// qdtext and quoted-pair of RFC 9110 section 5.6.4 are field-value characters, apart from the two with a
// meaning.
bool IsQuotedText(char c) { return IsValueChar(c) && c != '"' && c != '\\'; }

}  // namespace

// Data is copied by run, everything between chunks read by byte.
BodyPiece ChunkedDecoder::Decode(char* data, size_t size) {
  BodyPiece piece;
  size_t i = 0;
  while (i < size) {
    if (step_ == Step::kData) {
      const size_t n = static_cast<size_t>(std::min<uint64_t>(remaining_, size - i));
      if (piece.size == 0) {
        piece.offset = i;
      } else {
        memmove(data + piece.offset + piece.size, data + i, n);
      }
      piece.size += n;
      i += n;
      remaining_ -= n;
      if (remaining_ == 0) step_ = Step::kDataCr;
      continue;
    }
    if (step_ == Step::kAfterLast && data[i] != '\r') {
      step_ = Step::kFinished;
      piece.state = BodyState::kTrailers;
      break;
    }
    if (const char* reason = SizeByte(data[i])) {
      step_ = Step::kFinished;
      piece.state = BodyState::kError;
      piece.reason = reason;
      break;
    }
    ++i;
    if (step_ == Step::kFinished) {
      piece.state = BodyState::kDone;
      break;
    }
  }
  piece.consumed = i;
  return piece;
}

void ChunkedDecoder::Skip(uint64_t n) {
  remaining_ -= n;
  if (remaining_ == 0) step_ = Step::kDataCr;
}

// One byte outside the data. Null: fine; else what is wrong.
const char* ChunkedDecoder::SizeByte(char c) {
  switch (step_) {
    case Step::kSize: {
      const int digit = HexValue(c);
      if (digit >= 0) {
        if (size_digits_ == kMaxSizeDigits) return "chunk size too long";
        ++size_digits_;
        remaining_ = remaining_ << 4 | static_cast<uint64_t>(digit);
        return nullptr;
      }
      if (size_digits_ == 0 || (c != '\r' && c != ';')) return "invalid chunk size";
      step_ = c == '\r' ? Step::kSizeLf : Step::kBeforeName;
      return nullptr;
    }
    case Step::kSizeLf:
      return c == '\n' ? EndSizeLine() : "bare CR in a chunk size line";
    case Step::kDataCr:
      step_ = Step::kDataLf;
      return c == '\r' ? nullptr : "no CRLF after the chunk data";
    case Step::kDataLf:
      step_ = Step::kSize;
      return c == '\n' ? nullptr : "no CRLF after the chunk data";
    case Step::kAfterLast:
      step_ = Step::kEndLf;
      return nullptr;
    case Step::kEndLf:
      step_ = Step::kFinished;
      return c == '\n' ? nullptr : "bare CR after the last chunk";
    default:
      return ExtensionByte(c);
  }
}

const char* ChunkedDecoder::EndSizeLine() {
  if (remaining_ > kMaxBodyLength) return "chunk size too large";
  step_ = remaining_ == 0 ? Step::kAfterLast : Step::kData;
  size_digits_ = 0;
  const uint64_t paid = std::min<uint64_t>(remaining_, kMaxExtensionDebt) + kDebtPaidPerChunk;
  extension_debt_ -= static_cast<uint32_t>(std::min<uint64_t>(extension_debt_, paid));
  return nullptr;
}

const char* ChunkedDecoder::ExtensionByte(char c) {
  constexpr const char* kInvalid = "invalid chunk extension";
  if (++extension_debt_ > kMaxExtensionDebt) return "chunk extensions too large";
  const bool token = kTokenChars.Has(c);
  switch (step_) {
    case Step::kBeforeName:
      if (token) step_ = Step::kName;
      return token || IsBlank(c) ? nullptr : kInvalid;
    case Step::kName:
      if (token) return nullptr;
      if (IsBlank(c)) step_ = Step::kAfterName;
      break;
    case Step::kAfterName:
      if (c == '\r') return kInvalid;
      break;
    case Step::kBeforeValue:
      if (c == '"') step_ = Step::kQuoted;
      if (token) step_ = Step::kValue;
      return token || c == '"' || IsBlank(c) ? nullptr : kInvalid;
    case Step::kQuoted:
      if (c == '\\') step_ = Step::kQuotedPair;
      if (c == '"') step_ = Step::kAfterQuoted;
      return IsQuotedText(c) || c == '\\' || c == '"' ? nullptr : kInvalid;
    case Step::kQuotedPair:
      step_ = Step::kQuoted;
      return IsValueChar(c) ? nullptr : kInvalid;
    case Step::kValue:
      if (token) return nullptr;
      if (IsBlank(c)) step_ = Step::kAfterValue;
      break;
    case Step::kAfterQuoted:
      if (IsBlank(c)) step_ = Step::kAfterValue;
      break;
    case Step::kAfterValue:
      if (c == '\r') return kInvalid;
      break;
    default:
      return kInvalid;
  }
  return ExtensionDelimiter(c);
}

// What may stand behind a name or a value.
const char* ChunkedDecoder::ExtensionDelimiter(char c) {
  const bool after_name = step_ == Step::kName || step_ == Step::kAfterName;
  if (IsBlank(c)) return nullptr;
  if (c == ';') {
    step_ = Step::kBeforeName;
  } else if (c == '\r') {
    step_ = Step::kSizeLf;
  } else if (c == '=' && after_name) {
    step_ = Step::kBeforeValue;
  } else {
    return "invalid chunk extension";
  }
  return nullptr;
}

size_t ChunkHeader(uint64_t n, char* out) {
  const int digits = (64 - __builtin_clzll(n) + 3) / 4;
  for (int i = digits - 1; i >= 0; --i) {
    out[i] = "0123456789abcdef"[n & 15];
    n >>= 4;
  }
  out[digits] = '\r';
  out[digits + 1] = '\n';
  return static_cast<size_t>(digits) + 2;
}

}  // namespace weir::http
