// Field lines and the field names that mean something to a proxy (RFC 9110 section 5 and 7.6.1).
//
// A Field is two views into the bytes that were parsed, plus what the parser decided about them. FieldId
// names the fields whose meaning Weir knows; a name is looked up once, when its line is parsed. Lookup
// ignores case and does not allocate.
#ifndef LB_HTTP_FIELD_H_
#define LB_HTTP_FIELD_H_

#include <cstdint>
#include <string_view>

namespace weir::http {

enum class FieldId : uint8_t {
  kUnknown,
  kAge,
  kAuthorization,
  kCacheControl,
  kConnection,
  kContentEncoding,
  kContentLength,
  kContentRange,
  kContentType,
  kCookie,
  kDate,
  kExpect,
  kForwarded,
  kHost,
  kHttp2Settings,
  kKeepAlive,
  kMaxForwards,
  kProxyAuthenticate,
  kProxyAuthenticationInfo,
  kProxyAuthorization,
  kProxyConnection,
  kSetCookie,
  kTe,
  kTrailer,
  kTransferEncoding,
  kUpgrade,
  kVia,
  kXForwardedFor,
  kXForwardedHost,
  kXForwardedProto,
  kXRequestId,
  kCount,
};

FieldId FieldIdOf(std::string_view name);
std::string_view CanonicalName(FieldId id);  // "Content-Length"; empty for kUnknown

struct Field {
  // Set by the parser.
  enum Flag : uint8_t {
    kDrop = 1,      // not forwarded: hop-by-hop, named by Connection, regenerated, or a forgery of ours
    kVerbatim = 2,  // the bytes received are exactly "name: value\r\n"
  };

  const char* name_data = nullptr;
  const char* value_data = nullptr;
  uint32_t value_size = 0;
  uint16_t name_size = 0;
  FieldId id = FieldId::kUnknown;
  uint8_t flags = 0;

  std::string_view name() const { return {name_data, name_size}; }
  std::string_view value() const { return {value_data, value_size}; }  // without surrounding whitespace
  bool dropped() const { return (flags & kDrop) != 0; }
};
static_assert(sizeof(Field) == 24);

// Steps through a comma-separated list (RFC 9110 section 5.6.1): elements without surrounding whitespace,
// empty elements skipped. Commas inside quoted strings do not separate.
//   for (ListReader list(value); list.Next();) Use(list.element());
class ListReader {
 public:
  explicit ListReader(std::string_view value) : rest_(value) {}
  bool Next();
  std::string_view element() const { return element_; }

 private:
  std::string_view rest_;
  std::string_view element_;
};

}  // namespace weir::http

#endif  // LB_HTTP_FIELD_H_
