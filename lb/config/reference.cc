#include "lb/config/reference.h"

#include "absl/strings/str_cat.h"
#include "lb/config/file_reader.h"

namespace weir::lb {
namespace {

constexpr const char* kIntroduction = R"(# The configuration file

    weir --config=weir.yaml
    weir check --config=weir.yaml     # every mistake with its line, or all that holds and where it was said

YAML. This much will do; everything else has a default:

```yaml
listeners:
  - {address: "0.0.0.0:8080", upstream: web}
upstreams:
  web:
    endpoints: [10.0.0.1:80, 10.0.0.2:80]
```

Several sites:

```yaml
listeners:
  - address: 0.0.0.0:8080
    routes: shop
upstreams:
  web:
    balance: least_conn
    endpoints: [{address: 10.0.0.1:80, weight: 2}, 10.0.0.2:80]
  api:
    endpoints: [10.0.1.1:80]
    timeouts: {connect: 1s, response: 15s}
routes:
  shop:
    - match: {host: "*.shop.example", path_prefix: /api/, method: [GET, POST]}
      upstream: api
    - match: {host: old.example}
      redirect: {to: "https://shop.example${uri}", status: 308}
    - match: {path: /robots.txt}
      respond: {body: "User-agent: *\n"}
    - match: {host: new.example}
      split: [{upstream: web, weight: 95}, {upstream: api, weight: 5}]
      sticky: {cookie: side, max_age: 24h}
      response_headers: {set: {X-Request-ID: "${request_id}", X-Served-By: "${endpoint}"}}
    - upstream: web
```

- A flag wins over what the file says of the same. `--listen`, `--backends` and `--balance` are for life without a file.
- Durations are `500ms`, `10s`, `5m`, `1h`; sizes `64KiB`, `1GiB`.
- YAML wants quotes around a value that begins with `*`, `{`, `[` or `&`: `"*.shop.example"`, `"[::]:8080"`.
- `${env:NAME}` stands for a variable of the environment, in any value; one that does not exist is an error.
  It may be a secret: `weir check`, `weir explain` and what is said of mistakes name the variable instead of what it says.
- `weir check` does not print hashes of passwords either: what it prints wants them put back before it can be used.
- `include:` adds further files, and those of a pattern in the order of their names: `listeners` are appended, names of `upstreams`
  and `routes` added. A list of routes that several files have under one name is appended too, in the order of the files:
  a file for each site. Any other name given twice is an error.
- A key that is not known is an error, as is one whose feature is not there yet.
- Which route a request meets, and how hosts and paths are spelled for that, is told in
  [lb/route/README.md](../lb/route/README.md). The origin gets the host and the path in that spelling.
- Where a listener has an `upstream` and no `routes`, host and path pass as they came.
- `unix:/run/app.sock` is the path of a unix stream socket (absolute, at most 107 bytes), `unix:@name` an abstract one. A socket
  whose queue is full is waited for, as long as `timeouts: connect` says. A unix socket knows no reset: an upload or a TCP
  connection that breaks off ends for such an endpoint as one that is over, and only its own framing tells.
- A listener's `unix:/run/weir.sock` is one for all shards: what comes there is spread over them. Its clients have no address:
  they are `unix:` in X-Forwarded-For and in the access log, and `unix` in `allow`, `deny`, `trusted_proxies` and `from`.
- For editors: [weir.schema.json](weir.schema.json), as in `# yaml-language-server: $schema=weir.schema.json`.
)";

std::string Escaped(const std::string& text) {
  std::string escaped;
  for (const char c : text) {
    if (c == '"' || c == '\\') escaped += '\\';
    escaped += c;
  }
  return escaped;
}

// In a table a bar is written \|, elsewhere not.
std::string WithoutBars(const std::string& text) {
  std::string plain;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\' || i + 1 == text.size() || text[i + 1] != '|') plain += text[i];
  }
  return plain;
}

}  // namespace

std::string ConfigurationMarkdown() {
  std::string out = kIntroduction;
  for (const SectionDoc& section : DescribeSections()) {
    absl::StrAppend(&out, "\n## ", section.where, "\n");
    if (!section.sentence.empty()) absl::StrAppend(&out, "\n", section.sentence, "\n");
    out += "\n| key | value | default | |\n|---|---|---|---|\n";
    std::string later;
    for (const KeyDoc& key : section.keys) {
      if (!key.available) {
        absl::StrAppend(&later, later.empty() ? "" : ", ", "`", key.name, "`");
        continue;
      }
      absl::StrAppend(&out, "| `", key.name, "` | ", key.type, " | ", key.fallback, " | ", key.sentence,
                      " |\n");
    }
    if (!later.empty()) absl::StrAppend(&out, "\nNot available yet: ", later, ".\n");
  }
  return out;
}

std::string ConfigurationSchema() {
  std::string out =
      "{\n  \"$schema\": \"https://json-schema.org/draft/2020-12/schema\",\n  \"title\": \"Weir's "
      "configuration file\",\n  \"$ref\": \"#/$defs/file\",\n  \"$defs\": {";
  const char* comma = "";
  for (const SectionDoc& section : DescribeSections()) {
    absl::StrAppend(&out, comma, "\n    \"", section.name,
                    "\": {\n      \"type\": \"object\",\n      \"additionalProperties\": false,");
    comma = ",";
    std::string required;
    for (const KeyDoc& key : section.keys) {
      if (key.required) absl::StrAppend(&required, required.empty() ? "" : ", ", "\"", key.name, "\"");
    }
    // An included file need not have everything.
    if (!required.empty() && section.name != "file") {
      absl::StrAppend(&out, "\n      \"required\": [", required, "],");
    }
    out += "\n      \"properties\": {";
    const char* between = "";
    for (const KeyDoc& key : section.keys) {
      if (!key.available) continue;
      std::string schema = key.schema;
      const std::string described =
          absl::StrCat("\"description\": \"", Escaped(WithoutBars(key.sentence)), "\"");
      schema.insert(1, described + ", ");
      absl::StrAppend(&out, between, "\n        \"", key.name, "\": ", schema);
      between = ",";
    }
    out += "\n      }\n    }";
  }
  return out + "\n  }\n}\n";
}

}  // namespace weir::lb
