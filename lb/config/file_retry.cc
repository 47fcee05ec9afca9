// What an upstream lets be tried again, and when.
#include <algorithm>

#include "lb/config/file_keys.h"

namespace weir::lb::file {
namespace {

constexpr uint16_t kGatewayErrors[] = {502, 503, 504};
constexpr uint32_t kUsualGrowth = 10;  // of waits, from the first bound to that of any

using StatusNumber = CountIn<RetrySettings::kFirstStatus, RetrySettings::kLastStatus>;

void Want(uint32_t status, RetrySettings& retry) { retry.statuses.set(status - RetrySettings::kFirstStatus); }

// False: it is none.
bool AddCondition(const std::string& text, RetrySettings& retry) {
  StatusNumber status;
  std::string expected;
  if (text == "connect_failure") {
    retry.connect_failure = true;
  } else if (text == "reset") {
    retry.reset = true;
  } else if (text == "endpoint_down") {
    retry.endpoint_down = true;
  } else if (text == "gateway_error") {
    for (const uint16_t each : kGatewayErrors) Want(each, retry);
  } else if (AbslParseFlag(Absl(text), &status, &expected)) {
    Want(status.value, retry);
  } else {
    return false;
  }
  return true;
}

}  // namespace

std::span<const Key<RetrySettings>> RetryKeys() {
  using T = RetrySettings;
  static const Key<T> kKeys[] = {
      {"on", "connect_failure \\| reset \\| endpoint_down \\| gateway_error \\| STATUS, or a list of them",
       "connect_failure, reset and endpoint_down",
       "connect_failure: no connection was made. reset: it ended before a byte of the answer. endpoint_down: "
       "nothing of the answer is there, and the endpoint is down or ejected because its checks, or "
       "other requests, had none in time. A status from 400 to 599: that answer is dropped, unless it is "
       "that of the "
       "last attempt or `retry_budget` has no room; gateway_error "
       "is 502, 503 and 504.",
       ListOrOne(R"({"anyOf": [{"enum": ["connect_failure", "reset", "endpoint_down", "gateway_error"]}, )"
                 R"({"type": "integer", "minimum": 400, "maximum": 599}]})"),
       [](Reader& reader, const ConfigNode& value, T& out) { reader.ReadRetryOn(value, out); }},
      WEIR_PLAIN(
          T, per_try_timeout, OptionalPatience, per_try_ms,
          "An attempt that has been without the head of its answer for so long, from the whole request "
          "sent, gives way to another one, if there may be one; else it goes on until timeouts say. 0: "
          "it never gives way."),
      WEIR_PLAIN(
          T, body, WholeBodySize, body_bytes,
          "A body whose Content-Length is at most this (24KiB at most, and beside the head) is kept on "
          "its way, to be sent again. Not with Expect: 100-continue, and not chunked."),
      WEIR_PLAIN(T, non_idempotent, Switch, non_idempotent,
                 "POST and PATCH too are tried again when an endpoint may have acted on them already: for "
                 "applications that take it."),
      {"backoff", "keys", "none", "A wait before each further attempt.", Reference("backoff"),
       [](Reader& reader, const ConfigNode& value, T& out) { reader.ReadBackoff(value, out); }},
  };
  return kKeys;
}

std::span<const Key<RetrySettings>> BackoffKeys() {
  using T = RetrySettings;
  static const Key<T> kKeys[] = {
      {"base", OptionalPatience::kPlaceholder, "required",
       "Each wait is drawn by chance from 0 to a bound, which is this at first and doubles with each "
       "attempt. 0: "
       "no wait.",
       SchemaOf<OptionalPatience>(),
       [](Reader& reader, const ConfigNode& value, T& out) {
         reader.Scalar<OptionalPatience>(value, out.backoff_base_ms);
       },
       nullptr, true},
      {"max", OptionalPatience::kPlaceholder, "10 times base", "The bound grows no further.",
       SchemaOf<OptionalPatience>(),
       [](Reader& reader, const ConfigNode& value, T& out) {
         reader.Scalar<OptionalPatience>(value, out.backoff_max_ms);
       }},
  };
  return kKeys;
}

void Reader::ReadRetryOn(const ConfigNode& node, RetrySettings& retry) {
  std::vector<std::string> texts;
  std::vector<Place> places;
  Texts(node, texts, places);
  retry.connect_failure = retry.reset = retry.endpoint_down = false;
  retry.statuses.reset();
  for (size_t i = 0; i < texts.size(); ++i) {
    if (AddCondition(texts[i], retry)) continue;
    const std::string_view hint = texts[i] == "per_try_timeout"
                                      ? "; a time for each attempt is a key beside on: per_try_timeout: 2s"
                                      : "";
    Error(places[i],
          absl::StrCat(
              "\"", texts[i],
              "\": expected connect_failure, reset, endpoint_down, gateway_error, or a status from 400 to "
              "599",
              Absl(hint)));
  }
}

void Reader::ReadBackoff(const ConfigNode& node, RetrySettings& retry) {
  retry.backoff_base_ms = retry.backoff_max_ms = 0;
  if (!Map(node, BackoffKeys(), retry)) return;
  if (node.Find("max") == nullptr) {
    retry.backoff_max_ms = std::min(retry.backoff_base_ms * kUsualGrowth, OptionalPatience::kMaxMs);
  } else if (retry.backoff_max_ms < retry.backoff_base_ms) {
    Error(node.place, "max is less than base");
  }
}

std::span<const Key<RetryBudgetSettings>> RetryBudgetKeys() {
  using T = RetryBudgetSettings;
  static const Key<T> kKeys[] = {
      WEIR_PLAIN(T, share, ShareText, share,
                 "Of the upstream's requests and TCP connections in flight, on all shards together."),
      WEIR_PLAIN(T, min, RetryBudgetCount, min, "So many may be tried again in any case, likewise."),
      WEIR_PLAIN(T, wait, OptionalPatience, wait_ms,
                 "A request that was reset and finds no place among them waits so long for one before it "
                 "fails; 0 is not at all."),
  };
  return kKeys;
}

void Reader::ReadRetryBudget(const ConfigNode& node, RetryBudgetSettings& budget) {
  budget.on = node.is_map();
  if (budget.on) {
    Map(node, RetryBudgetKeys(), budget);
  } else if (!node.is_scalar() || node.text != "off") {
    Error(node.place,
          node.is_scalar()
              ? absl::StrCat("\"", node.text, "\": expected off, or keys and values: share, min, wait")
              : absl::StrCat("expected off, or keys and values: share, min, wait, found ", KindName(node)));
  }
}

}  // namespace weir::lb::file

namespace weir::lb {

std::vector<std::string> ConditionsOf(const RetrySettings& retry) {
  std::vector<std::string> conditions;
  if (retry.connect_failure) conditions.push_back("connect_failure");
  if (retry.reset) conditions.push_back("reset");
  if (retry.endpoint_down) conditions.push_back("endpoint_down");
  for (size_t i = 0; i < retry.statuses.size(); ++i) {
    if (retry.statuses[i]) conditions.push_back(std::to_string(RetrySettings::kFirstStatus + i));
  }
  return conditions;
}

}  // namespace weir::lb
