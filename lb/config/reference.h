// What can be configured by file, for people and for their editors. The same tables make the parser.
#pragma once

#include <string>

namespace weir::lb {

// docs/configuration.md.
std::string ConfigurationMarkdown();
// docs/weir.schema.json: JSON Schema (draft 2020-12) of the file.
std::string ConfigurationSchema();

}  // namespace weir::lb
