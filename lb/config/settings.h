// Settings: everything an operator chose, checked and resolved, in plain values. Made once at start by
// config/, printed by `weir check`, then read by every shard and never changed.
// Units are in the names. Defaults stand here and nowhere else.
#pragma once

#include <algorithm>
#include <bitset>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/address.h"
#include "core/tcp_options.h"
#include "core/unix_path.h"
#include "lb/auth/basic_auth.h"
#include "lb/http/limits.h"
#include "lb/log/access_format.h"
#include "lb/proxy_protocol/header.h"
#include "lb/route/access_list.h"
#include "lb/route/changes.h"
#include "lb/route/forwarded.h"
#include "lb/route/path.h"
#include "lb/route/split.h"
#include "lb/route/table.h"
#include "lb/route/template.h"
#include "lb/share.h"

namespace weir::lb {

enum class Protocol : uint8_t { kHttp, kTcp };
// How an upstream's endpoints are chosen (lb/balance/README.md).
enum class Balance : uint8_t { kRoundRobin, kRandom, kLeastConn, kP2c, kEwma, kMaglev, kRingHash, kFirst };
inline constexpr const char* kBalanceNames[] = {"round_robin", "random", "least_conn", "p2c",
                                                "ewma",        "maglev", "ring_hash",  "first"};
inline const char* BalanceText(Balance balance) { return kBalanceNames[static_cast<size_t>(balance)]; }
inline bool Hashes(Balance balance) { return balance == Balance::kMaglev || balance == Balance::kRingHash; }

// What an endpoint is known by: names with their values, letters, digits and -_./ each.
using Labels = std::map<std::string, std::string>;
inline constexpr size_t kMaxLabels = 16;
inline constexpr size_t kMaxLabelBytes = 63;  // of a name, of a value
// As the file has it: "{size: big, version: v2}".
inline std::string LabelsText(const Labels& labels) {
  std::string text = "{";
  for (const auto& [name, value] : labels) text += (text.size() > 1 ? ", " : "") + name + ": " + value;
  return text + "}";
}

struct EndpointSettings {
  static constexpr uint32_t kMostPriority = 9;
  static constexpr uint32_t kBackup = kMostPriority + 1;
  static constexpr uint32_t kLevels = kBackup + 1;
  static constexpr uint32_t kParts = 2 * kLevels;

  SocketAddress address;
  uint32_t weight = 1;    // 1 to 1000
  std::string text;       // as written, without the weight; with a host name, one entry per resolved address
  uint32_t level = 0;     // its priority, 0 the best; kBackup: behind all of these
  std::string zone = {};  // where it is; empty: nobody says
  bool in_own_zone = false;  // it is where Weir is
  Labels labels = {};        // an endpoint that an operator added has none

  bool backup() const { return level == kBackup; }
  // Of the two parts of its level the one that it is in.
  uint32_t part() const { return 2 * level + in_own_zone; }
  bool HasAll(const Labels& wanted) const {
    return std::includes(labels.begin(), labels.end(), wanted.begin(), wanted.end());
  }

  bool operator==(const EndpointSettings&) const = default;
};

// What becomes of requests while nobody is well (lb/balance/panic.h).
enum class AllDown : uint8_t { k503, kPanic, kBackup };
inline constexpr const char* kAllDownNames[] = {"503", "panic", "backup"};
inline const char* AllDownText(AllDown all_down) { return kAllDownNames[static_cast<size_t>(all_down)]; }

struct Timeouts {
  uint32_t client_header_ms = 10'000;  // from a request's first byte (or from accept) to the end of its head
  uint32_t client_body_ms = 30'000;    // between two reads of a request body
  uint32_t client_send_ms = 30'000;    // a send to the client without acknowledged progress
  uint32_t keep_alive_ms = 60'000;     // an idle client connection between requests
  uint32_t connect_ms = 3'000;         // one attempt to connect to an endpoint
  uint32_t response_ms = 60'000;       // from the whole request sent to the head of the final response
  uint32_t upstream_body_ms = 30'000;  // between two reads of a response body, or a send of a request body
  uint32_t request_ms = 0;             // the whole exchange; 0: unlimited
  uint32_t tcp_idle_ms = 600'000;      // TCP relay and tunnels: no byte in either direction
  uint32_t drain_ms = 30'000;          // from SIGTERM to the end, whatever still runs
  uint32_t lame_duck_ms = 0;           // /healthz says 503 for so long before accepting stops

