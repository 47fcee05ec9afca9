// PidFile: a file that says this process's number while it serves, for `weir reload` and service managers.
#pragma once

#include <string>

#include "absl/status/status.h"

namespace weir::lb {

class PidFile {
 public:
  PidFile() = default;
  ~PidFile() { Remove(); }
  PidFile(const PidFile&) = delete;
  PidFile& operator=(const PidFile&) = delete;

  // Replaces what is there. `path` empty: no file.
  absl::Status Write(const std::string& path);
  // If it is still ours.
  void Remove();

 private:
  std::string path_;
};

}  // namespace weir::lb
