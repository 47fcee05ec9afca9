#include "lb/http/serialize_request.h"

#include "lb/http/writer.h"

namespace weir::http {
namespace {

// What may be written whatever the client sent: names, separators, numbers and constant values, and the
// upgrade list.
constexpr size_t kOwnBytes =
    sizeof(" / HTTP/1.1\r\nHost: \r\n") +                                            //
    sizeof("Content-Length: \r\n") + Writer::kMaxDigits +                            // or Transfer-Encoding
    sizeof("Transfer-Encoding: chunked\r\n") + sizeof("Expect: 100-continue\r\n") +  //
    sizeof("Max-Forwards: \r\n") + Writer::kMaxDigits +                              //
    sizeof("Connection: upgrade, TE\r\nTE: trailers\r\nUpgrade: \r\n") + UpgradeList::kCapacity +  //
    sizeof("X-Forwarded-For: \r\nX-Forwarded-Proto: \r\nX-Forwarded-Host: \r\n") +                 //
    sizeof("Forwarded: \r\nX-Request-ID: \r\nVia: , 1.1 \r\n\r\n");

void WriteBodyFraming(const BodyFraming& body, Writer& out) {
  if (body.kind == Framing::kLength) {
    out.Text("Content-Length: ");
    out.Number(body.length);
    out.Text("\r\n");
  } else if (body.kind == Framing::kChunked) {
    out.Text("Transfer-Encoding: chunked\r\n");
  }
}

// The hop-by-hop fields that ask the next hop for something, regenerated.
void WriteHopFields(const RequestFacts& facts, Writer& out) {
  const bool upgrade = !facts.upgrade.empty();
  if (!upgrade && !facts.te_trailers) [[likely]]
    return;
  out.Text("Connection: ");
  if (upgrade) out.Text("upgrade");
  if (upgrade && facts.te_trailers) out.Text(", ");
  if (facts.te_trailers) out.Text("TE");
  out.Text("\r\n");
  if (facts.te_trailers) out.Text("TE: trailers\r\n");
  if (upgrade) out.FieldLine("Upgrade", facts.upgrade.text());
}

void WriteXForwarded(const RequestHead& head, const RequestContext& context, Writer& out) {
  if (!context.client_ip.empty()) out.FieldLine("X-Forwarded-For", context.client_ip);
  out.FieldLine("X-Forwarded-Proto", context.proto);
  const std::string_view host = !context.forwarded_host.empty()  ? context.forwarded_host
                                : !context.received_host.empty() ? context.received_host
                                                                 : head.authority;
  if (!host.empty()) out.FieldLine("X-Forwarded-Host", host);
}

}  // namespace

size_t MaxSerializedBytes(const RequestHead& head, const RequestContext& context) {
  // Each forwarded line may grow by the space behind its colon; the authority is written twice.
  return head.head_bytes + head.fields().size() + head.authority.size() * 2 + context.client_ip.size() +
         context.proto.size() + context.request_id.size() + context.via_name.size() +
         context.default_host.size() + context.forwarded_host.size() + context.received_host.size() +
         context.forwarded.size() + context.extra_fields.size() + kOwnBytes;
}

size_t SerializeRequest(const RequestHead& head, const RequestContext& context, char* memory) {
  const RequestFacts& facts = head.facts;
  Writer out(memory);
  out.Text(head.method);
  out.Text(head.target_lacks_slash ? " /" : " ");
  out.Text(head.target);
  out.Text(" HTTP/1.1\r\nHost: ");
  out.Text(head.authority.empty() ? context.default_host : head.authority);
  out.Text("\r\n");

  out.Fields(head.fields());
  out.Text(context.extra_fields);

  WriteBodyFraming(context.body, out);
  if (facts.expect_continue && !context.body.Empty()) out.Text("Expect: 100-continue\r\n");
  if (head.max_forwards > 0) {
    out.Text("Max-Forwards: ");
    out.Number(static_cast<uint64_t>(head.max_forwards) - 1);
    out.Text("\r\n");
  }
  WriteHopFields(facts, out);
  if (context.x_forwarded) [[likely]]
    WriteXForwarded(head, context, out);
  if (!context.forwarded.empty()) out.FieldLine("Forwarded", context.forwarded);
  const std::string_view request_id = head.request_id.empty() ? context.request_id : head.request_id;
  if (!request_id.empty()) out.FieldLine("X-Request-ID", request_id);
  if (!context.via_name.empty()) {
    out.Via(head.fields(), head.Has(FieldId::kVia), facts.minor, context.via_name);
  }
  out.Text("\r\n");
  return out.size();
}

}  // namespace weir::http
