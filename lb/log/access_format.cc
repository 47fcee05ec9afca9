#include "lb/log/access_format.h"

#include <algorithm>

#include "core/check.h"
#include "lb/http/chars.h"
#include "lb/http/field.h"
#include "lb/log/access_line.h"
#include "lb/log/line_writer.h"

namespace weir::lb {

enum class LogField : uint8_t {
  kTime,
  kProtocol,
  kClient,
  kUser,
  kMethod,
  kHost,
  kPath,
  kStatus,
  kBytesReceived,
  kBytesSent,
  kDurationUs,
  kConnectUs,
  kResponseUs,
  kEndpoint,
  kRetries,
  kRequestId,
  kEnd,
  kUsualEnd,  // the usual JSON's end before this
  kClientIp = kUsualEnd,
  kTimeLocal,
  kRequest,
  kBodyBytesSent,
  kForwardedPath,
  kUpstream,
  kScheme,
  kNamedEnd,
  kRequestHeader = kNamedEnd,
  kResponseHeader,
  kHeaderTime,  // without quotes, in a datagram's header
  kNothing,     // only what is before it
};

namespace {

constexpr size_t kNumberBytes = 20;
constexpr size_t kTimeBytes = 40;
constexpr size_t kAddressBytes = SocketAddress::kMaxText;

struct FieldInfo {
  std::string_view name;
  size_t most_bytes;  // without quotes
  bool http_only = false;
};
// By LogField.
constexpr FieldInfo kFields[] = {
    {"time", kTimeBytes},
    {"protocol", 16},
    {"client", kAddressBytes},
    {"user", kMaxLoggedUser, true},
    {"method", kMaxLoggedMethod, true},
    {"host", kMaxLoggedHost, true},
    {"path", kMaxLoggedTarget, true},
    {"status", kNumberBytes, true},
    {"bytes_received", kNumberBytes},
    {"bytes_sent", kNumberBytes},
    {"duration_us", kNumberBytes},
    {"connect_us", kNumberBytes},
    {"response_us", kNumberBytes, true},
    {"endpoint", kAddressBytes},
    {"retries", kNumberBytes},
    {"request_id", kMaxLoggedRequestId, true},
    {"end", kMaxLoggedEnd},
    {"client_ip", kAddressBytes},
    {"time_local", kTimeBytes},
    {"request", kMaxLoggedMethod + kMaxLoggedTarget + sizeof("  HTTP/1.1"), true},
    {"body_bytes_sent", kNumberBytes},
    {"forwarded_path", kMaxLoggedTarget, true},
    {"upstream", kMaxLoggedUpstream},
    {"scheme", kNumberBytes, true},
    {"request_header:NAME", AccessFormat::kMostHeaderBytes, true},
    {"response_header:NAME", AccessFormat::kMostHeaderBytes, true},
    {"", kTimeBytes},
};
constexpr size_t kFieldCount = static_cast<size_t>(LogField::kNothing);
static_assert(std::size(kFields) == kFieldCount);

const FieldInfo& InfoOf(LogField field) { return kFields[static_cast<size_t>(field)]; }

// As nginx has it: '$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent
// "$http_referer" "$http_user_agent"'.
constexpr std::string_view kCombined =
    R"(${client_ip} - ${user} [${time_local}] "${request}" ${status} ${body_bytes_sent} )"
    R"("${request_header:Referer}" "${request_header:User-Agent}")";

// What an account could be taken over with.
constexpr std::string_view kSensitive[] = {"Authorization", "Proxy-Authorization", "Cookie", "Set-Cookie"};
// Values that are URLs, or have some.
constexpr std::string_view kWithUrls[] = {"Referer", "Location", "Content-Location", "Refresh", "Link"};

// Also as a CGI-like origin would read it.
template <class Names>
bool IsOneOf(std::string_view name, const Names& names) {
  return std::any_of(std::begin(names), std::end(names),
                     [name](std::string_view known) { return http::IsTwin(name, known); });
}

// Steps through the field lines of a head that Weir has serialised itself.
class HeadLines {
 public:
  explicit HeadLines(std::string_view head) : rest_(head) { SkipLine(); }
  bool Next() {
    const size_t colon = rest_.find(": ");
    if (rest_.empty() || rest_.front() == '\r' || colon == std::string_view::npos) return false;
    name_ = rest_.substr(0, colon);
    rest_.remove_prefix(colon + 2);
    value_ = rest_.substr(0, rest_.find('\r'));
    SkipLine();
    return true;
  }
  std::string_view name() const { return name_; }
  std::string_view value() const { return value_; }

