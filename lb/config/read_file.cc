#include "lb/config/read_file.h"

#include <cerrno>
#include <cstdio>
#include <memory>

namespace weir::lb {

constexpr size_t kMostBytes = size_t{64} << 20;

std::optional<std::string> ReadWholeFile(const std::string& path) {
  const std::unique_ptr<FILE, int (*)(FILE*)> file(std::fopen(path.c_str(), "re"), &std::fclose);
  if (file == nullptr) return std::nullopt;
  std::string text;
  char piece[4096];
  size_t length;
  while ((length = std::fread(piece, 1, sizeof(piece), file.get())) > 0) {
    text.append(piece, length);
    if (text.size() > kMostBytes) {
      errno = EFBIG;
      return std::nullopt;
    }
  }
  if (std::ferror(file.get()) != 0) return std::nullopt;
  return text;
}

}  // namespace weir::lb
