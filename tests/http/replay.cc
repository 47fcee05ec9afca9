#include "tests/http/replay.h"

#include <cstdio>
#include <cstdlib>
#include <optional>

#include "lb/http/body_reader.h"
#include "lb/http/chunked.h"
#include "lb/http/head_scanner.h"
#include "lb/http/response.h"
#include "lb/http/serialize_request.h"
#include "lb/http/serialize_response.h"
#include "lb/http/trailers.h"

namespace weir::http {
namespace {

constexpr std::string_view kDate = "Sun, 22 Nov 2026 14:26:00 GMT";

void Require(bool condition, const char* what) {
  if (condition) return;
  fprintf(stderr, "replay: %s\n", what);
  abort();
}

template <typename Message, typename Context, typename Serialize>
std::string Serialized(const Message& message, const Context& context, Serialize serialize) {
  // Exactly as many bytes as promised, so that a sanitizer sees one too many.
  const size_t bound = MaxSerializedBytes(message, context);
  std::vector<char> memory(bound);
  const size_t size = serialize(message, context, memory.data());
  Require(size <= bound, "more bytes than MaxSerializedBytes");
  return {memory.data(), size};
}

std::string SerializedTrailers(const Trailers& trailers) {
  std::vector<char> memory(MaxSerializedBytes(trailers));
  const size_t size = SerializeTrailers(trailers, memory.data());
  Require(size <= memory.size(), "more bytes than MaxSerializedBytes");
  return {memory.data(), size};
}

// A message whose head is done: collects the body until it is whole.
class BodyCollector {
 public:
  explicit BodyCollector(const Limits& limits) : limits_(limits), trailers_(limits) {}

  void Start(const BodyFraming& in) {
    reader_ = BodyReader(in);
    data_.clear();
    last_chunk_ = kLastChunk;
    scanner_.Reset();
    scanned_once_ = false;
  }

  bool done() const { return reader_.done(); }
  const Error& error() const { return error_; }
  bool AtEof() { return reader_.AtEof() == BodyState::kDone; }

  // Takes what it can from the front of `pending`; `last`: no more will come. False: an error.
  bool Consume(std::string& pending, bool last) {
    if (!reader_.done() && !reader_.in_trailers() && !pending.empty()) {
      const BodyPiece piece = reader_.Read(pending.data(), pending.size());
      Require(piece.offset + piece.size <= piece.consumed || piece.size == 0,
              "data beyond what was consumed");
      Require(piece.consumed <= pending.size(), "consumed more than there is");
      Require(piece.state != BodyState::kMore || piece.consumed == pending.size(), "kMore with bytes left");
      data_.append(pending, piece.offset, piece.size);
      pending.erase(0, piece.consumed);
      if (piece.state == BodyState::kError) {
        error_ = {400, piece.reason};
        return false;
      }
    }
    return !reader_.in_trailers() || ConsumeTrailers(pending, last);
  }

  std::string Encoded(const BodyFraming& out) const {
    if (out.kind != Framing::kChunked) return data_;
    std::string encoded;
    if (!data_.empty()) {
      char header[kMaxChunkHeaderBytes];
      encoded.append(header, ChunkHeader(data_.size(), header));
      encoded.append(data_).append("\r\n");
    }
    return encoded.append(last_chunk_);
  }

 private:
  bool ConsumeTrailers(std::string& pending, bool last) {
    const bool ready = scanner_.Ready(pending, limits_);
    if (scanned_once_ && !ready && !last) return true;
    scanned_once_ = true;
    const ParseResult result = ParseTrailers(pending, trailers_);
    if (result.state == ParseState::kNeedMore) return true;
    if (result.failed()) {
      error_ = result.error;
      return false;
    }
    last_chunk_ = SerializedTrailers(trailers_);
    pending.erase(0, result.consumed);
    reader_.TrailersDone();
    return true;
  }

  const Limits limits_;
  Trailers trailers_;
  BodyReader reader_;
  HeadScanner scanner_;
  bool scanned_once_ = false;
  Error error_;
  std::string data_;
  std::string last_chunk_;
};

// Parses a growing head as head_scanner.h says, and once more when nothing comes any more: a line that is
// wrong but unfinished may wait until then.
class HeadGate {
 public:
  explicit HeadGate(const Limits& limits) : limits_(limits) {}
  template <typename Parse>
  std::optional<ParseResult> Try(std::string_view pending, bool last, Parse parse) {
    if (pending.empty()) return std::nullopt;
    const bool ready = scanner_.Ready(pending, limits_);
    if (tried_ && !ready && !last) return std::nullopt;
    tried_ = true;
    const ParseResult result = parse(pending);
    if (result.state == ParseState::kNeedMore) return std::nullopt;
    scanner_.Reset();
    tried_ = false;
    return result;
  }

 private:
  const Limits limits_;
  HeadScanner scanner_;
  bool tried_ = false;
};

std::vector<std::string_view> Pieces(std::string_view input, const std::vector<size_t>& cuts) {
  std::vector<std::string_view> pieces;
  size_t begin = 0;
  for (size_t cut : cuts) {
    pieces.push_back(input.substr(begin, cut - begin));
    begin = cut;
  }
  pieces.push_back(input.substr(begin));
  return pieces;
}

class RequestRun {
 public:
  explicit RequestRun(const Limits& limits) : head_(limits, kReplayVia), gate_(limits), body_(limits) {}