 private:
  void SkipLine() {
    const size_t end = rest_.find('\n');
    rest_.remove_prefix(end == std::string_view::npos ? rest_.size() : end + 1);
  }

  std::string_view rest_;
  std::string_view name_;
  std::string_view value_;
};

// A URL, whole or in part, with its parameters' names but not their values: what follows the first '=' of
// each is "***", and so is one without a value, which may well be a token. A fragment is nothing but value.
void WriteRedacted(std::string_view url, LineWriter& line) {
  const size_t begin = std::min(url.find_first_of("?#"), url.size());
  line.TextPart(url.substr(0, begin));
  for (std::string_view rest = url.substr(begin); !rest.empty();) {
    const bool fragment = rest.front() == '#';
    line.TextPart(rest.substr(0, 1));
    rest.remove_prefix(1);
    const size_t end = fragment ? rest.size() : std::min(rest.find_first_of("&#"), rest.size());
    const std::string_view parameter = rest.substr(0, end);
    rest.remove_prefix(end);
    const size_t value = std::min(parameter.find('='), parameter.size());
    // "dG9rZW4=" and "dG9rZW4==" are tokens, not names.
    const bool named = !fragment && parameter.find_first_not_of('=', value) != std::string_view::npos;
    if (named) line.TextPart(parameter.substr(0, value + 1));
    if (!parameter.empty()) line.TextPart(AccessFormat::kRedacted);
  }
}

// A text that stands where only spaces end it: those within are escaped too, so that no name can pass for
// more than one field. Nothing at all is "-".
void WriteWord(std::string_view text, size_t limit, LineWriter& line) {
  if (text.empty()) return line.Raw('-');
  line.BeginText(limit);
  while (!text.empty()) {
    const size_t space = std::min(text.find(' '), text.size());
    line.TextPart(text.substr(0, space));
    if (space < text.size()) line.EscapedPart(' ');
    text.remove_prefix(std::min(space + 1, text.size()));
  }
}

bool IsError(const AccessRecord& record) {
  // Whom another server refuses is as ordinary as whom an origin does.
  const bool in_order = record.end == "ok" || record.end == "answered_here" || record.end == "auth_denied";
  return record.status >= 500 || !in_order;
}

constexpr uint16_t kNotThere = UINT16_MAX;  // in what Keep writes
constexpr uint16_t kCutShort = 0x8000;

uint16_t ReadLength(const char* at) {
  uint16_t length;
  std::memcpy(&length, at, sizeof(length));
  return length;
}

}  // namespace

class AccessFormat::Builder {
 public:
  Builder(const AccessLogSettings& settings, Problem* problem)
      : settings_(settings), problem_(*problem), format_(new AccessFormat) {}

  std::shared_ptr<const AccessFormat> Build() {
    problem_ = {};
    format_->json_ = settings_.form == AccessLogSettings::Form::kJson;
    format_->all_errors_ = !settings_.sample_errors;
    format_->redact_query_ = settings_.redact_query;
    format_->share_ = settings_.sample;
    for (const std::string& name : settings_.redact_headers) {
      if (!http::IsToken(name)) return Refuse("redact_headers", Quoted(name) + ": expected a header's name");
    }
    if (!(format_->json_ ? CheckFields() && Json() : TheRest() && Text())) return nullptr;
    if (settings_.syslog.on()) {
      Prefix(format_->http_);
      Prefix(format_->tcp_);
    }
    if (MostBytes(format_->http_) > kMostLineBytes) {
      return Refuse(format_->json_ ? "request_headers" : "template",
                    "a line could become " + std::to_string(MostBytes(format_->http_)) +
                        " bytes long: expected at most " + std::to_string(kMostLineBytes) +
                        "; a header counts as " + std::to_string(kMostHeaderBytes));
    }
    format_->max_line_bytes_ = std::max(MostBytes(format_->http_), MostBytes(format_->tcp_));
    return std::move(format_);
  }

