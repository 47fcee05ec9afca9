// AccessFormat: how the access log's lines look where the usual JSON (access_line.h) is not what was asked
// for: which members, the NCSA combined format, or a template; which headers; what is redacted; which lines
// are written at all. Built once from settings, then immutable: any number of threads may use it. No
// allocation after Build.
//
// Texts are escaped as line_writer.h says, as JSON or (combined, template) as nginx does; there what is
// missing is "-" (a header that came empty is not), and the status has three digits. Each text has its bound,
// and so has a line: kMostLineBytes. Request headers are those the endpoint gets, response headers those the
// client gets.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/random.h"
#include "lb/log/record.h"
#include "lb/share.h"

namespace weir::lb {

// Where each line goes as a datagram (RFC 5424, 5426), and what its header says.
struct SyslogSettings {
  static constexpr size_t kMostPathBytes = 107;
  static constexpr size_t kMostTagBytes = 48;

  std::string address;  // as it was said; empty: no syslog
  std::string path;     // of a unix socket; empty: `udp`
  std::string udp_host;
  uint16_t udp_port = 0;
  SocketAddress udp;      // resolved
  uint8_t facility = 23;  // local7
  std::string tag = "weir";
  std::string host = "-";     // this machine
  std::string process = "-";  // this process

  bool on() const { return !address.empty(); }
};

// What an operator said of the access log.
struct AccessLogSettings {
  enum class Form : uint8_t { kJson, kCombined, kTemplate };

  Form form = Form::kJson;
  std::vector<std::string> fields;            // kJson: members, in order; empty: the usual ones
  std::string line;                           // kTemplate
  std::vector<std::string> request_headers;   // kJson: names
  std::vector<std::string> response_headers;  // likewise
  std::vector<std::string> redact_headers;    // of these only that they were there
  bool redact_query = false;
  bool sensitive_headers = false;  // credentials may be logged
  Share sample;                    // of the lines: so many are written
  bool sample_errors = false;      // they too; else all of them are written
  SyslogSettings syslog;

  // The usual JSON, all lines: no AccessFormat is needed.
  bool usual() const {
    return form == Form::kJson && fields.empty() && request_headers.empty() && response_headers.empty() &&
           !redact_query && sample.value == Share::kAll && !syslog.on();
  }
};

enum class LogField : uint8_t;
class LineWriter;

class AccessFormat {
 public:
  static constexpr size_t kMostLineBytes = 16 * 1024;
  static constexpr size_t kMostHeaders = 16;        // in each direction
  static constexpr size_t kMostHeaderBytes = 1024;  // of a value, escaped
  static constexpr size_t kMostKeptBytes = 256;     // of a response header's value, as it is
  static constexpr std::string_view kRedacted = "***";

  struct Problem {
    std::string key;  // "fields", "template", …
    std::string sentence;
  };
  // Null: `problem` says why.
  static std::shared_ptr<const AccessFormat> Build(const AccessLogSettings& settings, Problem* problem);
  // All names of members and variables, for messages and the reference.
  static std::string FieldNames();

  // Whether this line is one of the sample.
  bool Wants(const AccessRecord& record, Random& random) const;
  // Writes one line with its LF, at most max_line_bytes().
  size_t Write(const AccessRecord& record, int64_t wall_ms, char* out) const;
  size_t max_line_bytes() const { return max_line_bytes_; }

  // A response's head is gone when its line is written: what the line will want of it is kept before that.
  bool keeps_response() const { return !response_headers_.empty(); }
  size_t max_kept_bytes() const;
  // Of a head that Weir has serialised. Returns the bytes written, at most max_kept_bytes().
  size_t Keep(std::string_view head, char* out) const;

 private:
  struct Piece {
    std::string before;  // literally
    LogField field;
    std::string name;           // of a header
    uint32_t index = 0;         // of a response header, in response_headers_; of a TLV, its type
    bool redact = false;        // the whole value
    bool redact_query = false;  // in the value
  };
  class Builder;

  AccessFormat() = default;

  void WriteField(const Piece& piece, const AccessRecord& record, int64_t wall_ms, LineWriter& line) const;
  void WriteHeader(const Piece& piece, const AccessRecord& record, LineWriter& line) const;

  bool json_ = true;
  bool all_errors_ = true;
  bool redact_query_ = false;
  Share share_;
  std::vector<Piece> http_;
  std::vector<Piece> tcp_;
  std::vector<std::string> response_headers_;
  size_t max_line_bytes_ = 0;
};

}  // namespace weir::lb
