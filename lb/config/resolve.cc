#include "lb/config/resolve.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <optional>

#include "absl/flags/flag.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "lb/balance/balancer.h"
#include "lb/config/budget.h"
#include "lb/config/flag_table.h"
#include "lb/config/read_file.h"

namespace weir::lb {
namespace {

static_assert(kMaxHeaderBytesFlag == 30 * 1024, "the range of --max_header_bytes");

// What is left to them where --max_connections is not said.
constexpr uint32_t kListenersToCome = 32;

SocketAddress Loopback(uint16_t port) { return {.bytes = {127, 0, 0, 1}, .port = port, .family = AF_INET}; }

class Resolver {
 public:
  Resolver(const Machine& machine, bool demo, Problems& problems, const Settings* running)
      : machine_(machine), demo_(demo), problems_(problems), running_(running) {}

  Settings Resolve(std::span<const ConfigNode> documents, SaidKeys& said);
  Settings ResolveTarget(SaidKeys& said);

 private:
  // Who said something: a flag, or a place in the file.
  struct Said {
    std::string key;
    Place place = {};
  };

  void FromFlags();
  void FromFile(std::span<const ConfigNode> documents, SaidKeys& said);
  void AddListener(const ListenerSettings& listener, const Said& said);
  // `draft`: what is said of it beside what `item` has.
  void AddEndpoint(UpstreamSettings& upstream, const BackendList::Item& item, const Said& said,
                   EndpointSettings draft = {});
  void AddAddress(UpstreamSettings& upstream, const BackendList::Item& item, const Said& said,
                  EndpointSettings draft);
  void CheckTcp(const TcpOptions& options, const Said& said);
  void WarnOfZones(const UpstreamSettings& upstream, const Place& place);
  void CheckCount(const UpstreamSettings& upstream, const Said& said);
  void Admin();
  void Shards();
  void Buffers();
  void Connections();
  void Mirrors(uint64_t room);
  void Limits();
  void AccessLog();
  void AdminToken();
  void CheckWritable(const char* flag, const std::string& path);
  template <class Value>
  void Keep(const char* flag, Value& value, const Value& running, bool given = true);
  void KeepRunning();

  template <class... Parts>
  void Error(const Said& said, const Parts&... parts) {
    problems_.Error(said.place, said.key, absl::StrCat(parts...));
  }
  // Of a flag, or of the key of the file that says the same.
  template <class... Parts>
  void Error(const char* flag, const Parts&... parts) {
    const FlagRow* const row = FindFlag(flag + 2);
    const auto at = row == nullptr ? said_->end() : said_->find(std::string(row->file_key));
    const bool in_file = at != said_->end() && at->second.line > 0;
    problems_.Error(in_file ? at->second : Place(), in_file ? at->first : flag, absl::StrCat(parts...));
  }
  const ListenerSettings* ListenerOn(const SocketAddress& address) const {
    const auto found = std::find_if(settings_.listeners.begin(), settings_.listeners.end(),
                                    [&](const ListenerSettings& other) { return other.address == address; });
    return found == settings_.listeners.end() ? nullptr : &*found;
  }

