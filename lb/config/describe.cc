#include "lb/config/describe.h"

#include <algorithm>
#include <cstdio>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "lb/config/budget.h"
#include "lb/config/flag_table.h"
#include "lb/config/flag_types.h"
#include "lb/config/version.h"

namespace weir::lb {
namespace {

constexpr size_t kAmountColumn = 92;

void AppendLine(std::string& out, const std::string& what, const std::string& amount) {
  const size_t used = 4 + what.size() + amount.size();
  out.append("#   ")
      .append(what)
      .append(used < kAmountColumn ? kAmountColumn - used : 1, ' ')
      .append(amount)
      .append("\n");
}

std::string MiB(uint64_t bytes) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.1f MiB", static_cast<double>(bytes) / (1 << 20));
  return text;
}

std::string FlagFile(const Settings& settings) {
  std::string out =
      "# weir " + std::string(kVersion) + ": the configuration is valid; this is a flag file of it\n";
  FlagGroup group = FlagGroup::kStopping;
  for (const FlagRow& row : FlagTable()) {
    if (row.group != group) {
      group = row.group;
      out.append("\n# ").append(GroupTitle(group)).append("\n");
    }
    const std::string value = row.resolved(settings);
    // What is off has no value to give.
    out.append(value.empty() ? "# --" : "--").append(row.name).append("=").append(value).append("\n");
  }
  return out;
}

// Text as YAML reads it back: in quotes unless it cannot be anything but text (or a number).
std::string Yaml(std::string_view text) {
  const bool plain = !text.empty() &&
                     std::all_of(text.begin(), text.end(),
                                 [](char c) {
                                   return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
                                          (c >= 'A' && c <= 'Z') || c == '-' || c == '_' || c == '.' ||
                                          c == ':' || c == '/' || c == '+';
                                 }) &&
                     text.front() != '-' && text.back() != ':' && text != "null";
  if (plain) return std::string(text);
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') quoted += '\\';
    if (c == '\n') {
      quoted += "\\n";
    } else if (c == '\r') {
      quoted += "\\r";
    } else if (c == '\t') {
      quoted += "\\t";
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      absl::StrAppend(&quoted, "\\x", absl::Hex(static_cast<unsigned char>(c), absl::kZeroPad2));
    } else {
      quoted += c;
    }
  }
  return quoted + "\"";
}

// A configuration file that says everything. What came from the environment is not said, but how the file
// asks for it; nor are hashes of passwords.
class FileForm {
 public:
  FileForm(const Settings& settings, const SaidKeys& said, const Problems& problems)
      : settings_(settings), said_(said), problems_(problems) {}

  std::string Write() {
    out_ = absl::StrCat("# weir ", std::string(kVersion),
                        ": the configuration is valid; this is all of it, and where it was said\n");
    Globals("");
    for (const char* group : {"timeouts", "limits"}) {
      absl::StrAppend(&out_, group, ":\n");
      Globals(std::string(group) + ".");
    }
    out_ += "paths:\n";
    Line(2, "merge_slashes", settings_.paths.merge_slashes ? "true" : "false", "paths.merge_slashes");
    Line(2, "escaped_slashes", settings_.paths.escaped_slashes == EscapedSlashes::kReject ? "reject" : "keep",
         "paths.escaped_slashes");
    Pages(0, settings_.error_pages, "error_pages.");
    Listeners();
    Upstreams();
    Routes();
    return std::move(out_);
  }

 private:
  static constexpr size_t kOriginColumn = 60;

