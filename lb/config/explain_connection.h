// ExplainConnection: what would become of a connection through a tcp listener, in words: the part of
// ExplainRequest (explain.h) that answers tls://NAME[:PORT] and tcp://:PORT.
#pragma once

#include <string>

#include "lb/config/explain.h"
#include "lb/config/settings.h"

namespace weir::lb::explain {

// Whether the question is of a connection and not of a request.
bool IsOfConnection(const ExplainQuestion& question);
// REQUIRES: it is. `client` is the question's. False: `text` says what is wrong with the question.
bool ExplainConnection(const Settings& settings, const ExplainQuestion& question, const SocketAddress& client,
                       const UpstreamHealth& health, const UpstreamAside& aside, std::string* text);

}  // namespace weir::lb::explain
