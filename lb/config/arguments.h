// The walk over the command line and its flag files: which flags were given, where, with what text. Knows
// which flags exist (flag_table.h), not what their values mean. Every mistake becomes a sentence; none stops
// the walk.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lb/config/flag_table.h"

namespace weir::lb {

struct GivenFlag {
  const FlagRow* row = nullptr;
  std::string text;
  std::string where;  // "FILE:LINE: " in a flag file
  bool from_file = false;
};

struct Arguments {
  std::vector<GivenFlag> flags;  // in order; a flag file's at its place
  std::vector<std::string> words;
  std::vector<std::string> errors;
  bool help = false;
  bool version = false;
  // Of `weir help`: which reference.
  bool markdown = false;
  bool configuration = false;
  bool schema = false;
};

Arguments WalkArguments(std::span<const std::string_view> arguments);

// The candidate that `text` was probably meant to be; empty when none is near.
std::string_view Nearest(std::string_view text, std::span<const std::string_view> candidates);

}  // namespace weir::lb
