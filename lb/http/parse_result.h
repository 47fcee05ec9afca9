// What every parser of this folder returns.
//
// kNeedMore  nothing wrong so far; call again with the same bytes and more behind them. Views stored in the
//            output are not to be used.
// kDone      `consumed` bytes from the front belong to the message head (or trailer section); what follows is
//            body or the next message.
// kError     the peer broke a rule. For requests `error.status` is the answer to give before closing; for
//            responses it is always 502. `error.reason` is a constant, safe to send, log and compare by text.
// Errors are found as early as the bytes given to the parser allow: a prefix that cannot become valid is
// kError, not kNeedMore. (Only what an unfinished target, authority or value means is judged when it is
// finished.)
#ifndef LB_HTTP_PARSE_RESULT_H_
#define LB_HTTP_PARSE_RESULT_H_

#include <cstdint>

namespace weir::http {

struct Error {
  uint16_t status = 0;
  const char* reason = "";
};

enum class ParseState : uint8_t { kDone, kNeedMore, kError };

struct ParseResult {
  ParseState state = ParseState::kNeedMore;
  uint32_t consumed = 0;
  Error error;

  static ParseResult Done(uint32_t consumed) { return {ParseState::kDone, consumed, {}}; }
  static ParseResult NeedMore() { return {}; }
  static ParseResult Fail(uint16_t status, const char* reason) {
    return {ParseState::kError, 0, {status, reason}};
  }

  bool done() const { return state == ParseState::kDone; }
  bool failed() const { return state == ParseState::kError; }
};

}  // namespace weir::http

#endif  // LB_HTTP_PARSE_RESULT_H_
