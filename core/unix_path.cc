#include "core/unix_path.h"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>

namespace weir {
namespace {

static_assert(sizeof(UnixPath::sun_path) == sizeof(sockaddr_un::sun_path));
static_assert(SocketAddress::kMaxText == kUnixPrefix.size() + 1 + kMaxUnixPathBytes);

const UnixPath* Intern(std::string_view sun_path) {
  // Neither is ever destroyed: a thread may still read at exit.
  static auto& mutex = *new std::mutex;
  static auto& table = *new std::map<std::string, std::unique_ptr<const UnixPath>, std::less<>>;
  const std::lock_guard lock(mutex);
  const auto found = table.find(sun_path);
  if (found != table.end()) return found->second.get();
  auto path = std::make_unique<UnixPath>();
  path->bytes = static_cast<uint8_t>(sun_path.size());
  std::memset(path->sun_path, 0, sizeof(path->sun_path));
  std::memcpy(path->sun_path, sun_path.data(), sun_path.size());
  return table.emplace(sun_path, std::move(path)).first->second.get();
}

// Two spellings of one path would be two endpoints.
bool HasOddSegment(std::string_view path) {
  while (!path.empty()) {
    path.remove_prefix(1);  // its slash
    const std::string_view segment = path.substr(0, path.find('/'));
    if (segment.empty() || segment == "." || segment == "..") return true;
    path.remove_prefix(segment.size());
  }
  return false;
}

}  // namespace

std::optional<SocketAddress> ParseUnixAddress(std::string_view text, std::string* expected) {
  const auto fail = [expected](std::string_view what) -> std::optional<SocketAddress> {
    *expected = what;
    return std::nullopt;
  };
  if (!text.starts_with(kUnixPrefix)) return fail("expected unix:/PATH or unix:@NAME");
  const std::string_view name = text.substr(kUnixPrefix.size());
  const bool abstract = name.starts_with('@');
  if (!abstract && !name.starts_with('/')) {
    return fail("expected an absolute path behind unix:, such as unix:/run/app.sock, or @ and a name");
  }
  const size_t bytes = abstract ? name.size() - 1 : name.size();
  if (bytes > kMaxUnixPathBytes) {
    return fail("a unix socket's path has at most " + std::to_string(kMaxUnixPathBytes) +
                " bytes, this one has " + std::to_string(bytes));
  }
  if (!std::all_of(name.begin(), name.end(),
                   [](char c) { return c > ' ' && c < 0x7f && c != '"' && c != '\\'; })) {
    return fail("expected printable ASCII characters without spaces, quotes and backslashes behind unix:");
  }
  if (abstract) {
    if (bytes == 0) return fail("expected a name behind unix:@");
    std::string sun_path(name);
    sun_path[0] = '\0';
    return SocketAddress::ForUnix(Intern(sun_path));
  }
  if (HasOddSegment(name)) {
    return fail("expected a file's path without //, /./, /../ and without a slash at its end behind unix:");
  }
  return SocketAddress::ForUnix(Intern(name));
}

socklen_t WriteSockaddr(const UnixPath* path, sockaddr_storage* to) {
  auto* at = reinterpret_cast<sockaddr_un*>(to);
  at->sun_family = AF_UNIX;
  if (path == nullptr) return offsetof(sockaddr_un, sun_path);
  std::memcpy(at->sun_path, path->sun_path, sizeof(at->sun_path));
  // A path's terminating zero counts; an abstract name ends with its last byte.
  return static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path->bytes +
                                (path->is_abstract() ? 0 : 1));
}

size_t WriteText(const UnixPath* path, char out[SocketAddress::kMaxText]) {
  char* at = std::copy(kUnixPrefix.begin(), kUnixPrefix.end(), out);
  if (path != nullptr) at = std::copy_n(path->sun_path, path->bytes, at);
  if (path != nullptr && path->is_abstract()) out[kUnixPrefix.size()] = '@';
  return static_cast<size_t>(at - out);
}

}  // namespace weir
