// The trailer section of a chunked body (RFC 9112 section 7.1.2, RFC 9110 section 6.5).
//
// When a body reader says kTrailers, collect the bytes from there (HeadScanner saves repeated parsing) and
// give them to ParseTrailers. Field syntax and limits are those of a head. All fields are parsed; those that
// may not be trailers (framing, routing, authentication, hop-by-hop, cookies, response control, whatever Weir
// sets) are marked kDrop and never forwarded. `error.status` is 400 or 431; for an upstream the caller treats
// either as a broken response.
#ifndef LB_HTTP_TRAILERS_H_
#define LB_HTTP_TRAILERS_H_

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "lb/http/field_list.h"
#include "lb/http/limits.h"
#include "lb/http/parse_result.h"

namespace weir::http {

// Scratch space, one per shard; views into the bytes given to ParseTrailers.
class Trailers : public FieldList {
 public:
  explicit Trailers(const Limits& limits);  // REQUIRES: Valid(limits)

  uint32_t section_bytes = 0;

 private:
  friend ParseResult ParseTrailers(std::string_view bytes, Trailers& out);
};

// Parses field lines up to and including the empty line.
ParseResult ParseTrailers(std::string_view bytes, Trailers& out);

// Writes the last chunk, the fields that may be forwarded, and the empty line. `out` has
// MaxSerializedBytes(trailers).
size_t MaxSerializedBytes(const Trailers& trailers);
size_t SerializeTrailers(const Trailers& trailers, char* out);

}  // namespace weir::http

#endif  // LB_HTTP_TRAILERS_H_