  bool operator==(const Timeouts&) const = default;
};

// Consistent hashing: of what, and where it leads.
struct HashSettings {
  // The first that a request has decides. The last one, if it is a cookie, is set where a request has none of
  // them.
  std::vector<HashKey> on;
  uint32_t slots = 65'537;        // of Maglev's table: a prime
  uint32_t balance_percent = 0;   // the bound on load, of the average; 0: none
  uint32_t cookie_max_age_s = 0;  // 0: until the browser ends
  bool cookie_secure = false;
  std::string cookie_attributes;  // "; Path=/..."

  // The cookie that is set, or null.
  const HashKey* cookie() const {
    return !on.empty() && on.back().of == HashKey::Of::kCookie ? &on.back() : nullptr;
  }
  bool operator==(const HashSettings&) const = default;
};

// Active checks of an upstream's endpoints (lb/health).
struct HealthCheckSettings {
  enum class Type : uint8_t { kNone, kTcp, kHttp };
  struct StatusRange {
    uint16_t first = 200;
    uint16_t last = 399;
    bool operator==(const StatusRange&) const = default;
  };

  Type type = Type::kNone;
  uint16_t port = 0;  // 0: the endpoint's
  std::string method = "GET";
  std::string path = "/";
  std::string host;                        // empty: the endpoint's name
  std::vector<StatusRange> status = {{}};  // those that are right
  std::string body;                        // what must be in it; empty: anything
  uint32_t interval_ms = 5'000;            // from one check's begin to the next one's
  uint32_t interval_down_ms = 1'000;       // where the last one failed, or it is down
  uint32_t jitter_ms = 500;                // an interval is shorter by up to this, by chance
  uint32_t timeout_ms = 2'000;             // of a check, from its connect to its whole answer
  uint32_t rise = 2;
  uint32_t fall = 3;

  bool on() const { return type != Type::kNone; }
  bool Expects(uint16_t answered) const {
    for (const StatusRange& range : status) {
      if (answered >= range.first && answered <= range.last) return true;
    }
    return false;
  }
  bool operator==(const HealthCheckSettings&) const = default;
};

// How an endpoint that comes back, or is added, gets its share (lb/health/slow_start.h).
struct SlowStartSettings {
  enum class Mode : uint8_t { kLinear, kExponential };

  uint32_t duration_ms = 0;  // 0: it has all of it at once
  Mode mode = Mode::kLinear;
  uint32_t start_percent = 10;  // of its weight, at the beginning

  bool on() const { return duration_ms > 0; }
  bool operator==(const SlowStartSettings&) const = default;
};

// After what a request is tried again, and how (lb/l7/exchange_retry.cc).
struct RetrySettings {
  static constexpr uint16_t kFirstStatus = 400;
  static constexpr uint16_t kLastStatus = 599;

  bool connect_failure = true;   // no connection was made
  bool reset = true;             // it ended before a byte of the answer came
  bool endpoint_down = true;     // it answers nobody: EndpointBook::kSilent
  std::bitset<200> statuses;     // from kFirstStatus on: of answers that are not taken
  uint32_t per_try_ms = 0;       // without the head of an answer, if another attempt may follow; 0: never
  uint32_t backoff_base_ms = 0;  // the bound of the first wait, each of them by chance; 0: none
  uint32_t backoff_max_ms = 0;   // of any
  uint32_t body_bytes = 0;       // a body of a known length up to this is kept to be sent again
  bool non_idempotent = false;   // also what may be done twice then

  bool Wants(uint16_t status) const {
    return status >= kFirstStatus && status <= kLastStatus && statuses[status - kFirstStatus];
  }
  bool operator==(const RetrySettings&) const = default;
};

// How many requests of an upstream may be on a further attempt at one time (lb/upstream/retry_budget.h).
struct RetryBudgetSettings {
  bool on = true;
  Share share = {Share::kAll / 5, "20%"};  // of those in flight
  uint32_t min = 3;                        // so many in any case, all shards together
  uint32_t wait_ms = 1'000;                // for a place, where the request would fail otherwise

