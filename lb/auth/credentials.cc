#include "lb/auth/credentials.h"

#include <algorithm>
#include <cstdint>
#include <cstring>

namespace weir::lb {
namespace {

constexpr uint8_t kNoDigit = 64;

constexpr std::array<uint8_t, 256> kDigits = [] {
  std::array<uint8_t, 256> digits{};
  digits.fill(kNoDigit);
  constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  for (uint8_t i = 0; i < kAlphabet.size(); ++i) digits[static_cast<unsigned char>(kAlphabet[i])] = i;
  return digits;
}();

// RFC 4648 section 4, with or without its padding; bits that say nothing must be zero. Returns the bytes, or
// SIZE_MAX.
size_t Decode(std::string_view text, char* out) {
  if (text.size() % 4 == 0 && text.ends_with('=')) text.remove_suffix(text.ends_with("==") ? 2 : 1);
  if (text.size() % 4 == 1) return SIZE_MAX;
  char* const begin = out;
  uint32_t bits = 0;
  uint32_t count = 0;
  for (const char c : text) {
    const uint8_t digit = kDigits[static_cast<unsigned char>(c)];
    if (digit == kNoDigit) return SIZE_MAX;
    bits = bits << 6 | digit;
    count += 6;
    if (count < 8) continue;
    count -= 8;
    *out++ = static_cast<char>(bits >> count);
    bits &= (1u << count) - 1;
  }
  return bits == 0 ? static_cast<size_t>(out - begin) : SIZE_MAX;
}

bool SameLetters(std::string_view text, std::string_view lower) {
  return text.size() == lower.size() &&
         std::equal(text.begin(), text.end(), lower.begin(),
                    [](char a, char b) { return (a >= 'A' && a <= 'Z' ? a + ('a' - 'A') : a) == b; });
}

}  // namespace

Credentials::~Credentials() { explicit_bzero(memory_.data(), memory_.size()); }

bool Credentials::ReadFrom(const http::FieldList& fields) {
  const http::Field* given = nullptr;
  for (const http::Field& field : fields.fields()) {
    if (field.id != http::FieldId::kAuthorization) continue;
    if (given != nullptr) return false;
    given = &field;
  }
  return given != nullptr && Read(given->value());
}

bool Credentials::Read(std::string_view value) {
  const size_t space = value.find(' ');
  if (space == std::string_view::npos || !SameLetters(value.substr(0, space), "basic")) return false;
  value.remove_prefix(std::min(value.find_first_not_of(' ', space), value.size()));
  if (value.size() > (memory_.size() - 3) / 3 * 4) return false;
  const size_t bytes = Decode(value, memory_.data());
  if (bytes == SIZE_MAX) return false;
  const std::string_view text{memory_.data(), bytes};
  user_bytes_ = text.find(':');
  if (user_bytes_ == std::string_view::npos || user_bytes_ > kMaxUserBytes) return false;
  password_bytes_ = bytes - user_bytes_ - 1;
  // A NUL would end the password early for crypt.
  return password_bytes_ <= kMaxPasswordBytes &&
         std::all_of(text.begin(), text.end(), [](unsigned char c) { return c >= 0x20 && c != 0x7f; });
}

}  // namespace weir::lb
