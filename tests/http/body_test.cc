// The chunked decoder, its trailers, and the reader of every framing. Syntax is covered by the fixtures; here
// stand the properties: whatever is encoded is decoded, however it is cut, in place, and nothing beyond it is
// touched.
#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "lb/http/body_reader.h"
#include "lb/http/chunked.h"
#include "lb/http/trailers.h"

namespace weir::http {
namespace {

std::string Hex(uint64_t n) {
  char header[kMaxChunkHeaderBytes];
  const size_t size = ChunkHeader(n, header);
  EXPECT_LE(size, kMaxChunkHeaderBytes);
  return {header, size};
}

TEST(ChunkHeaderTest, Sizes) {
  EXPECT_EQ(Hex(1), "1\r\n");
  EXPECT_EQ(Hex(15), "f\r\n");
  EXPECT_EQ(Hex(16), "10\r\n");
  EXPECT_EQ(Hex(0xabcdef), "abcdef\r\n");
  EXPECT_EQ(Hex(UINT64_MAX), "ffffffffffffffff\r\n");
}

TEST(ChunkedDecoderTest, OneChunkIsNotMoved) {
  std::string bytes = "5\r\nhello\r\n";
  ChunkedDecoder decoder;
  const BodyPiece piece = decoder.Decode(bytes.data(), bytes.size());
  EXPECT_EQ(piece.state, BodyState::kMore);
  EXPECT_EQ(piece.offset, 3u);
  EXPECT_EQ(piece.size, 5u);
  EXPECT_EQ(bytes, "5\r\nhello\r\n");
}

TEST(ChunkedDecoderTest, FurtherChunksAreMovedUp) {
  std::string bytes = "5\r\nhello\r\n6\r\n world\r\n0\r\n\r\nnext";
  ChunkedDecoder decoder;
  const BodyPiece piece = decoder.Decode(bytes.data(), bytes.size());
  EXPECT_EQ(piece.state, BodyState::kDone);
  EXPECT_EQ(bytes.substr(piece.offset, piece.size), "hello world");
  EXPECT_EQ(bytes.substr(piece.consumed), "next");
}

TEST(ChunkedDecoderTest, DataBeforeAnErrorIsReported) {
  std::string bytes = "5\r\nhello\r\nzz\r\n";
  ChunkedDecoder decoder;
  const BodyPiece piece = decoder.Decode(bytes.data(), bytes.size());
  EXPECT_EQ(piece.state, BodyState::kError);
  EXPECT_STREQ(piece.reason, "invalid chunk size");
  EXPECT_EQ(bytes.substr(piece.offset, piece.size), "hello");
}

TEST(ChunkedDecoderTest, SkippedDataNeedNotBeSeen) {
  std::string bytes = "a\r\n012";
  ChunkedDecoder decoder;
  decoder.Decode(bytes.data(), bytes.size());
  EXPECT_EQ(decoder.chunk_remaining(), 7u);
  decoder.Skip(7);
  EXPECT_EQ(decoder.chunk_remaining(), 0u);
  std::string rest = "\r\n0\r\n\r\n";
  EXPECT_EQ(decoder.Decode(rest.data(), rest.size()).state, BodyState::kDone);
}

TEST(ChunkedDecoderTest, ExtensionsArePaidForByData) {
  std::string bytes;
  const std::string extension = ";" + std::string(80, 's');
  for (int i = 0; i < 1000; ++i) bytes += "64" + extension + "\r\n" + std::string(100, 'x') + "\r\n";
  ChunkedDecoder decoder;
  EXPECT_EQ(decoder.Decode(bytes.data(), bytes.size()).state, BodyState::kMore);
}

class RandomBody {
 public:
  explicit RandomBody(uint32_t seed) : random_(seed) {}

  size_t Below(size_t n) { return std::uniform_int_distribution<size_t>(0, n - 1)(random_); }

  std::string Data() {
    std::string data(Below(4) == 0 ? 0 : Below(3000), '\0');
    for (char& c : data) c = "\r\n0;a"[Below(5)];
    return data;
  }

  std::string Encode(std::string_view data) {
    std::string encoded;
    while (!data.empty()) {
      const size_t n = 1 + Below(std::min<size_t>(data.size(), 1 + Below(200)));
      std::string header = Hex(n);
      header.insert(header.size() - 2, Extension());
      header.insert(0, Below(4), '0');
      encoded.append(header).append(data.substr(0, n)).append("\r\n");
      data.remove_prefix(n);
    }
    return encoded + "0" + Extension() + "\r\n\r\n";
  }

  std::vector<size_t> Cuts(size_t size) {
    std::vector<size_t> cuts(Below(20));
    for (size_t& cut : cuts) cut = Below(size + 1);
    std::sort(cuts.begin(), cuts.end());
    cuts.push_back(size);
    return cuts;
  }

 private:
  std::string Extension() {
    constexpr const char* kExtensions[] = {"", "", "", ";a", ";a=b", ";a=\"x;\\\"y\"", "; q = 1;r"};
    return kExtensions[Below(std::size(kExtensions))];
  }