  const Machine& machine_;
  const bool demo_;
  Problems& problems_;
  const Settings* const running_;  // of a reload
  const SaidKeys* said_ = nullptr;
  Settings settings_;
};

Settings Resolver::Resolve(std::span<const ConfigNode> documents, SaidKeys& said) {
  said_ = &said;
  for (const FlagRow& row : FlagTable()) {
    if (row.apply != nullptr) row.apply(settings_);
  }
  settings_.fd_limit = machine_.fd_limit;
  settings_.via_name = absl::GetFlag(FLAGS_via_name).value;
  settings_.config = absl::GetFlag(FLAGS_config).value;
  if (settings_.config.empty()) {
    FromFlags();
  } else {
    FromFile(documents, said);
  }
  Shards();
  Buffers();
  Connections();
  Limits();
  AccessLog();
  AdminToken();
  if (!settings_.pid_file.empty()) CheckWritable("--pid_file", settings_.pid_file);
  if (running_ != nullptr) KeepRunning();
  return std::move(settings_);
}

Settings Resolver::ResolveTarget(SaidKeys& said) {
  said_ = &said;
  for (const FlagRow& row : FlagTable()) {
    if (row.apply != nullptr) row.apply(settings_);
  }
  Admin();
  AdminToken();
  if (!settings_.has_admin && settings_.pid_file.empty())
    problems_.Error({}, "", "--admin or --pid_file (or a --config that says it) is missing: which Weir?");
  return std::move(settings_);
}

// What threads, memory and sockets were made for cannot change while they are there.
template <class Value>
void Resolver::Keep(const char* flag, Value& value, const Value& running, bool given) {
  if (given && value != running)
    Error(flag, "cannot change while Weir runs: restart it, or leave it as it was");
  value = running;
}

void Resolver::KeepRunning() {
  Keep("--via_name", settings_.via_name, running_->via_name, !settings_.via_name.empty());
  Keep("--admin", settings_.admin, running_->admin);
  Keep("--pid_file", settings_.pid_file, running_->pid_file);
  const bool same_file = settings_.access_log == running_->access_log;
  Keep("--access_log", settings_.access_log, running_->access_log);
  Keep("--access_log", settings_.log.syslog.address, running_->log.syslog.address, same_file);
  Keep("--max_header_bytes", settings_.limits.header_bytes, running_->limits.header_bytes);
  Keep("--max_header_fields", settings_.limits.fields, running_->limits.fields);
  Keep("--max_target_bytes", settings_.limits.target_bytes, running_->limits.target_bytes);
}

void Resolver::AddListener(const ListenerSettings& listener, const Said& said) {
  // Port 0 is another port each time. (A unix socket has no port.)
  const bool any_port = listener.address.port == 0 && !listener.address.is_unix();
  const ListenerSettings* other = any_port ? nullptr : ListenerOn(listener.address);
  if (other == nullptr) {
    settings_.listeners.push_back(listener);
  } else if (other->protocol == listener.protocol) {
    Error(said, listener.text, " is given twice");
  } else {
    Error(said, other->text, " and ", listener.text, " are the same address: choose another port for one");
  }
}

void Resolver::Admin() {
  settings_.admin = absl::GetFlag(FLAGS_admin).value;
  if (settings_.admin.family == 0 && demo_) settings_.admin = Loopback(9901);
  settings_.has_admin = settings_.admin.family != 0;
  if (const auto at = said_->find("admin"); at != said_->end() && at->second.line > 0)
    settings_.admin_where = problems_.Where(at->second) + ": admin";
  if (!settings_.has_admin || (settings_.admin.port == 0 && !settings_.admin.is_unix())) return;
  if (const ListenerSettings* listener = ListenerOn(settings_.admin)) {
    Error("--admin", settings_.admin.ToString(), " is also ", listener->text,
          settings_.config.empty() ? " of --listen" : " of listeners", ": choose another port");
  }
}

// One upstream, and every listener sends to it.
void Resolver::FromFlags() {
  UpstreamSettings& upstream = settings_.upstreams.emplace_back(settings_.upstream_defaults);
  upstream.name = kFlagUpstream;
  if (Hashes(upstream.balance)) upstream.hash.on = {HashKey()};
  upstream.timeouts = settings_.timeouts;
  for (ListenerSettings listener : absl::GetFlag(FLAGS_listen).items) {
    listener.direct.timeouts = settings_.timeouts;
    listener.direct.retries = upstream.retries;
    listener.direct.retry = upstream.retry;
    listener.direct.client_max_body_bytes = settings_.client_max_body_bytes;
    AddListener(listener, {"--listen"});
  }
  if (settings_.listeners.empty() && demo_) {
    ListenerSettings listener{Protocol::kHttp, Loopback(8080), "http://127.0.0.1:8080"};
    listener.direct.timeouts = settings_.timeouts;
    listener.direct.retries = upstream.retries;
    listener.direct.retry = upstream.retry;
    listener.direct.client_max_body_bytes = settings_.client_max_body_bytes;
    settings_.listeners.push_back(listener);
  } else if (settings_.listeners.empty()) {
    problems_.Error({}, "",
                    "--listen is missing: where clients connect, such as --listen=http://0.0.0.0:8080");
  }
  Admin();
  const std::vector<BackendList::Item> items = absl::GetFlag(FLAGS_backends).items;
  if (demo_) {
    if (!items.empty()) Error("--backends", "weir demo brings its own; leave the flag out, or the word demo");
    settings_.upstreams.clear();
    return;
  }
  if (items.empty()) {
    problems_.Error({}, "",
                    "--backends is missing: where requests go, such as --backends=10.0.0.1:80,10.0.0.2:80");
  }
  for (const BackendList::Item& item : items) AddEndpoint(upstream, item, {"--backends"});
  CheckCount(upstream, {"--backends"});
}

void Resolver::FromFile(std::span<const ConfigNode> documents, SaidKeys& said) {
  if (demo_) Error("--config", "weir demo has nothing to read; leave the flag out, or the word demo");
  if (!absl::GetFlag(FLAGS_listen).items.empty()) Error("--listen", "the file of --config has the listeners");
  if (!absl::GetFlag(FLAGS_backends).items.empty())
    Error("--backends", "the file of --config has the upstreams");
  if (settings_.upstream_defaults.balance != UpstreamSettings().balance) {
    Error("--balance", "the file of --config says it of each upstream");
  }
  FileSections sections = ReadSections(documents, settings_, problems_, said);
  for (const FileListener& listener : sections.listeners) {
    // A listener whose address could not be read was told already.
    if (listener.settings.address.family != 0) {
      AddListener(listener.settings, {"listeners", listener.place});
      if (listener.congestion_control.line > 0)
        CheckTcp(listener.settings.tcp, {"listeners", listener.congestion_control});
    }
  }
  if (sections.listeners.empty() && problems_.ok()) {
    Error("--config", "\"", settings_.config,
          "\" has no listeners: expected listeners: [{address: 0.0.0.0:8080, upstream: NAME}]");
  }
  Admin();
  for (FileUpstream& from : sections.upstreams) {
    UpstreamSettings& upstream = settings_.upstreams.emplace_back(std::move(from.settings));
    const std::string key = "upstreams." + upstream.name;
    for (const FileEndpoint& endpoint : from.endpoints) {
      EndpointSettings draft;
      draft.level = endpoint.level;
      draft.zone = endpoint.zone;
      draft.labels = endpoint.labels;
      draft.in_own_zone = !endpoint.zone.empty() && endpoint.zone == settings_.zone;
      AddEndpoint(upstream, endpoint.item, {key, endpoint.place}, std::move(draft));
    }
    CheckCount(upstream, {key, from.place});
    WarnOfZones(upstream, from.place);
    if (from.congestion_control.line > 0)
      CheckTcp(upstream.tcp, {key + ".tcp.congestion_control", from.congestion_control});
    for (size_t i = 0; i < from.source_places.size(); ++i) {
      if (const int error = machine_.try_tcp({}, &upstream.sources[i]); error != 0) {
        Error({key + ".tcp.source", from.source_places[i]}, upstream.sources[i].IpText(), ": ",
              error == EADDRNOTAVAIL ? "this machine does not have that address" : std::strerror(error));
      }
    }
  }
  settings_.routes = std::move(sections.routes);
}

void Resolver::AddEndpoint(UpstreamSettings& upstream, const BackendList::Item& item, const Said& said,
                           EndpointSettings draft) {
  draft.weight = item.weight;
  draft.text = item.text;
  draft.address = item.address;
  if (item.address.family != 0) return AddAddress(upstream, item, said, std::move(draft));
  const absl::StatusOr<std::vector<SocketAddress>> found = machine_.resolve(item.host, item.port);
  if (!found.ok()) {
    return Error(said, "\"", item.text, "\": the name cannot be resolved: ", found.status().message());
  }
  for (const SocketAddress& address : *found) {
    draft.address = address;
    AddAddress(upstream, item, said, draft);
  }
}

void Resolver::AddAddress(UpstreamSettings& upstream, const BackendList::Item& item, const Said& said,
                          EndpointSettings draft) {
  const SocketAddress& address = draft.address;
  const std::string name =
      item.address.family != 0 ? item.text : absl::StrCat(item.text, " (", address.ToString(), ")");
  if (ListenerOn(address) != nullptr || (settings_.has_admin && settings_.admin == address)) {
    return Error(said, name, " is an address that Weir itself listens on");
  }
  if (upstream.endpoints.size() > Balancer::kMaxEndpoints) return;  // too many already
  const bool twice = std::any_of(upstream.endpoints.begin(), upstream.endpoints.end(),
                                 [&](const EndpointSettings& other) { return other.address == address; });
  if (twice) {
    return Error(said, name, " is given twice; for a larger share give it a weight",
                 settings_.config.empty() ? ": " + item.text + "=2" : "");
  }
  upstream.endpoints.push_back(std::move(draft));
}

// A name that is spelled in two ways prefers nobody.
void Resolver::WarnOfZones(const UpstreamSettings& upstream, const Place& place) {
  const auto& endpoints = upstream.endpoints;
  const bool named = std::any_of(endpoints.begin(), endpoints.end(),
                                 [](const EndpointSettings& endpoint) { return !endpoint.zone.empty(); });
  const bool here = std::any_of(endpoints.begin(), endpoints.end(),
                                [](const EndpointSettings& endpoint) { return endpoint.in_own_zone; });
  if (!named || here || settings_.zone.empty()) return;
  problems_.Warning(place, "upstreams." + upstream.name,
                    absl::StrCat("no endpoint is in Weir's zone, ", settings_.zone, ": none is preferred"));
}

// What this kernel takes nobody else knows.
void Resolver::CheckTcp(const TcpOptions& options, const Said& said) {
  const int error = machine_.try_tcp(options, nullptr);
  if (error == 0) return;
  const bool names = !options.congestion_control.empty();
  if (names && error == ENOENT) {
    Error(said, "\"", options.congestion_control,
          "\": this kernel has no such algorithm: expected one of sysctl "
          "net.ipv4.tcp_available_congestion_control");
  } else if (names && error == EPERM) {
    Error(said, "\"", options.congestion_control,
          "\": not allowed: expected one of sysctl net.ipv4.tcp_allowed_congestion_control");
  } else {
    Error(said, "this kernel does not take these tcp options: ", std::strerror(error));
  }
}

void Resolver::CheckCount(const UpstreamSettings& upstream, const Said& said) {
  if (upstream.endpoints.size() <= Balancer::kMaxEndpoints) return;
  Error(said, upstream.endpoints.size(), " addresses: at most ", Balancer::kMaxEndpoints, " are possible");
}

void Resolver::Shards() {
  const std::vector<int> wanted = absl::GetFlag(FLAGS_cpus).items;
  std::vector<int> cpus;
  CpuList forbidden;
  for (const int cpu : wanted) {
    if (std::find(machine_.cpus.begin(), machine_.cpus.end(), cpu) == machine_.cpus.end()) {
      forbidden.items.push_back(cpu);
    } else if (std::find(cpus.begin(), cpus.end(), cpu) != cpus.end()) {
      Error("--cpus", cpu, " is given twice");
    } else {
      cpus.push_back(cpu);
    }
  }
  if (!forbidden.items.empty()) {
    Error("--cpus", AbslUnparseFlag(forbidden),
          ": this process may not run there; allowed: ", AbslUnparseFlag(CpuList{machine_.cpus}));
  }
  if (wanted.empty()) cpus = machine_.cpus;
  const uint32_t shards = absl::GetFlag(FLAGS_shards).value;
  settings_.shards =
      shards != 0 ? shards : static_cast<uint32_t>(std::clamp<size_t>(cpus.size(), 1, kMaxShards));
  if (settings_.shards <= cpus.size()) {
    cpus.resize(settings_.shards);
    settings_.cpus = std::move(cpus);
  } else if (!wanted.empty() && shards > wanted.size()) {
    Error("--shards", shards, " are more than the ", wanted.size(), " of --cpus");
  }
  // More shards than CPUs without --cpus: the scheduler places them.
  if (running_ == nullptr) return;
  Keep("--shards", settings_.shards, running_->shards, shards != 0);
  Keep("--cpus", settings_.cpus, running_->cpus, !wanted.empty());
}

void Resolver::Buffers() {
  const uint64_t least = MinBufferMemory(settings_.shards);
  settings_.buffer_memory_bytes = absl::GetFlag(FLAGS_buffer_memory).value;
  if (running_ != nullptr) {
    return Keep("--buffer_memory", settings_.buffer_memory_bytes, running_->buffer_memory_bytes,
                settings_.buffer_memory_bytes != 0);
  }
  if (settings_.buffer_memory_bytes == 0) {
    settings_.buffer_memory_bytes = DefaultBufferMemory(machine_.memory_bytes, settings_.shards);
  } else if (settings_.buffer_memory_bytes < least) {
    Error("--buffer_memory", SizeInWords(settings_.buffer_memory_bytes), " is too little for ",
          settings_.shards, " shards: expected ", SizeText(least), " or more (", kMinBuffersPerShard,
          " buffers of ", SizeText(kBufferSlotBytes), " each)");
  }
}

void Resolver::Connections() {
  const uint64_t reserved = Sum(ReservedFiles(settings_));
  const uint64_t room = settings_.fd_limit > reserved ? settings_.fd_limit - reserved : 0;
  // A client and its upstream connection; in the demo also the origin's end of that.
  const auto most = static_cast<uint32_t>(std::min<uint64_t>(room / (demo_ ? 3 : 2), ConnectionCount::kMost));
  settings_.max_connections = absl::GetFlag(FLAGS_max_connections).value;
  if (running_ != nullptr) {
    Keep("--max_connections", settings_.max_connections, running_->max_connections,
         settings_.max_connections != 0);
  }
  if (most == 0) {
    Error(Said(), "the limit of open files is ", settings_.fd_limit, ", and ", reserved + 2,
          " are needed for a single connection: raise it (ulimit -Hn, LimitNOFILE=)");
  } else if (settings_.max_connections > most) {
    const uint64_t needed = reserved + 2 * uint64_t{settings_.max_connections};
    Error("--max_connections", settings_.max_connections, " needs ", needed, " open files and the limit is ",
          settings_.fd_limit, ": raise it (ulimit -Hn, LimitNOFILE=), or choose ", most, " or less");
  } else if (settings_.max_connections == 0) {
    // Reloads may add listeners, and checks of endpoints.
    uint64_t spare = std::min<uint64_t>(uint64_t{settings_.shards} * kListenersToCome, room / 16);
    spare += std::min<uint64_t>(kMostCheckConnections - CheckConnections(settings_), room / 16);
    if (HasMirrors(settings_)) {
      spare += std::min<uint64_t>(uint64_t{settings_.shards} * Settings::kMostMirrors,
                                  std::max<uint64_t>(settings_.shards, room / 16));
    }
    settings_.max_connections = most > spare / 2 ? most - static_cast<uint32_t>(spare / 2) : 1u;
  }
  if (most > 0 && settings_.max_connections <= most) Mirrors(room);
}

// They get what is left of `room`, so that no client goes without.
void Resolver::Mirrors(uint64_t room) {
  if (!HasMirrors(settings_)) return;
  const uint64_t left = (room - 2 * uint64_t{settings_.max_connections}) / settings_.shards;
  settings_.mirrors_per_shard = static_cast<uint32_t>(std::min<uint64_t>(left, Settings::kMostMirrors));
  if (settings_.mirrors_per_shard > 0) return;
  Error("--max_connections", settings_.max_connections, " leaves none of the ", settings_.fd_limit,
        " open files to mirrors: raise the limit (ulimit -Hn, LimitNOFILE=), or choose less");
}

void Resolver::Limits() {
  const http::Limits& limits = settings_.limits;
  if (limits.target_bytes >= limits.header_bytes) {
    Error("--max_target_bytes", SizeInWords(limits.target_bytes),
          " does not fit into --max_header_bytes=", SizeInWords(limits.header_bytes));
  } else if (!http::Valid(limits)) {
    Error("--max_header_bytes", "does not go together with --max_header_fields and --max_target_bytes");
  }
}

// As far as that can be told without making the file, which happens at start.
void Resolver::AccessLog() {
  SyslogSettings& syslog = settings_.log.syslog;
  if (syslog.on() && syslog.path.empty() && syslog.udp.family == 0) {
    const absl::StatusOr<std::vector<SocketAddress>> found =
        machine_.resolve(syslog.udp_host, syslog.udp_port);
    if (!found.ok()) {
      return Error("--access_log", "\"", syslog.address,
                   "\": the name cannot be resolved: ", found.status().message());
    }
    syslog.udp = found->front();
  }
  const std::string& path = settings_.access_log;
  if (!path.empty() && path != "-") CheckWritable("--access_log", path);
}

// One line; short ones can be guessed.
void Resolver::AdminToken() {
  constexpr size_t kLeast = 16;
  constexpr size_t kMost = 256;
  const std::string& path = settings_.admin_token_file;
  if (path.empty()) return;
  const std::optional<std::string> text = ReadWholeFile(path);
  if (!text) return Error("--admin_token_file", "\"", path, "\": cannot be read: ", std::strerror(errno));
  problems_.AddContent("admin token", *text);
  const absl::string_view token = absl::StripAsciiWhitespace(*text);
  if (token.size() < kLeast || token.size() > kMost ||
      !std::all_of(token.begin(), token.end(), [](char c) { return c > 0x20 && c < 0x7f; })) {
    return Error("--admin_token_file", "\"", path, "\": expected one line of ", kLeast, " to ", kMost,
                 " visible characters without spaces");
  }
  settings_.admin_token = std::string(token);
}

void Resolver::CheckWritable(const char* flag, const std::string& path) {
  std::error_code ignored;
  int error = 0;
  if (std::filesystem::is_directory(path, ignored)) {
    error = EISDIR;
  } else if (access(path.c_str(), F_OK) == 0) {
    if (access(path.c_str(), W_OK) != 0) error = errno;
  } else {
    const std::string folder = std::filesystem::path(path).parent_path();
    if (access(folder.empty() ? "." : folder.c_str(), W_OK | X_OK) != 0) error = errno;
  }
  if (error != 0) Error(flag, "\"", path, "\": cannot be written to: ", std::strerror(error));
}

}  // namespace

Settings ResolveTarget(Problems& problems, SaidKeys& said) {
  return Resolver(Machine(), false, problems, nullptr).ResolveTarget(said);
}

Settings Resolve(const Machine& machine, bool demo, std::span<const ConfigNode> documents, Problems& problems,
                 SaidKeys& said, const Settings* running) {
  return Resolver(machine, demo, problems, running).Resolve(documents, said);
}

}  // namespace weir::lb
