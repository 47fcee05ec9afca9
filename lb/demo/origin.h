// What the demo's embedded origins answer: a page that says which of them it was and what reached it.
#pragma once

#include <string>

#include "lb/mini_server.h"

namespace weir::lb {

MiniReply DemoReply(uint32_t number, const std::string& address, const http::RequestHead& head);

}  // namespace weir::lb
