// The options of Connection fields (RFC 9110 section 7.6.1), collected while a head is parsed and applied
// when it is complete. Private to this folder.
//
// Besides close, keep-alive and upgrade, an option names fields that end at this hop. Naming a field that
// protects the origin (kNotNameable: Host, framing, Cookie, Authorization, whatever Weir sets) is an error,
// since obeying would remove it. The number of names is bounded, so that applying them costs at most
// kMaxNamed * fields comparisons.
#ifndef LB_HTTP_CONNECTION_OPTIONS_H_
#define LB_HTTP_CONNECTION_OPTIONS_H_

#include <cstdint>
#include <span>
#include <string_view>

#include "lb/http/field.h"

namespace weir::http {

class ConnectionOptions {
 public:
  // In responses Transfer-Encoding may be named: large CDNs do, and the framing is written anew anyway.
  enum class Direction : uint8_t { kRequest, kResponse };
  explicit ConnectionOptions(Direction direction) : direction_(direction) {}

  // Adds one Connection field's value. Null: fine; else what is wrong.
  const char* Add(std::string_view value);

  // Marks the named fields kDrop.
  void DropNamed(std::span<Field> fields) const;

  // HTTP/1.1 stays open unless told to close; HTTP/1.0 closes unless told to stay open (RFC 9112
  // section 9.3).
  bool KeepsAlive(uint8_t minor) const { return !close_ && (minor >= 1 || keep_alive_); }
  bool upgrade() const { return upgrade_; }

 private:
  static constexpr uint32_t kMaxNamed = 16;

  const char* AddOption(std::string_view option);

  struct Name {  // no initialiser: it is on the stack of every parse
    const char* data;
    size_t size;
  };
  Name named_[kMaxNamed];
  const Direction direction_;
  uint32_t named_count_ = 0;
  bool close_ = false;
  bool keep_alive_ = false;
  bool upgrade_ = false;
};

}  // namespace weir::http

#endif  // LB_HTTP_CONNECTION_OPTIONS_H_
