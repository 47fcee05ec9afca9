// LogField: what a line of the access log may have, by name and with its bound.
#pragma once

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <string_view>

#include "core/address.h"
#include "lb/log/access_format.h"
#include "lb/log/access_line.h"

namespace weir::lb {

enum class LogField : uint8_t {
  kTime,
  kProtocol,
  kClient,
  kUser,
  kMethod,
  kHost,
  kPath,
  kStatus,
  kBytesReceived,
  kBytesSent,
  kDurationUs,
  kConnectUs,
  kResponseUs,
  kEndpoint,
  kRetries,
  kRequestId,
  kEnd,
  kUsualEnd,  // the usual JSON's end before this
  kClientIp = kUsualEnd,
  kTimeLocal,
  kRequest,
  kBodyBytesSent,
  kForwardedPath,
  kUpstream,
  kScheme,
  kPeer,
  kProxyAlpn,
  kProxyAuthority,
  kProxyUniqueId,
  kProxySslVersion,
  kProxySslCommonName,
  kSni,
  kAlpn,
  kNamedEnd,
  kRequestHeader = kNamedEnd,
  kResponseHeader,
  kProxyTlv,
  kHeaderTime,  // without quotes, in a datagram's header
  kNothing,     // only what is before it
};

inline constexpr size_t kNumberBytes = 20;
inline constexpr size_t kTimeBytes = 40;
inline constexpr size_t kAddressBytes = SocketAddress::kMaxText;

struct FieldInfo {
  std::string_view name;
  size_t most_bytes;  // without quotes
  bool http_only = false;
};
// By LogField.
inline constexpr FieldInfo kFields[] = {
    {"time", kTimeBytes},
    {"protocol", 16},
    {"client", kAddressBytes},
    {"user", kMaxLoggedUser, true},
    {"method", kMaxLoggedMethod, true},
    {"host", kMaxLoggedHost, true},
    {"path", kMaxLoggedTarget, true},
    {"status", kNumberBytes, true},
    {"bytes_received", kNumberBytes},
    {"bytes_sent", kNumberBytes},
    {"duration_us", kNumberBytes},
    {"connect_us", kNumberBytes},
    {"response_us", kNumberBytes, true},
    {"endpoint", kAddressBytes},
    {"retries", kNumberBytes},
    {"request_id", kMaxLoggedRequestId, true},
    {"end", kMaxLoggedEnd},
    {"client_ip", kAddressBytes},
    {"time_local", kTimeBytes},
    {"request", kMaxLoggedMethod + kMaxLoggedTarget + sizeof("  HTTP/1.1"), true},
    {"body_bytes_sent", kNumberBytes},
    {"forwarded_path", kMaxLoggedTarget, true},
    {"upstream", kMaxLoggedUpstream},
    {"scheme", kNumberBytes, true},
    {"peer", kAddressBytes},
    {"proxy_protocol_alpn", kMaxLoggedTlv},
    {"proxy_protocol_authority", kMaxLoggedTlv},
    {"proxy_protocol_unique_id", kMaxLoggedTlv},
    {"proxy_protocol_ssl_version", kMaxLoggedTlv},
    {"proxy_protocol_ssl_cn", kMaxLoggedTlv},
    {"sni", kMaxLoggedHost},
    {"alpn", kMaxLoggedTlv},
    {"request_header:NAME", AccessFormat::kMostHeaderBytes, true},
    {"response_header:NAME", AccessFormat::kMostHeaderBytes, true},
    {"proxy_protocol_tlv:NUMBER", kMaxLoggedTlv},
    {"", kTimeBytes},
};
inline constexpr size_t kFieldCount = static_cast<size_t>(LogField::kNothing);
static_assert(std::size(kFields) == kFieldCount);

inline const FieldInfo& InfoOf(LogField field) { return kFields[static_cast<size_t>(field)]; }

}  // namespace weir::lb
