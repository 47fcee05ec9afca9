// Any bytes as a chunked body: the decoder agrees with a slow one written from the grammar, however they are
// cut, and what it decodes, encoded again, decodes to the same.
#include <cctype>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lb/http/chunked.h"
#include "tests/fuzz/http/fuzz_util.h"

namespace weir::http {
namespace {

struct Decoded {
  BodyState state = BodyState::kMore;
  std::string data;
  size_t consumed = 0;
};

Decoded DecodeInPieces(std::string_view input, const std::vector<size_t>& cuts) {
  Decoded decoded;
  ChunkedDecoder decoder;
  std::vector<size_t> ends = cuts;
  ends.push_back(input.size());
  for (size_t end : ends) {
    if (decoded.state != BodyState::kMore || end == decoded.consumed) continue;
    const std::string_view view = input.substr(decoded.consumed, end - decoded.consumed);
    std::vector<char> bytes(view.begin(), view.end());
    const BodyPiece piece = decoder.Decode(bytes.data(), bytes.size());
    Require(piece.consumed <= bytes.size(), "consumed no more than there is");
    Require(piece.size == 0 || piece.offset + piece.size <= piece.consumed,
            "data lies within what was consumed");
    Require(piece.state != BodyState::kMore || piece.consumed == bytes.size(), "kMore consumes all");
    decoded.data.append(bytes.data() + piece.offset, piece.size);
    decoded.consumed += piece.consumed;
    decoded.state = piece.state;
  }
  return decoded;
}

// The grammar of RFC 9112 section 7.1 read off line by line.
class Reference {
 public:
  explicit Reference(std::string_view input) : rest_(input) {}

  // Null: the input ends first.
  std::optional<Decoded> Run() {
    Decoded decoded;
    while (true) {
      const size_t line_end = rest_.find('\n');
      if (line_end == std::string_view::npos) return std::nullopt;
      uint64_t size = 0;
      if (!SizeLine(rest_.substr(0, line_end + 1), &size)) return Error(decoded);
      rest_.remove_prefix(line_end + 1);
      if (size == 0) return End(decoded);
      if (rest_.size() < size) return std::nullopt;
      decoded.data += rest_.substr(0, size);
      rest_.remove_prefix(size);
      if (rest_.size() < 2) return std::nullopt;
      if (!rest_.starts_with("\r\n")) return Error(decoded);
      rest_.remove_prefix(2);
    }
  }

 private:
  static Decoded Error(Decoded decoded) {
    decoded.state = BodyState::kError;
    return decoded;
  }

  std::optional<Decoded> End(Decoded decoded) {
    if (rest_.empty()) return std::nullopt;
    if (rest_[0] != '\r') {
      decoded.state = BodyState::kTrailers;
      return decoded;
    }
    if (rest_.size() < 2) return std::nullopt;
    decoded.state = rest_[1] == '\n' ? BodyState::kDone : BodyState::kError;
    return decoded;
  }

  bool SizeLine(std::string_view line, uint64_t* size) {
    if (!line.ends_with("\r\n")) return false;
    line.remove_suffix(2);
    size_t digits = 0;
    while (digits < line.size() && isxdigit(static_cast<unsigned char>(line[digits])) != 0) ++digits;
    if (digits == 0 || digits > 16) return false;
    *size = std::stoull(std::string(line.substr(0, digits)), nullptr, 16);
    return *size <= INT64_MAX && Extensions(line.substr(digits));
  }

  static bool IsTokenChar(char c) {
    return isalnum(static_cast<unsigned char>(c)) != 0 ||
           std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
  }
  static void Blanks(std::string_view& text) {
    while (!text.empty() && (text[0] == ' ' || text[0] == '\t')) text.remove_prefix(1);
  }
  static bool Token(std::string_view& text) {
    size_t size = 0;
    while (size < text.size() && IsTokenChar(text[size])) ++size;
    text.remove_prefix(size);
    return size > 0;
  }
  static bool Quoted(std::string_view& text) {
    for (size_t i = 1; i < text.size(); ++i) {
      const unsigned char c = static_cast<unsigned char>(text[i]);
      if (c == '"') {
        text.remove_prefix(i + 1);
        return true;
      }
      if (c == '\\' && ++i == text.size()) return false;
      const unsigned char literal = static_cast<unsigned char>(text[i]);
      if ((literal < 0x20 && literal != '\t') || literal == 0x7f) return false;
    }
    return false;
  }

  static bool Extensions(std::string_view text) {
    if (text.empty()) return true;
    if (text[0] != ';') return false;  // no blanks behind the size
    while (!text.empty()) {
      if (text[0] != ';') return false;
      text.remove_prefix(1);
      Blanks(text);
      if (!Token(text)) return false;
      const std::string_view behind_name = text;
      Blanks(text);
      if (!text.empty() && text[0] == '=') {
        text.remove_prefix(1);
        Blanks(text);
        if (text.empty() || !(text[0] == '"' ? Quoted(text) : Token(text))) return false;
        const std::string_view behind_value = text;
        Blanks(text);
        if (text.empty() && !behind_value.empty()) return false;
      } else if (text.empty() && !behind_name.empty()) {
        return false;
      }
    }
    return true;
  }

  std::string_view rest_;
};

void CheckEncodedAgain(const std::string& data) {
  std::string encoded;
  for (size_t at = 0; at < data.size(); at += 1000) {
    const std::string_view chunk = std::string_view(data).substr(at, 1000);
    char header[kMaxChunkHeaderBytes];
    encoded.append(header, ChunkHeader(chunk.size(), header)).append(chunk).append("\r\n");
  }
  encoded += kLastChunk;
  const Decoded again = DecodeInPieces(encoded, CutsOf(data));
  Require(again.state == BodyState::kDone && again.data == data, "encoding and decoding gives the same");
}

void CheckInput(const uint8_t* bytes, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(bytes), size);
  const Decoded whole = DecodeInPieces(input, {});
  for (const std::vector<size_t>& cuts : {CutsOf(input), EveryByte(input)}) {
    const Decoded cut = DecodeInPieces(input, cuts);
    Require(cut.state == whole.state, "cuts do not change the state");
    Require(cut.data == whole.data, "cuts do not change the data");
    Require(cut.consumed == whole.consumed, "cuts do not change what is consumed");
  }
  // Extensions have a limit that the reference does not know: none of its inputs comes near.
  if (size < ChunkedDecoder::kMaxExtensionDebt) {
    const std::optional<Decoded> reference = Reference(input).Run();
    if (reference) {
      Require(whole.state == reference->state, "the reference comes to the same state");
      Require(whole.data == reference->data, "the reference finds the same data");
    } else {
      Require(whole.state == BodyState::kMore || whole.state == BodyState::kError,
              "no end that is not there");
    }
  }
  if (whole.state == BodyState::kDone) CheckEncodedAgain(whole.data);
}

}  // namespace
}  // namespace weir::http

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  weir::http::CheckInput(data, size);
  return 0;
}