  // How the file has the value of `key`, where the environment has a part in it, or `value`.
  std::string Said(const std::string& key, std::string value) const {
    const std::string* const written = problems_.Written(key);
    const auto at = said_.find(key);
    const bool by_flag = at != said_.end() && at->second.line == 0;
    return written == nullptr || by_flag ? value : Yaml(*written);
  }
  std::string SaidText(const std::string& key, std::string_view text) const { return Said(key, Yaml(text)); }
  std::string YamlList(const std::vector<std::string>& texts, const std::string& key) const {
    std::string list;
    for (size_t i = 0; i < texts.size(); ++i) {
      absl::StrAppend(&list, i > 0 ? ", " : "", SaidText(absl::StrCat(key, "[", i, "]"), texts[i]));
    }
    return texts.size() == 1 ? Said(key, list) : "[" + list + "]";
  }
  std::string Conditions(const std::vector<ValueCondition>& conditions, const std::string& key) const {
    std::string text;
    for (const ValueCondition& condition : conditions) {
      const std::string of = absl::StrCat(key, ".", condition.name);
      absl::StrAppend(&text, text.empty() ? "" : ", ", Yaml(condition.name), ": ");
      switch (condition.test) {
        case ValueCondition::Test::kPresent:
          text += "{present: true}";
          break;
        case ValueCondition::Test::kAbsent:
          text += "{present: false}";
          break;
        case ValueCondition::Test::kExact:
          text += Said(of, SaidText(of + ".exact", condition.value));
          break;
        case ValueCondition::Test::kPrefix:
          absl::StrAppend(&text, "{prefix: ", SaidText(of + ".prefix", condition.value), "}");
          break;
        case ValueCondition::Test::kRegex:
          absl::StrAppend(&text, "{regex: ", SaidText(of + ".regex", condition.value), "}");
          break;
      }
    }
    return "{" + text + "}";
  }

