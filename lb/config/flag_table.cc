#include "lb/config/flag_table.h"

#include <algorithm>

#include "absl/flags/flag.h"
#include "absl/flags/marshalling.h"
#include "absl/strings/str_cat.h"
#include "core/check.h"

// The table. SPECIAL(name, key in the file, group, type, default in words, setting, sentence): resolve.cc
// works the setting out. FIELD(name, key, group, type, setting, sentence): the value is the setting, and the
// setting's default the flag's.
#define WEIR_FLAGS(SPECIAL, FIELD)                                                                          \
  SPECIAL(config, "", kService, PathText, "off", config,                                                    \
          "A YAML file that says what is served; docs/configuration.md has its keys. Flags win over it.")   \
  SPECIAL(listen, "", kService, ListenerList, "required", listeners,                                        \
          "Where clients connect: http://ADDRESS:PORT or tcp://ADDRESS:PORT. [::] is IPv6 alone. "          \
          "unix:/PATH for ADDRESS:PORT: a socket of this machine, for Weir's user and group.")              \
  SPECIAL(backends, "", kService, BackendList, "required", upstreams,                                       \
          "Where requests and connections go; names are resolved at start. unix:/PATH: a socket of this "   \
          "machine. WEIGHT: 1 to 1000.")                                                                    \
  FIELD(balance, "", kService, BalanceName, upstream_defaults.balance,                                      \
        "Which endpoint is next, by weight: round_robin, random, least_conn, p2c, ewma, maglev and "        \
        "ring_hash (the same client address meets the same endpoint), first.")                              \
  SPECIAL(admin, "admin", kService, OptionalAddress, "off", admin,                                          \
          "Where /metrics, /healthz and /stats are served. Not for the public. unix:/PATH: a socket that "  \
          "only Weir's user (and root) may use.")                                                           \
  FIELD(admin_token_file, "admin_token_file", kService, PathText, admin_token_file,                         \
        "A file with the token that allows to change something (POST /reload) through --admin over TCP.")   \
  FIELD(pid_file, "pid_file", kService, PathText, pid_file,                                                 \
        "A file that gets the process's number while it serves; `weir reload` finds it there.")             \
  FIELD(access_log, "access_log", kService, PathText, access_log,                                           \
        "A file that gets a line of JSON per request or TCP connection; - is standard output.")             \
  SPECIAL(via_name, "via_name", kService, TokenText, "weir- and eight random digits", via_name,             \
          "What this instance calls itself in Via. A request that names it already has come round: 508.")   \
  FIELD(zone, "zone", kService, ZoneText, zone,                                                             \
        "Where this instance is, such as eu-1a: endpoints of the same zone are preferred.")                 \
  SPECIAL(shards, "shards", kMachine, ShardCount, "0: one per CPU", shards,                                 \
          "Threads that serve, each with an io_uring of its own.")                                          \
  SPECIAL(cpus, "cpus", kMachine, CpuList, "all that are allowed", cpus,                                    \
          "CPUs to run on, as numbers and ranges; shards are pinned to them in this order.")                \
  SPECIAL(max_connections, "limits.max_connections", kMachine, ConnectionCount,                             \
          "0: what the limit of open files allows", max_connections,                                        \
          "Client connections at one time; more get 503, or are closed (TCP).")                             \
  SPECIAL(buffer_memory, "limits.buffer_memory", kMachine, BufferMemory,                                    \
          "0: a 16th of the memory, 64MiB to 1GiB", buffer_memory_bytes,                                    \
          "For bytes on their way from socket to socket, all shards together.")                             \
  FIELD(splice_from, "limits.splice_from", kMachine, SpliceSize, splice_from_bytes,                         \
        "Bulk is not copied but spliced through a pipe: an HTTP body of a known length with more than "     \
        "this to come, and TCP connections and tunnels after so much in full reads in a row; 0: never.")    \
  FIELD(client_header_timeout, "timeouts.client_header", kTimeouts, Patience, timeouts.client_header_ms,    \
        "From a request's first byte (or from accept) to the end of its head.")                             \
  FIELD(client_body_timeout, "timeouts.client_body", kTimeouts, Patience, timeouts.client_body_ms,          \
        "Between two reads of a request body.")                                                             \
  FIELD(client_send_timeout, "timeouts.client_send", kTimeouts, Patience, timeouts.client_send_ms,          \
        "A client that acknowledges nothing of what is sent to it.")                                        \
  FIELD(keep_alive_timeout, "timeouts.keep_alive", kTimeouts, Patience, timeouts.keep_alive_ms,             \
        "An idle client connection between two requests.")                                                  \
  FIELD(connect_timeout, "timeouts.connect", kTimeouts, Patience, timeouts.connect_ms,                      \
        "One attempt to connect to an endpoint.")                                                           \
  FIELD(response_timeout, "timeouts.response", kTimeouts, Patience, timeouts.response_ms,                   \
        "From the whole request sent to the head of the response.")                                         \
  FIELD(upstream_body_timeout, "timeouts.upstream_body", kTimeouts, Patience, timeouts.upstream_body_ms,    \
        "Between two reads of a response body, or a send of a request body that makes no progress.")        \
  FIELD(request_timeout, "timeouts.request", kTimeouts, OptionalPatience, timeouts.request_ms,              \
        "A whole request with its response; 0 is no limit.")                                                \
  FIELD(tcp_idle_timeout, "timeouts.tcp_idle", kTimeouts, Patience, timeouts.tcp_idle_ms,                   \
        "TCP connections and tunnels: no byte in either direction.")                                        \
  FIELD(upstream_idle_timeout, "timeouts.upstream_idle", kTimeouts, Patience, upstream_defaults.idle_ms,    \
        "An idle connection kept to an endpoint; choose less than the endpoint's own patience.")            \
  FIELD(retries, "limits.retries", kLimits, RetryCount, upstream_defaults.retries,                          \
        "Further attempts after the first, each on another endpoint where there is one.")                   \
  FIELD(                                                                                                    \
      set_aside, "limits.set_aside", kLimits, OptionalPatience, upstream_defaults.set_aside_ms,             \
      "An endpoint that refuses connections gets none for so long, and up to 16 times that if it goes on.") \
  FIELD(upstream_idle_connections, "limits.idle_connections", kLimits, IdleCount,                           \
        upstream_defaults.idle_connections, "Idle connections kept for reuse, per endpoint and shard.")     \
  FIELD(max_header_bytes, "limits.max_header_bytes", kLimits, HeadSize, limits.header_bytes,                \
        "A message's head; a longer one is 431, from an endpoint 502.")                                     \
  FIELD(max_header_fields, "limits.max_header_fields", kLimits, FieldCount, limits.fields,                  \
        "Header fields in a head, likewise.")                                                               \
  FIELD(max_target_bytes, "limits.max_target_bytes", kLimits, TargetSize, limits.target_bytes,              \
        "A request's target (path and query); a longer one is 414.")                                        \
  FIELD(client_max_body, "limits.client_max_body", kLimits, BodySize, client_max_body_bytes,                \
        "A request's body; a longer one is 413. 0 is no limit.")                                            \
  FIELD(lame_duck, "timeouts.lame_duck", kStopping, OptionalPatience, timeouts.lame_duck_ms,                \
        "After SIGTERM, /healthz says 503 and each answer close for so long before accepting stops.")       \
  FIELD(drain_timeout, "timeouts.drain", kStopping, OptionalPatience, timeouts.drain_ms,                    \
        "What is in flight may take so long to end; what is left is cut, and the exit status is 2.")

