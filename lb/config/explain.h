// ExplainRequest: what would become of a request, in words, as `weir explain` prints it: the listener, each
// route that was considered and why it was not met, what the upstream would get. The parser, the matching and
// the serialiser are those that serve requests; nothing is sent.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "lb/balance/levels.h"
#include "lb/config/settings.h"

namespace weir::lb {

struct ExplainQuestion {
  std::string method = "GET";
  // http://host[:port]/path?query, or /path; a Host among the headers stands for the URL's. https://: as a
  // trusted proxy in front would tell of it, where the listener has any.
  // Of a connection through a tcp listener: tls://NAME[:PORT], without a name tls://:PORT; tcp://:PORT for
  // one that speaks no TLS.
  std::string url;
  std::string alpn;                  // what the TLS client offers, with commas between
  std::vector<std::string> headers;  // "Name: value"
  std::string client = "127.0.0.1";
  bool tells_secrets = true;  // false: not what routes write into headers, nor who has a password
  std::string listener;       // ADDRESS:PORT; empty: the URL's port tells, else the first one for HTTP
};

// Takes explain's own arguments out of a command line: METHOD, URL, -H, --header, --alpn, --client,
// --listener. False if the command is another one. What is wrong with them is appended to `errors`.
bool TakeExplainArguments(std::vector<std::string_view>& arguments, ExplainQuestion* question,
                          std::vector<std::string>& errors);

// The question as the query of a URL: method, url, header (any number), alpn, client, listener. False:
// `error` says what is wrong with it.
bool ReadExplainQuery(std::string_view query, ExplainQuestion* question, std::string* error);

// How an upstream of Settings::upstreams is at the moment: lines. Empty: nobody knows.
using UpstreamHealth = std::function<std::string(uint32_t upstream)>;

// For each endpoint of an upstream on how many of the shards it is set aside, and what all of them know.
struct AsideNow {
  std::vector<uint64_t> on;
  std::vector<Standing> known = {};    // empty: all are well
  std::vector<uint32_t> factors = {};  // how much of its weight counts (lb/balance/pick.h); empty: all of it
  uint64_t shards = 1;
  Levels::Tables tables = {};                      // where hashing decides; empty: they are made
  std::vector<Levels::Tables> subset_tables = {};  // the same for each of UpstreamSettings::subsets
};
using UpstreamAside = std::function<AsideNow(uint32_t upstream)>;

// False: `text` says what is wrong with the question. `aside`: null: all endpoints are taken for usable.
bool ExplainRequest(const Settings& settings, const ExplainQuestion& question, std::string* text,
                    const UpstreamHealth& health = {}, const UpstreamAside& aside = {});

}  // namespace weir::lb