  // One more beside `retries` of `in_flight`. A share was rounded down: a fifth of 20 is 4 all the same.
  bool Allows(uint64_t retries, uint64_t in_flight) const {
    return retries < min || (retries + 1) * Share::kAll <= in_flight * (share.value + 1);
  }
  bool operator==(const RetryBudgetSettings&) const = default;
};

// Who fails requests gets none for some time (lb/health/outliers.h). Of each `consecutive_`: 0 is never.
struct OutlierSettings {
  bool enabled = false;
  uint32_t consecutive_5xx = 5;
  uint32_t consecutive_gateway_errors = 5;
  uint32_t consecutive_timeouts = 0;
  uint32_t slow_above_ms = 0;  // an answer's head took longer; 0: how long does not matter
  uint32_t consecutive_slow = 5;
  // Against the others: of an interval, over all shards.
  bool by_success_rate = true;
  uint32_t stdev_factor_thousandths = 1'900;  // so many standard deviations below the mean
  uint32_t success_hosts = 5;                 // with at least so many endpoints to compare
  uint32_t success_requests = 100;            // that had at least so many requests each
  uint32_t interval_ms = 10'000;              // between two looks at all that was counted
  uint32_t base_ejection_ms = 30'000;         // the first time, twice that the second time, and so on
  uint32_t most_ejection_ms = 300'000;        // at most
  uint32_t jitter_ms = 3'000;                 // longer by up to this, by chance
  uint32_t most_percent = 10;                 // of the endpoints, ejected at one time

  bool on() const { return enabled; }
  bool operator==(const OutlierSettings&) const = default;
};

// When a kept connection has had its share (UpstreamConnection::IsSpent). Each ends within the last eighth of
// what is said, by chance: those that began together do not end together.
struct PoolSettings {
  uint32_t max_requests = 0;  // on one connection; 0: no limit
  uint32_t max_age_ms = 0;    // from its connect; 0: no limit

  bool on() const { return max_requests > 0 || max_age_ms > 0; }
  bool operator==(const PoolSettings&) const = default;
};

// What connections to endpoints begin with (lb/proxy_protocol/write.h). Each is for one client then.
struct ProxyHelloSettings {
  ProxyVersion version = ProxyVersion::kNone;
  // Version 2 only.
  bool authority = false;
  bool unique_id = false;
  bool crc32c = false;

  bool on() const { return version != ProxyVersion::kNone; }
  bool operator==(const ProxyHelloSettings&) const = default;
};

struct UpstreamSettings {
  std::string name;
  Timeouts timeouts;     // Settings::timeouts, but for what it says itself
  uint32_t retries = 2;  // further attempts after the first, each on another endpoint where there is one
  RetrySettings retry;
  RetryBudgetSettings retry_budget;
  std::vector<EndpointSettings> endpoints;
  Balance balance = Balance::kRoundRobin;
  HashSettings hash;                 // where `balance` hashes
  uint32_t max_in_flight = 0;        // kFirst: at each endpoint, times its weight; 0: no limit
  uint32_t idle_connections = 1024;  // kept per endpoint and shard
  uint32_t idle_ms = 55'000;         // so long; below the 60 s and more of usual origins
  PoolSettings pool;
  static constexpr size_t kMostSources = 64;
  TcpOptions tcp;                      // of connections to endpoints
  std::vector<SocketAddress> sources;  // where these come from, in turn; none: the system's choice
  uint32_t set_aside_ms =
      1'000;  // an endpoint that refuses is not tried for so long (doubling up to 16 times)
  ProxyHelloSettings proxy_hello;
  HealthCheckSettings health_check;
  SlowStartSettings slow_start;
  OutlierSettings outliers;
  // As everybody's are trusted to be right: while fewer endpoints are well, all are used; 0: never.
  uint32_t panic_percent = 0;
  AllDown all_down = AllDown::k503;
  // What routes ask for (SubsetUse), without repetition: the endpoints that have all of these labels.
  static constexpr size_t kMostSubsets = 64;
  std::vector<Labels> subsets;

  // `number`: SubsetUse's.
  bool IsIn(uint32_t number, const EndpointSettings& endpoint) const {
    return number == 0 || endpoint.HasAll(subsets[number - 1]);
  }
  bool panics() const { return panic_percent > 0 || all_down != AllDown::k503; }
  // The policy wants to know what the other shards have in flight, as far as is known. (With a bound on load
  // it asks for each choice.)
  bool counts_remote() const {
    return balance == Balance::kLeastConn || balance == Balance::kP2c || balance == Balance::kEwma ||
           (balance == Balance::kFirst && max_in_flight > 0);
  }
  // And learns of it by a log of changes (lb/upstream/change_log.h): all counts are too many to read.
  static constexpr size_t kFewEndpoints = 32;
  bool logs_changes(uint32_t shards) const {
    return shards > 1 && endpoints.size() > kFewEndpoints && counts_remote();
  }
  bool operator==(const UpstreamSettings&) const = default;
};

// Which of an upstream's endpoints are for a request.
struct SubsetUse {
  uint32_t number = 0;    // those of UpstreamSettings::subsets[number - 1]; 0: all
  bool else_any = false;  // all, where none of the subset is usable

