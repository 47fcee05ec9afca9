// From what an operator said of the access log to the pieces of its lines.
#include <algorithm>

#include "lb/http/chars.h"
#include "lb/http/field.h"
#include "lb/log/access_format.h"
#include "lb/log/log_field.h"
#include "lb/proxy_protocol/tlv.h"

namespace weir::lb {
namespace {

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
                                          " request_header:NAME response_header:NAME "
                                          "proxy_protocol_tlv:NUMBER between ${ and }");
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
    constexpr std::string_view kTlv = "proxy_protocol_tlv:";
    if (name.starts_with(kRequest)) {
      return Header(name.substr(kRequest.size()), LogField::kRequestHeader, "template", std::move(before));
    }
    if (name.starts_with(kResponse)) {
      return Header(name.substr(kResponse.size()), LogField::kResponseHeader, "template", std::move(before));
    }
    if (name.starts_with(kTlv)) {
      const std::optional<uint8_t> type = TlvType(name.substr(kTlv.size()));
      if (!type) return No("template", Quoted(name) + ": expected one of " + kTlvNames);
      Piece piece = MakePiece(std::move(before), LogField::kProxyTlv);
      piece.index = *type;
      format_->http_.push_back(std::move(piece));
      return true;
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
    constexpr std::string_view kTlvField = "proxy_protocol_";
    if (field != LogField::kNothing && InfoOf(field).name.starts_with(kTlvField)) {
      piece.index = TlvType(InfoOf(field).name.substr(kTlvField.size())).value_or(0);
    }
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

}  // namespace weir::lb
