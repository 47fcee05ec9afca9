// A route whose requests are split between upstreams, and what holds clients to their side.
#include <algorithm>

#include "lb/config/file_keys.h"
#include "lb/http/chars.h"

namespace weir::lb::file {
namespace {

constexpr size_t kMaxCookieName = 64;

std::string CookieLine(const StickyDraft& sticky, const std::string& id) {
  return absl::StrCat("Set-Cookie: ", sticky.cookie, "=", id,
                      CookieAttributes(sticky.max_age_ms / 1000, sticky.secure), "\r\n");
}

// What a side is met for: the same upstream may have several.
std::string SideName(const std::string& upstream, const Labels& labels) {
  return labels.empty() ? upstream : absl::StrCat(upstream, "\n", LabelsText(labels));
}

}  // namespace

std::string CookieAttributes(uint32_t max_age_s, bool secure) {
  const std::string age = max_age_s > 0 ? absl::StrCat("; Max-Age=", max_age_s) : "";
  return absl::StrCat("; Path=/", age, secure ? "; Secure" : "", "; HttpOnly; SameSite=Lax");
}

std::span<const Key<SideDraft>> SideKeys() {
  using T = SideDraft;
  static const Key<T> kKeys[] = {
      {"upstream", "NAME", "required", "Where its share goes.", kTextSchema,
       [](Reader& reader, const ConfigNode& value, T& out) {
         out.place = value.place;
         out.name = value.text;
         out.upstream = reader.FindUpstream(value);
       },
       nullptr, true},
      SubsetKey<T>(),
      SubsetFallbackKey<T>(),
      {"weight", "COUNT", "1",
       "Its share beside the others', 0 to 1000000. One of 0 gets those who have its cookie, nobody "
       "else; the cookie is no secret.",
       R"({"type": "integer", "minimum": 0, "maximum": 1000000})",
       [](Reader& reader, const ConfigNode& value, T& out) {
         reader.Scalar<CountIn<0, Split::kMaxWeight>>(value, out.weight);
       }},
  };
  return kKeys;
}

std::span<const Key<StickyDraft>> StickyKeys() {
  using T = StickyDraft;
  static const Key<T> kKeys[] = {
      {"cookie", "text", "",
       "The name of a cookie that Weir sets where a client came without a valid one (Path=/, HttpOnly, "
       "SameSite=Lax). It holds the client to its side whatever the weights become.",
       kTextSchema,
       [](Reader& reader, const ConfigNode& value, T& out) {
         if (!reader.Text(value, out.cookie)) return;
         if (http::IsToken(out.cookie) && out.cookie.size() <= kMaxCookieName) return;
         reader.Error(value.place, absl::StrCat("\"", out.cookie, "\": expected a cookie's name"));
       }},
      {"hash_on", "client_ip \\| header:NAME \\| cookie:NAME \\| path \\| query:NAME \\| sni", "",
       "The same value meets the same side as long as the weights stay. When they change, or sides come or "
       "go, no more move than must: to the sides that gain, from those that lose; the order of the list does "
       "not matter. A request without it is left to chance.",
       kTextSchema,
       [](Reader& reader, const ConfigNode& value, T& out) {
         std::string text;
         std::string expected;
         out.has_key = true;
         if (!reader.Text(value, text) || HashKey::Parse(text, &out.key, &expected)) return;
         reader.Error(value.place, absl::StrCat("\"", text, "\": ", expected));
       }},
      {"max_age", CookieAge::kPlaceholder, "0",
       "Of the cookie, from when it is set; 0: until the browser ends.", SchemaOf<CookieAge>(),
       [](Reader& reader, const ConfigNode& value, T& out) {
         reader.Scalar<CookieAge>(value, out.max_age_ms);
       }},
      {"secure", Switch::kPlaceholder, "false",
       "The cookie is Secure: browsers send it over https alone. For sites that are reached in no other way.",
       SchemaOf<Switch>(),
       [](Reader& reader, const ConfigNode& value, T& out) { reader.Scalar<Switch>(value, out.secure); }},
  };
  return kKeys;
}

void Reader::ReadSplit(const ConfigNode& node, RouteDraft& draft) {
  draft.split_place = node.place;
  if (!node.is_list()) {
    return Error(node.place, absl::StrCat("expected a list, such as [{upstream: web, weight: 95}, {upstream: "
                                          "canary, weight: 5}], found ",
                                          KindName(node)));
  }
  if (node.items.empty())
    return Error(node.place, "the list is empty: expected upstreams with their weights");
  if (node.items.size() > Split::kMaxSides) {
    return Error(node.place, absl::StrCat("more than ", Split::kMaxSides, " sides"));
  }
  uint64_t total = 0;
  for (size_t i = 0; i < node.items.size(); ++i) {
    Within(absl::StrCat("[", i, "]"), [&] {
      SideDraft side;
      if (!Map(node.items[i], SideKeys(), side)) return;
      const bool twice = std::any_of(draft.split.begin(), draft.split.end(), [&](const SideDraft& other) {
        return side.place.line > 0 && other.name == side.name && other.subset.labels == side.subset.labels &&
               (side.subset.place.line > 0) == (other.subset.place.line > 0);
      });
      if (twice) Error(side.place, "given twice; for a larger share give it more weight");
      FinishSubset(side.subset, side.name, side.use);
      draft.split.push_back(side);
      total += side.weight;
    });
  }
  if (total == 0 && draft.split.size() == node.items.size()) {
    Error(node.place, "no side has weight: nobody new could go anywhere");
  }
}

// The sides are copies of the route, which is ready but for this.
void Reader::FinishSplit(RouteDraft& draft) {
  const StickyDraft& sticky = draft.sticky;
  if (sticky.place.line > 0) {
    if (draft.split_place.line == 0)
      return Error(sticky.place, "sticky: there is no split that it could be for");
    if (sticky.cookie.empty() == !sticky.has_key) {
      return Error(sticky.place, "sticky: expected one of cookie and hash_on");
    }
    if (sticky.has_key && (sticky.max_age_ms > 0 || sticky.secure)) {
      return Error(sticky.place, "sticky: max_age and secure are a cookie's, and hash_on sets none");
    }
  }
  if (draft.split.empty()) return;
  auto settings = std::make_shared<SplitSettings>();
  settings->max_age_s = sticky.max_age_ms / 1000;
  settings->secure = sticky.secure;
  Split& split = settings->split;
  split.sticky = sticky.has_key           ? Split::Sticky::kHash
                 : !sticky.cookie.empty() ? Split::Sticky::kCookie
                                          : Split::Sticky::kNo;
  split.cookie = sticky.cookie;
  split.key = sticky.key;
  for (const SideDraft& from : draft.split) {
    if (from.upstream >= sections_.upstreams.size()) return;  // there are none, which was told
    const UpstreamSettings& upstream = sections_.upstreams[from.upstream].settings;
    split.Add(SideName(upstream.name, from.subset.labels), from.weight);
    RouteSettings& side = settings->sides.emplace_back(draft.settings);
    side.upstream = from.upstream;
    side.subset = from.use;
    side.timeouts = upstream.timeouts;
    side.retry = upstream.retry;
    if (draft.retries == nullptr) side.retries = upstream.retries;
    if (draft.timeouts != nullptr || draft.retry != nullptr) {
      // What is wrong with them was told when the route was read.
      Problems told;
      told.files = problems_.files;
      SaidKeys said;
      Reader reader(settings_, told, said);
      if (draft.timeouts != nullptr) reader.Map(*draft.timeouts, RouteTimeoutKeys(), side);
      if (draft.retry != nullptr) reader.Map(*draft.retry, RetryKeys(), side.retry);
    }
    if (split.sticky == Split::Sticky::kCookie) side.set_cookie = CookieLine(sticky, split.sides.back().id);
  }
  draft.settings.split = std::move(settings);
}

}  // namespace weir::lb::file
