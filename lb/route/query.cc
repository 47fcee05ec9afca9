#include "lb/route/query.h"

#include <algorithm>

#include "lb/http/chars.h"

namespace weir::lb {
namespace {

// The byte that the front of `encoded`, which is not empty, stands for; takes it away.
char TakeDecoded(std::string_view* encoded) {
  const char first = encoded->front();
  if (first == '%' && encoded->size() >= 3) {
    const int high = http::HexValue((*encoded)[1]);
    const int low = http::HexValue((*encoded)[2]);
    if (high >= 0 && low >= 0) {
      encoded->remove_prefix(3);
      return static_cast<char>(high * 16 + low);
    }
  }
  encoded->remove_prefix(1);
  return first == '+' ? ' ' : first;
}

// Takes the decoded form of `plain` from the front of `encoded`, if it is there.
bool TakePlain(std::string_view* encoded, std::string_view plain) {
  return std::all_of(plain.begin(), plain.end(),
                     [&](char c) { return !encoded->empty() && TakeDecoded(encoded) == c; });
}

}  // namespace

bool QueryReader::Next() {
  while (!rest_.empty() && count_ < kMaxQueryParameters) {
    const size_t end = std::min(rest_.find('&'), rest_.size());
    const std::string_view text = rest_.substr(0, end);
    rest_.remove_prefix(std::min(end + 1, rest_.size()));
    if (text.empty()) continue;
    ++count_;
    const size_t equals = std::min(text.find('='), text.size());
    parameter_ = {text.substr(0, equals), text.substr(std::min(equals + 1, text.size()))};
    return true;
  }
  return false;
}

size_t CountParameters(std::string_view query) {
  size_t count = 0;
  char before = '&';
  for (const char c : query) {
    if (c != '&' && before == '&') ++count;
    before = c;
  }
  return count;
}

bool DecodedEquals(std::string_view encoded, std::string_view plain) {
  return TakePlain(&encoded, plain) && encoded.empty();
}

bool DecodedStartsWith(std::string_view encoded, std::string_view plain) {
  return TakePlain(&encoded, plain);
}

bool Decode(std::string_view encoded, char (&out)[kMaxDecodedBytes], std::string_view* decoded) {
  *decoded = encoded;
  if (encoded.find_first_of("%+") == std::string_view::npos) return true;
  if (encoded.size() > kMaxDecodedBytes) return false;
  size_t size = 0;
  while (!encoded.empty()) out[size++] = TakeDecoded(&encoded);
  *decoded = {out, size};
  return true;
}

}  // namespace weir::lb
