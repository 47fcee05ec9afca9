#include "lb/config/file_reader.h"

#include <algorithm>

#include "core/unix_path.h"
#include "lb/config/file_keys.h"
#include "lb/http/chars.h"

namespace weir::lb::file {

const char* KindName(const ConfigNode& node) {
  switch (node.kind) {
    case ConfigNode::Kind::kNothing:
      return "nothing";
    case ConfigNode::Kind::kScalar:
      return "a single value";
    case ConfigNode::Kind::kList:
      return "a list";
    case ConfigNode::Kind::kMap:
      return "keys and values";
  }
  return "";
}

std::string_view NearestChoice(std::string_view text, std::string_view expected) {
  constexpr std::string_view kBegin = "expected ";
  constexpr std::string_view kLetters = "abcdefghijklmnopqrstuvwxyz_";
  if (!expected.starts_with(kBegin)) return {};
  expected.remove_prefix(kBegin.size());
  std::vector<std::string_view> words;
  while (!expected.empty()) {
    const size_t end = std::min({expected.find(", "), expected.find(" or "), expected.size()});
    const std::string_view word = expected.substr(0, end);
    if (!word.empty() && word.find_first_not_of(kLetters) == std::string_view::npos) words.push_back(word);
    expected.remove_prefix(end);
    expected.remove_prefix(expected.starts_with(',') ? 2 : std::min<size_t>(4, expected.size()));
  }
  return words.size() < 2 ? std::string_view() : Nearest(text, words);
}

const char* DashHint(const ConfigNode& node) {
  const bool dash = node.is_scalar() && node.text.size() > 1 && node.text[0] == '-' && node.text[1] != '-';
  return dash ? "; a space is missing behind the dash" : "";
}

std::string QuoteHint(const ConfigNode& node) {
  if (node.is_list()) return "; to YAML a value that begins with [ is a list: put it in quotes";
  if (node.is_map()) return "; to YAML a value that begins with { is a map: put it in quotes";
  return "";
}

bool Reader::Text(const ConfigNode& node, std::string& out) {
  if (node.is_scalar()) {
    out = node.text;
    return true;
  }
  Error(node.place, absl::StrCat("expected a text, found ", KindName(node), QuoteHint(node)));
  return false;
}

// One text, or a list of them.
void Reader::Texts(const ConfigNode& node, std::vector<std::string>& out, std::vector<Place>& places) {
  const auto one = [&](const ConfigNode& item) {
    std::string text;
    if (!Text(item, text)) return;
    out.push_back(std::move(text));
    places.push_back(item.place);
  };
  if (!node.is_list()) return one(node);
  if (node.items.empty()) Error(node.place, "the list is empty: leave the key out, or name something");
  for (const ConfigNode& item : node.items) one(item);
}

FileSections Reader::Read(std::span<const ConfigNode> documents) {
  const auto each = [&](std::string_view key, const std::function<void(const ConfigNode&)>& read) {
    for (const ConfigNode& document : documents) {
      const ConfigNode* node = document.Find(key);
      if (node == nullptr || node->kind == ConfigNode::Kind::kNothing) continue;
      Within(std::string(key), [&] { read(*node); });
    }
  };
  const auto named =
      [&](const ConfigNode& node,
          const std::function<void(const std::string&, const Place&, const ConfigNode&)>& read) {
        if (!node.is_map()) {
          return Error(node.place, absl::StrCat("expected names, with what each is, found ", KindName(node)));
        }
        for (size_t i = 0; i < node.items.size(); ++i) {
          Within(node.key_text[i], [&] { read(node.key_text[i], node.key_place[i], node.items[i]); });
        }
      };
  each("paths", [&](const ConfigNode& node) {
    for (size_t i = 0; i < node.key_text.size(); ++i) {
      const auto first = said_.find("paths." + node.key_text[i]);
      if (first == said_.end()) continue;
      Error(node.key_place[i],
            absl::StrCat(node.key_text[i], ": given twice; first at ", problems_.Where(first->second)));
    }
    Map(node, PathKeys(), settings_);
  });
  each("error_pages", [&](const ConfigNode& node) {
    if (!settings_.error_pages.empty()) return Error(node.place, "given twice");
    ReadErrorPages(node, settings_.error_pages);
  });
  each("upstreams", [&](const ConfigNode& node) {
    named(node, [&](const std::string& name, const Place& place, const ConfigNode& value) {
      const auto [first, is_new] =
          upstream_indices_.emplace(name, static_cast<uint32_t>(sections_.upstreams.size()));
      if (!is_new) {
        const Place& other = sections_.upstreams[first->second].place;
        return Error(place, absl::StrCat("given twice; first at ", problems_.Where(other)));
      }
      FileUpstream& upstream = sections_.upstreams.emplace_back();
      upstream.settings = settings_.upstream_defaults;
      upstream.settings.timeouts = settings_.timeouts;
      upstream.settings.name = name;
      upstream.place = place;
      if (Map(value, UpstreamKeys(), upstream)) {
        FinishBalance(value, upstream.settings);
        FinishPanic(value, upstream);
      }
      FinishHealthCheck(upstream);
    });
  });
  each(kAccessLog, [&](const ConfigNode& node) { ReadAccessLog(node); });
  // Lists of the same name in several files are one: a site a file.
  std::vector<RoutesDraft> routes;
  std::map<std::string, size_t> routes_by_name;
  each("routes", [&](const ConfigNode& node) {
    named(node, [&](const std::string& name, const Place& place, const ConfigNode& value) {
      const auto [first, is_new] = routes_by_name.emplace(name, routes.size());
      if (is_new) routes.emplace_back().name = name;
      RoutesDraft& draft = routes[first->second];
      for (const Place& other : draft.places) {
        if (problems_.files[other.file] != problems_.files[place.file]) continue;
        // Within one reading of a file it is told already.
        if (other.file == place.file) return;
        return Error(place, absl::StrCat("given twice; first at ", problems_.Where(other)));
      }
      draft.places.push_back(place);
      draft.parts.push_back(&value);
    });
  });
  for (RoutesDraft& draft : routes) {
    RouteList& list = sections_.routes.emplace_back();
    list.name = draft.name;
    Within("routes." + draft.name, [&] { ReadRoutes(draft, list); });
  }
  size_t listeners = 0;  // of all files
  each("listeners", [&](const ConfigNode& node) {
    if (!node.is_list()) {
      return Error(node.place, absl::StrCat("expected a list (- address: 0.0.0.0:8080), found ",
                                            KindName(node), DashHint(node)));
    }
    for (size_t i = 0; i < node.items.size(); ++i) {
      Within(absl::StrCat("[", listeners++, "]"), [&] {
        ListenerDraft draft;
        const ConfigNode& item = node.items[i];
        if (!Map(item, ListenerKeys(), draft)) return;
        FileListener& listener = sections_.listeners.emplace_back();
        listener.place = item.place;
        ListenerSettings& settings = draft.settings;
        if (draft.address != nullptr) {
          listener.place = draft.address->place;
          std::string text;
          Within("address", [&] {
            if (!Text(*draft.address, text)) return;
            const bool is_unix = text.starts_with(kUnixPrefix);
            std::string expected =
                "expected ADDRESS:PORT, such as 0.0.0.0:8080 or \"[::]:8080\", or unix:/PATH";
            const std::optional<SocketAddress> address =
                is_unix ? ParseUnixAddress(text, &expected) : SocketAddress::Parse(text);
            if (!address) return Error(listener.place, absl::StrCat("\"", text, "\": ", expected));
            settings.address = *address;
            settings.where = absl::StrCat(problems_.Where(listener.place), ": ", key_);
          });
          settings.text = absl::StrCat(settings.protocol == Protocol::kTcp ? "tcp://" : "http://", text);
        }
        if ((draft.upstream == nullptr) == (draft.routes == nullptr)) {
          Error(item.place,
                draft.upstream == nullptr
                    ? "expected one of upstream and routes: where requests go"
                    : "expected only one of upstream and routes; a route without match is for what "
                      "meets no other");
        }
        if (draft.upstream != nullptr) {
          Within("upstream", [&] { settings.direct.upstream = FindUpstream(*draft.upstream); });
          FinishSubset(draft.subset, draft.upstream->text, settings.direct.subset);
        } else if (draft.routes != nullptr) {
          if (draft.subset.place.line > 0) {
            Error(draft.subset.place, "subset: of what? Expected at a route, beside its upstream");
          } else {
            FinishSubset(draft.subset, "", settings.direct.subset);
          }
          Within("routes", [&] {
            settings.routes = FindRoutes(*draft.routes);
            if (settings.routes < routes.size()) {
              routes[settings.routes].used = true;
              if (!draft.trusted.texts.empty()) routes[settings.routes].behind_proxies = true;
              CheckRoutesFor(settings.protocol, listener.place, routes[settings.routes],
                             sections_.routes[settings.routes]);
            }
          });
        }
        settings.direct.timeouts = settings_.timeouts;
        settings.direct.client_max_body_bytes = settings_.client_max_body_bytes;
        if (draft.upstream != nullptr && settings.direct.upstream < sections_.upstreams.size()) {
          const UpstreamSettings& upstream = sections_.upstreams[settings.direct.upstream].settings;
          settings.direct.timeouts = upstream.timeouts;
          settings.direct.retries = upstream.retries;
          settings.direct.retry = upstream.retry;
          if (settings.protocol == Protocol::kTcp) {
            Within("upstream", [&] { WarnOfTcp(draft.upstream->place, upstream, false); });
          }
        }
        if (draft.mode.line > 0 && settings.address.family != 0 && !settings.has_file()) {
          Error(draft.mode, settings.address.is_unix()
                                ? "mode: an abstract name has none, everybody on this machine may connect"
                                : "mode: only a unix socket's file has one (address: unix:/PATH)");
        }
        if (draft.tcp.line > 0 && settings.address.is_unix())
          Error(draft.tcp, "tcp: a unix socket knows nothing of it");
        if (settings.address.is_unix() && !settings.proxy_protocol.on() &&
            settings.max_connections_per_client > 0) {
          problems_.Warning(item.place, key_,
                            "max_connections_per_client: clients of a unix socket have no address, and are "
                            "not counted unless proxy_protocol says who they are");
        }
        settings.access = Access(std::move(draft.allow), std::move(draft.deny));
        if (settings.protocol == Protocol::kTcp && !draft.trusted.texts.empty()) {
          Error(draft.trusted.place, "trusted_proxies: a tcp connection says nothing of another client");
        }
        if (settings.protocol == Protocol::kTcp && draft.forwarded.line > 0) {
          Error(draft.forwarded, "forwarded: a tcp connection has no headers");
        }
        if (settings.protocol == Protocol::kTcp && !settings.direct.error_pages.empty()) {
          Error(draft.error_pages, "error_pages: a tcp connection is answered nothing");
        }
        settings.trusted = Access(std::move(draft.trusted), {});
        FinishListenerHeaders(draft, settings);
        listener.congestion_control = draft.congestion_control;
        listener.settings = std::move(settings);
      });
    }
  });
  for (const RoutesDraft& draft : routes) {
    if (!draft.used) {
      problems_.Warning(draft.places.front(), "routes." + draft.name, "no listener has these routes");
    } else if (!draft.behind_proxies) {
      WarnOfSchemes(draft);
    }
  }
  for (const FileUpstream& upstream : sections_.upstreams) {
    if (!upstream.used) {
      problems_.Warning(upstream.place, "upstreams." + upstream.settings.name,
                        "nobody sends to this upstream");
    }
  }
  return std::move(sections_);
}

}  // namespace weir::lb::file

namespace weir::lb {

using namespace file;

FileSections ReadSections(std::span<const ConfigNode> documents, Settings& settings, Problems& problems,
                          SaidKeys& said) {
  return Reader(settings, problems, said).Read(documents);
}

}  // namespace weir::lb
