// The PROXY header that a connection to an endpoint begins with.
#pragma once

#include <string_view>

#include "core/buffer.h"
#include "lb/client_connection.h"
#include "lb/config/settings.h"

namespace weir::lb {

class Proxy;

// For a connection that is made for `client`. `host`: of its request, perhaps with a port; empty: there is
// none. Empty: no memory.
Slice MakeProxyHello(Proxy& proxy, ClientConnection& client, const ProxyHelloSettings& settings,
                     std::string_view host);
// For one of Weir's own.
Slice MakeOwnProxyHello(BufferPool& buffers, const ProxyHelloSettings& settings);

}  // namespace weir::lb