 private:
  static std::string Quoted(std::string_view text) { return "\"" + std::string(text.substr(0, 60)) + "\""; }

  std::nullptr_t Refuse(std::string key, std::string sentence) {
    problem_ = {std::move(key), std::move(sentence)};
    return nullptr;
  }
  bool No(std::string key, std::string sentence) {
    Refuse(std::move(key), std::move(sentence));
    return false;
  }

  bool CheckFields() {
    if (!settings_.line.empty()) return No("template", "expected format: template, or no template");
    for (const std::string& name : settings_.fields) {
      const LogField field = Find(name);
      if (field == LogField::kNothing) {
        return No("fields", Quoted(name) + ": expected some of " + FieldNames());
      }
      if (std::find(fields_.begin(), fields_.end(), field) != fields_.end()) {
        return No("fields", Quoted(name) + " is given twice");
      }
      fields_.push_back(field);
    }
    if (!fields_.empty()) return true;
    for (size_t i = 0; i < static_cast<size_t>(LogField::kUsualEnd); ++i) {
      fields_.push_back(static_cast<LogField>(i));
    }
    return true;
  }
  // What only JSON has.
  bool TheRest() {
    if (!settings_.fields.empty()) return No("fields", "only format: json has fields");
    const char* const instead =
        settings_.form == AccessLogSettings::Form::kCombined
            ? "the combined format has none but Referer and User-Agent"
            : "expected ${request_header:NAME} or ${response_header:NAME} in the template";
    if (!settings_.request_headers.empty()) return No("request_headers", instead);
    if (!settings_.response_headers.empty()) return No("response_headers", instead);
    if (settings_.form == AccessLogSettings::Form::kTemplate) {
      return !settings_.line.empty() || No("template", "expected the text of a line");
    }
    return settings_.line.empty() || No("template", "expected format: template, or no template");
  }

  bool Json() {
    for (const LogField field : fields_) {
      const std::string key = "\"" + std::string(InfoOf(field).name) + "\":";
      format_->http_.push_back(MakePiece((format_->http_.empty() ? "{" : ",") + key, field));
      if (InfoOf(field).http_only) continue;
      format_->tcp_.push_back(MakePiece((format_->tcp_.empty() ? "{" : ",") + key, field));
    }
    std::string end;  // of what is open, but for the line itself
    if (!JsonHeaders(settings_.request_headers, LogField::kRequestHeader, "request_headers", &end) ||
        !JsonHeaders(settings_.response_headers, LogField::kResponseHeader, "response_headers", &end)) {
      return false;
    }
    format_->http_.push_back(MakePiece(end + "}\n", LogField::kNothing));
    format_->tcp_.push_back(MakePiece(format_->tcp_.empty() ? "{}\n" : "}\n", LogField::kNothing));
    return true;
  }
  // ,"request_headers":{"Name":…,"Name":… and `end` is what closes it.
  bool JsonHeaders(const std::vector<std::string>& names, LogField field, const char* key, std::string* end) {
    if (names.empty()) return true;
    if (names.size() > kMostHeaders) {
      return No(key, std::to_string(names.size()) + " headers: at most " + std::to_string(kMostHeaders) +
                         " are possible");
    }
    std::string text = *end + ",\"" + key + "\":{";
    *end = "}";
    for (size_t i = 0; i < names.size(); ++i) {
      const auto same = [&](const std::string& other) { return http::EqualsIgnoreCase(other, names[i]); };
      if (std::any_of(names.begin(), names.begin() + static_cast<ptrdiff_t>(i), same)) {
        return No(key, Quoted(names[i]) + " is given twice");
      }
      if (!Header(names[i], field, key, text + "\"" + names[i] + "\":")) return false;
      text = ",";
    }
    return true;
  }

