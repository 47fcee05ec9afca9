#include "lb/auth/basic_auth.h"

#include <algorithm>

namespace weir::lb {

const std::string* BasicAuth::Finish() {
  std::sort(users.begin(), users.end(), [](const User& a, const User& b) { return a.name < b.name; });
  const auto twice = std::adjacent_find(users.begin(), users.end(),
                                        [](const User& a, const User& b) { return a.name == b.name; });
  return twice == users.end() ? nullptr : &twice->name;
}

const BasicAuth::User* BasicAuth::Find(std::string_view name) const {
  const auto at =
      std::lower_bound(users.begin(), users.end(), name,
                       [](const User& user, std::string_view wanted) { return user.name < wanted; });
  return at != users.end() && at->name == name ? &*at : nullptr;
}

std::string BasicAuth::Challenge() const {
  return "WWW-Authenticate: Basic realm=\"" + realm + "\", charset=\"UTF-8\"\r\n";
}

}  // namespace weir::lb
