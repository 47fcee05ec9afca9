// Reason phrases of the registered status codes (RFC 9110 section 15, IANA). Only for responses of our own; a
// forwarded response keeps the phrase it came with.
#ifndef LB_HTTP_STATUS_H_
#define LB_HTTP_STATUS_H_

#include <cstdint>
#include <string_view>

namespace weir::http {

std::string_view ReasonPhrase(uint16_t status);  // "Unknown" for an unregistered code

}  // namespace weir::http

#endif  // LB_HTTP_STATUS_H_