  bool Text() {
    const bool combined = settings_.form == AccessLogSettings::Form::kCombined;
    std::string_view text = combined ? kCombined : std::string_view(settings_.line);
    const bool printable = std::none_of(
        text.begin(), text.end(), [](char c) { return (c >= 0 && c < 0x20 && c != '\t') || c == 0x7f; });
    if (!printable) return No("template", "expected one line, without control characters");
    std::string literal;
    while (!text.empty()) {
      const size_t dollar = std::min(text.find('$'), text.size());
      literal += text.substr(0, dollar);
      text.remove_prefix(dollar);
      if (text.starts_with("$${")) {
        literal += "${";
        text.remove_prefix(3);
      } else if (text.starts_with("${")) {
        const size_t end = std::min(text.find('}'), text.size());
        if (end == text.size() || !Variable(text.substr(2, end - 2), std::move(literal))) {
          return !problem_.sentence.empty()
                     ? false
                     : No("template", Quoted(text.substr(0, end + 1)) + ": expected one of " + FieldNames() +
                                          " request_header:NAME response_header:NAME between ${ and }");
        }
        literal.clear();
        text.remove_prefix(end + 1);
      } else if (!text.empty()) {
        literal += '$';
        text.remove_prefix(1);
      }
    }
    format_->http_.push_back(MakePiece(literal + "\n", LogField::kNothing));
    format_->tcp_ = format_->http_;
    return true;
  }
  bool Variable(std::string_view name, std::string before) {
    constexpr std::string_view kRequest = "request_header:";
    constexpr std::string_view kResponse = "response_header:";
    if (name.starts_with(kRequest)) {
      return Header(name.substr(kRequest.size()), LogField::kRequestHeader, "template", std::move(before));
    }
    if (name.starts_with(kResponse)) {
      return Header(name.substr(kResponse.size()), LogField::kResponseHeader, "template", std::move(before));
    }
    const LogField field = Find(name);
    if (field == LogField::kNothing) return false;
    format_->http_.push_back(MakePiece(std::move(before), field));
    return true;
  }

  bool Header(std::string_view name, LogField field, const char* key, std::string before) {
    if (!http::IsToken(name)) return No(key, Quoted(name) + ": expected a header's name");
    Piece piece = MakePiece(std::move(before), field);
    piece.name = name;
    piece.redact = IsOneOf(name, settings_.redact_headers);
    piece.redact_query = settings_.redact_query && IsOneOf(name, kWithUrls);
    if (!settings_.sensitive_headers && !piece.redact && IsOneOf(name, kSensitive)) {
      return No(key, Quoted(name) +
                         " holds credentials: name it in redact_headers too, or say sensitive_headers: keep");
    }
    if (field == LogField::kResponseHeader) {
      std::vector<std::string>& kept = format_->response_headers_;
      const auto at = std::find_if(kept.begin(), kept.end(), [name](const std::string& other) {
        return http::EqualsIgnoreCase(other, name);
      });
      piece.index = static_cast<uint32_t>(at - kept.begin());
      if (at == kept.end()) kept.emplace_back(name);
      if (kept.size() > kMostHeaders) {
        return No(key, "more than " + std::to_string(kMostHeaders) + " response headers");
      }
    }
    format_->http_.push_back(std::move(piece));
    return true;
  }

  // RFC 5424 section 6: <PRI>VERSION TIMESTAMP HOSTNAME APP-NAME PROCID MSGID STRUCTURED-DATA MSG.
  void Prefix(std::vector<Piece>& pieces) {
    constexpr int kInformational = 6;
    const SyslogSettings& syslog = settings_.syslog;
    pieces.front().before.insert(0,
                                 " " + syslog.host + " " + syslog.tag + " " + syslog.process + " access - ");
    pieces.insert(
        pieces.begin(),
        MakePiece("<" + std::to_string(syslog.facility * 8 + kInformational) + ">1 ", LogField::kHeaderTime));
  }

