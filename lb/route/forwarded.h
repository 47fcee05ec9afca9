// Who the client is when a trusted proxy stands in front: the rightmost address of X-Forwarded-For that is no
// trusted proxy's (as the field grows to the right, what stands left of that could be anybody's word). Pure;
// no allocation but the first growth of the scratch.
#pragma once

#include "core/address.h"
#include "lb/http/field_list.h"
#include "lb/http/serialize_request.h"
#include "lb/route/access_list.h"
#include "lb/route/route_head.h"

namespace weir::lb {

// If `peer` is one of the `trusted`, the client's address (port 0) by the fields it sent, and `context`
// passes on its X-Forwarded-For with `peer` behind it, its -Proto (http or https) and -Host. Else `peer`, and
// nothing of them is believed. A field that is no address ends the search: the proxy that wrote it is then
// the client. Views `scratch` and `head`.
SocketAddress FindClient(const AccessList& trusted, const SocketAddress& peer, const http::FieldList& head,
                         RouteScratch& scratch, http::RequestContext& context);

}  // namespace weir::lb
