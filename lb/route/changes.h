// What a route changes in a request on its way up and in the response on its way down. Plain values made by
// the configuration; applied per request without allocation (beyond the first growth of the scratch).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "lb/http/field_list.h"
#include "lb/http/request.h"
#include "lb/http/serialize_request.h"
#include "lb/route/route_head.h"
#include "lb/route/template.h"

namespace weir::lb {

struct HeaderChanges {
  struct Line {
    std::string name;
    Template value;
    std::string written = {};  // by a file where the environment has a part in it, as may be a secret's
  };

  std::vector<std::string> dropped;  // names of what the other side sent: those that are set or removed
  std::vector<Line> added;           // those that are set or appended

  bool empty() const { return dropped.empty() && added.empty(); }
  void Drop(http::FieldList& fields) const {
    for (const std::string& name : dropped) fields.Drop(name);
  }
  // Of the lines that WriteLines would append, and of those that it appends at most.
  size_t Bytes(const TemplateValues& values) const;
  size_t MostBytes(size_t target_bytes) const;
  // Appends `added` as field lines.
  void WriteLines(const TemplateValues& values, std::string* out) const;
};

// `first`, and `then` with what that made: what `then` sets or removes, `first` need not add.
HeaderChanges Chained(const HeaderChanges& first, const HeaderChanges& then);

// What stands for ${endpoint} in the lines that a response will get: they are written while the request is at
// hand, before anybody knows who answers. No other value can have it (template.h).
inline constexpr std::string_view kEndpointMark = "\x01";
// Appends `lines`, with `endpoint` for each mark.
void FillEndpoint(std::string_view lines, std::string_view endpoint, std::string* out);
// ${endpoint} where there was none: an answer of our own.
inline constexpr std::string_view kNoEndpoint = "-";

struct RequestChanges {
  HeaderChanges headers;
  Template path;             // empty: as it came
  std::string host;          // empty: as it came; the client's stays in X-Forwarded-Host
  std::string path_written;  // likewise as HeaderChanges::Line has it

  bool empty() const { return headers.empty() && path.empty() && host.empty(); }
};

// Rewrites `head` and completes `context`. Null, or why the request is refused (400): a path that would not
// be in its one spelling, such as /static/.. from ${1} being "..". Views `scratch` and `changes`.
const char* ChangeRequest(const RequestChanges& changes, const PathOptions& paths,
                          const TemplateValues& values, http::RequestHead& head, RouteScratch& scratch,
                          http::RequestContext& context);

// Whether a field that a route sets or appends says something of every answer, an error of our own among
// them: not of one body, its place, or how long it may be kept.
bool IsOfEveryAnswer(std::string_view name);

// Null if a route may set, append or remove a field of this name, or why not.
const char* WhyNotChangeable(std::string_view name, bool in_response);

}  // namespace weir::lb