  // Of a key that was not said here the first of `inherits` that was.
  const std::string& Sayer(const std::string& key, const std::vector<std::string>& inherits) const {
    if (said_.contains(key)) return key;
    for (const std::string& other : inherits) {
      if (said_.contains(other)) return other;
    }
    return key;
  }
  std::string Origin(const std::string& key, const std::vector<std::string>& inherits) const {
    const std::string& sayer = Sayer(key, inherits);
    if (sayer != key) return sayer;
    const auto at = said_.find(key);
    if (at == said_.end()) return "default";
    if (at->second.line > 0) return problems_.Where(at->second);
    for (const FlagRow& row : FlagTable()) {
      if (row.file_key == key) return "--" + std::string(row.name);
    }
    return "";
  }
  void Line(size_t indent, const std::string& name, const std::string& value, const std::string& key,
            const std::vector<std::string>& inherits = {}) {
    std::string line(indent, ' ');
    absl::StrAppend(&line, name, ": ", Said(Sayer(key, inherits), value));
    line.append(line.size() < kOriginColumn ? kOriginColumn - line.size() : 1, ' ');
    absl::StrAppend(&out_, line, "# ", Origin(key, inherits), "\n");
  }
  void Globals(const std::string& prefix) {
    for (const FlagRow& row : FlagTable()) {
      const std::string_view key = row.file_key;
      if (key.empty() || !key.starts_with(prefix)) continue;
      const std::string name(key.substr(prefix.size()));
      const std::string value = row.resolved(settings_);
      if (key == "access_log" && settings_.has_access_log()) {
        AccessLog();
        continue;
      }
      if (name.find('.') != std::string::npos || value.empty()) continue;
      Line(prefix.empty() ? 0 : 2, name, row.list ? "[" + value + "]" : Yaml(value), std::string(key));
    }
  }
  void AccessLog() {
    const AccessLogSettings& log = settings_.log;
    if (log.usual()) return Line(0, "access_log", Yaml(settings_.access_log), "access_log");
    out_ += "access_log:\n";
    const auto flag = said_.find("access_log");
    const bool by_flag = flag != said_.end() && flag->second.line == 0;
    if (log.syslog.on()) {
      // Where the address alone was said, it was so under the key itself.
      const bool keys = said_.contains("access_log.syslog.address");
      out_ += "  syslog:\n";
      Line(4, "address", Yaml(log.syslog.address), keys ? "access_log.syslog.address" : "access_log.syslog");
      Values(4, ValuesOf(log.syslog), "access_log.syslog.", {});
    } else {
      Line(2, "file", Yaml(settings_.access_log), by_flag ? "access_log" : "access_log.file");
    }
    Values(2, ValuesOf(log), "access_log.", {});
    if (!log.line.empty()) Line(2, "template", Yaml(log.line), "access_log.template");
    const auto list = [this](const char* key, const std::vector<std::string>& names) {
      const std::string path = absl::StrCat("access_log.", key);
      if (!names.empty()) Line(2, key, YamlList(names, path), path);
    };
    list("fields", log.fields);
    list("request_headers", log.request_headers);
    list("response_headers", log.response_headers);
    list("redact_headers", log.redact_headers);
  }
  void Listeners() {
    out_ += "listeners:\n";
    for (size_t i = 0; i < settings_.listeners.size(); ++i) {
      const ListenerSettings& listener = settings_.listeners[i];
      const std::string key = absl::StrCat("listeners[", i, "].");
      Line(2, "- address", "\"" + listener.address.ToString() + "\"", key + "address");
      if (listener.has_file()) Line(4, "mode", OctalText(listener.unix_mode), key + "mode");
      Line(4, "protocol", listener.protocol == Protocol::kTcp ? "tcp" : "http", key + "protocol");
      if (listener.routes == ListenerSettings::kNone) {
        Line(4, "upstream", Yaml(settings_.upstreams[listener.direct.upstream].name), key + "upstream");
        Subset(4, listener.direct.upstream, listener.direct.subset, key);
      } else {
        Line(4, "routes", Yaml(settings_.routes[listener.routes].name), key + "routes");
      }
      Access(4, listener.access, key);
      Pages(4, listener.direct.error_pages, key + "error_pages.");
      Changes(4, "request_headers", listener.direct.request.headers, key);
      Changes(4, "response_headers", listener.direct.response, key);
      if (!listener.trusted.allow.empty()) {
        absl::StrAppend(
            &out_, "    trusted_proxies: ", YamlList(listener.trusted.allow, key + "trusted_proxies"), "\n");
      }
      if (!listener.address.is_unix()) Tcp(listener.tcp, TcpValuesOf(listener), key + "tcp.");
      if (listener.proxy_protocol.on()) {
        // Alone the mode was said under the key itself.
        const std::string of = key + "proxy_protocol";
        out_ += "    proxy_protocol:\n";
        for (const KeyValue& value : ValuesOf(listener.proxy_protocol)) {
          const bool alone = value.key == "mode" && !said_.contains(of + ".mode");
          Line(6, value.key, value.value, alone ? of : of + "." + value.key);
        }
        const std::vector<std::string>& from = listener.proxy_protocol.from.allow;
        if (!from.empty()) absl::StrAppend(&out_, "      from: ", YamlList(from, of + ".from"), "\n");
      }
      for (const KeyValue& value : ValuesOf(listener)) {
        if (listener.protocol == Protocol::kHttp || value.key != "forwarded")
          Line(4, value.key, value.value, key + value.key);
      }
    }
  }
  void Values(size_t indent, const std::vector<KeyValue>& values, const std::string& key,
              const std::vector<std::string>& inherits) {
    for (const KeyValue& value : values) {
      std::vector<std::string> others;
      for (const std::string& other : inherits) others.push_back(other + value.key);
      Line(indent, value.key, Yaml(value.value), key + value.key, others);
    }
  }
  void Tcp(const TcpOptions& options, const std::vector<KeyValue>& values, const std::string& key) {
    out_ += "    tcp:\n";
    Values(6, values, key, {});
    if (!options.congestion_control.empty())
      Line(6, "congestion_control", Yaml(options.congestion_control), key + "congestion_control");
  }
  void Sources(const std::vector<SocketAddress>& sources, const std::string& key) {
    std::vector<std::string> texts;
    for (const SocketAddress& source : sources) texts.push_back(source.IpText());
    if (!texts.empty()) Line(6, "source", YamlList(texts, key + "source"), key + "source");
  }
  void Upstreams() {
    out_ += "upstreams:\n";
    for (const UpstreamSettings& upstream : settings_.upstreams) {
      const std::string key = "upstreams." + upstream.name + ".";
      absl::StrAppend(&out_, "  ", Yaml(upstream.name), ":\n");
      Values(4, ValuesOf(upstream), key, {"limits."});
      Retry(4, upstream.retry, key + "retry", "");
      RetryBudget(upstream.retry_budget, key + "retry_budget");
      out_ += "    pool:\n";
      Values(6, ValuesOf(upstream.pool), key + "pool.", {});
      Tcp(upstream.tcp, TcpValuesOf(upstream), key + "tcp.");
      Sources(upstream.sources, key + "tcp.");
      HashOn(upstream.hash, key);
      out_ += "    endpoints:\n";
      Endpoints(upstream, key + "endpoints");
      if (upstream.proxy_hello.on()) {
        const std::string of = key + "proxy_protocol";
        out_ += "    proxy_protocol:\n";
        for (const KeyValue& value : ValuesOf(upstream.proxy_hello)) {
          Line(6, value.key, value.value, said_.contains(of + ".version") ? of + "." + value.key : of);
        }
        const std::vector<std::string> tlvs = TlvsOf(upstream.proxy_hello);
        if (!tlvs.empty()) absl::StrAppend(&out_, "      tlvs: ", YamlList(tlvs, of + ".tlvs"), "\n");
      }
      HealthCheck(upstream.health_check, key + "health_check.");
      SlowStart(upstream.slow_start, key + "slow_start");
      Outliers(upstream.outliers, key + "outlier_ejection");
      out_ += "    timeouts:\n";
      Values(6, TimeoutsOf(upstream), key + "timeouts.", {"timeouts."});
    }
  }
  // `inherits`: the key of another one, for what was not said here; empty: there is none. With `said_only`
  // that is left out instead.
  void Retry(size_t indent, const RetrySettings& retry, const std::string& key, const std::string& inherits,
             bool said_only = false) {
    std::vector<KeyValue> values = ValuesOf(retry);
    const auto backoff = [&](const char* name, uint32_t ms) {
      return absl::StrCat(name, ": ", Said(absl::StrCat(key, ".backoff.", name), DurationText(ms)));
    };
    values.insert(values.begin(), {"on", "[" + absl::StrJoin(ConditionsOf(retry), ", ") + "]"});
    values.push_back({"backoff", absl::StrCat("{", backoff("base", retry.backoff_base_ms), ", ",
                                              backoff("max", retry.backoff_max_ms), "}")});
    absl::StrAppend(&out_, std::string(indent, ' '), "retry:\n");
    for (const KeyValue& value : values) {
      const std::string of = absl::StrCat(key, ".", value.key);
      if (said_only && !said_.contains(of)) continue;
      const std::vector<std::string> others(inherits.empty() ? 0 : 1, absl::StrCat(inherits, ".", value.key));
      Line(indent + 2, std::string(value.key), value.value, of, others);
    }
  }
  void RetryBudget(const RetryBudgetSettings& budget, const std::string& key) {
    if (!budget.on) return Line(4, "retry_budget", "off", key);
    out_ += "    retry_budget:\n";
    Values(6, ValuesOf(budget), key + ".", {});
  }
  void HashOn(const HashSettings& hash, const std::string& key) {
    if (hash.on.empty()) return;
    std::vector<std::string> keys;
    for (const HashKey& each : hash.on) keys.push_back(each.ToString());
    Line(4, "hash_on", YamlList(keys, key + "hash_on"), key + "hash_on");
    if (hash.cookie() == nullptr) return;
    const std::string of = key + "hash_cookie.";
    absl::StrAppend(&out_, "    hash_cookie: {max_age: ",
                    Said(of + "max_age", DurationText(uint64_t{hash.cookie_max_age_s} * 1000)),
                    ", secure: ", Said(of + "secure", hash.cookie_secure ? "true" : "false"), "}\n");
  }
  void HealthCheck(const HealthCheckSettings& check, const std::string& key) {
    if (!check.on()) return;
    out_ += "    health_check:\n";
    std::vector<KeyValue> values = ValuesOf(check);
    std::erase_if(values, [](const KeyValue& value) { return value.value.empty(); });
    Values(6, values, key, {});
    if (check.type != HealthCheckSettings::Type::kHttp) return;
    std::vector<std::string> ranges;
    for (const HealthCheckSettings::StatusRange& range : check.status) {
      ranges.push_back(range.first == range.last ? absl::StrCat(range.first)
                                                 : absl::StrCat(range.first, "-", range.last));
    }
    std::string list;
    for (const std::string& range : ranges) absl::StrAppend(&list, list.empty() ? "" : ", ", range);
    Line(6, "status", ranges.size() == 1 ? list : "[" + list + "]", key + "status");
  }
  void SlowStart(const SlowStartSettings& start, const std::string& key) {
    if (!start.on()) return;
    out_ += "    slow_start:\n";
    for (const KeyValue& value : ValuesOf(start)) {
      // The duration alone was said under the key itself.
      const bool alone = value.key == "duration" && !said_.contains(key + ".duration");
      Line(6, value.key, value.value, alone ? key : key + "." + value.key);
    }
  }
  void Outliers(const OutlierSettings& outliers, const std::string& key) {
    if (!outliers.on()) return;
    out_ += "    outlier_ejection:\n";
    std::vector<KeyValue> values = ValuesOf(outliers);
    std::erase_if(values, [](const KeyValue& value) { return value.value.empty(); });
    Values(6, values, key + ".", {});
    if (outliers.by_success_rate) {
      out_ += "      success_rate:\n";
      Values(8, SuccessRateOf(outliers), key + ".success_rate.", {});
    }
    if (outliers.slow_above_ms == 0) return;
    const std::string of = key + ".latency.";
    const std::string latency = absl::StrCat(
        "{above: ", Said(of + "above", DurationText(outliers.slow_above_ms)),
        ", consecutive: ", Said(of + "consecutive", absl::StrCat(outliers.consecutive_slow)), "}");
    Line(6, "latency", latency, key + ".latency");
  }
  // A name has one for each of its addresses, one behind the other.
  void Endpoints(const UpstreamSettings& upstream, const std::string& key) {
    const std::string* name = nullptr;
    for (size_t i = 0, said = 0; i < upstream.endpoints.size(); ++i) {
      const EndpointSettings& endpoint = upstream.endpoints[i];
      const bool same_name = name != nullptr && *name == endpoint.text;
      if (name != nullptr && !same_name) ++said;
      name = &endpoint.text;
      const std::string of = absl::StrCat(key, "[", said, "]");
      const std::string address = absl::StrCat("\"", endpoint.address.ToString(), "\"");
      const std::string text = Said(of, Said(of + ".address", address));
      if (text != address && same_name) continue;
      absl::StrAppend(&out_, "      - {address: ", text,
                      ", weight: ", Said(of + ".weight", absl::StrCat(endpoint.weight)));
      if (endpoint.backup()) {
        absl::StrAppend(&out_, ", backup: ", Said(of + ".backup", "true"));
      } else if (endpoint.level != 0) {
        absl::StrAppend(&out_, ", priority: ", Said(of + ".priority", absl::StrCat(endpoint.level)));
      }
      if (!endpoint.zone.empty()) absl::StrAppend(&out_, ", zone: ", Said(of + ".zone", Yaml(endpoint.zone)));
      if (!endpoint.labels.empty())
        absl::StrAppend(&out_, ", labels: ", LabelsForm(endpoint.labels, of + ".labels"));
      out_ += "}";
      if (text == address && endpoint.text != endpoint.address.ToString())
        absl::StrAppend(&out_, "  # ", endpoint.text);
      out_ += "\n";
    }
  }
  std::string LabelsForm(const Labels& labels, const std::string& key) const {
    std::string text;
    for (const auto& [name, value] : labels) {
      absl::StrAppend(&text, text.empty() ? "" : ", ", Yaml(name), ": ",
                      SaidText(absl::StrCat(key, ".", name), value));
    }
    return "{" + text + "}";
  }
  const Labels& LabelsOf(uint32_t upstream, const SubsetUse& use) const {
    return settings_.upstreams[upstream].subsets[use.number - 1];
  }
  // `key` ends with its dot, here and below.
  void Subset(size_t indent, uint32_t upstream, const SubsetUse& use, const std::string& key) {
    if (use.number == 0) return;
    Line(indent, "subset", LabelsForm(LabelsOf(upstream, use), key + "subset"), key + "subset");
    Line(indent, "subset_fallback", use.else_any ? "any" : "none", key + "subset_fallback");
  }
  // Within braces.
  std::string SubsetPart(uint32_t upstream, const SubsetUse& use, const std::string& key) const {
    if (use.number == 0) return "";
    return absl::StrCat(", subset: ", LabelsForm(LabelsOf(upstream, use), key + "subset"),
                        ", subset_fallback: ", Said(key + "subset_fallback", use.else_any ? "any" : "none"));
  }
  void Routes() {
    if (!settings_.routes.empty()) out_ += "routes:\n";
    for (const RouteList& list : settings_.routes) {
      if (list.of_listener) continue;
      absl::StrAppend(&out_, "  ", Yaml(list.name), ":\n");
      of_connections_ = std::any_of(
          settings_.listeners.begin(), settings_.listeners.end(), [&](const ListenerSettings& listener) {
            return listener.protocol == Protocol::kTcp && listener.routes != ListenerSettings::kNone &&
                   settings_.routes[listener.routes].name == list.name;
          });
      for (size_t i = 0; i < list.routes.size(); ++i) {
        Route(list.matches[i], list.routes[i], absl::StrCat("routes.", list.name, "[", i, "]."));
      }
    }
  }
  void Access(size_t indent, const AccessSettings& access, const std::string& key) {
    const std::string spaces(indent, ' ');
    const auto list = [&](const char* name, const std::vector<std::string>& texts) {
      if (!texts.empty()) absl::StrAppend(&out_, spaces, name, ": ", YamlList(texts, key + name), "\n");
    };
    list("allow", access.allow);
    list("deny", access.deny);
  }
  // A hash may be tried against for as long as somebody likes: it stays where it is. What is printed for it
  // is refused when it is read, rather than that somebody else could come, or nobody.
  void BasicAuthLines(const BasicAuth& auth, const std::string& key) {
    absl::StrAppend(&out_, "      basic_auth:\n        realm: ", SaidText(key + "realm", auth.realm),
                    "\n        forward: ", Said(key + "forward", auth.forward ? "true" : "false"), "\n");
    if (!auth.users_file.empty()) {
      absl::StrAppend(&out_, "        users_file: ", SaidText(key + "users_file", auth.users_file), "\n");
      return;
    }
    const auto users = said_.find(key + "users");
    absl::StrAppend(&out_, "        users:  # their hashes are not printed: they stay at ",
                    users == said_.end() ? "" : problems_.Where(users->second), "\n");
    for (const BasicAuth::User& user : auth.users) {
      absl::StrAppend(&out_, "          ", Yaml(user.name), ": ",
                      SaidText(absl::StrCat(key, "users.", user.name), kHiddenHash), "\n");
    }
  }
  // `{file: ...}`, or with the text itself.
  std::string Body(std::string_view content_type, const std::string& body, const std::string& file,
                   const std::string& key) const {
    return absl::StrCat("content_type: ", SaidText(key + "content_type", content_type),
                        file.empty() ? ", body: " : ", file: ",
                        file.empty() ? SaidText(key + "body", body) : SaidText(key + "file", file));
  }
  void Pages(size_t indent, const ErrorPages& pages, const std::string& key) {
    if (pages.empty()) return;
    const std::string spaces(indent, ' ');
    absl::StrAppend(&out_, spaces, "error_pages:\n");
    for (const ErrorPage& page : pages) {
      const std::string status = absl::StrCat(page.status, page.status < 10 ? "xx" : "");
      absl::StrAppend(&out_, spaces, "  ", status, ": {",
                      Body(page.content_type, page.body, page.body_file, absl::StrCat(key, status, ".")),
                      "}\n");
    }
  }
  // What is set is both dropped and added.
  void Changes(size_t indent, const char* name, const HeaderChanges& changes, const std::string& of) {
    if (changes.empty()) return;
    const std::string key = of + name;
    std::string set;
    std::string append;
    std::vector<std::string> removed = changes.dropped;
    for (const HeaderChanges::Line& line : changes.added) {
      const auto at = std::find(removed.begin(), removed.end(), line.name);
      const bool is_set = at != removed.end();
      std::string& list = is_set ? set : append;
      absl::StrAppend(
          &list, list.empty() ? "" : ", ", Yaml(line.name), ": ",
          SaidText(absl::StrCat(key, is_set ? ".set." : ".append.", line.name), line.value.text()));
      if (at != removed.end()) removed.erase(at);
    }
    std::string text;
    const auto part = [&text](const char* name, const std::string& value) {
      absl::StrAppend(&text, text.empty() ? "" : ", ", name, ": ", value);
    };
    if (!set.empty()) part("set", "{" + set + "}");
    if (!append.empty()) part("append", "{" + append + "}");
    if (!removed.empty()) part("remove", YamlList(removed, key + ".remove"));
    absl::StrAppend(&out_, std::string(indent, ' '), name, ": {", text, "}\n");
  }
  void Route(const RouteMatch& match, const RouteSettings& route, const std::string& key) {
    absl::StrAppend(&out_, "    - match: {");
    const std::string of = key + "match.";
    const char* comma = "";
    const auto part = [&](const char* name, const std::string& value) {
      absl::StrAppend(&out_, comma, name, ": ", value);
      comma = ", ";
    };
    const auto list = [&](const char* name, const std::vector<std::string>& texts) {
      if (!texts.empty()) part(name, YamlList(texts, of + name));
    };
    list("host", match.hosts);
    list("path", match.paths);
    list("path_prefix", match.path_prefixes);
    list("path_regex", match.path_regexes);
    list("method", match.methods);
    if (!match.headers.empty()) part("headers", Conditions(match.headers, of + "headers"));
    if (!match.query.empty()) part("query", Conditions(match.query, of + "query"));
    if (!match.proxy_protocol.empty())
      part("proxy_protocol", Conditions(match.proxy_protocol, of + "proxy_protocol"));
    if (!match.clients.empty()) {
      std::vector<std::string> clients;
      for (const Network& network : match.clients) clients.push_back(network.ToString());
      list("client", clients);
    }
    if (!match.scheme.empty()) part("scheme", Said(of + "scheme", match.scheme));
    list("sni", match.sni);
    list("alpn", match.alpn);
    absl::StrAppend(&out_, "}  # ", route.where, "\n");
    if (!route.request.path.empty() || !route.request.host.empty()) {
      std::string changes;
      if (!route.request.path.empty()) {
        absl::StrAppend(&changes, "path: ", SaidText(key + "rewrite.path", route.request.path.text()));
      }
      if (!route.request.host.empty()) {
        absl::StrAppend(&changes, changes.empty() ? "" : ", ",
                        "host: ", SaidText(key + "rewrite.host", route.request.host));
      }
      absl::StrAppend(&out_, "      rewrite: {", changes, "}\n");
    }
    if (route.action == RouteSettings::Action::kUpstream && !of_connections_) {
      Line(6, "client_max_body", SizeText(route.client_max_body_bytes), key + "client_max_body",
           {"limits.client_max_body"});
      if (route.buffer_bytes > 0) Line(6, "buffer", SizeText(route.buffer_bytes), key + "buffer");
    }
    if (route.max_header_bytes != UINT32_MAX) {
      Line(6, "max_header_bytes", SizeText(route.max_header_bytes), key + "max_header_bytes");
    }
    Access(6, route.access, key);
    if (route.basic_auth != nullptr) BasicAuthLines(*route.basic_auth, key + "basic_auth.");
    if (route.auth_request != nullptr) {
      const AuthRequestSettings& auth = *route.auth_request;
      const std::string of = key + "auth_request.";
      absl::StrAppend(&out_, "      auth_request: {upstream: ",
                      SaidText(of + "upstream", settings_.upstreams[auth.leg.upstream].name),
                      SubsetPart(auth.leg.upstream, auth.leg.subset, of),
                      ", path: ", SaidText(of + "path", auth.path.text()),
                      auth.copy.empty() ? "" : ", copy: ",
                      auth.copy.empty() ? "" : YamlList(auth.copy, of + "copy"), "}\n");
    }
    Pages(6, route.error_pages, key + "error_pages.");
    Changes(6, "request_headers", route.request.headers, key);
    Changes(6, "response_headers", route.response, key);
    if (route.mirror.upstream != MirrorSettings::kNone)
      absl::StrAppend(&out_, "      mirror: {upstream: ",
                      SaidText(key + "mirror.upstream", settings_.upstreams[route.mirror.upstream].name),
                      SubsetPart(route.mirror.upstream, route.mirror.subset, key + "mirror."),
                      ", share: ", SaidText(key + "mirror.share", route.mirror.share.text), "}\n");
    switch (route.action) {
      case RouteSettings::Action::kUpstream: {
        if (route.split != nullptr) {
          Divided(route, key);
          break;
        }
        const std::string& upstream = settings_.upstreams[route.upstream].name;
        Line(6, "upstream", Yaml(upstream), key + "upstream");
        Subset(6, route.upstream, route.subset, key);
        Line(6, "retries", absl::StrCat(route.retries), key + "retries",
             {"upstreams." + upstream + ".retries", "limits.retries"});
        if (route.retry != settings_.upstreams[route.upstream].retry) {
          Retry(6, route.retry, key + "retry", "upstreams." + upstream + ".retry", of_connections_);
        }
        out_ += "      timeouts:\n";
        std::vector<KeyValue> timeouts = TimeoutsOf(route);
        if (of_connections_) {
          std::erase_if(timeouts, [](const KeyValue& value) {
            return value.key != "connect" && value.key != "tcp_idle";
          });
        }
        Values(8, timeouts, key + "timeouts.", {"upstreams." + upstream + ".timeouts.", "timeouts."});
        break;
      }
      case RouteSettings::Action::kRedirect:
        absl::StrAppend(&out_, "      redirect: {to: ", SaidText(key + "redirect.to", route.location.text()),
                        ", status: ", Said(key + "redirect.status", absl::StrCat(route.status)), "}\n");
        break;
      case RouteSettings::Action::kRespond:
        absl::StrAppend(&out_,
                        "      respond: {status: ", Said(key + "respond.status", absl::StrCat(route.status)));
        if (!route.content_type.empty()) {
          absl::StrAppend(&out_, ", ",
                          Body(route.content_type, route.body, route.body_file, key + "respond."));
        }
        out_ += "}\n";
        break;
    }
  }

