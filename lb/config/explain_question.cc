// What "weir explain" is asked: on a command line, and as the query of a URL.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "lb/config/explain.h"
#include "lb/config/flag_types.h"
#include "lb/route/query.h"

namespace weir::lb {

bool TakeExplainArguments(std::vector<std::string_view>& arguments, ExplainQuestion* question,
                          std::vector<std::string>& errors) {
  // The command is the first word; flags with a value in a word of their own stand behind it.
  const auto command = std::find_if(arguments.begin(), arguments.end(),
                                    [](std::string_view word) { return !word.starts_with('-'); });
  if (command == arguments.end() || *command != "explain") return false;
  std::vector<std::string_view> rest(arguments.begin(), command);
  std::vector<std::string> words;
  for (auto at = command + 1; at != arguments.end(); ++at) {
    std::string_view argument = *at;
    const auto value_of = [&](std::string_view name, std::string* value) {
      if (argument.starts_with(std::string(name) + "=")) {
        *value = argument.substr(name.size() + 1);
        return true;
      }
      if (argument != name) return false;
      if (at + 1 == arguments.end()) {
        errors.push_back(absl::StrCat(Absl(name), ": the value is missing"));
      } else {
        *value = *++at;
      }
      return true;
    };
    std::string header;
    if (value_of("-H", &header) || value_of("--header", &header)) {
      question->headers.push_back(header);
    } else if (value_of("--alpn", &question->alpn) || value_of("--client", &question->client) ||
               value_of("--listener", &question->listener)) {
      continue;
    } else if (argument == "--config" && at + 1 != arguments.end()) {
      rest.push_back(argument);
      rest.push_back(*++at);
    } else if (argument.starts_with('-')) {
      rest.push_back(argument);
    } else {
      words.emplace_back(argument);
    }
  }
  if (words.empty() || words.size() > 2) {
    errors.push_back(
        "explain: expected [METHOD] URL, such as: weir explain --config=weir.yaml GET http://shop.example/");
  } else {
    if (words.size() == 2) question->method = words[0];
    question->url = words.back();
  }
  arguments = std::move(rest);
  return true;
}

bool ReadExplainQuery(std::string_view query, ExplainQuestion* question, std::string* error) {
  for (QueryReader reader(query); reader.Next();) {
    char memory[kMaxDecodedBytes];
    std::string_view value;
    if (!Decode(reader.parameter().value, memory, &value)) {
      *error = absl::StrCat("a parameter is longer than ", kMaxDecodedBytes, " bytes");
      return false;
    }
    const std::string_view name = reader.parameter().name;
    if (name == "header") {
      question->headers.emplace_back(value);
    } else if (name == "method") {
      question->method = value;
    } else if (name == "url") {
      question->url = value;
    } else if (name == "alpn") {
      question->alpn = value;
    } else if (name == "client") {
      question->client = value;
    } else if (name == "listener") {
      question->listener = value;
    } else {
      *error = absl::StrCat("\"", Absl(name),
                            "\": expected url, and perhaps method, header, alpn, client, listener");
      return false;
    }
  }
  if (!question->url.empty()) return true;
  *error = "url is missing, such as /explain?url=http://shop.example/cart&header=Cookie:+a%3Db";
  return false;
}

}  // namespace weir::lb
