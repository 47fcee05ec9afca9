#include "lb/http/request.h"

#include <algorithm>
#include <cstring>

#include "lb/http/chars.h"
#include "lb/http/connection_options.h"
#include "lb/http/field_line.h"
#include "lb/http/framing_fields.h"
#include "lb/http/target.h"

namespace weir::http {
namespace {

constexpr size_t kMaxMethodBytes = 32;
constexpr size_t kMaxRequestIdBytes = 128;
constexpr int32_t kManyForwards = 1'000'000'000;
constexpr std::string_view kVersionLineEnd = "HTTP/1.1\r\n";

constexpr CharSet kRequestIdChars =
    CharSet::Where([](char c) { return IsAlnum(c) || IsOneOf(c, "._~+/=:@-"); });

bool IsValidRequestId(std::string_view text) {
  return !text.empty() && text.size() <= kMaxRequestIdBytes && kRequestIdChars.HasAll(text);
}

// Via = protocol SP received-by [ SP comment ], a list (RFC 9110 section 7.6.3).
bool ViaNames(std::string_view value, std::string_view name) {
  for (ListReader list(value); list.Next();) {
    std::string_view rest = list.element();
    const size_t protocol_end = rest.find_first_of(" \t");
    if (protocol_end == std::string_view::npos) continue;
    rest.remove_prefix(protocol_end);
    while (!rest.empty() && IsBlank(rest.front())) rest.remove_prefix(1);
    if (EqualsIgnoreCase(rest.substr(0, rest.find_first_of(" \t")), name)) return true;
  }
  return false;
}

}  // namespace

// One run over one head. Each step returns what stops the run, or kDone to go on.
class RequestParser {
 public:
  RequestParser(std::string_view bytes, RequestHead& out)
      : out_(out),
        begin_(bytes.data()),
        end_(bytes.data() + std::min<size_t>(bytes.size(), out.limits_.header_bytes)),
        p_(bytes.data()) {}

  ParseResult Run();

 private:
  ParseState SkipEmptyLine();
  ParseState Method();
  ParseState RefuseMethod(uint16_t status, const char* reason);
  const char* ReadTarget();
  ParseState Target();
  ParseState OtherTarget();
  ParseState Version();
  ParseState OtherVersion(size_t available);
  ParseState Fields();
  const char* KnownField(Field& field);
  void OddField(Field& field);
  const char* MaxForwards(Field& field);
  void Te(const Field& field);
  void Expect(const Field& field);
  void RequestId(const Field& field);
  ParseState Finish();
  void ApplyConnection();

  ParseState Fail(uint16_t status, const char* reason) {
    error_ = {status, reason};
    return ParseState::kError;
  }

