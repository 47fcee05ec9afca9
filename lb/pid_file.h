// PidFile: a file that says this process's number while it serves, for `weir reload` and service managers.
#pragma once

#include <string>

#include "absl/status/status.h"

namespace weir::lb {

class PidFile {
 public:
  PidFile() = default;
  // Removes the file if it is still ours.
  ~PidFile();
  PidFile(const PidFile&) = delete;
  PidFile& operator=(const PidFile&) = delete;

  // Replaces what is there. `path` empty: no file.
  absl::Status Write(const std::string& path);

 private:
  std::string path_;
};

}  // namespace weir::lb
