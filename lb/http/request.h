// The head of an HTTP/1.x request, strictly parsed (RFC 9112 sections 2 to 6, RFC 9110 sections 7 and 10.1).
//
// RequestHead is scratch space: made once per shard, reused for every request, never copied. After kDone its
// views point into the bytes given to ParseRequest and live as long as those. RequestFacts is the part worth
// keeping while the request runs: plain values, no views, 64 bytes.
//
// Everything ambiguous is an error, see README.md for the table. 400 unless said otherwise: 414 target too
// long, 417 unknown expectation, 431 head too large, 501 CONNECT, 505 major version
// above 1, 508 our own name in Via. After any error the connection cannot be used for another request. No
// allocation after construction, no exceptions. Not thread safe.
#ifndef LB_HTTP_REQUEST_H_
#define LB_HTTP_REQUEST_H_

#include <cstdint>
#include <string_view>
#include <type_traits>

#include "lb/http/field_list.h"
#include "lb/http/framing.h"
#include "lb/http/limits.h"
#include "lb/http/method.h"
#include "lb/http/parse_result.h"
#include "lb/http/upgrade_list.h"

namespace weir::http {

struct RequestFacts {
  BodyFraming body;                // never kUntilClose
  UpgradeList upgrade;             // empty: no upgrade was asked for (or HTTP/1.0, or not in Connection)
  Method method = Method::kOther;  // also valid after an error, if the method was read
  uint8_t minor = 1;               // 0 or 1: HTTP/1.0, or HTTP/1.1 and every later 1.x
  bool keep_alive = false;         // what the client asked for
  bool expect_continue = false;    // HTTP/1.1, has a body, and waits for a 100
  bool te_trailers = false;        // the client accepts trailers
  bool https_target = false;  // absolute-form with the https scheme (421 on a plain connection, RFC 9110 7.4)
};
static_assert(std::is_trivially_copyable_v<RequestFacts> && sizeof(RequestFacts) <= 64);

class RequestHead : public FieldList {
 public:
  // `via_name` is our pseudonym in Via; finding it in a request is a loop (508). Empty: no detection. It must
  // outlive this object. REQUIRES: Valid(limits).
  explicit RequestHead(const Limits& limits, std::string_view via_name = {});

  RequestFacts facts;
  std::string_view method;          // as text
  std::string_view target;          // for the upstream: origin-form or "*"
  bool target_lacks_slash = false;  // absolute-form `http://h?q`: a "/" belongs before `target`
  // As the client sent it, whatever form that had: for logs alone. Also after an error, and in a head that is
  // not complete: as far as it was read, and only what some target may have.
  std::string_view received_target;
  bool target_read = false;    // to its end
  bool version_read = false;   // the whole request line was
  std::string_view authority;  // host[:port] from the target, else from Host; empty only in HTTP/1.0
  // The client's X-Request-ID if it is usable: one field, 1 to 128 of A-Za-z0-9 . _ ~ + / = : @ -. Else
  // empty.
  std::string_view request_id;
  uint32_t head_bytes = 0;  // size of the head as received
  static constexpr int32_t kNoMaxForwards = -1;
  int32_t max_forwards = kNoMaxForwards;  // of TRACE and OPTIONS only

  // TRACE or OPTIONS with Max-Forwards: 0 is answered by us (SerializeLocalAnswer), never forwarded (RFC
  // 9110 7.6.2).
  bool MustAnswerHere() const { return max_forwards == 0; }

 private:
  friend class RequestParser;
  void Clear();

  const std::string_view via_name_;
};

// At most one empty line before the request is skipped and counted in `consumed`.
ParseResult ParseRequest(std::string_view bytes, RequestHead& out);

}  // namespace weir::http

#endif  // LB_HTTP_REQUEST_H_