  bool operator==(const SubsetUse&) const = default;
};

// Who may come, as it was said and as it is asked.
struct AccessSettings {
  std::vector<std::string> allow;
  std::vector<std::string> deny;
  std::shared_ptr<const AccessList> list;  // null: everybody

  bool Allows(const SocketAddress& client) const { return list == nullptr || list->Allows(client); }
};

// Whether connections begin with a PROXY header, and who is believed (lb/l4/proxy_header.cc).
struct ProxyProtocolSettings {
  enum class Mode : uint8_t { kOff, kOptional, kRequired };

  Mode mode = Mode::kOff;
  AccessSettings from;          // whose is believed; null: everybody's
  uint32_t timeout_ms = 5'000;  // from accept until all of it is there

  bool on() const { return mode != Mode::kOff; }
};

struct SplitSettings;
struct AuthRequestSettings;

// What is said instead of Weir's own words, for errors that Weir answers itself.
struct ErrorPage {
  uint16_t status = 0;  // 400 to 599, or a class: 4 or 5
  std::string content_type;
  std::string body;
  std::string body_file;  // where it was read from, as that was said; empty: said as text

  bool IsFor(uint16_t answered) const { return status == answered || status == answered / 100; }
};
// Statuses before their class.
using ErrorPages = std::vector<ErrorPage>;

// A body of ours, and a route's lines beside it, go out in one chunk.
inline constexpr size_t kMaxLocalBodyBytes = 24 * 1024;
inline constexpr size_t kMaxContentTypeBytes = 128;
inline constexpr size_t kMaxResponseFieldsBytes = 7 * 1024;
inline constexpr size_t kMaxHeaderLines = 64;  // that a route sets or appends, in each direction

// A copy of the request goes there too.
struct MirrorSettings {
  static constexpr uint32_t kNone = UINT32_MAX;

  uint32_t upstream = kNone;  // index in Settings::upstreams
  SubsetUse subset;
  Share share;  // of the requests
};

// What becomes of a request that a rule is for.
struct RouteSettings {
  enum class Action : uint8_t { kUpstream, kRedirect, kRespond };

  Action action = Action::kUpstream;
  uint32_t upstream = 0;                       // kUpstream: index in Settings::upstreams
  SubsetUse subset;                            // likewise: of that
  std::shared_ptr<const SplitSettings> split;  // kUpstream: one of its sides is met instead; null: this is
  uint16_t status = 0;                         // of our own answers
  Template location;                           // kRedirect
  std::string content_type;
  std::string body;
  std::string body_file;   // as ErrorPage's
  ErrorPages error_pages;  // before the listener's
  Timeouts timeouts;       // the upstream's, but for what it says itself
  uint32_t retries = 2;
  RetrySettings retry;                 // likewise
  uint64_t client_max_body_bytes = 0;  // Settings', but for what it says itself; 0: unlimited
  uint32_t buffer_bytes = 0;           // a body of a known length up to this is read whole before connecting
  uint32_t max_header_bytes = UINT32_MAX;  // of a request; beyond Limits::header_bytes nothing comes
  RequestChanges request;
  HeaderChanges response;
  std::string response_fields;      // what they add, as lines, if that is always the same
  bool response_variables = false;  // else it is written for each request
  std::string error_fields;         // those without variables that our own errors have too
  AccessSettings access;
  MirrorSettings mirror;                                    // kUpstream
  std::shared_ptr<const BasicAuth> basic_auth;              // null: nobody is asked for a name
  std::string unauthorized_fields;                          // error_fields, and what is wanted
  std::shared_ptr<const AuthRequestSettings> auth_request;  // null: no other server is asked
  bool captures = false;                                    // a template wants them
  std::string set_cookie;  // of a side: the line for a client that came without its cookie
  std::string where;       // "weir.yaml:12:7"
};

// The sides of a route: each is the route with an upstream, and what that has of timeouts and retries, of its
// own.
struct SplitSettings {
  Split split;
  std::vector<RouteSettings> sides;  // for each of `split`'s
  uint32_t max_age_s = 0;            // of the cookie; 0: until the browser ends
  bool secure = false;               // the cookie is
};

// Who is asked about each request of a route before anything else is done with it.
struct AuthRequestSettings {
  static constexpr size_t kMaxCopyBytes = 4096;

