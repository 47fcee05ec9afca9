// Field lines and the field names that mean something to a proxy (RFC 9110 section 5 and 7.6.1).
//
// A Field is two views into the bytes that were parsed, plus what the parser decided about them. FieldId
// names the fields whose meaning Weir knows; a name is looked up once, when its line is parsed. Lookup
// ignores case and does not allocate.
#ifndef LB_HTTP_FIELD_H_
#define LB_HTTP_FIELD_H_

#include <cstdint>
#include <span>
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
  kExpires,
  kForwarded,
  kHost,
  kHttp2Settings,
  kIfMatch,
  kIfModifiedSince,
  kIfNoneMatch,
  kIfRange,
  kIfUnmodifiedSince,
  kKeepAlive,
  kLocation,
  kMaxForwards,
  kPragma,
  kProxyAuthenticate,
  kProxyAuthenticationInfo,
  kProxyAuthorization,
  kProxyConnection,
  kRange,
  kRetryAfter,
  kSetCookie,
  kTe,
  kTrailer,
  kTransferEncoding,
  kUpgrade,
  kVary,
  kVia,
  kWarning,
  kWwwAuthenticate,
  kXForwardedFor,
  kXForwardedHost,
  kXForwardedProto,
  kXRequestId,
  kCount,
};

// What a name means to a proxy. Requests and responses drop what their direction says; the rest is forwarded.
enum FieldTrait : uint8_t {
  kHopByHop = 1,  // ends here in both directions; what of it is still wanted is regenerated
  kOursInRequest =
      2,  // Weir writes or withholds it in requests: the client's is dropped, and so are its twins
  kOursInResponse = 4,
  kNotNameable = 8,    // a Connection field naming it is an error: it would remove what protects the origin
  kNotInTrailer = 16,  // RFC 9110 section 6.5.1
};
uint8_t TraitsOf(FieldId id);

FieldId FieldIdOf(std::string_view name);
// As FieldIdOf, for a name with characters beyond letters, digits and '-': the field a CGI-like origin would
// take it for, where every such character reads as '_' (X_Forwarded_For, Content.Length).
FieldId TwinOf(std::string_view name);
std::string_view CanonicalName(FieldId id);  // "Content-Length"; empty for kUnknown

struct Field {
  // Set by the parser.
  enum Flag : uint8_t {
    kDrop = 1,      // not forwarded: hop-by-hop, named by Connection, regenerated, or a forgery of ours
    kVerbatim = 2,  // the bytes received are exactly "name: value\r\n"
    kOddName = 4,   // the name has characters beyond letters, digits and '-'
    kHidden = 8,    // as kDrop, but only for now (FieldList::Hide)
  };

  const char* name_data = nullptr;
  const char* value_data = nullptr;
  uint32_t value_size = 0;
  uint16_t name_size = 0;
  FieldId id = FieldId::kUnknown;
  uint8_t flags = 0;

  std::string_view name() const { return {name_data, name_size}; }
  std::string_view value() const { return {value_data, value_size}; }  // without surrounding whitespace
  bool dropped() const { return (flags & (kDrop | kHidden)) != 0; }
};
static_assert(sizeof(Field) == 24);

// Whether both read the same where every character but letters and digits reads as '_'.
bool IsTwin(std::string_view a, std::string_view b);

inline void DropAll(std::span<Field> fields, FieldId id) {
  for (Field& field : fields) {
    if (field.id == id) field.flags |= Field::kDrop;
  }
}

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
