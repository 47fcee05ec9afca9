// A query as name=value pairs, the way forms write it (WHATWG URL, application/x-www-form-urlencoded): split
// at
// '&', names and values percent-decoded, '+' a space, a malformed encoding as it stands. Inside only. Nothing
// is allocated: what is decoded is compared while it is.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace weir::lb {

// Parameters behind the first so many of a query are not looked at: what a client can make us do is bounded.
inline constexpr uint32_t kMaxQueryParameters = 256;
// An encoded value that is longer matches no regex.
inline constexpr uint32_t kMaxDecodedBytes = 2048;

struct QueryParameter {
  std::string_view name;  // both as received
  std::string_view value;
};

// for (QueryReader reader(query); reader.Next();) Use(reader.parameter());
class QueryReader {
 public:
  explicit QueryReader(std::string_view query) : rest_(query) {}
  bool Next();
  const QueryParameter& parameter() const { return parameter_; }

 private:
  std::string_view rest_;
  uint32_t count_ = 0;
  QueryParameter parameter_;
};

// How many there are, whatever the bound.
size_t CountParameters(std::string_view query);

// Is, or begins, the decoded form of `encoded` what `plain` is?
bool DecodedEquals(std::string_view encoded, std::string_view plain);
bool DecodedStartsWith(std::string_view encoded, std::string_view plain);

// The decoded form: `encoded` itself if there is nothing to decode, else in `out`. False: it does not fit.
bool Decode(std::string_view encoded, char (&out)[kMaxDecodedBytes], std::string_view* decoded);

}  // namespace weir::lb