  std::mt19937 random_;
};

// Decodes `bytes` piece by piece from exactly sized memory.
std::string Decode(BodyReader& reader, std::string_view bytes, const std::vector<size_t>& cuts,
                   std::string* rest) {
  std::string data;
  size_t at = 0;
  for (size_t cut : cuts) {
    std::vector<char> piece_bytes(bytes.begin() + static_cast<ptrdiff_t>(at),
                                  bytes.begin() + static_cast<ptrdiff_t>(cut));
    at = cut;
    if (reader.done()) {
      rest->append(piece_bytes.data(), piece_bytes.size());
      continue;
    }
    const BodyPiece piece = reader.Read(piece_bytes.data(), piece_bytes.size());
    EXPECT_NE(piece.state, BodyState::kError) << piece.reason;
    data.append(piece_bytes.data() + piece.offset, piece.size);
    rest->append(piece_bytes.data() + piece.consumed, piece_bytes.size() - piece.consumed);
  }
  return data;
}

TEST(BodyPropertyTest, DecodeOfEncodeIsTheSameHoweverItIsCut) {
  for (uint32_t seed = 0; seed < 2000; ++seed) {
    RandomBody random(seed);
    const std::string data = random.Data();
    const std::string bytes = random.Encode(data) + "NEXT";
    BodyReader reader(BodyFraming::Chunked());
    std::string rest;
    ASSERT_EQ(Decode(reader, bytes, random.Cuts(bytes.size()), &rest), data) << seed;
    ASSERT_TRUE(reader.done()) << seed;
    ASSERT_EQ(rest, "NEXT") << seed;
  }
}

TEST(BodyPropertyTest, LengthHoweverItIsCut) {
  for (uint32_t seed = 0; seed < 500; ++seed) {
    RandomBody random(seed);
    const std::string data = random.Data();
    BodyReader reader(BodyFraming::Length(data.size()));
    std::string rest;
    const std::string bytes = data + "NEXT";
    ASSERT_EQ(Decode(reader, bytes, random.Cuts(bytes.size()), &rest), data) << seed;
    ASSERT_TRUE(reader.done()) << seed;
    ASSERT_EQ(rest, "NEXT") << seed;
  }
}

TEST(BodyReaderTest, EmptyBodiesAreDoneAtOnce) {
  EXPECT_TRUE(BodyReader().done());
  EXPECT_TRUE(BodyReader(BodyFraming::None()).done());
  EXPECT_TRUE(BodyReader(BodyFraming::Length(0)).done());
  EXPECT_FALSE(BodyReader(BodyFraming::Chunked()).done());
  EXPECT_FALSE(BodyReader(BodyFraming::UntilClose()).done());
}

TEST(BodyReaderTest, EndOfStream) {
  char byte = 'x';
  BodyReader until_close(BodyFraming::UntilClose());
  EXPECT_EQ(until_close.Read(&byte, 1).state, BodyState::kMore);
  EXPECT_EQ(until_close.AtEof(), BodyState::kDone);
  EXPECT_TRUE(until_close.done());

  BodyReader length(BodyFraming::Length(2));
  length.Read(&byte, 1);
  EXPECT_EQ(length.AtEof(), BodyState::kError);

  BodyReader whole(BodyFraming::Length(1));
  whole.Read(&byte, 1);
  EXPECT_EQ(whole.AtEof(), BodyState::kDone);

  BodyReader chunked(BodyFraming::Chunked());
  EXPECT_EQ(chunked.AtEof(), BodyState::kError);

  BodyReader trailers(BodyFraming::Chunked());
  std::string bytes = "0\r\nA";
  EXPECT_EQ(trailers.Read(bytes.data(), bytes.size()).state, BodyState::kTrailers);
  EXPECT_TRUE(trailers.in_trailers());
  EXPECT_EQ(trailers.AtEof(), BodyState::kError);
}

TEST(BodyReaderTest, ContiguousBytesMayBeSkipped) {
  BodyReader length(BodyFraming::Length(10));
  EXPECT_EQ(length.contiguous_bytes(), 10u);
  length.Skip(9);
  EXPECT_EQ(length.contiguous_bytes(), 1u);
  EXPECT_FALSE(length.done());
  length.Skip(1);
  EXPECT_TRUE(length.done());
  EXPECT_EQ(length.contiguous_bytes(), 0u);

  BodyReader chunked(BodyFraming::Chunked());
  EXPECT_EQ(chunked.contiguous_bytes(), 0u);
  std::string bytes = "10\r\n";
  chunked.Read(bytes.data(), bytes.size());
  EXPECT_EQ(chunked.contiguous_bytes(), 16u);
  chunked.Skip(16);
  EXPECT_EQ(chunked.contiguous_bytes(), 0u);
  EXPECT_FALSE(chunked.done());

  EXPECT_EQ(BodyReader(BodyFraming::UntilClose()).contiguous_bytes(), UINT64_MAX);
}

TEST(BodyReaderTest, TrailersEndTheBody) {
  std::string bytes = "0\r\nA: b\r\nHost: evil\r\nC:d\r\n\r\nNEXT";
  BodyReader reader(BodyFraming::Chunked());
  const BodyPiece piece = reader.Read(bytes.data(), bytes.size());
  ASSERT_EQ(piece.state, BodyState::kTrailers);
  Trailers trailers{Limits()};
  const ParseResult result = ParseTrailers(std::string_view(bytes).substr(piece.consumed), trailers);
  ASSERT_TRUE(result.done());
  reader.TrailersDone();
  EXPECT_TRUE(reader.done());
  EXPECT_EQ(bytes.substr(piece.consumed + result.consumed), "NEXT");
  std::vector<char> memory(MaxSerializedBytes(trailers));
  EXPECT_EQ(std::string(memory.data(), SerializeTrailers(trailers, memory.data())),
            "0\r\nA: b\r\nC: d\r\n\r\n");
}

TEST(TrailersTest, DigestsMayBeTrailersAndOtherContentFieldsMayNot) {
  Trailers trailers{Limits()};
  ASSERT_TRUE(
      ParseTrailers("Content-Digest: x\r\nContent-Location: /\r\ngrpc-status: 0\r\n\r\n", trailers).done());
  EXPECT_FALSE(trailers.fields()[0].dropped());
  EXPECT_TRUE(trailers.fields()[1].dropped());
  EXPECT_FALSE(trailers.fields()[2].dropped());
}

}  // namespace
}  // namespace weir::http