  RequestHead& out_;
  const char* const begin_;
  const char* const end_;
  const char* p_;
  Error error_;
  ConnectionOptions connection_{ConnectionOptions::Direction::kRequest};
  FramingFields framing_;
  bool upgrade_unusable_ = false;
  bool unknown_expectation_ = false;
  bool expects_continue_ = false;
  bool looped_ = false;
  std::string_view host_;
};

ParseResult RequestParser::Run() {
  out_.Clear();
  ParseState state = SkipEmptyLine();
  if (state == ParseState::kDone) state = Method();
  if (state == ParseState::kDone) state = Target();
  if (state == ParseState::kDone) state = Version();
  if (state == ParseState::kDone) state = Fields();
  if (state == ParseState::kDone) state = Finish();
  if (state == ParseState::kError) return ParseResult::Fail(error_.status, error_.reason);
  if (state == ParseState::kNeedMore) {
    const bool full = static_cast<size_t>(end_ - begin_) == out_.limits_.header_bytes;
    return full ? ParseResult::Fail(431, "request head too large") : ParseResult::NeedMore();
  }
  out_.head_bytes = static_cast<uint32_t>(p_ - begin_);
  return ParseResult::Done(out_.head_bytes);
}

ParseState RequestParser::SkipEmptyLine() {
  if (p_ == end_) return ParseState::kNeedMore;
  if (*p_ != '\r') [[likely]]
    return ParseState::kDone;
  if (end_ - p_ < 2) return ParseState::kNeedMore;
  if (p_[1] != '\n') return Fail(400, "bare CR");
  p_ += 2;
  return p_ == end_ ? ParseState::kNeedMore : ParseState::kDone;
}

ParseState RequestParser::Method() {
  const char* const end = kTokenChars.Skip(p_, {begin_, end_});
  const size_t size = static_cast<size_t>(end - p_);
  if (size > kMaxMethodBytes) return Fail(400, "method too long");
  if (end == end_) return ParseState::kNeedMore;
  if (size == 0 || *end != ' ') return Fail(400, "invalid method");
  out_.method = {p_, size};
  out_.facts.method = MethodOf(out_.method);
  p_ = end + 1;
  if (out_.facts.method == Method::kConnect) return RefuseMethod(501, "CONNECT is not supported");
  if (out_.method == "PRI") return RefuseMethod(400, "HTTP/2 preface on an HTTP/1 connection");
  return ParseState::kDone;
}

// With a look at the target, for the log.
ParseState RequestParser::RefuseMethod(uint16_t status, const char* reason) {
  ReadTarget();
  return Fail(status, reason);
}

// The end of what may be a target, good or not.
const char* RequestParser::ReadTarget() {
  const char* const end = kTargetChars.Skip(p_, {begin_, end_});
  out_.received_target = {p_, static_cast<size_t>(end - p_)};
  out_.target_read = end != end_ && (*end == ' ' || *end == '\r' || *end == '\n');
  return end;
}

ParseState RequestParser::Target() {
  const char* const origin_form_end = SkipOriginForm(p_, {begin_, end_});
  const size_t origin_form_size = static_cast<size_t>(origin_form_end - p_);
  const bool plain = origin_form_end != end_ && *origin_form_end == ' ' && origin_form_size > 0;
  if (!plain || origin_form_size > out_.limits_.target_bytes) return OtherTarget();
  out_.target = out_.received_target = {p_, origin_form_size};
  out_.target_read = true;
  p_ = origin_form_end + 1;
  return ParseState::kDone;
}

// Anything but a complete good origin-form.
ParseState RequestParser::OtherTarget() {
  const char* const end = ReadTarget();
  const size_t size = static_cast<size_t>(end - p_);
  if (size > out_.limits_.target_bytes) return Fail(414, "target too long");
  if (end == end_) return ParseState::kNeedMore;
  if (*end == '\r' || *end == '\n') return Fail(400, "no HTTP version");
  if (*end != ' ') return Fail(400, "invalid character in the target");
  if (size == 0) return Fail(400, "empty target");
  struct Target target;
  if (const char* reason = ParseTarget({p_, size}, out_.facts.method, &target)) return Fail(400, reason);
  out_.target = target.path;
  out_.target_lacks_slash = target.lacks_slash;
  out_.authority = target.authority;
  out_.facts.https_target = target.https;
  p_ = end + 1;
  return ParseState::kDone;
}

ParseState RequestParser::Version() {
  const size_t available = std::min(static_cast<size_t>(end_ - p_), kVersionLineEnd.size());
  if (available < kVersionLineEnd.size() || memcmp(p_, kVersionLineEnd.data(), kVersionLineEnd.size()) != 0) {
    return OtherVersion(available);
  }
  out_.version_read = true;
  p_ += kVersionLineEnd.size();
  return ParseState::kDone;
}

// Anything but a complete `HTTP/1.1`: 1.0, a higher 1.x (read as 1.1, RFC 9110 section 2.5), the wrong, the
// unfinished.
ParseState RequestParser::OtherVersion(size_t available) {
  constexpr size_t kMajor = 5;
  constexpr size_t kMinor = 7;
  for (size_t i = 0; i < available; ++i) {
    const bool fits = i == kMajor || i == kMinor ? IsDigit(p_[i]) : p_[i] == kVersionLineEnd[i];
    if (!fits) return Fail(400, "invalid HTTP version");
    if (i == kMajor && p_[i] == '0') return Fail(400, "HTTP/0.x is not supported");
  }
  if (available < kVersionLineEnd.size()) return ParseState::kNeedMore;
  if (p_[kMajor] != '1') return Fail(505, "HTTP version not supported");
  if (p_[kMinor] == '0') out_.facts.minor = 0;
  out_.version_read = true;
  p_ += kVersionLineEnd.size();
  return ParseState::kDone;
}

ParseState RequestParser::Fields() {
  const auto on_field = [this](Field& field) -> const char* {
    if (field.id == FieldId::kUnknown) {
      if ((field.flags & Field::kOddName) != 0) OddField(field);
      return nullptr;
    }
    const char* const reason = KnownField(field);
    out_.MarkSeen(field.id);
    return reason;
  };
  const FieldSection section =
      ReadFieldSection(p_, {begin_, end_}, out_.fields_.get(), out_.limits_.fields, on_field);
  if (section.state == LineState::kNeedMore) return ParseState::kNeedMore;
  if (section.state == LineState::kError) {
    return section.reason == nullptr ? Fail(431, "too many fields") : Fail(400, section.reason);
  }
  out_.field_count_ = section.count;
  p_ = section.end;
  return ParseState::kDone;
}

// Null: fine; else why the request is refused.
const char* RequestParser::KnownField(Field& field) {
  if ((TraitsOf(field.id) & (kHopByHop | kOursInRequest)) == 0 && field.id != FieldId::kMaxForwards)
    return nullptr;
  field.flags |= Field::kDrop;
  switch (field.id) {
    case FieldId::kHost:
      if (out_.Has(FieldId::kHost)) return "repeated Host";
      host_ = field.value();
      return IsValidAuthority(host_, {begin_, end_}) ? nullptr : "invalid Host";
    case FieldId::kConnection:
      return connection_.Add(field.value());
    case FieldId::kContentLength:
      return framing_.AddLength(field.value());
    case FieldId::kTransferEncoding:
      return framing_.AddCoding(field.value(), out_.facts.minor);
    case FieldId::kTe:
      Te(field);
      return nullptr;
    case FieldId::kUpgrade:
      upgrade_unusable_ |= !out_.facts.upgrade.AddValue(field.value());
      return nullptr;
    case FieldId::kExpect:
      Expect(field);
      return nullptr;
    case FieldId::kVia:
      looped_ |= !out_.via_name_.empty() && ViaNames(field.value(), out_.via_name_);
      return nullptr;
    case FieldId::kXRequestId:
      RequestId(field);
      return nullptr;
    case FieldId::kMaxForwards:
      return MaxForwards(field);
    default:
      return nullptr;
  }
}

// A name that a CGI-like origin would read as a field of ours is a forgery.
void RequestParser::OddField(Field& field) {
  const FieldId twin = TwinOf(field.name());
  const bool ours = (TraitsOf(twin) & (kHopByHop | kOursInRequest)) != 0 || twin == FieldId::kMaxForwards;
  if (ours) field.flags |= Field::kDrop;
}

const char* RequestParser::MaxForwards(Field& field) {
  if (out_.facts.method != Method::kTrace && out_.facts.method != Method::kOptions) {
    field.flags &= static_cast<uint8_t>(~Field::kDrop);  // no meaning here: passes like any other field
    return nullptr;
  }
  if (out_.Has(FieldId::kMaxForwards)) return "repeated Max-Forwards";
  if (field.value_size == 0) return "invalid Max-Forwards";
  int32_t hops = 0;
  for (char c : field.value()) {
    if (!IsDigit(c)) return "invalid Max-Forwards";
    hops = std::min(hops < kManyForwards / 10 ? hops * 10 + (c - '0') : kManyForwards, kManyForwards);
  }
  out_.max_forwards = hops;
  return nullptr;
}

void RequestParser::Te(const Field& field) {
  for (ListReader list(field.value()); list.Next();) {
    if (IsKeyword(list.element(), "trailers")) out_.facts.te_trailers = true;
  }
}

void RequestParser::Expect(const Field& field) {
  for (ListReader list(field.value()); list.Next();) {
    if (IsKeyword(list.element(), "100-continue")) {
      expects_continue_ = true;
    } else {
      unknown_expectation_ = true;
    }
  }
}

void RequestParser::RequestId(const Field& field) {
  const bool usable = !out_.Has(FieldId::kXRequestId) && IsValidRequestId(field.value());
  out_.request_id = usable ? field.value() : std::string_view();
}

ParseState RequestParser::Finish() {
  RequestFacts& facts = out_.facts;
  facts.body = framing_.body();
  if (facts.minor >= 1 && !out_.Has(FieldId::kHost)) return Fail(400, "missing Host");
  if (facts.method == Method::kTrace && facts.body.kind != Framing::kNone)
    return Fail(400, "TRACE with a body");
  if (out_.authority.empty()) out_.authority = host_;
  ApplyConnection();
  if (facts.minor >= 1) {  // HTTP/1.0 knows no expectations (RFC 9110 section 10.1.1)
    if (unknown_expectation_) return Fail(417, "unknown expectation");
    facts.expect_continue = expects_continue_ && !facts.body.Empty();
  }
  if (looped_) return Fail(508, "request loop");
  return ParseState::kDone;
}

void RequestParser::ApplyConnection() {
  RequestFacts& facts = out_.facts;
  const std::span<Field> fields = out_.mutable_fields();
  facts.keep_alive = connection_.KeepsAlive(facts.minor);
  connection_.DropNamed(fields);
  if (facts.minor == 0 || !connection_.upgrade() || upgrade_unusable_) facts.upgrade = UpgradeList();
  if (out_.Has(FieldId::kTrailer) && facts.body.kind != Framing::kChunked) DropAll(fields, FieldId::kTrailer);
}

RequestHead::RequestHead(const Limits& limits, std::string_view via_name)
    : FieldList(limits), via_name_(via_name) {}

void RequestHead::Clear() {
  FieldList::Clear();
  facts = RequestFacts();
  method = target = received_target = authority = request_id = {};
  target_lacks_slash = target_read = version_read = false;
  head_bytes = 0;
  max_forwards = kNoMaxForwards;
}

ParseResult ParseRequest(std::string_view bytes, RequestHead& out) { return RequestParser(bytes, out).Run(); }

}  // namespace weir::http
