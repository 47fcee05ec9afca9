#include "lb/auth/password.h"

#include <crypt.h>

#include <algorithm>
#include <charconv>
#include <cstring>

namespace weir::lb {
namespace {

// About a second each.
constexpr uint32_t kMaxBcryptCost = 14;
constexpr uint32_t kMaxShaRounds = 500'000;
constexpr char kMaxYescryptSize = 'B';  // 64 MiB

constexpr const char* kExpected =
    "expected a hash of bcrypt ($2b$...), yescrypt ($y$...) or sha-crypt ($6$...), as \"htpasswd -nB NAME\" "
    "or \"openssl "
    "passwd -6\" print; other hashes and plain passwords are refused";
constexpr const char* kTooSlow =
    "this hash takes seconds to check: expected a bcrypt cost up to 14, up to 500000 rounds of sha-crypt, or "
    "yescrypt "
    "up to jBT";

bool IsCryptText(std::string_view text, size_t least, size_t most) {
  return text.size() >= least && text.size() <= most && std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '.' ||
                  c == '/';
         });
}

// Up to the next $, which is dropped.
std::string_view Part(std::string_view& rest) {
  const size_t end = std::min(rest.find('$'), rest.size());
  const std::string_view part = rest.substr(0, end);
  rest.remove_prefix(std::min(end + 1, rest.size()));
  return part;
}

const char* WhyNoBcrypt(std::string_view rest) {
  const std::string_view cost = Part(rest);
  uint32_t value = 0;
  const auto [end, error] = std::from_chars(cost.data(), cost.data() + cost.size(), value);
  if (cost.size() != 2 || error != std::errc() || end != cost.data() + 2 || value < 4 ||
      !IsCryptText(rest, 53, 53)) {
    return kExpected;
  }
  return value > kMaxBcryptCost ? kTooSlow : nullptr;
}

const char* WhyNoShaCrypt(std::string_view rest, size_t hash_bytes) {
  constexpr std::string_view kRounds = "rounds=";
  uint32_t rounds = 5000;
  if (rest.starts_with(kRounds)) {
    const std::string_view digits = Part(rest).substr(kRounds.size());
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), rounds);
    if (error != std::errc() || end != digits.data() + digits.size() || rounds < 1000) return kExpected;
  }
  const std::string_view salt = Part(rest);
  if (!IsCryptText(salt, 1, 16) || !IsCryptText(rest, hash_bytes, hash_bytes)) return kExpected;
  return rounds > kMaxShaRounds ? kTooSlow : nullptr;
}

const char* WhyNoYescrypt(std::string_view rest) {
  const std::string_view parameters = Part(rest);
  const std::string_view salt = Part(rest);
  if (parameters.size() != 3 || parameters[0] != 'j' || (parameters[2] != '5' && parameters[2] != 'T') ||
      !IsCryptText(parameters, 3, 3) || !IsCryptText(salt, 1, 86) || !IsCryptText(rest, 43, 43)) {
    return kExpected;
  }
  return parameters[1] > kMaxYescryptSize ? kTooSlow : nullptr;
}

bool IsBcrypt(std::string_view hash) { return hash.starts_with("$2"); }

bool Same(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  unsigned char different = 0;
  for (size_t i = 0; i < a.size(); ++i) different |= static_cast<unsigned char>(a[i] ^ b[i]);
  return different == 0;
}

}  // namespace

const char* WhyNoPasswordHash(std::string_view text) {
  std::string_view rest = text;
  if (text.size() > kMaxHashBytes || !Part(rest).empty()) return kExpected;
  const std::string_view method = Part(rest);
  const char* why = kExpected;
  if (method == "2a" || method == "2b" || method == "2y") why = WhyNoBcrypt(rest);
  if (method == "5") why = WhyNoShaCrypt(rest, 43);
  if (method == "6") why = WhyNoShaCrypt(rest, 86);
  if (method == "y") why = WhyNoYescrypt(rest);
  if (why != nullptr) return why;
  const int salt = crypt_checksalt(std::string(text).c_str());
  return salt == CRYPT_SALT_INVALID || salt == CRYPT_SALT_METHOD_DISABLED ? kExpected : nullptr;
}

PasswordChecker::PasswordChecker() : memory_(std::make_unique<crypt_data>()) {}
PasswordChecker::~PasswordChecker() { explicit_bzero(memory_.get(), sizeof(crypt_data)); }

bool PasswordChecker::Matches(const char* password, const char* hash) {
  // What crypt does not look at is not checked: nobody is let in by the first part of what they said. It is
  // computed all the same, so that the time does not tell which hash a name has.
  const bool whole = !IsBcrypt(hash) || std::strlen(password) <= kMaxBcryptPasswordBytes;
  const char* const made = crypt_rn(password, hash, memory_.get(), sizeof(crypt_data));
  return made != nullptr && made[0] == '$' && Same(made, hash) && whole;
}

}  // namespace weir::lb
