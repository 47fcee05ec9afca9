// Any bytes as a configuration file: it is refused with a place for each mistake, or what came of it is
// whole.
#include <cstdint>
#include <string_view>
#include <vector>

#include "lb/config/document.h"
#include "lb/config/file_reader.h"
#include "tests/fuzz/http/fuzz_util.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace weir::lb;
  using weir::http::Require;
  Problems problems;
  const std::vector<ConfigNode> documents =
      ParseDocument({reinterpret_cast<const char*>(data), size}, "f", problems);
  SaidKeys said;
  for (const GivenKey& given : ReadGlobals(documents, problems, said)) {
    Require(given.row != nullptr && given.place.line > 0, "what is given has a place");
  }
  Settings settings;
  const FileSections sections = ReadSections(documents, settings, problems, said);
  for (const std::string& error : problems.Errors())
    Require(error.starts_with("f:") || error.starts_with("weir: and "), "a mistake has a place");
  if (!problems.ok()) return 0;
  for (const FileListener& listener : sections.listeners) {
    Require(listener.settings.address.family != 0, "a listener has an address");
    const bool routed = listener.settings.routes != ListenerSettings::kNone;
    Require(routed ? listener.settings.routes < sections.routes.size()
                   : listener.settings.direct.upstream < sections.upstreams.size(),
            "what comes has somewhere to go");
  }
  for (const FileUpstream& upstream : sections.upstreams) {
    Require(!upstream.endpoints.empty(), "an upstream has endpoints");
  }
  for (const RouteList& list : sections.routes) {
    Require(list.table != nullptr && list.routes.size() == list.matches.size(),
            "a list of routes has a table");
    for (const RouteSettings& route : list.routes) {
      if (route.action == RouteSettings::Action::kUpstream) {
        Require(route.upstream < sections.upstreams.size(), "a route's upstream exists");
        if (route.split == nullptr) continue;
        Require(!route.split->sides.empty() && route.split->sides.size() == route.split->split.sides.size(),
                "a split has sides");
        for (const RouteSettings& side : route.split->sides) {
          Require(side.upstream < sections.upstreams.size() && side.split == nullptr,
                  "a side's upstream exists");
        }
      } else {
        Require(route.status >= 200 && route.status <= 599, "an answer has a status");
      }
    }
    const RouteHit hit =
        list.table->Match({.host = "a.example", .path = "/x", .query = "q=1", .method = "GET"});
    Require(!hit.found() || hit.rule < list.routes.size(), "what is met exists");
  }
  return 0;
}
