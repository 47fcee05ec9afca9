// A strict reader of JSON (RFC 8259) for tests: what Weir prints must be readable by everybody. Refuses
// whatever the grammar does not allow: control bytes, unknown escapes, leading zeros, trailing commas,
// repeated keys, bytes behind the value. \u escapes up to U+00FF become that byte; above that they become
// '?'.
#pragma once

#include <cctype>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace weir::tests {

struct Json {
  enum class Kind { kNull, kFalse, kTrue, kNumber, kText, kList, kObject };

  Kind kind = Kind::kNull;
  std::string text;               // a number as written, or the text
  std::vector<Json> list;         // elements, or the members' values
  std::vector<std::string> keys;  // of an object, in order

  const Json* Find(std::string_view key) const {
    for (size_t i = 0; i < keys.size(); ++i) {
      if (keys[i] == key) return &list[i];
    }
    return nullptr;
  }
  // The member's text or number; "?" when it is not there.
  std::string At(std::string_view key) const {
    const Json* value = Find(key);
    if (value == nullptr) return "?";
    return value->kind == Kind::kNull ? "null" : value->text;
  }
};

class JsonReader {
 public:
  // Nothing when `text` is not exactly one JSON value.
  static std::optional<Json> Read(std::string_view text) {
    JsonReader reader(text);
    Json value;
    if (!reader.Value(value, 0)) return std::nullopt;
    reader.Space();
    if (!reader.rest_.empty()) return std::nullopt;
    return value;
  }

 private:
  explicit JsonReader(std::string_view text) : rest_(text) {}

  void Space() {
    while (!rest_.empty() && std::string_view(" \t\r\n").find(rest_.front()) != std::string_view::npos) {
      rest_.remove_prefix(1);
    }
  }
  bool Take(std::string_view what) {
    if (!rest_.starts_with(what)) return false;
    rest_.remove_prefix(what.size());
    return true;
  }
  bool Value(Json& value, int depth) {
    if (depth > 32) return false;
    Space();
    if (Take("null")) return true;
    if (Take("true")) return value.kind = Json::Kind::kTrue, true;
    if (Take("false")) return value.kind = Json::Kind::kFalse, true;
    if (Take("\"")) return value.kind = Json::Kind::kText, Text(value.text);
    if (Take("[")) return value.kind = Json::Kind::kList, List(value, depth);
    if (Take("{")) return value.kind = Json::Kind::kObject, Object(value, depth);
    return value.kind = Json::Kind::kNumber, Number(value.text);
  }
  bool Digits(std::string& out) {
    const size_t before = out.size();
    while (!rest_.empty() && std::isdigit(static_cast<unsigned char>(rest_.front())) != 0) {
      out += rest_.front();
      rest_.remove_prefix(1);
    }
    return out.size() > before;
  }
  bool Number(std::string& out) {
    if (Take("-")) out += '-';
    if (rest_.size() > 1 && rest_[0] == '0' && std::isdigit(static_cast<unsigned char>(rest_[1])) != 0)
      return false;
    if (!Digits(out)) return false;
    if (Take(".")) {
      out += '.';
      if (!Digits(out)) return false;
    }
    if (Take("e") || Take("E")) {
      out += 'e';
      if (Take("-")) {
        out += '-';
      } else {
        Take("+");
      }
      if (!Digits(out)) return false;
    }
    return true;
  }
  bool Text(std::string& out) {
    while (!rest_.empty()) {
      const char c = rest_.front();
      rest_.remove_prefix(1);
      if (c == '"') return true;
      if (static_cast<unsigned char>(c) < 0x20) return false;
      if (c != '\\') {
        out += c;
      } else if (!Escape(out)) {
        return false;
      }
    }
    return false;
  }
  bool Escape(std::string& out) {
    if (rest_.empty()) return false;
    const char c = rest_.front();
    rest_.remove_prefix(1);
    static constexpr std::string_view kFrom = "\"\\/bfnrt";
    static constexpr std::string_view kTo = "\"\\/\b\f\n\r\t";
    if (const size_t at = kFrom.find(c); at != std::string_view::npos) return out += kTo[at], true;
    if (c != 'u' || rest_.size() < 4) return false;
    unsigned value = 0;
    for (int i = 0; i < 4; ++i) {
      const auto digit = static_cast<unsigned char>(rest_[static_cast<size_t>(i)]);
      if (std::isxdigit(digit) == 0) return false;
      value = value * 16 +
              static_cast<unsigned>(std::isdigit(digit) != 0 ? digit - '0' : (digit | 0x20) - 'a' + 10);
    }
    rest_.remove_prefix(4);
    out += value < 256 ? static_cast<char>(value) : '?';
    return true;
  }
  bool List(Json& value, int depth) {
    Space();
    if (Take("]")) return true;
    do {
      if (!Value(value.list.emplace_back(), depth + 1)) return false;
      Space();
    } while (Take(","));
    return Take("]");
  }
  bool Object(Json& value, int depth) {
    Space();
    if (Take("}")) return true;
    do {
      Space();
      std::string key;
      if (!Take("\"") || !Text(key) || value.Find(key) != nullptr) return false;
      Space();
      if (!Take(":")) return false;
      value.keys.push_back(key);
      if (!Value(value.list.emplace_back(), depth + 1)) return false;
      Space();
    } while (Take(","));
    return Take("}");
  }

  std::string_view rest_;
};

}  // namespace weir::tests
