// What a request's Authorization field says of who asks: the Basic scheme (RFC 7617). Cleared when it ends.
#pragma once

#include <array>
#include <cstddef>
#include <string_view>

#include "lb/auth/password.h"
#include "lb/http/field_list.h"

namespace weir::lb {

inline constexpr size_t kMaxUserBytes = 128;

class Credentials {
 public:
  Credentials() = default;
  ~Credentials();
  Credentials(const Credentials&) = delete;
  Credentials& operator=(const Credentials&) = delete;

  // Of a head's one Authorization field. False: there is none, or several, or Read says so.
  bool ReadFrom(const http::FieldList& fields);
  // Of the field's value. False: another scheme, not base64, no colon, control characters, or too long.
  bool Read(std::string_view value);
  std::string_view user() const { return {memory_.data(), user_bytes_}; }
  std::string_view password() const { return {memory_.data() + user_bytes_ + 1, password_bytes_}; }

 private:
  // Base64 is decoded in groups of three.
  std::array<char, kMaxUserBytes + 1 + kMaxPasswordBytes + 3> memory_;
  size_t user_bytes_ = 0;
  size_t password_bytes_ = 0;
};

}  // namespace weir::lb
