#include "tests/sim/message.h"

#include <algorithm>
#include <cctype>
#include <charconv>

namespace weir::lb::trial {
namespace {

constexpr size_t kLongestHead = 64 * 1024;

// Takes one line off the front of `text`, without its CR LF. False: it is not complete.
bool TakeLine(std::string_view& text, std::string_view& line) {
  const size_t end = text.find("\r\n");
  if (end == std::string_view::npos) return false;
  line = text.substr(0, end);
  text.remove_prefix(end + 2);
  return true;
}

std::string_view Trimmed(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  return text;
}

// False: not a field.
bool AddField(std::string_view line, Message& message) {
  const size_t colon = line.find(':');
  if (colon == std::string_view::npos || colon == 0) return false;
  if (line.find_first_of("\r\n") != std::string_view::npos) return false;
  const std::string_view name = line.substr(0, colon);
  if (name.find_first_of(" \t") != std::string_view::npos) return false;
  message.fields.emplace_back(name, Trimmed(line.substr(colon + 1)));
  return true;
}

}  // namespace

bool EqualsWithoutCase(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](char x, char y) {
    return std::tolower(static_cast<unsigned char>(x)) == std::tolower(static_cast<unsigned char>(y));
  });
}

const std::string* Message::Find(std::string_view name) const {
  for (const auto& [field, value] : fields) {
    if (EqualsWithoutCase(field, name)) return &value;
  }
  return nullptr;
}

std::string Message::ValueOf(std::string_view name) const {
  const std::string* value = Find(name);
  return value == nullptr ? std::string() : *value;
}

size_t Message::Count(std::string_view name) const {
  return static_cast<size_t>(std::count_if(fields.begin(), fields.end(), [name](const auto& field) {
    return EqualsWithoutCase(field.first, name);
  }));
}

bool Message::Lists(std::string_view name, std::string_view element) const {
  for (const auto& [field, value] : fields) {
    if (!EqualsWithoutCase(field, name)) continue;
    for (std::string_view rest = value; !rest.empty();) {
      const size_t comma = std::min(rest.find(','), rest.size());
      if (EqualsWithoutCase(Trimmed(rest.substr(0, comma)), element)) return true;
      rest.remove_prefix(std::min(comma + 1, rest.size()));
    }
  }
  return false;
}

int Message::Status() const {
  int status = 0;
  if (start.size() < 12 || !start.starts_with("HTTP/1.") || start[8] != ' ') return 0;
  std::from_chars(start.data() + 9, start.data() + 12, status);
  return status;
}

void MessageReader::Break(std::string why) {
  state_ = State::kBroken;
  error_ = std::move(why);
}

const std::string& MessageReader::Feed(std::string_view bytes) {
  in_ = bytes;
  while (state_ != State::kBroken && !in_.empty() && Step()) {
  }
  in_ = {};
  return error_;
}

// False: it needs more.
bool MessageReader::Step() {
  switch (state_) {
    case State::kHead:
    case State::kTrailers: {
      // Up to the empty line. Byte by byte is quick enough: heads are short.
      const bool head = state_ == State::kHead;
      while (!in_.empty()) {
        held_ += in_.front();
        in_.remove_prefix(1);
        if (held_.size() > kLongestHead) {
          Break("a head without end");
          return false;
        }
        if (head ? held_.ends_with("\r\n\r\n") : held_ == "\r\n" || held_.ends_with("\r\n\r\n")) {
          HeadIsThere();
          return true;
        }
      }
      return false;
    }
    case State::kLength:
    case State::kData: {
      const std::string_view piece =
          in_.substr(0, static_cast<size_t>(std::min<uint64_t>(left_, in_.size())));
      in_.remove_prefix(piece.size());
      left_ -= piece.size();
      if (on_body) on_body(piece);
      if (state_ == State::kBroken) return false;
      if (left_ == 0) state_ == State::kLength ? End() : static_cast<void>(state_ = State::kDataEnd);
      return true;
    }
    case State::kDataEnd:
    case State::kSize: {
      const bool size = state_ == State::kSize;
      while (!in_.empty() && !held_.ends_with("\r\n")) {
        held_ += in_.front();
        in_.remove_prefix(1);
      }
      if (!held_.ends_with("\r\n")) {
        if (held_.size() > 32) Break("a chunk size without end");
        return false;
      }
      held_.resize(held_.size() - 2);
      if (!size) {
        if (!held_.empty()) Break("chunk data is not followed by a line end");
        state_ = state_ == State::kBroken ? state_ : State::kSize;
      } else {
        const auto [end, error] = std::from_chars(held_.data(), held_.data() + held_.size(), left_, 16);
        if (held_.empty() || error != std::errc() || end != held_.data() + held_.size()) {
          Break("bad chunk size '" + held_ + "'");
          return false;
        }
        state_ = left_ == 0 ? State::kTrailers : State::kData;
      }
      held_.clear();
      return true;
    }
    case State::kUntilClose:
      if (on_body) on_body(std::exchange(in_, {}));
      return false;
    case State::kRaw:
      if (on_raw) on_raw(std::exchange(in_, {}));
      return false;
    case State::kBroken:
      return false;
  }
  return false;
}

void MessageReader::HeadIsThere() {
  const bool trailers = state_ == State::kTrailers;
  Message message;
  std::string_view text = held_;
  std::string_view line;
  if (!trailers) {
    TakeLine(text, line);
    message.start = line;
  }
  while (TakeLine(text, line) && !line.empty()) {
    if (!AddField(line, message)) {
      Break("not a field: '" + std::string(line) + "'");
      return;
    }
  }
  held_.clear();
  if (trailers) {
    trailers_ = std::move(message);
    End();
    return;
  }
  head_ = std::move(message);
  trailers_ = Message();
  if (kind_ == Kind::kResponses && head_.Status() == 0) {
    Break("not a status line: '" + head_.start + "'");
    return;
  }
  const bool chunked = head_.Find("Transfer-Encoding") != nullptr;
  const bool length = head_.Find("Content-Length") != nullptr;
  if (head_.Count("Transfer-Encoding") + head_.Count("Content-Length") > 1) {
    Break("more than one framing field");
    return;
  }
  if (chunked && head_.ValueOf("Transfer-Encoding") != "chunked") {
    Break("strange Transfer-Encoding");
    return;
  }
  if (length) {
    const std::string value = head_.ValueOf("Content-Length");
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), left_);
    if (value.empty() || error != std::errc() || end != value.data() + value.size()) {
      Break("bad Content-Length '" + value + "'");
      return;
    }
  }
  const bool no_body = on_head && on_head(head_);
  if (state_ == State::kBroken) return;
  if (raw_asked_) {
    state_ = State::kRaw;
  } else if (no_body || (length && left_ == 0)) {
    End();
  } else if (chunked) {
    state_ = State::kSize;
  } else if (length) {
    state_ = State::kLength;
  } else if (kind_ == Kind::kRequests) {
    End();
  } else {
    state_ = State::kUntilClose;
  }
}

void MessageReader::End() {
  state_ = State::kHead;
  if (on_end) on_end(trailers_);
}

bool MessageReader::EndOfStream() {
  if (state_ == State::kUntilClose) End();
  return state_ == State::kRaw || between();
}

}  // namespace weir::lb::trial
