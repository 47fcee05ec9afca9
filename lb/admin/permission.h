// Who may change something through the admin listener. Over a unix socket: who may open it. Over TCP: who has
// the token (RFC 6750, Authorization: Bearer), if there is one; and no browser, whatever page it shows: it
// would come with an Origin, or with the name of a host that its page has pointed here (DNS rebinding).
#pragma once

#include <string>
#include <string_view>

#include "lb/http/request.h"

namespace weir::lb {

struct Refusal {
  int status = 0;  // 0: it may
  std::string_view reason;
};

// `token` empty: there is none.
Refusal WhyNot(const http::RequestHead& head, bool over_unix_socket, std::string_view token);

}  // namespace weir::lb