  // Timeouts and retries that the route did not say are those of each side's upstream.
  void Divided(const RouteSettings& route, const std::string& key) {
    const Split& split = route.split->split;
    out_ += "      split:\n";
    for (size_t i = 0; i < split.sides.size(); ++i) {
      const std::string of = absl::StrCat(key, "split[", i, "].");
      const RouteSettings& side = route.split->sides[i];
      absl::StrAppend(
          &out_, "        - {upstream: ", SaidText(of + "upstream", settings_.upstreams[side.upstream].name),
          SubsetPart(side.upstream, side.subset, of),
          ", weight: ", Said(of + "weight", absl::StrCat(split.sides[i].weight)), "}\n");
    }
    if (split.sticky == Split::Sticky::kHash) {
      absl::StrAppend(
          &out_, "      sticky: {hash_on: ", SaidText(key + "sticky.hash_on", split.key.ToString()), "}\n");
    } else if (split.sticky == Split::Sticky::kCookie) {
      const std::string age = DurationText(uint64_t{route.split->max_age_s} * 1000);
      absl::StrAppend(&out_, "      sticky: {cookie: ", SaidText(key + "sticky.cookie", split.cookie),
                      ", max_age: ", Said(key + "sticky.max_age", age),
                      ", secure: ", Said(key + "sticky.secure", route.split->secure ? "true" : "false"),
                      "}\n");
    }
    if (said_.contains(key + "retries")) Line(6, "retries", absl::StrCat(route.retries), key + "retries");
    if (said_.contains(key + "retry")) Retry(6, route.retry, key + "retry", "", true);
    std::vector<KeyValue> said = TimeoutsOf(route);
    std::erase_if(said,
                  [&](const KeyValue& value) { return !said_.contains(key + "timeouts." + value.key); });
    if (said.empty()) return;
    out_ += "      timeouts:\n";
    Values(8, said, key + "timeouts.", {});
  }

  const Settings& settings_;
  const SaidKeys& said_;
  const Problems& problems_;
  bool of_connections_ = false;  // the list of routes is a tcp listener's
  std::string out_;
};

}  // namespace

std::string DescribeSettings(const Settings& settings, const SaidKeys& said, const Problems& problems) {
  std::string out = settings.config.empty() ? FlagFile(settings) : FileForm(settings, said, problems).Write();

  const MemoryBudget budget = ComputeBudget(settings);
  out += "\n# Memory, if every bound is reached at once\n";
  for (const BudgetLine& line : budget.memory) AppendLine(out, line.what, MiB(line.amount));
  AppendLine(out, "all together", MiB(budget.memory_bytes));
  AppendLine(out, absl::StrCat("address space reserved for requests: ", settings.shards, " x"),
             MiB(budget.shard.arena_bytes));

  out += "\n# Open files, likewise\n";
  for (const BudgetLine& line : budget.files) AppendLine(out, line.what, absl::StrCat(line.amount));
  AppendLine(out, "all together", absl::StrCat(budget.file_count));
  AppendLine(out, "limit", absl::StrCat(settings.fd_limit));
  return out;
}

}  // namespace weir::lb
