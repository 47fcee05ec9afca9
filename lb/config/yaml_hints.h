// FindYamlMistake: what is wrong with a file that is no YAML, in the words of who wrote it. The parser says
// where it gave up, which is often lines behind the mistake, and what it missed there, not what was meant.
// Here the lines are read once more for what people do wrong: tabs, quotes, brackets, characters that YAML
// keeps for itself, indentation. Only what is surely wrong is told: nothing rather than a wrong hint.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace weir::lb {

struct YamlMistake {
  uint32_t line = 0;  // from 1
  uint32_t column = 0;
  std::string sentence;  // what is wrong, and what to do
};

// The first mistake in `text`, which a parser refused.
std::optional<YamlMistake> FindYamlMistake(std::string_view text);

}  // namespace weir::lb
