// MessageReader: HTTP/1.1 messages from a stream of bytes, as a client or an origin of the test reads them.
// It shares no code with lb/http, so that the two judge each other, and it is strict about what Weir may
// write: CR LF line ends, plain chunk sizes, one framing field. Bodies are handed on in pieces, never kept.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace weir::lb::trial {

struct Message {
  std::string start;  // without the line end; empty for trailers
  std::vector<std::pair<std::string, std::string>> fields;

  // The first one's value, or null; names without case.
  const std::string* Find(std::string_view name) const;
  std::string ValueOf(std::string_view name) const;  // "" when it is not there
  size_t Count(std::string_view name) const;
  // Is `element` in the comma list of any such field? Without case.
  bool Lists(std::string_view name, std::string_view element) const;
  int Status() const;  // of a response; 0 if it has none
};

class MessageReader {
 public:
  enum class Kind { kRequests, kResponses };
  explicit MessageReader(Kind kind) : kind_(kind) {}

  // True: no body follows, whatever the fields say.
  std::function<bool(const Message&)> on_head;
  std::function<void(std::string_view)> on_body;
  std::function<void(const Message& trailers)> on_end;
  std::function<void(std::string_view)> on_raw;  // after SwitchToRaw

  // Empty, or what is wrong; then it reads no more.
  const std::string& Feed(std::string_view bytes);
  // The stream ended. True if no message is left unfinished; a close-delimited one ends here.
  bool EndOfStream();
  // Called within on_head: from its end on, everything is raw.
  void SwitchToRaw() { raw_asked_ = true; }
  // Reads no more, also of what it is reading just now.
  void Stop() { state_ = State::kBroken; }
  // Nothing of the next message was read yet.
  bool between() const { return state_ == State::kHead && held_.empty(); }
  bool until_close() const { return state_ == State::kUntilClose; }

 private:
  enum class State { kHead, kLength, kSize, kData, kDataEnd, kTrailers, kUntilClose, kRaw, kBroken };

  bool Step();
  void HeadIsThere();
  void End();
  void Break(std::string why);

  const Kind kind_;
  State state_ = State::kHead;
  std::string held_;  // of a head, or a line
  uint64_t left_ = 0;
  Message head_;
  Message trailers_;
  bool raw_asked_ = false;
  std::string error_;
  std::string_view in_;
};

bool EqualsWithoutCase(std::string_view a, std::string_view b);

}  // namespace weir::lb::trial
