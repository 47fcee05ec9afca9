// The configuration file's sections: document (document.h) → settings. The keys stand in tables
// (file_reader.cc), one for each section: name, type, default, one sentence, and what reads it. From them
// also come the reference page docs/configuration.md and the JSON Schema docs/weir.schema.json (reference.h);
// a test fails when they differ. Keys that the flags have too stand in the flags' table (flag_table.h,
// `file_key`).
//
// What needs no other section is checked here, the rest (addresses, names of upstreams, the machine) by
// resolve.cc. Every mistake is told, with its place; keys whose feature is not there yet are refused, as
// "not available yet".
#pragma once

#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lb/config/document.h"
#include "lb/config/flag_table.h"
#include "lb/config/flag_types.h"
#include "lb/config/settings.h"

namespace weir::lb {

// A key of the file that a flag has too.
struct GivenKey {
  const FlagRow* row = nullptr;
  std::string text;
  Place place;
};

struct FileEndpoint {
  BackendList::Item item;
  Place place;
  uint32_t level = 0;     // EndpointSettings'
  std::string zone = {};  // likewise
  Labels labels = {};     // likewise
};

struct FileUpstream {
  UpstreamSettings settings;  // without endpoints
  std::vector<FileEndpoint> endpoints;
  Place place;
  bool used = false;     // somebody sends to it
  bool complete = true;  // its endpoints could be read
  Place health_port;     // of its checks; line 0: not said
  Place congestion_control;
  std::vector<Place> source_places;  // of settings.sources
};

struct FileListener {
  ListenerSettings settings;  // indices are those of FileSections
  Place place;                // of the address
  Place congestion_control;
};

struct FileSections {
  std::vector<FileListener> listeners;
  std::vector<FileUpstream> upstreams;
  std::vector<RouteList> routes;  // their tables too
};

// What stands for the hash of a password where the resolved configuration is printed.
inline constexpr std::string_view kHiddenHash = "***";

// Where a value was said: by the path of its key, such as "upstreams.web.balance" or
// "routes.shop[0].upstream".
using SaidKeys = std::map<std::string, Place>;

// All keys that flags have too, in order.
std::vector<GivenKey> ReadGlobals(std::span<const ConfigNode> documents, Problems& problems, SaidKeys& said);
// Everything else. `settings` has what the file and the flags say of all (timeouts, defaults of upstreams),
// and gets `paths`.
FileSections ReadSections(std::span<const ConfigNode> documents, Settings& settings, Problems& problems,
                          SaidKeys& said);

// For the reference and the schema.
struct KeyDoc {
  std::string name;
  std::string type;
  std::string fallback;  // the default in words
  std::string sentence;
  std::string schema;     // of the value, as JSON
  bool available = true;  // else refused as not available yet
  bool required = false;
};
struct SectionDoc {
  std::string name;      // "listener"; in the schema's $defs
  std::string where;     // "`listeners:`, a list"
  std::string sentence;  // what it is for
  std::vector<KeyDoc> keys;
};
std::vector<SectionDoc> DescribeSections();

// The keys of `section` that have a plain value, with what `settings` say: for the resolved form.
struct KeyValue {
  std::string key;
  std::string value;
};
std::vector<KeyValue> ValuesOf(const ListenerSettings& listener);
std::vector<KeyValue> ValuesOf(const ProxyProtocolSettings& settings);  // without `from`
std::vector<KeyValue> ValuesOf(const ProxyHelloSettings& settings);     // without `tlvs`
std::vector<std::string> TlvsOf(const ProxyHelloSettings& settings);
std::vector<KeyValue> ValuesOf(const UpstreamSettings& upstream);
// Without `status`; empty: there is nothing to say.
std::vector<KeyValue> ValuesOf(const HealthCheckSettings& check);
std::vector<KeyValue> ValuesOf(const SlowStartSettings& start);
std::vector<KeyValue> ValuesOf(const RetrySettings& retry);  // without `on` and `backoff`
// What stands in `on`, statuses one by one.
std::vector<std::string> ConditionsOf(const RetrySettings& retry);
std::vector<KeyValue> ValuesOf(const RetryBudgetSettings& budget);
std::vector<KeyValue> ValuesOf(const OutlierSettings& outliers);
std::vector<KeyValue> SuccessRateOf(const OutlierSettings& outliers);
std::vector<KeyValue> ValuesOf(const PoolSettings& pool);
std::vector<KeyValue> TcpValuesOf(const ListenerSettings& listener);
std::vector<KeyValue> TcpValuesOf(const UpstreamSettings& upstream);
std::vector<KeyValue> TimeoutsOf(const UpstreamSettings& upstream);
std::vector<KeyValue> TimeoutsOf(const RouteSettings& route);
std::vector<KeyValue> ValuesOf(const AccessLogSettings& log);
std::vector<KeyValue> ValuesOf(const SyslogSettings& syslog);

}  // namespace weir::lb
