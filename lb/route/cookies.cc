#include "lb/route/cookies.h"

#include <algorithm>

namespace weir::lb {

bool CookieReader::Next() {
  for (;;) {
    while (!rest_.empty()) {
      const size_t end = std::min(rest_.find(';'), rest_.size());
      std::string_view pair = rest_.substr(0, end);
      rest_.remove_prefix(std::min(end + 1, rest_.size()));
      while (!pair.empty() && http::IsBlank(pair.front())) pair.remove_prefix(1);
      while (!pair.empty() && http::IsBlank(pair.back())) pair.remove_suffix(1);
      if (!pair.starts_with(name_) || pair.size() == name_.size() || pair[name_.size()] != '=') continue;
      value_ = pair.substr(name_.size() + 1);
      return true;
    }
    if (fields_.empty()) return false;
    if (fields_.front().id == http::FieldId::kCookie) rest_ = fields_.front().value();
    fields_ = fields_.subspan(1);
  }
}

}  // namespace weir::lb
