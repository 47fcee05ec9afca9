// Who the client is when a trusted proxy stands in front: the rightmost address of X-Forwarded-For, or of
// Forwarded (RFC 7239), that is no trusted proxy's (as the fields grow to the right, what stands left of that
// could be anybody's word). And what the endpoint is told of it. Pure; no allocation but the first growth of
// the scratch.
#pragma once

#include <optional>

#include "core/address.h"
#include "lb/http/field_list.h"
#include "lb/http/serialize_request.h"
#include "lb/route/access_list.h"
#include "lb/route/route_head.h"

namespace weir::lb {

// The fields that tell the endpoint who asked: X-Forwarded-For, -Proto and -Host, Forwarded, or all.
enum class ForwardedForm : uint8_t { kXForwarded, kRfc7239, kBoth };

// If `peer` is one of the `trusted`, the client's address (port 0) by the fields it sent, and `context` has
// the scheme and host that the client used and, in the fields of `form`, everybody so far. Else `peer`, and
// nothing of them is believed. A field that is no address ends the search: the proxy that wrote it is then
// the client.
//
// One source is believed, never a mixture: a proxy that writes the one form passes the other on as a client
// made it up. The source is what `form` says (kBoth: X-Forwarded-*), or the other one where that is not
// there. Nothing if it is Forwarded and what a trusted proxy wrote is malformed: a client that can bring that
// about must not be taken for somebody else. The source's own field goes on as it is, with the peer behind it
// (of Forwarded nothing that stands left of a malformed element); in the other form it begins with the
// client. Views `scratch` and `head`.
std::optional<SocketAddress> FindClient(const AccessList& trusted, ForwardedForm form,
                                        const SocketAddress& peer, const http::FieldList& head,
                                        RouteScratch& scratch, http::RequestContext& context);

// Completes `context`, which is ready but for this, with the element of Forwarded that tells of this hop:
// for=peer;host=...;proto=http;by=_name. `authority`: the Host that the upstream gets. `by_name`: what this
// instance calls itself (in Via); characters that by= may not have become '_'. REQUIRES: `form` has
// Forwarded.
void AddForwarded(ForwardedForm form, const SocketAddress& peer, std::string_view authority,
                  std::string_view by_name, RouteScratch& scratch, http::RequestContext& context);

}  // namespace weir::lb
