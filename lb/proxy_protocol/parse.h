// Reads a PROXY header of either version. A pure function of the bytes that have come so far: it is called
// again with more of them behind the same ones.
//
// Strict where the specification is: one space, no leading zeroes, CR LF within 107 bytes; the signature,
// version 2, known commands, families and transports, addresses of the right length, TLVs that fill what is
// left to the byte, a checksum that is right where there is one. LOCAL and UNKNOWN are believed to be
// headers and whatever they say besides is passed over; so is what UNSPEC has instead of TLVs.
#pragma once

#include <cstdint>
#include <string_view>

#include "lb/proxy_protocol/header.h"

namespace weir::lb {

struct ProxyParse {
  enum class State : uint8_t {
    kNeedMore,
    kDone,       // `header`
    kNone,       // these bytes begin no header
    kMalformed,  // they begin one, and break a rule
    kTooLong,    // likewise: it is longer than may be
  };

  State state = State::kNeedMore;
  bool begun = false;    // a header it is, whether it is right or not
  uint32_t bytes = 0;    // kDone: of the header. kNeedMore: its most, as far as is known; more than have come
  const char* why = "";  // kMalformed and kTooLong; a constant
  ProxyHeader header;
};

ProxyParse ParseProxyHeader(std::string_view bytes);

}  // namespace weir::lb
