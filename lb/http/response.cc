#include "lb/http/response.h"

#include <algorithm>
#include <cstring>

#include "lb/http/chars.h"
#include "lb/http/connection_options.h"
#include "lb/http/field_line.h"
#include "lb/http/framing_fields.h"

namespace weir::http {
namespace {

constexpr uint16_t kBadGateway = 502;
constexpr std::string_view kVersion = "HTTP/1.1 ";

}  // namespace

// One run over one head. Each step returns what stops the run, or kDone to go on.
class ResponseParser {
 public:
  ResponseParser(std::string_view bytes, const RequestFacts& request, ResponseHead& out)
      : out_(out),
        request_(request),
        begin_(bytes.data()),
        end_(bytes.data() + std::min<size_t>(bytes.size(), out.limits_.header_bytes)),
        p_(bytes.data()) {}

  ParseResult Run();

 private:
  ParseState Version();
  ParseState Status();
  ParseState Reason();
  ParseState Fields();
  const char* KnownField(Field& field);
  ParseState Finish();
  ParseState CheckSwitch();
  void ApplyFraming();

  ParseState Fail(const char* reason) {
    reason_ = reason;
    return ParseState::kError;
  }

  ResponseHead& out_;
  const RequestFacts& request_;
  const char* const begin_;
  const char* const end_;
  const char* p_;
  const char* reason_ = "";
  ConnectionOptions connection_{ConnectionOptions::Direction::kResponse};
  FramingFields framing_;
  bool upgrade_unusable_ = false;
};

ParseResult ResponseParser::Run() {
  out_.Clear();
  ParseState state = Version();
  if (state == ParseState::kDone) state = Status();
  if (state == ParseState::kDone) state = Reason();
  if (state == ParseState::kDone) state = Fields();
  if (state == ParseState::kDone) state = Finish();
  if (state == ParseState::kError) return ParseResult::Fail(kBadGateway, reason_);
  if (state == ParseState::kNeedMore) {
    const bool full = static_cast<size_t>(end_ - begin_) == out_.limits_.header_bytes;
    return full ? ParseResult::Fail(kBadGateway, "response head too large") : ParseResult::NeedMore();
  }
  out_.head_bytes = static_cast<uint32_t>(p_ - begin_);
  return ParseResult::Done(out_.head_bytes);
}

ParseState ResponseParser::Version() {
  constexpr size_t kMinor = 7;
  const size_t available = std::min(static_cast<size_t>(end_ - p_), kVersion.size());
  for (size_t i = 0; i < available; ++i) {
    const bool fits = i == kMinor ? IsDigit(p_[i]) : p_[i] == kVersion[i];
    if (!fits) return Fail("invalid HTTP version in the response");
  }
  if (available < kVersion.size()) return ParseState::kNeedMore;
  out_.facts.minor = p_[kMinor] == '0' ? 0 : 1;
  p_ += kVersion.size();
  return ParseState::kDone;
}

ParseState ResponseParser::Status() {
  constexpr ptrdiff_t kDigits = 3;
  uint16_t status = 0;
  for (ptrdiff_t i = 0; i < kDigits; ++i) {
    if (p_ + i == end_) return ParseState::kNeedMore;
    if (!IsDigit(p_[i])) return Fail("invalid status code");
    status = static_cast<uint16_t>(status * 10 + (p_[i] - '0'));
  }
  if (status < 100 || status > 599) return Fail("invalid status code");
  out_.facts.status = status;
  p_ += kDigits;
  return ParseState::kDone;
}

// SP reason CRLF. Servers without a reason often leave out the space too: harmless.
ParseState ResponseParser::Reason() {
  if (p_ == end_) return ParseState::kNeedMore;
  if (*p_ != ' ' && *p_ != '\r') return Fail("invalid status line");
  const char* const reason = *p_ == ' ' ? p_ + 1 : p_;
  const char* const end = SkipValue(reason, {begin_, end_});
  if (static_cast<size_t>(end - reason) > out_.limits_.target_bytes) return Fail("reason phrase too long");
  if (end == end_) return ParseState::kNeedMore;
  if (*end != '\r') return Fail("control character in the reason phrase");
  if (end_ - end < 2) return ParseState::kNeedMore;
  if (end[1] != '\n') return Fail("bare CR");
  out_.reason = {reason, static_cast<size_t>(end - reason)};
  p_ = end + 2;
  return ParseState::kDone;
}

ParseState ResponseParser::Fields() {
  const auto on_field = [this](Field& field) -> const char* {
    if (field.id == FieldId::kUnknown) return nullptr;
    out_.MarkSeen(field.id);
    return KnownField(field);
  };
  const FieldSection section =
      ReadFieldSection(p_, {begin_, end_}, out_.fields_.get(), out_.limits_.fields, on_field);
  if (section.state == LineState::kNeedMore) return ParseState::kNeedMore;
  if (section.state == LineState::kError) {
    return Fail(section.reason == nullptr ? "too many fields" : section.reason);
  }
  out_.field_count_ = section.count;
  p_ = section.end;
  return ParseState::kDone;
}

// Null: fine; else why the response is refused.
const char* ResponseParser::KnownField(Field& field) {
  if ((TraitsOf(field.id) & (kHopByHop | kOursInResponse)) == 0) return nullptr;
  field.flags |= Field::kDrop;
  switch (field.id) {
    case FieldId::kConnection:
      return connection_.Add(field.value());
    case FieldId::kContentLength:
      return framing_.AddLength(field.value());
    case FieldId::kTransferEncoding:
      return framing_.AddCoding(field.value(), out_.facts.minor);
    case FieldId::kUpgrade:
      upgrade_unusable_ |= !out_.upgrade.AddValue(field.value());
      return nullptr;
    default:
      return nullptr;
  }
}

ParseState ResponseParser::Finish() {
  if (out_.facts.status == 101) {
    const ParseState state = CheckSwitch();
    if (state != ParseState::kDone) return state;
  } else if (out_.facts.status != 426 || upgrade_unusable_) {
    out_.upgrade = UpgradeList();
  }
  ApplyFraming();
  const std::span<Field> fields = out_.mutable_fields();
  connection_.DropNamed(fields);
  if (out_.Has(FieldId::kTrailer) && out_.facts.body.kind != Framing::kChunked)
    DropAll(fields, FieldId::kTrailer);
  return ParseState::kDone;
}

// A switch is only good for protocols that were asked for (RFC 9110 section 7.8).
ParseState ResponseParser::CheckSwitch() {
  if (request_.upgrade.empty()) return Fail("101 without an upgrade request");
  if (out_.facts.minor == 0) return Fail("101 in an HTTP/1.0 response");
  if (upgrade_unusable_ || out_.upgrade.empty()) return Fail("101 without a usable Upgrade field");
  for (const Field& field : out_.fields()) {
    if (field.id != FieldId::kUpgrade) continue;
    for (ListReader list(field.value()); list.Next();) {
      if (!request_.upgrade.Contains(list.element())) return Fail("101 to a protocol that was not requested");
    }
  }
  return ParseState::kDone;
}

// RFC 9112 section 6.3.
void ResponseParser::ApplyFraming() {
  ResponseFacts& facts = out_.facts;
  facts.keep_alive = connection_.KeepsAlive(facts.minor);
  if (facts.status < 200 || facts.status == 204) return;
  facts.has_content_length = framing_.has_length();
  facts.content_length = framing_.length();
  if (facts.status == 304 || request_.method == Method::kHead) return;  // the length is that of a GET's body
  facts.body = framing_.body();
  if (facts.body.kind == Framing::kNone) {
    facts.body = BodyFraming::UntilClose();
    facts.keep_alive = false;
  }
}

ResponseHead::ResponseHead(const Limits& limits) : FieldList(limits) {}

void ResponseHead::Clear() {
  FieldList::Clear();
  facts = ResponseFacts();
  reason = {};
  upgrade = UpgradeList();
  head_bytes = 0;
}

ParseResult ParseResponse(std::string_view bytes, const RequestFacts& request, ResponseHead& out) {
  return ResponseParser(bytes, request, out).Run();
}

}  // namespace weir::http
