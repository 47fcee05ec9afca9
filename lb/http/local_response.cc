#include "lb/http/local_response.h"

#include "lb/http/status.h"
#include "lb/http/writer.h"

namespace weir::http {
namespace {

constexpr size_t kOwnBytes = 512;  // status line, Date, Content-Type, Content-Length, Connection, Allow

bool IsCredential(FieldId id) {
  return id == FieldId::kAuthorization || id == FieldId::kProxyAuthorization || id == FieldId::kCookie;
}

void WriteStatusLine(uint16_t status, Writer& out) {
  out.Text("HTTP/1.1 ");
  out.Number(status);
  out.Text(" ");
  out.Text(ReasonPhrase(status));
  out.Text("\r\n");
}

void WriteRetryAfter(uint32_t seconds, Writer& out) {
  if (seconds == 0) return;
  out.Text("Retry-After: ");
  out.Number(seconds);
  out.Text("\r\n");
}

// All fields that follow the status line, and the empty line.
void WriteFields(std::string_view content_type, uint64_t length, const LocalContext& context, Writer& out,
                 bool has_length = true) {
  if (!context.date.empty()) out.FieldLine("Date", context.date);
  if (!content_type.empty()) out.FieldLine("Content-Type", content_type);
  if (has_length) {
    out.Text("Content-Length: ");
    out.Number(length);
    out.Text("\r\n");
  }
  if (!context.keep_alive) {
    out.Text("Connection: close\r\n");
  } else if (context.client_minor == 0) {
    out.Text("Connection: keep-alive\r\n");
  }
  out.Text("\r\n");
}

// The request as received, without credentials.
void WriteTrace(const RequestHead& head, Writer& out) {
  out.Text(head.method);
  out.Text(head.target_lacks_slash ? " /" : " ");
  out.Text(head.target);
  out.Text(head.facts.minor == 0 ? " HTTP/1.0\r\n" : " HTTP/1.1\r\n");
  for (const Field& field : head.fields()) {
    if (!IsCredential(field.id)) out.FieldLine(field.name(), field.value());
  }
  out.Text("\r\n");
}

size_t TraceBytes(const RequestHead& head) {
  size_t size = head.method.size() + head.target.size() + (head.target_lacks_slash ? 1 : 0) +
                std::string_view("  HTTP/1.1\r\n\r\n").size();
  for (const Field& field : head.fields()) {
    if (!IsCredential(field.id)) size += field.name().size() + field.value().size() + 4;
  }
  return size;
}

}  // namespace

size_t SerializeError(uint16_t status, std::string_view reason, uint32_t retry_after_s,
                      const LocalContext& context, char* memory, std::string_view extra_fields) {
  const std::string_view phrase = ReasonPhrase(status);
  constexpr size_t kStatusDigits = 3;
  const size_t body_size = kStatusDigits + 1 + phrase.size() + (reason.empty() ? 0 : 2 + reason.size()) + 1;
  Writer out(memory);
  WriteStatusLine(status, out);
  WriteRetryAfter(retry_after_s, out);
  out.Text(extra_fields);
  WriteFields("text/plain", body_size, context, out);
  if (!context.head_request) {
    out.Number(status);
    out.Text(" ");
    out.Text(phrase);
    if (!reason.empty()) out.Text(": ");
    out.Text(reason);
    out.Text("\n");
  }
  return out.size();
}

size_t MaxFixedBytes(const FixedResponse& response) {
  return kOwnBytes + response.location.size() + response.content_type.size() + response.body.size() +
         response.extra_fields.size();
}

size_t SerializeFixed(const FixedResponse& response, const LocalContext& context, char* memory) {
  const bool has_body = response.status != 204 && response.status != 304;
  Writer out(memory);
  WriteStatusLine(response.status, out);
  if (!response.location.empty()) out.FieldLine("Location", response.location);
  WriteRetryAfter(response.retry_after_s, out);
  if (response.no_store) out.Text("Cache-Control: no-store\r\n");
  out.Text(response.extra_fields);
  WriteFields(response.content_type, response.body.size(), context, out, has_body);
  if (has_body && !context.head_request) out.Text(response.body);
  return out.size();
}

size_t MaxLocalAnswerBytes(const RequestHead& head) {
  return kOwnBytes + head.head_bytes + head.fields().size();
}

size_t SerializeLocalAnswer(const RequestHead& head, const LocalContext& context, char* memory,
                            std::string_view extra_fields) {
  Writer out(memory);
  WriteStatusLine(200, out);
  out.Text(extra_fields);
  if (head.facts.method == Method::kTrace) {
    WriteFields("message/http", TraceBytes(head), context, out);
    WriteTrace(head, out);
  } else {
    out.Text("Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, TRACE\r\n");
    WriteFields("", 0, context, out);
  }
  return out.size();
}

}  // namespace weir::http