  Outcome Run(std::string_view input, const std::vector<size_t>& cuts) {
    for (std::string_view piece : Pieces(input, cuts)) {
      pending_.append(piece);
      while (outcome_.status == 0 && Step()) {
      }
    }
    last_ = true;
    while (outcome_.status == 0 && Step()) {
    }
    if (outcome_.status != 0) return outcome_;
    outcome_.incomplete = in_body_ || !pending_.empty();
    return outcome_;
  }

 private:
  // One step forward; false: nothing to do without more bytes.
  bool Step() {
    if (!in_body_) {
      const auto result =
          gate_.Try(pending_, last_, [&](std::string_view bytes) { return ParseRequest(bytes, head_); });
      if (!result) return false;
      if (result->failed()) return Fail(result->error);
      Begin();
      pending_.erase(0, result->consumed);
    }
    if (!body_.Consume(pending_, last_)) return Fail(body_.error());
    if (!body_.done()) return false;
    outcome_.bytes += message_ + body_.Encoded(framing_);
    in_body_ = false;
    return true;
  }

  void Begin() {
    RequestContext context;
    context.body = framing_ = head_.facts.body;
    context.client_ip = "192.0.2.1";
    context.request_id = "made-here";
    context.via_name = kReplayVia;
    context.default_host = "default.example";
    message_ = Serialized(head_, context, SerializeRequest);
    body_.Start(framing_);
    in_body_ = true;
  }

  bool Fail(const Error& error) {
    outcome_.status = error.status;
    outcome_.reason = error.reason;
    return false;
  }

  RequestHead head_;
  HeadGate gate_;
  BodyCollector body_;
  std::string pending_;
  std::string message_;
  BodyFraming framing_;
  bool in_body_ = false;
  bool last_ = false;  // the whole input has come
  Outcome outcome_;
};

class ResponseRun {
 public:
  ResponseRun(const ResponseCase& response_case, const Limits& limits)
      : case_(response_case), head_(limits), gate_(limits), body_(limits) {}

  Outcome Run(std::string_view input, const std::vector<size_t>& cuts) {
    for (std::string_view piece : Pieces(input, cuts)) {
      pending_.append(piece);
      while (outcome_.status == 0 && !done_ && Step()) {
      }
    }
    last_ = true;
    while (outcome_.status == 0 && !done_ && Step()) {
    }
    if (outcome_.status != 0) return outcome_;
    if (!done_ && case_.eof && in_body_ && body_.AtEof()) Finish();
    outcome_.truncated = !done_ && case_.eof;
    outcome_.incomplete = !done_ && !case_.eof;
    outcome_.extra = done_ ? pending_.size() : 0;
    outcome_.reusable = done_ && pending_.empty() && !case_.eof && facts_.keep_alive && facts_.status != 101;
    return outcome_;
  }

 private:
  bool Step() {
    if (!in_body_) {
      const auto result = gate_.Try(pending_, last_, [&](std::string_view bytes) {
        return ParseResponse(bytes, case_.request, head_);
      });
      if (!result) return false;
      if (result->failed()) return Fail(result->error.reason);
      Begin();
      pending_.erase(0, result->consumed);
      if (facts_.interim()) {
        if (case_.request.minor >= 1) outcome_.bytes += message_;
        return true;
      }
      in_body_ = true;
    }
    if (!body_.Consume(pending_, last_)) return Fail(body_.error().reason);
    if (body_.done()) Finish();
    return false;
  }

  void Begin() {
    facts_ = head_.facts;
    ResponseContext context;
    context.body = framing_ = DownstreamFraming(facts_, case_.request);
    context.client_minor = case_.request.minor;
    context.keep_alive = framing_.kind != Framing::kUntilClose && case_.request.keep_alive;
    context.date = kDate;
    context.via_name = kReplayVia;
    message_ = Serialized(head_, context, SerializeResponse);
    body_.Start(facts_.body);
  }

  void Finish() {
    outcome_.bytes += message_ + body_.Encoded(framing_);
    done_ = true;
  }

  bool Fail(const char* reason) {
    outcome_.status = 502;
    outcome_.reason = reason;
    return false;
  }

  const ResponseCase case_;
  ResponseHead head_;
  HeadGate gate_;
  BodyCollector body_;
  ResponseFacts facts_;
  std::string pending_;
  std::string message_;
  BodyFraming framing_;
  bool in_body_ = false;
  bool last_ = false;  // the whole input has come
  bool done_ = false;
  Outcome outcome_;
};

}  // namespace

Outcome ReplayRequests(std::string_view input, const std::vector<size_t>& cuts, const Limits& limits) {
  return RequestRun(limits).Run(input, cuts);
}

Outcome ReplayResponse(std::string_view input, const std::vector<size_t>& cuts,
                       const ResponseCase& response_case, const Limits& limits) {
  return ResponseRun(response_case, limits).Run(input, cuts);
}

}  // namespace weir::http
