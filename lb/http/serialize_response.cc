#include "lb/http/serialize_response.h"

#include "lb/http/writer.h"

namespace weir::http {
namespace {

// What may be written whatever the upstream sent.
constexpr size_t kOwnBytes =
    sizeof("HTTP/1.1 999 \r\n") + sizeof("Date: \r\nVia: , 1.1 \r\n\r\n") +            //
    sizeof("Content-Length: \r\n") + Writer::kMaxDigits +                              //
    sizeof("Transfer-Encoding: chunked\r\n") +                                         //
    sizeof("Connection: upgrade, close\r\nConnection: keep-alive\r\nUpgrade: \r\n") +  //
    UpgradeList::kCapacity;

void WriteLength(uint64_t length, Writer& out) {
  out.Text("Content-Length: ");
  out.Number(length);
  out.Text("\r\n");
}

void WriteBodyFraming(const ResponseFacts& facts, const BodyFraming& body, Writer& out) {
  switch (body.kind) {
    case Framing::kLength:
      return WriteLength(body.length, out);
    case Framing::kChunked:
      return out.Text("Transfer-Encoding: chunked\r\n");
    case Framing::kNone:  // of HEAD and 304: what a GET would bring
      if (facts.has_content_length) WriteLength(facts.content_length, out);
      return;
    case Framing::kUntilClose:
      return;
  }
}

void WriteConnection(const ResponseHead& head, const ResponseContext& context, Writer& out) {
  const bool switches = head.facts.status == 101;
  const bool closes = !context.keep_alive && !switches;
  if (!head.upgrade.empty()) {  // 101 and 426
    out.Text(closes ? "Connection: upgrade, close\r\n" : "Connection: upgrade\r\n");
    out.FieldLine("Upgrade", head.upgrade.text());
  } else if (closes) {
    out.Text("Connection: close\r\n");
  } else if (context.client_minor == 0) {
    out.Text("Connection: keep-alive\r\n");
  }
}

}  // namespace

BodyFraming DownstreamFraming(const ResponseFacts& response, const RequestFacts& request) {
  if (response.body.kind == Framing::kNone || response.body.kind == Framing::kLength) return response.body;
  return request.minor == 0 ? BodyFraming::UntilClose() : BodyFraming::Chunked();
}

size_t MaxSerializedBytes(const ResponseHead& head, const ResponseContext& context) {
  return head.head_bytes + head.fields().size() + context.date.size() + context.via_name.size() +
         context.extra_fields.size() + kOwnBytes;
}

size_t SerializeResponse(const ResponseHead& head, const ResponseContext& context, char* memory) {
  const ResponseFacts& facts = head.facts;
  Writer out(memory);
  out.Text("HTTP/1.1 ");
  out.Number(facts.status);
  out.Text(" ");
  out.Text(head.reason);
  out.Text("\r\n");

  out.Fields(head.fields());
  out.Text(context.extra_fields);

  if (!facts.interim()) {
    if (!head.Has(FieldId::kDate) && !context.date.empty()) out.FieldLine("Date", context.date);
    WriteBodyFraming(facts, context.body, out);
    WriteConnection(head, context, out);
  }
  if (!context.via_name.empty()) {
    out.Via(head.fields(), head.Has(FieldId::kVia), facts.minor, context.via_name);
  }
  out.Text("\r\n");
  return out.size();
}

}  // namespace weir::http
