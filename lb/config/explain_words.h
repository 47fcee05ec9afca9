// The words of "weir explain": parts of a request, of a route and of its answer as text.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "lb/config/settings.h"
#include "lb/route/rule.h"
#include "lb/route/table.h"

namespace weir::lb::explain {

// How the file has the value of a key that the environment has a part in, or `value`.
std::string AsWritten(const Settings& settings, const std::string& key, std::string value);
// `key` is that of the match.
std::string ElementText(const Settings& settings, const std::string& key, const RouteMatch& match,
                        RoutePart part, uint32_t element);
const char* HostWords(HostKind kind);
std::string PathWords(const RouteStep& step, std::string_view path);
std::string Indented(std::string_view text);
// How often, and within what of the upstream's.
std::string Retries(const RouteSettings& route, const RetryBudgetSettings& budget);
std::string Times(const Timeouts& timeouts);
// `wire` without the values of headers that the route sets: they may be the upstream's keys. One that `tells`
// keeps those that stand in the file itself.
std::string Masked(const std::string& wire, const HeaderChanges& changes, bool tells);
// What an error is answered with beside our words: its page, if there is one, and headers.
std::string PageOf(uint16_t status, const Settings& settings, const ListenerSettings& listener,
                   const RouteSettings& route);
// `wire` with the path as the file writes it.
std::string WithPathAsWritten(std::string wire, const std::string& written);
std::string WithHostAsWritten(std::string wire, const std::string& written);

}  // namespace weir::lb::explain
