// How the access log's lines look: `access_log:` of the configuration file, where it is more than a file.
#include <unistd.h>

#include <algorithm>

#include "lb/config/file_keys.h"

namespace weir::lb::file {
namespace {

using Form = AccessLogSettings::Form;

// One of a few words, for what `kWords` are in order.
template <class Words>
struct Word {
  static constexpr const char* kPlaceholder = Words::kPlaceholder;
  decltype(Words::kValues[0].value) value = Words::kValues[0].value;

  friend bool AbslParseFlag(absl::string_view text, Word* flag, std::string* error) {
    std::string expected;
    for (const auto& known : Words::kValues) {
      if (text == known.word) {
        flag->value = known.value;
        return true;
      }
      const bool last = &known == std::end(Words::kValues) - 1;
      absl::StrAppend(&expected, expected.empty() ? "expected " : last ? " or " : ", ", known.word);
    }
    *error = std::move(expected);
    return false;
  }
  friend std::string AbslUnparseFlag(const Word& flag) {
    for (const auto& known : Words::kValues) {
      if (known.value == flag.value) return known.word;
    }
    return "";
  }
};
template <class Value>
struct Named {
  const char* word;
  Value value;
};

struct FormWords {
  static constexpr const char* kPlaceholder = "json \\| combined \\| template";
  static constexpr Named<Form> kValues[] = {
      {"json", Form::kJson}, {"combined", Form::kCombined}, {"template", Form::kTemplate}};
};
struct QueryWords {
  static constexpr const char* kPlaceholder = "keep \\| redact";
  static constexpr Named<bool> kValues[] = {{"keep", false}, {"redact", true}};
};
struct SensitiveWords {
  static constexpr const char* kPlaceholder = "refuse \\| keep";
  static constexpr Named<bool> kValues[] = {{"refuse", false}, {"keep", true}};
};
struct ErrorWords {
  static constexpr const char* kPlaceholder = "all \\| sample";
  static constexpr Named<bool> kValues[] = {{"all", false}, {"sample", true}};
};

// By RFC 5424 section 6.2.1, as they are usually called.
constexpr std::string_view kFacilities[] = {
    "kern",   "user",   "mail",     "daemon", "auth",   "syslog",   "lpr",     "news",
    "uucp",   "cron",   "authpriv", "ftp",    "ntp",    "security", "console", "solaris-cron",
    "local0", "local1", "local2",   "local3", "local4", "local5",   "local6",  "local7"};

struct FacilityName {
  static constexpr const char* kPlaceholder = "NAME";
  uint8_t value = 0;
};
bool AbslParseFlag(absl::string_view text, FacilityName* flag, std::string* error) {
  const auto at =
      std::find(std::begin(kFacilities), std::end(kFacilities), std::string_view(text.data(), text.size()));
  flag->value = static_cast<uint8_t>(at - std::begin(kFacilities));
  if (at != std::end(kFacilities)) return true;
  *error = "expected a facility, such as daemon, user, local0 to local7";
  return false;
}
std::string AbslUnparseFlag(const FacilityName& flag) { return std::string(kFacilities[flag.value]); }

// What syslog's headers take of a name (RFC 5424 section 6: PRINTUSASCII).
bool IsPrintable(std::string_view text, size_t most_bytes) {
  return !text.empty() && text.size() <= most_bytes &&
         std::all_of(text.begin(), text.end(), [](char c) { return c > 0x20 && c < 0x7f; });
}

// False: `expected` says what is.
bool ParseSyslogAddress(const std::string& text, SyslogSettings* out, std::string* expected) {
  constexpr std::string_view kUnix = "unix:";
  constexpr std::string_view kUdp = "udp:";
  *expected = "expected unix:/PATH or udp:HOST:PORT, such as unix:/dev/log";
  const std::string_view all = text;
  if (all.starts_with(kUnix)) {
    out->path = all.substr(kUnix.size());
    if (out->path.size() > SyslogSettings::kMostPathBytes) {
      *expected = absl::StrCat("expected a path of at most ", SyslogSettings::kMostPathBytes, " bytes");
      return false;
    }
    return out->path.starts_with('/');
  }
  BackendList place;
  std::string ignored;
  if (!all.starts_with(kUdp) || all.find('=') != std::string_view::npos ||
      !ParseElement(Absl(all.substr(kUdp.size())), &place, &ignored) ||
      place.items.front().address.is_unix()) {
    return false;
  }
  out->udp = place.items.front().address;
  out->udp_host = place.items.front().host;
  out->udp_port = place.items.front().port;
  return true;
}

void ReadSyslogAddress(Reader& reader, const ConfigNode& value, SyslogSettings& out) {
  std::string text;
  std::string expected;
  if (!reader.Text(value, text)) return;
  if (!ParseSyslogAddress(text, &out, &expected)) {
    return reader.Error(value.place, absl::StrCat("\"", text, "\": ", expected));
  }
  out.address = text;
}

std::string HostName() {
  char name[256] = {};
  return gethostname(name, sizeof(name) - 1) == 0 && IsPrintable(name, 255) ? name : "-";
}

template <std::vector<std::string> AccessLogSettings::* kMember>
void ReadTexts(Reader& reader, const ConfigNode& value, AccessLogSettings& out) {
  std::vector<Place> places;
  reader.Texts(value, out.*kMember, places);
}

std::string FieldsSchema() {
  std::string names;
  for (const char c : AccessFormat::FieldNames())
    names += c == ' ' ? std::string("\", \"") : std::string(1, c);
  return ListOrOne(absl::StrCat(R"({"enum": [")", names, "\"]}"));
}

}  // namespace