  Piece MakePiece(std::string before, LogField field) {
    Piece piece;
    piece.before = std::move(before);
    piece.field = field;
    return piece;
  }
  static LogField Find(std::string_view name) {
    for (size_t i = 0; i < static_cast<size_t>(LogField::kNamedEnd); ++i) {
      if (kFields[i].name == name) return static_cast<LogField>(i);
    }
    return LogField::kNothing;
  }
  static size_t MostBytes(const std::vector<Piece>& pieces) {
    size_t bytes = 0;
    for (const Piece& piece : pieces) {
      bytes += piece.before.size();
      if (piece.field != LogField::kNothing) bytes += InfoOf(piece.field).most_bytes + 2;  // quotes
    }
    return bytes;
  }

  const AccessLogSettings& settings_;
  Problem& problem_;
  std::shared_ptr<AccessFormat> format_;
  std::vector<LogField> fields_;
};

std::shared_ptr<const AccessFormat> AccessFormat::Build(const AccessLogSettings& settings, Problem* problem) {
  return Builder(settings, problem).Build();
}

std::string AccessFormat::FieldNames() {
  std::string names;
  for (size_t i = 0; i < static_cast<size_t>(LogField::kNamedEnd); ++i) {
    names += (i == 0 ? "" : " ") + std::string(kFields[i].name);
  }
  return names;
}

bool AccessFormat::Wants(const AccessRecord& record, Random& random) const {
  if (share_.value == Share::kAll || (all_errors_ && IsError(record))) return true;
  return share_.Takes(random.Next());
}

size_t AccessFormat::Write(const AccessRecord& record, int64_t wall_ms, char* out) const {
  LineWriter line(out, json_ ? Escapes::kJson : Escapes::kHex);
  for (const Piece& piece : record.tcp ? tcp_ : http_) {
    line.Raw(piece.before);
    WriteField(piece, record, wall_ms, line);
  }
  const auto bytes = static_cast<size_t>(line.at() - out);
  WEIR_CHECK(bytes <= max_line_bytes_);
  return bytes;
}

void AccessFormat::WriteField(const Piece& piece, const AccessRecord& record, int64_t wall_ms,
                              LineWriter& line) const {
  const auto quote = [&] {
    if (json_) line.Raw('"');
  };
  const auto text = [&](std::string_view value) {
    quote();
    line.Text(!json_ && value.empty() ? "-" : value, InfoOf(piece.field).most_bytes);
    quote();
  };
  const auto write_target = [&](std::string_view target) {
    line.BeginText(kMaxLoggedTarget);
    if (redact_query_) {
      WriteRedacted(target, line);
    } else {
      line.TextPart(target);
    }
  };
  const auto target = [&] {
    write_target(record.target);
    if (record.target_cut) line.CutText();
  };
  switch (piece.field) {
    case LogField::kTime:
      quote();
      line.IsoTime(wall_ms);
      return quote();
    case LogField::kHeaderTime:
      return line.IsoTime(wall_ms);
    case LogField::kTimeLocal:
      quote();
      line.NcsaTime(wall_ms);
      return quote();
    case LogField::kProtocol:
      return text(record.tcp ? "tcp" : "http");
    case LogField::kClient:
      quote();
      line.Address(record.client);
      return quote();
    case LogField::kClientIp:
      quote();
      line.Ip(record.client);
      return quote();
    case LogField::kUser:
      if (json_ && record.user.empty()) return line.Raw("null");
      return json_ ? text(record.user) : WriteWord(record.user, kMaxLoggedUser, line);
    case LogField::kMethod:
      return text(record.method);
    case LogField::kHost:
      return text(record.host);
    case LogField::kPath:
      if (record.target.empty()) return text({});
      quote();
      target();
      return quote();
    case LogField::kForwardedPath:
      if (record.forwarded_target.empty()) return text({});
      quote();
      write_target(record.forwarded_target);
      return quote();
    case LogField::kUpstream:
      if (json_ && record.upstream.empty()) return line.Raw("null");
      return text(record.upstream);
    case LogField::kScheme:
      return text(record.https ? "https" : "http");
    case LogField::kRequest:
      if (record.method.empty()) return text({});
      quote();
      line.Text(record.method, kMaxLoggedMethod);
      if (!record.target.empty()) {
        line.Raw(' ');
        target();
      }
      if (record.has_version) line.Raw(record.minor == 0 ? " HTTP/1.0" : " HTTP/1.1");
      return quote();
    case LogField::kStatus:
      return json_ ? line.Number(record.status) : line.Padded(record.status % 1000u, 3);
    case LogField::kBytesReceived:
      return line.Number(record.bytes_received);
    case LogField::kBytesSent:
      return line.Number(record.bytes_sent);
    case LogField::kBodyBytesSent:
      return line.Number(record.body_bytes_sent);
    case LogField::kDurationUs:
      return line.Number(record.total_us);
    case LogField::kConnectUs:
      return line.Number(record.connect_us);
    case LogField::kResponseUs:
      return line.Number(record.response_us);
    case LogField::kEndpoint:
      if (record.endpoint == nullptr) return line.Raw(json_ ? "null" : "-");
      quote();
      line.Address(*record.endpoint);
      return quote();
    case LogField::kRetries:
      return line.Number(record.retries);
    case LogField::kRequestId:
      return text(record.request_id);
    case LogField::kEnd:
      return text(record.end);
    case LogField::kRequestHeader:
    case LogField::kResponseHeader:
      return WriteHeader(piece, record, line);
    case LogField::kNothing:
      return;
  }
}

void AccessFormat::WriteHeader(const Piece& piece, const AccessRecord& record, LineWriter& line) const {
  bool found = false;
  const auto add = [&](std::string_view value) {
    if (!found && json_) line.Raw('"');
    if (!found) line.BeginText(kMostHeaderBytes);
    if (found && !piece.redact) line.TextPart(", ");
    if (piece.redact) {
      if (!found) line.TextPart(kRedacted);
    } else if (piece.redact_query) {
      WriteRedacted(value, line);
    } else {
      line.TextPart(value);
    }
    found = true;
  };
  if (piece.field == LogField::kRequestHeader) {
    for (HeadLines lines(record.request_head); lines.Next();) {
      if (http::EqualsIgnoreCase(lines.name(), piece.name)) add(lines.value());
    }
  } else if (!record.kept_response.empty()) {
    const char* at = record.kept_response.data();
    uint16_t length = ReadLength(at);
    for (uint32_t i = 0; i < piece.index; ++i, length = ReadLength(at)) {
      at += sizeof(length) + (length == kNotThere ? 0 : length & ~kCutShort);
    }
    if (length != kNotThere) {
      add({at + sizeof(length), static_cast<size_t>(length & ~kCutShort)});
      if ((length & kCutShort) != 0 && !piece.redact) line.CutText();
    }
  }
  if (!found) return line.Raw(json_ ? "null" : "-");
  if (json_) line.Raw('"');
}

size_t AccessFormat::max_kept_bytes() const {
  return response_headers_.size() * (sizeof(uint16_t) + kMostKeptBytes);
}

size_t AccessFormat::Keep(std::string_view head, char* out) const {
  char* at = out;
  for (const std::string& name : response_headers_) {
    char* const value = at + sizeof(uint16_t);
    size_t bytes = 0;
    bool found = false;
    bool cut = false;
    const auto add = [&](std::string_view part) {
      const size_t fits = std::min(part.size(), kMostKeptBytes - bytes);
      std::memcpy(value + bytes, part.data(), fits);
      bytes += fits;
      cut = cut || fits < part.size();
    };
    for (HeadLines lines(head); lines.Next();) {
      if (!http::EqualsIgnoreCase(lines.name(), name)) continue;
      if (found) add(", ");
      add(lines.value());
      found = true;
    }
    const auto length = static_cast<uint16_t>(found ? bytes | (cut ? kCutShort : 0) : kNotThere);
    std::memcpy(at, &length, sizeof(length));
    at = value + bytes;
  }
  return static_cast<size_t>(at - out);
}

}  // namespace weir::lb
