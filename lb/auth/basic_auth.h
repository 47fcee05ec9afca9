// BasicAuth: the names and hashed passwords that a route asks for (RFC 7617). Made once, then immutable.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace weir::lb {

struct BasicAuth {
  static constexpr size_t kMaxUsers = 100'000;

  struct User {
    std::string name;
    std::string hash;
  };

  std::string realm = "restricted";
  std::vector<User> users;  // by name, once Finish was called; at least one
  std::string users_file;   // where they were read from, as that was said
  bool forward = false;     // the upstream gets the Authorization field

  // Sorts. Returns a name that is there twice, or null.
  const std::string* Finish();
  const User* Find(std::string_view name) const;
  // "WWW-Authenticate: ..." as a whole line.
  std::string Challenge() const;
};

}  // namespace weir::lb
