#include "lb/log/access_format.h"

#include <algorithm>

#include "core/check.h"
#include "lb/http/chars.h"
#include "lb/http/field.h"
#include "lb/log/line_writer.h"
#include "lb/log/log_field.h"
#include "lb/proxy_protocol/tlv.h"

namespace weir::lb {
namespace {

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
  const bool in_order =
      record.tcp ? record.end == "client_closed" || record.end == "server_closed"
                 : record.end == "ok" || record.end == "answered_here" || record.end == "auth_denied";
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
    case LogField::kPeer:
      quote();
      line.Address(record.peer);
      return quote();
    case LogField::kProxyAlpn:
    case LogField::kProxyAuthority:
    case LogField::kProxyUniqueId:
    case LogField::kProxySslVersion:
    case LogField::kProxySslCommonName:
    case LogField::kProxyTlv: {
      const std::optional<std::string_view> value = FindTlv(record.tlvs, static_cast<uint8_t>(piece.index));
      if (!value) return line.Raw(json_ ? "null" : "-");
      return text(*value);
    }
    case LogField::kSni:
    case LogField::kAlpn: {
      const std::string_view value = piece.field == LogField::kSni ? record.sni : record.alpn;
      if (json_ && value.empty()) return line.Raw("null");
      return text(value);
    }
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
