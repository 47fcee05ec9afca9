// The tables of keys as text: for the reference and the schema, and for the resolved form.
#include "lb/config/file_keys.h"
#include "lb/config/file_reader.h"

namespace weir::lb {

using namespace file;

namespace {

template <class T>
std::vector<KeyDoc> DocsOf(std::span<const Key<T>> keys) {
  std::vector<KeyDoc> docs;
  const T nothing{};
  for (const Key<T>& key : keys) {
    KeyDoc& doc = docs.emplace_back();
    doc.name = key.name;
    doc.type = key.type;
    doc.fallback =
        !key.fallback.empty() || key.write == nullptr ? std::string(key.fallback) : key.write(nothing);
    doc.sentence = key.sentence;
    doc.schema = key.schema;
    doc.available = key.read != nullptr;
    doc.required = key.required;
  }
  return docs;
}

template <class T>
std::vector<KeyValue> Values(std::span<const Key<T>> keys, const T& from) {
  std::vector<KeyValue> values;
  for (const Key<T>& key : keys) {
    std::string value = key.write != nullptr ? key.write(from) : "";
    if (!value.empty()) values.push_back({std::string(key.name), std::move(value)});
  }
  return values;
}

// Those of the flags' table have its defaults.
std::vector<KeyDoc> FlagDocs(std::vector<Key<FileDraft>> keys, std::string_view group) {
  std::vector<KeyDoc> docs = DocsOf<FileDraft>(keys);
  for (KeyDoc& doc : docs) {
    const std::string path = group.empty() ? doc.name : absl::StrCat(Absl(group), ".", doc.name);
    for (const FlagRow& row : FlagTable()) {
      if (row.file_key == path) doc.fallback = DefaultText(row);
    }
  }
  return docs;
}

}  // namespace

std::vector<SectionDoc> DescribeSections() {
  return {
      {"file", "The file", "Everything stands under these keys.", FlagDocs(TopKeys(), "")},
      {"listener", "`listeners:`, each of the list", "An address, and where what comes there goes.",
       DocsOf(ListenerKeys())},
      {"listener_tcp", "`tcp:` of a listener",
       "Of clients' connections, http too. A reload changes it for those that come then.",
       DocsOf(ListenerTcpKeys())},
      {"proxy_protocol", "`proxy_protocol:` of a listener, where it is more than required",
       "The header may come in pieces and have up to 4096 bytes of addresses and TLVs; a checksum in it must "
       "be "
       "right. Its source is the client from then on: for access lists, routes, hashing, what upstreams are "
       "told, and the log, which has who connected as `peer`. LOCAL and UNKNOWN, and what came by no TCP, "
       "leave "
       "the connection's own. Bad headers end their connection before anything is sent to an upstream, and "
       "are "
       "counted by what was wrong.",
       DocsOf(ProxyProtocolKeys())},
      {"upstream", "`upstreams: NAME:`", "A group of endpoints that serve the same.", DocsOf(UpstreamKeys())},
      {"proxy_hello", "`proxy_protocol:` of an upstream, where it is more than v1 or v2",
       "The header tells of the client as far as Weir knows by its connection: of a client that came with a "
       "PROXY header what that said, not what X-Forwarded-For has. IPv4 and IPv6 mixed become IPv6.",
       DocsOf(ProxyHelloKeys())},
      {"endpoint", "`endpoints:`, each of the list", "HOST:PORT or unix:/PATH alone, or with keys.",
       DocsOf(EndpointKeys())},
      {"hash_cookie", "`hash_cookie:`", "", DocsOf(HashCookieKeys())},
      {"retry", "`retry:`",
       "After what a request is tried again, at most `retries` times, and within `retry_budget`; first on an "
       "endpoint that it has not met. Never when a part of an answer has gone to the client, or when what "
       "was sent is not at hand any more: bodies are kept up to `body`, else only as long as they came with "
       "their "
       "head. Methods that are not idempotent (POST, PATCH) only if nothing of the request reached anybody, "
       "or with `non_idempotent`. A kept connection that had ended costs an attempt, but is no failure.",
       DocsOf(RetryKeys())},
      {"backoff", "`backoff:`", "", DocsOf(BackoffKeys())},
      {"retry_budget", "`retry_budget:`", "", DocsOf(RetryBudgetKeys())},
      {"pool", "`pool:`",
       "How long a connection to an endpoint is used again. It ends when it is not in use, and each a little "
       "earlier, by chance, within the last eighth of these. How many are kept is `idle_connections`, for "
       "how long an idle one is `timeouts: upstream_idle`; the one that was used last is used next.",
       DocsOf(PoolKeys())},
      {"upstream_tcp", "`tcp:` of an upstream", "Of connections to endpoints.", DocsOf(UpstreamTcpKeys())},
      {"upstream_timeouts", "`timeouts:` of an upstream", "", DocsOf(UpstreamTimeoutKeys())},
      {"health_check", "`health_check:`",
       "Weir asks each endpoint by itself whether it is well, once for all shards, on a kept connection. An "
       "endpoint is up until a check says otherwise; its first check decides at once, later `fall` and "
       "`rise` "
       "in a row do. One that is down gets no new requests; what it has begun goes on. With all down "
       "requests "
       "get 503. A reload keeps what is known. An answer must come whole, but for what is behind its first "
       "64 KiB. At most 128 checks run at one time; on many endpoints that hang at once the others wait for "
       "their turn.",
       DocsOf(HealthCheckKeys())},
      {"slow_start", "`slow_start:`, where it is more than DURATION",
       "Of an endpoint that comes back when its checks pass again or an operator has it ready, or that a "
       "reload or an operator adds. What was there when Weir began has all of its share at once, and so has "
       "an upstream that is new. What a single shard sets aside for a moment after a failed connect "
       "(set_aside) has no slow start. If all that are usable start at one time nobody is held back. The "
       "share grows in 20 steps, at least 50 ms apart.",
       DocsOf(SlowStartKeys())},
      {"outlier_ejection", "`outlier_ejection:`, where it is more than true",
       "An endpoint that fails requests gets none for some time, then it is tried again. What counts are the "
       "endpoint's own answers, and that it gave none, for each attempt; not what a mirror's copies meet. A "
       "gateway error is 502, 503 or 504, a connection that was refused, timed out or ended before an "
       "answer, "
       "an answer that breaks the rules, a timeout; each is also a server error (5xx). Of TCP connections "
       "one is "
       "good with the first byte that the endpoint sends. A row is what one shard sees; where every request "
       "of an interval failed, what all saw. Nobody is ejected where no other endpoint is usable. A reload "
       "keeps ejections; an operator's ready ends one; checks do neither.",
       DocsOf(OutlierKeys())},
      {"outlier_latency", "`latency:` of outlier_ejection", "", DocsOf(OutlierLatencyKeys())},
      {"outlier_success_rate", "`success_rate:` of outlier_ejection",
       "Looked at every `interval`, over all shards. Of rates of 50 % and four times 100 % the mean is 90 %, "
       "the standard deviation 20, and below 90 - 1.9 * 20 = 52 % is an outlier.",
       DocsOf(OutlierSuccessKeys())},
      {"route", "`routes: NAME:`, each of the list",
       "What becomes of the requests that it matches: exactly one of upstream, split, redirect, respond. Of "
       "several that match the most specific is met; a request that none matches gets 404.",
       DocsOf(RouteKeys())},
      {"match", "`match:`", "All that is said must hold; of a list, one.", DocsOf(MatchKeys())},
      {"condition", "A header or query parameter in `match:`", "A text stands for `exact`.",
       DocsOf(ConditionKeys())},
      {"side", "`split:`, each of the list", "", DocsOf(SideKeys())},
      {"mirror", "`mirror:`",
       "At most 256 copies are on their way on each shard at one time, fewer where the limit of open files "
       "leaves less (`weir check` shows how many); what comes on top is left out, and counted.",
       DocsOf(MirrorKeys())},
      {"sticky", "`sticky:`",
       "One of cookie and hash_on. A hash meets a side for its upstream's name and its weight, always the "
       "same: on every shard and after every restart.",
       DocsOf(StickyKeys())},
      {"redirect", "`redirect:`", "", DocsOf(RedirectKeys())},
      {"rewrite", "`rewrite:`", "", DocsOf(RewriteKeys())},
      {"headers", "`request_headers:` and `response_headers:`",
       "Those that frame messages or that Weir writes itself (Host, Via, X-Forwarded-For and the like) "
       "cannot be changed.",
       DocsOf(HeaderKeys())},
      {"respond", "`respond:`", "", DocsOf(RespondKeys())},
      {"basic_auth", "`basic_auth:`",
       "Names and hashed passwords: bcrypt, yescrypt or sha-crypt, as `htpasswd -nB NAME` or `openssl passwd "
       "-6` print them. bcrypt does not look at what comes behind 72 bytes: there a longer password is "
       "wrong. "
       "Without TLS in front, passwords can be read on the way.",
       DocsOf(BasicAuthKeys())},
      {"auth_request", "`auth_request:`",
       "The server is told of the request as X-Forwarded-Method and X-Forwarded-Uri (and the same as "
       "X-Original-Method and X-Original-URI), beside the usual X-Forwarded-*. It is asked with GET, or with "
       "HEAD where the client's request is one.",
       DocsOf(AuthRequestKeys())},
      {"error_page", "`error_pages: STATUS:`",
       "A page of the route is taken before one of the listener, that before one of the file. With "
       "Cache-Control: no-store. "
       "Errors that an upstream answers stay as they are.",
       DocsOf(ErrorPageKeys())},
      {"route_timeouts", "`timeouts:` of a route", "", DocsOf(RouteTimeoutKeys())},
      {"access_log", "`access_log:`, where it is more than FILE",
       "What the fields are, and what texts become: [the access log](../lb/README.md#the-access-log).",
       DocsOf(AccessLogKeys())},
      {"syslog", "`syslog:` of the access log, where it is more than an address", "", DocsOf(SyslogKeys())},
      {"paths", "`paths:`", "Paths are spelled one way before they are matched and forwarded.",
       DocsOf(PathKeys())},
      {"timeouts", "`timeouts:`", "For all; some can be said by upstreams and routes.",
       FlagDocs(GroupKeys("timeouts"), "timeouts")},
      {"limits", "`limits:`", "For all.", FlagDocs(GroupKeys("limits"), "limits")},
  };
}

std::vector<KeyValue> ValuesOf(const ListenerSettings& listener) {
  ListenerDraft from;
  from.settings = listener;
  return Values(ListenerKeys(), from);
}
std::vector<KeyValue> ValuesOf(const UpstreamSettings& upstream) {
  FileUpstream from;
  from.settings = upstream;
  return Values(UpstreamKeys(), from);
}
std::vector<KeyValue> ValuesOf(const HealthCheckSettings& check) {
  HealthDraft from;
  from.settings = check;
  return Values(HealthCheckKeys(), from);
}
std::vector<KeyValue> ValuesOf(const SlowStartSettings& start) { return Values(SlowStartKeys(), start); }
std::vector<KeyValue> ValuesOf(const RetrySettings& retry) { return Values(RetryKeys(), retry); }
std::vector<KeyValue> TcpValuesOf(const ListenerSettings& listener) {
  ListenerDraft from;
  from.settings = listener;
  return Values(ListenerTcpKeys(), from);
}
std::vector<KeyValue> TcpValuesOf(const UpstreamSettings& upstream) {
  FileUpstream from;
  from.settings = upstream;
  return Values(UpstreamTcpKeys(), from);
}
std::vector<KeyValue> ValuesOf(const PoolSettings& pool) { return Values(PoolKeys(), pool); }
std::vector<KeyValue> ValuesOf(const RetryBudgetSettings& budget) {
  return Values(RetryBudgetKeys(), budget);
}
std::vector<KeyValue> ValuesOf(const OutlierSettings& outliers) {
  OutlierDraft from;
  from.settings = outliers;
  return Values(OutlierKeys(), from);
}
std::vector<KeyValue> SuccessRateOf(const OutlierSettings& outliers) {
  return Values(OutlierSuccessKeys(), outliers);
}
std::vector<KeyValue> TimeoutsOf(const UpstreamSettings& upstream) {
  return Values(UpstreamTimeoutKeys(), upstream);
}
std::vector<KeyValue> TimeoutsOf(const RouteSettings& route) { return Values(RouteTimeoutKeys(), route); }
std::vector<KeyValue> ValuesOf(const AccessLogSettings& log) { return Values(AccessLogKeys(), log); }
std::vector<KeyValue> ValuesOf(const SyslogSettings& syslog) { return Values(SyslogKeys(), syslog); }

}  // namespace weir::lb