  Template path;                  // the target there
  std::vector<std::string> copy;  // fields of a consenting answer that the request is given
  // How the asking goes, and its refusal: the upstream, its times and retries; what of the route holds for
  // every answer.
  RouteSettings leg;
};

// `routes: NAME:` of the file.
struct RouteList {
  std::string name;
  std::vector<RouteMatch> matches;
  std::vector<RouteSettings> routes;        // for each of `matches`
  std::shared_ptr<const RouteTable> table;  // of `matches`
  bool of_listener = false;  // not what the file has, but that with the headers of the listener that has it
};

struct ListenerSettings {
  static constexpr uint32_t kNone = UINT32_MAX;

  Protocol protocol = Protocol::kHttp;
  SocketAddress address;
  std::string text;         // as written
  uint32_t routes = kNone;  // index in Settings::routes; kNone: all goes to `direct`
  // What becomes of requests without a route, and of those that met none: among it the headers that every
  // route of this listener begins with.
  RouteSettings direct = {};
  AccessSettings access = {};
  AccessSettings trusted = {};  // proxies whose X-Forwarded-* or Forwarded is believed; null: nobody's
  TcpOptions tcp = {};          // of clients' connections
  ProxyProtocolSettings proxy_protocol = {};
  ForwardedForm forwarded = ForwardedForm::kXForwarded;  // what endpoints are told of who asked
  uint32_t max_connections_per_client = 0;               // at one time; 0: no limit
  uint32_t unix_mode = 0660;                             // of a unix socket's file: who may connect
  std::string where = {};  // who said the address: "weir.yaml:2:14: listeners[0].address"; empty: --listen

  // It is a unix socket with a path, not a name alone.
  bool has_file() const { return address.is_unix() && !address.unix_path()->is_abstract(); }
  // The host of a request that names none, as HTTP/1.0 allows.
  std::string DefaultHost() const { return address.is_unix() ? "localhost" : address.ToString(); }
};

// The one upstream that the flags make.
inline constexpr std::string_view kFlagUpstream = "default";

struct EndpointOverlay;

struct Settings {
  static constexpr uint32_t kMostMirrors = 256;

  std::vector<ListenerSettings> listeners;
  std::vector<UpstreamSettings> upstreams;
  // What operators changed of their endpoints, which are as changed; null: nothing (endpoint_overlay.h).
  std::shared_ptr<const EndpointOverlay> overlay;
  std::vector<RouteList> routes;
  ErrorPages error_pages;              // behind those of routes and listeners
  PathOptions paths;                   // how paths are normalised where there are routes
  UpstreamSettings upstream_defaults;  // what an upstream has of what it does not say itself; no endpoints
  std::vector<int> cpus;               // one per shard; empty: not pinned
  uint32_t shards = 1;                 // resolved: never 0
  bool has_admin = false;
  SocketAddress admin;
  std::string admin_token_file;  // empty: none
  std::string admin_token;       // what it says: who may change something over TCP
  std::string pid_file;          // empty: none
  std::string zone;              // where Weir is; empty: it does not know
  std::string config;            // the file that it came from; empty: flags alone
  std::string access_log;        // empty: none; "-": standard output; else a file that is appended to
  AccessLogSettings log;         // how its lines look
  std::shared_ptr<const AccessFormat> log_format;  // likewise; null: the usual JSON
  std::string via_name;  // a token; empty: the server makes one up, so that two in a row are not a loop
  uint32_t max_connections = 0;  // clients, all shards together; resolved from the fd limit when not given
  uint32_t mirrors_per_shard = kMostMirrors;  // copies at one time; resolved: what descriptors are left for
  uint64_t buffer_memory_bytes = 0;           // all shards together; resolved
  uint64_t splice_from_bytes = 64 * 1024;     // 0: nothing is spliced
  http::Limits limits;
  uint64_t client_max_body_bytes = 0;  // of a request; 0: unlimited
  Timeouts timeouts;
  uint32_t fd_limit = 0;                // RLIMIT_NOFILE after it was raised
  std::string admin_where = "--admin";  // who said it, likewise
  // Hashes of what the parts of the file say, and of what other files do: to tell what a reload changed.
  std::map<std::string, size_t> parts;
  // By the path of its key ("routes.shop[0].redirect.to") how the file has each value that the environment
  // has a part in, as a secret may be: for whoever tells of it.
  std::map<std::string, std::string> written;

  bool has_access_log() const { return !access_log.empty() || log.syslog.on(); }
};

}  // namespace weir::lb
