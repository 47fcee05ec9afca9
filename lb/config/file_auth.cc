// Who the configuration file's routes want to know: names and hashed passwords.
#include <algorithm>
#include <cerrno>
#include <cstring>

#include "lb/auth/credentials.h"
#include "lb/auth/password.h"
#include "lb/config/file_keys.h"
#include "lb/config/read_file.h"
#include "lb/http/chars.h"

namespace weir::lb::file {
namespace {

constexpr size_t kMaxRealmBytes = 128;

bool LooksLikeHash(std::string_view text) {
  return text.starts_with("$") || WhyNoPasswordHash(text) == nullptr;
}

}  // namespace

std::span<const Key<BasicAuthDraft>> BasicAuthKeys() {
  using T = BasicAuthDraft;
  static const Key<T> kKeys[] = {
      {"realm", "text", "restricted", "What the client is told the password is for.", kTextSchema,
       [](Reader& reader, const ConfigNode& value, T& out) {
         if (!reader.Text(value, out.auth.realm)) return;
         const bool plain = std::all_of(out.auth.realm.begin(), out.auth.realm.end(), [](char c) {
           return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
         });
         if (plain && !out.auth.realm.empty() && out.auth.realm.size() <= kMaxRealmBytes) return;
         reader.Error(value.place, absl::StrCat("expected at most ", kMaxRealmBytes,
                                                " printable ASCII characters, without \" and \\"));
       }},
      {"users", "keys", "", "Names, each with the hash of its password.",
       R"({"type": "object", "additionalProperties": {"type": "string"}})",
       [](Reader&, const ConfigNode& value, T& out) { out.users = &value; }},
      {"users_file", "FILE", "",
       "A file instead, as htpasswd -B writes it: NAME:HASH in each line. Read at start and at each reload; "
       "a relative "
       "path begins "
       "where this file is.",
       kTextSchema, [](Reader&, const ConfigNode& value, T& out) { out.users_file = &value; }},
      {"forward", "true \\| false", "false",
       "Whether the upstream gets the Authorization header, and with it the password; so does a mirror.",
       SchemaOf<Switch>(),
       [](Reader& reader, const ConfigNode& value, T& out) {
         reader.Scalar<Switch>(value, out.auth.forward);
       }},
  };
  return kKeys;
}

std::span<const Key<AuthRequestDraft>> AuthRequestKeys() {
  using T = AuthRequestDraft;
  static const Key<T> kKeys[] = {
      {"upstream", "NAME", "required",
       "Who is asked, with the upstream's own timeouts and retries. Answers that refuse pass as they are.",
       kTextSchema,
       [](Reader& reader, const ConfigNode& value, T& out) {
         out.name = value.text;
         out.upstream = reader.FindUpstream(value);
       },
       nullptr, true},
      SubsetKey<T>(),
      SubsetFallbackKey<T>(),
      {"path", "text", "required",
       "What is asked for there, such as /oauth2/auth; with the variables of redirect: to.", kTextSchema,
       [](Reader& reader, const ConfigNode& value, T& out) {
         std::string text;
         std::string expected;
         if (!reader.Text(value, text)) return;
         const bool visible = std::all_of(text.begin(), text.end(), [](char c) {
           return c > 0x20 && c < 0x7f && c != '"' && c != '#' && c != '<' && c != '>' && c != '\\';
         });
         const bool begins =
             text.starts_with('/') || text.starts_with("${path}") || text.starts_with("${uri}");
         if (!visible || !begins) {
           return reader.Error(value.place,
                               absl::StrCat("\"", text, "\": expected a path that begins with /"));
         }
         if (!Template::Parse(text, &out.path, &expected)) return reader.Error(value.place, expected);
         reader.WarnOfVariables(value, out.path);
       },
       nullptr, true},
      {"copy", "text or list", "none",
       "Headers of the 2xx that the request is given, such as X-User; the client's own of these names are "
       "dropped. At most 4 KiB in all.",
       ListOrOne(kTextSchema),
       [](Reader& reader, const ConfigNode& value, T& out) {
         std::vector<std::string> names;
         std::vector<Place> places;
         reader.Texts(value, names, places);
         out.copy_place = value.place;
         for (size_t i = 0; i < names.size(); ++i) {
           if (reader.IsChangeable(names[i], places[i])) out.copy.push_back(names[i]);
         }
       }},
  };
  return kKeys;
}

// The route is ready but for this and its sides.
void Reader::FinishAuthRequest(RouteDraft& draft) {
  AuthRequestDraft& said = draft.auth_request;
  if (said.place.line == 0) return;
  RouteSettings& route = draft.settings;
  if (!said.copy.empty() && route.action != RouteSettings::Action::kUpstream) {
    Error(said.copy_place, "auth_request.copy: only a request that goes to an upstream can be changed");
  }
  for (const HeaderChanges::Line& line : route.request.headers.added) {
    for (const std::string& name : said.copy) {
      if (!http::EqualsIgnoreCase(name, line.name)) continue;
      Error(said.copy_place, absl::StrCat("auth_request.copy: ", Absl(name),
                                          " is also set by request_headers: only one can say it"));
    }
  }
  if (said.upstream >= sections_.upstreams.size()) return;  // which was told
  auto auth = std::make_shared<AuthRequestSettings>();
  auth->path = std::move(said.path);
  auth->copy = std::move(said.copy);
  const UpstreamSettings& upstream = sections_.upstreams[said.upstream].settings;
  RouteSettings& leg = auth->leg;
  leg.upstream = said.upstream;
  Within("auth_request", [&] { FinishSubset(said.subset, said.name, leg.subset); });
  leg.timeouts = upstream.timeouts;
  leg.timeouts.request_ms = route.timeouts.request_ms;
  leg.timeouts.client_send_ms = route.timeouts.client_send_ms;
  leg.retries = upstream.retries;
  leg.retry = upstream.retry;
  leg.error_pages = route.error_pages;
  PrepareRefusalHeaders(route, leg);
  leg.where = route.where;
  route.auth_request = std::move(auth);
}

void Reader::ReadUser(std::string_view name, std::string_view hash, const Place& place, BasicAuth& auth) {
  if (LooksLikeHash(name)) return Error(place, "expected a name before the hash, found a hash in its place");
  const bool plain = !name.empty() && name.size() <= kMaxUserBytes &&
                     std::all_of(name.begin(), name.end(),
                                 [](unsigned char c) { return c >= 0x20 && c != 0x7f && c != ':'; });
  if (!plain) {
    return Error(place, absl::StrCat("expected a name of 1 to ", kMaxUserBytes,
                                     " bytes, without : and control characters"));
  }
  if (hash == kHiddenHash) {
    return Error(place, absl::StrCat(Absl(name),
                                     ": \"***\" stands for a hash that weir check does not print: "
                                     "put the hash here, or use users_file"));
  }
  // What stands there may be a password: it is not repeated.
  if (const char* const why_not = WhyNoPasswordHash(hash))
    return Error(place, absl::StrCat(Absl(name), ": ", why_not));
  auth.users.push_back({std::string(name), std::string(hash)});
}

void Reader::ReadUsersFile(const ConfigNode& node, BasicAuth& auth) {
  if (!Text(node, auth.users_file)) return;
  // It may have been meant as a user's.
  const size_t colon = auth.users_file.find(':');
  if (LooksLikeHash(auth.users_file) ||
      (colon != std::string::npos && auth.users_file.substr(colon).starts_with(":$")))
    return Error(node.place, "expected a file, found the hash of a password");
  const std::string whole = FileBeside(auth.users_file, node.place);
  const std::optional<std::string> text = ReadWholeFile(whole);
  if (!text)
    return Error(node.place, absl::StrCat("\"", whole, "\": cannot be read: ", std::strerror(errno)));
  problems_.AddContent("users files", *text);
  Place line{static_cast<uint32_t>(problems_.files.size()), 0, 1};
  problems_.files.push_back(whole);
  bool good = true;
  for (std::string_view rest = *text; !rest.empty();) {
    const size_t end = std::min(rest.find('\n'), rest.size());
    std::string_view entry = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    ++line.line;
    if (entry.ends_with('\r')) entry.remove_suffix(1);
    if (entry.empty() || entry.front() == '#') continue;
    const size_t colon = entry.find(':');
    const size_t before = auth.users.size();
    if (colon == std::string_view::npos) {
      Error(line, "expected NAME:HASH");
    } else {
      // Other programs keep more behind a second colon.
      const std::string_view hash = entry.substr(colon + 1);
      ReadUser(entry.substr(0, colon), hash.substr(0, hash.find(':')), line, auth);
    }
    good = good && auth.users.size() > before;
  }
  if (good && auth.users.empty()) Error(node.place, absl::StrCat("\"", whole, "\": has no users"));
}

std::shared_ptr<const BasicAuth> Reader::ReadBasicAuth(const ConfigNode& node) {
  BasicAuthDraft draft;
  // Also where it is wrong: nothing is served then, but a route without it would be told of other things.
  auto auth = std::make_shared<BasicAuth>();
  const size_t mistakes = problems_.error_count();
  if (!Map(node, BasicAuthKeys(), draft)) return auth;
  *auth = std::move(draft.auth);
  if (draft.users == nullptr && draft.users_file == nullptr && problems_.error_count() > mistakes) {
    // A name that should stand under users, say: one mistake.
  } else if ((draft.users == nullptr) == (draft.users_file == nullptr)) {
    Error(node.place, draft.users == nullptr ? "expected one of users and users_file"
                                             : "expected only one of users and users_file");
  } else if (draft.users_file != nullptr) {
    Within("users_file", [&] { ReadUsersFile(*draft.users_file, *auth); });
  } else {
    Within("users", [&] {
      if (!draft.users->is_map() || draft.users->items.empty()) {
        return Error(draft.users->place,
                     absl::StrCat("expected names with hashes, found ", KindName(*draft.users)));
      }
      for (size_t i = 0; i < draft.users->items.size(); ++i) {
        std::string hash;
        if (Text(draft.users->items[i], hash)) {
          ReadUser(draft.users->key_text[i], hash, draft.users->items[i].place, *auth);
        }
      }
    });
  }
  if (auth->users.size() > BasicAuth::kMaxUsers) {
    Error(node.place, absl::StrCat("more than ", BasicAuth::kMaxUsers, " users"));
  }
  if (const std::string* const twice = auth->Finish()) {
    Error(node.place, absl::StrCat(*twice, ": is there twice"));
  }
  return auth;
}

}  // namespace weir::lb::file
