#include "lb/route/changes.h"

#include <algorithm>

#include "lb/http/chars.h"

namespace weir::lb {

size_t HeaderChanges::MostBytes(size_t target_bytes) const {
  size_t bytes = 0;
  for (const Line& line : added) bytes += line.name.size() + 4 + line.value.MostBytes(target_bytes);
  return bytes;
}

size_t HeaderChanges::Bytes(const TemplateValues& values) const {
  size_t bytes = 0;
  for (const Line& line : added) bytes += line.name.size() + 4 + line.value.Bytes(values);
  return bytes;
}

void HeaderChanges::WriteLines(const TemplateValues& values, std::string* out) const {
  for (const Line& line : added) {
    out->append(line.name).append(": ");
    const size_t at = out->size();
    out->resize(at + line.value.Bytes(values));
    line.value.Write(values, out->data() + at);
    out->append("\r\n");
  }
}

HeaderChanges Chained(const HeaderChanges& first, const HeaderChanges& then) {
  const auto names = [](const std::vector<std::string>& dropped, std::string_view name) {
    return std::any_of(dropped.begin(), dropped.end(),
                       [name](std::string_view other) { return http::EqualsIgnoreCase(name, other); });
  };
  HeaderChanges both;
  // In the letters of `then`, where both have a name.
  for (const std::string& name : first.dropped) {
    if (!names(then.dropped, name)) both.dropped.push_back(name);
  }
  both.dropped.insert(both.dropped.end(), then.dropped.begin(), then.dropped.end());
  for (const HeaderChanges::Line& line : first.added) {
    if (!names(then.dropped, line.name)) both.added.push_back(line);
  }
  both.added.insert(both.added.end(), then.added.begin(), then.added.end());
  return both;
}

void FillEndpoint(std::string_view lines, std::string_view endpoint, std::string* out) {
  while (!lines.empty()) {
    const size_t mark = std::min(lines.find(kEndpointMark), lines.size());
    out->append(lines.substr(0, mark));
    if (mark < lines.size()) out->append(endpoint);
    lines.remove_prefix(std::min(mark + kEndpointMark.size(), lines.size()));
  }
}

const char* ChangeRequest(const RequestChanges& changes, const PathOptions& paths,
                          const TemplateValues& values, http::RequestHead& head, RouteScratch& scratch,
                          http::RequestContext& context) {
  changes.headers.Drop(head);
  scratch.lines.clear();
  changes.headers.WriteLines(values, &scratch.lines);
  context.extra_fields = scratch.lines;
  if (!changes.host.empty()) {
    context.received_host = head.authority;
    head.authority = changes.host;
  }
  if (changes.path.empty()) return nullptr;
  const std::string_view query = values.values[static_cast<size_t>(Variable::kQuery)];
  const size_t path_bytes = changes.path.Bytes(values);
  std::string& target = scratch.rewritten;
  target.resize(path_bytes + query.size());
  changes.path.Write(values, target.data());
  std::copy(query.begin(), query.end(), target.begin() + static_cast<ptrdiff_t>(path_bytes));
  if (target.size() > head.limits().target_bytes) return "the rewritten target is too long";
  scratch.check.resize(MaxNormalBytes(target));
  const NormalTarget normal = NormaliseTarget(target, paths, scratch.check.data());
  if (!normal.ok() || normal.text != target) return "the rewritten path is not in its normal form";
  head.target = target;
  return nullptr;
}

bool IsOfEveryAnswer(std::string_view name) {
  static constexpr std::string_view kOfOneBody[] = {"Content-Type",
                                                    "Content-Encoding",
                                                    "Content-Language",
                                                    "Content-Location",
                                                    "Content-Range",
                                                    "Content-Disposition",
                                                    "Content-Digest",
                                                    "Content-MD5",
                                                    "Repr-Digest",
                                                    "Digest",
                                                    "ETag",
                                                    "Last-Modified",
                                                    "Accept-Ranges",
                                                    "Cache-Control",
                                                    "CDN-Cache-Control",
                                                    "Surrogate-Control",
                                                    "Expires",
                                                    "Pragma",
                                                    "Age",
                                                    "Location",
                                                    "Refresh",
                                                    "Retry-After",
                                                    "WWW-Authenticate",
                                                    "Allow",
                                                    "Set-Cookie"};
  return std::none_of(std::begin(kOfOneBody), std::end(kOfOneBody),
                      [name](std::string_view other) { return http::EqualsIgnoreCase(name, other); });
}

const char* WhyNotChangeable(std::string_view name, bool in_response) {
  if (name.size() > 256 || !http::IsToken(name)) return "expected a header's name";
  const http::FieldId id = http::FieldIdOf(name);
  const uint8_t ours = http::kHopByHop | (in_response ? http::kOursInResponse : http::kOursInRequest);
  const bool more = id == http::FieldId::kContentLength || id == http::FieldId::kVia ||
                    (in_response ? id == http::FieldId::kDate
                                 : id == http::FieldId::kHost || id == http::FieldId::kMaxForwards);
  return (http::TraitsOf(id) & ours) != 0 || more ? "Weir writes this header itself" : nullptr;
}

}  // namespace weir::lb