std::span<const Key<SyslogSettings>> SyslogKeys() {
  using T = SyslogSettings;
  static const Key<T> kKeys[] = {
      {"address", "unix:/PATH or udp:HOST:PORT", "required", "Where it listens; names are resolved at start.",
       kTextSchema, ReadSyslogAddress, nullptr, true},
      WEIR_PLAIN(T, facility, FacilityName, facility, "Such as daemon, user, local0 to local7."),
      {"tag", "text", "weir", "What this program calls itself.", kTextSchema,
       [](Reader& reader, const ConfigNode& value, T& out) {
         if (!reader.Text(value, out.tag) || IsPrintable(out.tag, T::kMostTagBytes)) return;
         reader.Error(value.place, absl::StrCat("\"", out.tag, "\": expected at most ", T::kMostTagBytes,
                                                " printable ASCII characters without spaces"));
       },
       [](const T& from) { return from.tag; }},
  };
  return kKeys;
}

std::span<const Key<AccessLogSettings>> AccessLogKeys() {
  using T = AccessLogSettings;
  static const Key<T> kKeys[] = {
      {"file", "FILE", "this, or syslog", "A file that is appended to; - is standard output.", kTextSchema,
       [](Reader& reader, const ConfigNode& value, T&) {  // taken by ReadGlobals
         std::string text;
         reader.Text(value, text);
       }},
      {"syslog", "unix:/PATH or udp:HOST:PORT, or keys", "this, or file",
       "Each line is sent there as a datagram, by RFC 5424.",
       absl::StrCat(R"({"anyOf": [)", kTextSchema, ", ", Reference("syslog"), "]}"),
       [](Reader& reader, const ConfigNode& value, T& out) {
         if (value.is_map()) {
           reader.Map(value, SyslogKeys(), out.syslog);
         } else {
           ReadSyslogAddress(reader, value, out.syslog);
         }
       }},
      WEIR_PLAIN(T, format, Word<FormWords>, form,
                 "json: a line of JSON. combined: NCSA's, as nginx and Apache write it. template: a line of "
                 "your own."),
      {"fields", "text or list", "those of [the access log](../lb/README.md#the-access-log), in its order",
       "json: the members, in this order.", FieldsSchema(), ReadTexts<&T::fields>},
      {"template", "text", "",
       "A line of your own, with ${status} and the like: the names of fields, request_header:NAME, "
       "response_header:NAME.",
       kTextSchema, [](Reader& reader, const ConfigNode& value, T& out) { reader.Text(value, out.line); }},
      {"request_headers", "text or list", "none",
       "json: a member request_headers with these, as the endpoint gets them.", ListOrOne(kTextSchema),
       ReadTexts<&T::request_headers>},
      {"response_headers", "text or list", "none",
       "json: a member response_headers with these, as the client gets them, at most 256 bytes of each.",
       ListOrOne(kTextSchema), ReadTexts<&T::response_headers>},
      WEIR_PLAIN(T, sensitive_headers, Word<SensitiveWords>, sensitive_headers,
                 "Whether Authorization, Proxy-Authorization, Cookie and Set-Cookie may be logged."),
      {"redact_headers", "text or list", "none", "Of these headers it is only logged that they were there.",
       ListOrOne(kTextSchema), ReadTexts<&T::redact_headers>},
      WEIR_PLAIN(
          T, query, Word<QueryWords>, redact_query,
          "redact: the names of parameters are logged, their values are not; also in Referer, Location "
          "and the like."),
      WEIR_PLAIN(T, sample, ShareText, sample, "How many of the lines are written."),
      WEIR_PLAIN(T, errors, Word<ErrorWords>, sample_errors,
                 "Whether all lines with a status of 500 and more, or with an end that is not ok or "
                 "answered_here, are written, or a sample of them too."),
  };
  return kKeys;
}

void Reader::ReadAccessLog(const ConfigNode& node) {
  if (!node.is_map()) return;  // a file
  AccessLogSettings log;
  if (!Map(node, AccessLogKeys(), log)) return;
  if (!log.line.empty() && node.Find("format") == nullptr) {
    log.form = Form::kTemplate;
    said_["access_log.format"] = said_["access_log.template"];
  }
  const bool file = node.Find("file") != nullptr;
  const bool syslog = node.Find("syslog") != nullptr;
  if (file && syslog) Error(node.place, "expected only one of file and syslog");
  if (!file && !syslog && settings_.access_log.empty()) {
    Error(node.place, "expected one of file and syslog: where lines go");
  }
  if (!settings_.access_log.empty()) log.syslog = {};  // a flag wins
  if (log.syslog.on()) {
    log.syslog.host = HostName();
    log.syslog.process = absl::StrCat(getpid());
  }
  AccessFormat::Problem problem;
  if (!log.usual()) settings_.log_format = AccessFormat::Build(log, &problem);
  if (!problem.sentence.empty()) {
    const ConfigNode* const at = node.Find(problem.key);
    Within(problem.key, [&] { Error(at == nullptr ? node.place : at->place, problem.sentence); });
  }
  settings_.log = std::move(log);
}

}  // namespace weir::lb::file