#define WEIR_SPECIAL_FLAG(name, key, group, type, default_text, setting, sentence) \
  ABSL_FLAG(weir::lb::type, name, weir::lb::type(), sentence);
#define WEIR_FIELD_FLAG(name, key, group, type, setting, sentence) \
  ABSL_FLAG(weir::lb::type, name, weir::lb::type{weir::lb::Settings().setting}, sentence);
WEIR_FLAGS(WEIR_SPECIAL_FLAG, WEIR_FIELD_FLAG)

namespace weir::lb {
namespace {

template <class Type>
constexpr bool kIsList = requires(Type value) { value.items; };

template <class Type>
bool SetFlag(absl::Flag<Type>& flag, std::string_view text, std::string* error) {
  Type value = absl::GetFlag(flag);
  if constexpr (kIsList<Type>) {
    if (!ParseElement(Absl(text), &value, error)) return false;
  } else if (!absl::ParseFlag(Absl(text), &value, error)) {
    return false;
  } else if (text.empty()) {
    *error = absl::StrCat("expected ", Type::kPlaceholder);
    return false;
  }
  absl::SetFlag(&flag, value);
  return true;
}

template <class Type>
void ResetFlag(absl::Flag<Type>& flag) {
  Type value;
  std::string error;
  WEIR_CHECK(absl::ParseFlag(absl::GetFlagReflectionHandle(flag).DefaultValue(), &value, &error));
  absl::SetFlag(&flag, value);
}

// A setting in the words of its flag.
template <class Type, class Setting>
std::string Said(const Setting& setting) {
  if constexpr (std::is_same_v<Type, BackendList>) {
    BackendList list;
    for (const UpstreamSettings& upstream : setting) {
      for (const EndpointSettings& endpoint : upstream.endpoints) {
        BackendList::Item& item = list.items.emplace_back();
        item.weight = endpoint.weight;
        item.text = endpoint.address.ToString();
      }
    }
    return AbslUnparseFlag(list);
  } else {
    return AbslUnparseFlag(Type{setting});
  }
}

#define WEIR_SPECIAL_ROW(name, key, group, type, default_text, setting, sentence) \
  WEIR_ROW(name, key, group, type, default_text, setting, sentence, nullptr),
#define WEIR_FIELD_ROW(name, key, group, type, setting, sentence) \
  WEIR_ROW(name, key, group, type, "", setting, sentence,         \
           [](Settings& settings) { settings.setting = absl::GetFlag(FLAGS_##name).value; }),
#define WEIR_ROW(name, key, group, type, default_text, setting, sentence, apply)                      \
  FlagRow {                                                                                           \
    #name, key, FlagGroup::group, kIsList<type>, type::kPlaceholder, default_text, sentence,          \
        [](std::string_view text, std::string* error) { return SetFlag(FLAGS_##name, text, error); }, \
        [] { ResetFlag(FLAGS_##name); },                                                              \
        [] { return absl::GetFlagReflectionHandle(FLAGS_##name).DefaultValue(); }, apply,             \
        [](const Settings& settings) { return Said<type>(settings.setting); }                         \
  }

const FlagRow kTable[] = {WEIR_FLAGS(WEIR_SPECIAL_ROW, WEIR_FIELD_ROW)};

constexpr FlagGroup kGroups[] = {FlagGroup::kService, FlagGroup::kMachine, FlagGroup::kTimeouts,
                                 FlagGroup::kLimits, FlagGroup::kStopping};

constexpr std::string_view kUsage = R"(Weir, a load balancer and reverse proxy for HTTP/1.1 and TCP.

  weir --listen=http://0.0.0.0:8080 --backends=10.0.0.1:80,10.0.0.2:80=3

  weir            serves until SIGTERM or SIGINT
  weir demo       serves in front of three small origins of its own, on loopback
  weir reload     has a running Weir (--admin or --pid_file) read its configuration anew
  weir check      names every mistake in the flags, or prints the resolved configuration and memory budget
  weir explain    [METHOD] URL [-H 'Name: value'] [--client=ADDRESS] [--listener=ADDRESS:PORT]
  weir explain    tls://NAME[:PORT] [--alpn=h2,http/1.1] [--client=ADDRESS] [--listener=ADDRESS:PORT]
                  what would become of a request, and why
  weir version    prints the version
  weir help       prints this, as does --help

A list takes several values, separated by commas or by giving the flag again. DURATION: 500ms, 10s, 5m, 1h.
SIZE: 65536, 64KiB, 256MiB, 1GiB (also k, M, G). --flagfile=FILE reads flags from a file, one a line; # begins
a comment line, and the command line wins over the file (to a list it adds).
)";

constexpr size_t kTextColumn = 36;
constexpr size_t kWidth = 110;

// `text` from column kTextColumn on, broken at spaces.
void AppendWrapped(std::string& out, std::string_view text) {
  const size_t room = kWidth - kTextColumn;
  while (text.size() > room) {
    const size_t space = text.rfind(' ', room);
    out.append(text.substr(0, space)).append("\n").append(kTextColumn, ' ');
    text.remove_prefix(space + 1);
  }
  out.append(text).append("\n");
}

}  // namespace

std::span<const FlagRow> FlagTable() { return kTable; }

const FlagRow* FindFlag(std::string_view name) {
  const auto row =
      std::find_if(std::begin(kTable), std::end(kTable), [&](const FlagRow& r) { return r.name == name; });
  return row == std::end(kTable) ? nullptr : row;
}

std::string_view GroupTitle(FlagGroup group) {
  switch (group) {
    case FlagGroup::kService:
      return "What is served";
    case FlagGroup::kMachine:
      return "The machine";
    case FlagGroup::kTimeouts:
      return "Timeouts";
    case FlagGroup::kLimits:
      return "Limits and retries";
    case FlagGroup::kStopping:
      return "Stopping";
  }
  return "";
}

std::string DefaultText(const FlagRow& row) {
  if (!row.default_text.empty()) return std::string(row.default_text);
  const std::string text = row.flag_default();
  return text.empty() ? "off" : text;
}

std::string HelpText() {
  std::string out(kUsage);
  for (const FlagGroup group : kGroups) {
    out.append("\n").append(GroupTitle(group)).append("\n");
    for (const FlagRow& row : kTable) {
      if (row.group != group) continue;
      std::string head = "  --" + std::string(row.name) + "=" + std::string(row.placeholder);
      if (head.size() + 1 > kTextColumn) {
        head.append("\n").append(kTextColumn, ' ');
      } else {
        head.append(kTextColumn - head.size(), ' ');
      }
      out += head;
      AppendWrapped(out, std::string(row.sentence) + " [" + DefaultText(row) + "]");
    }
  }
  return out;
}

std::string FlagsMarkdown() {
  std::string out = "| flag | default | |\n|---|---|---|\n";
  for (const FlagGroup group : kGroups) {
    absl::StrAppend(&out, "| **", Absl(GroupTitle(group)), "** | | |\n");
    for (const FlagRow& row : kTable) {
      if (row.group != group) continue;
      absl::StrAppend(&out, "| `--", Absl(row.name), "=", Absl(row.placeholder), "` | ", DefaultText(row),
                      " | ", Absl(row.sentence), " |\n");
    }
  }
  return out;
}

}  // namespace weir::lb
