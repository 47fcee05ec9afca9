// An upstream of as many endpoints as a test likes, each with an address of its own.
#pragma once

#include <cstdint>
#include <string>

#include "lb/config/settings.h"

namespace weir::lb {

inline UpstreamSettings ManyEndpoints(uint32_t endpoints, Balance balance) {
  UpstreamSettings settings;
  settings.name = "web";
  settings.balance = balance;
  for (uint32_t i = 0; i < endpoints; ++i) {
    const std::string text = "10.0." + std::to_string(i / 200) + ".1:" + std::to_string(1 + i % 200);
    settings.endpoints.push_back({*SocketAddress::Parse(text), 1, text});
  }
  return settings;
}

}  // namespace weir::lb
