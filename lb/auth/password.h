// Hashed passwords as crypt(5) writes them: bcrypt ($2b$, $2y$, $2a$), yescrypt ($y$) and sha-crypt ($5$,
// $6$). To check one takes up to a second, on purpose: never on a shard that serves.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

struct crypt_data;

namespace weir::lb {

inline constexpr size_t kMaxPasswordBytes = 256;
inline constexpr size_t kMaxHashBytes = 255;
// libcrypt's bcrypt does not look at what comes behind; a longer password matches no such hash here.
inline constexpr size_t kMaxBcryptPasswordBytes = 72;

// Null if `text` is a hash that can be checked within about a second, else what was expected. (The text
// itself stays out of messages: it may be the password.)
const char* WhyNoPasswordHash(std::string_view text);

// One thread's memory for checking. Not thread-safe.
class PasswordChecker {
 public:
  PasswordChecker();
  ~PasswordChecker();
  // Texts end with NUL. The time does not depend on where hashes differ.
  bool Matches(const char* password, const char* hash);

 private:
  const std::unique_ptr<crypt_data> memory_;
};

}  // namespace weir::lb
