// The line in the access log: what is kept for it while a request passes, and how it is made in the end.
#include <algorithm>

#include "lb/config/budget.h"
#include "lb/l7/auth_leg.h"
#include "lb/l7/exchange.h"
#include "lb/proxy.h"

namespace weir::lb {

// What the log's line will say of a response's head, which is gone by then.
void Exchange::NoteHead(std::string_view head) {
  answer_head_bytes_ += static_cast<uint32_t>(head.size());
  if (proxy_.log() == nullptr) return;
  const AccessFormat* const format = snapshot_->settings().log_format.get();
  if (format == nullptr || !format->keeps_response()) return;
  Buffer* const chunk = TakeChunk(format->max_kept_bytes());
  if (chunk == nullptr) return;  // the line does without
  kept_ = Slice(chunk, 0, static_cast<uint32_t>(format->Keep(head, chunk->data)));
}

// What was read of a request that has no head to be sent on: it breaks a rule, or did not come in time.
void Exchange::NoteRequest() {
  const http::RequestHead& head = proxy_.request_head();
  if (proxy_.log() == nullptr || head.method.empty()) return;
  request_.minor = head.facts.minor;
  no_version_ = !head.version_read;
  NoteTarget(head.method, head.received_target, head.target_read);
}

// What the client asked for, where that is not what goes up: a route has rewritten it, or it came in another
// spelling or form. Of a long one no more than a line takes; `whole`: `target` is not already a part. Clients
// that take us for a forward proxy say passwords there (http://user:password@host/): those are left out.
void Exchange::NoteTarget(std::string_view method, std::string_view target, bool whole) {
  const size_t colon = target.find("://");
  const size_t begin = colon <= 16 ? colon + 3 : 0;  // no scheme is longer
  const std::string_view authority = target.substr(begin, target.find_first_of("/?#", begin) - begin);
  const size_t at = authority.rfind('@');
  const std::string_view before = target.substr(0, at == authority.npos ? 0 : begin);
  const std::string_view mark = at == authority.npos ? "" : "***";
  target.remove_prefix(at == authority.npos ? 0 : begin + at);
  const size_t fixed = method.size() + before.size() + mark.size();
  const size_t bytes = std::min(target.size(), kMostNotedBytes - std::min<size_t>(fixed, kMostNotedBytes));
  if (fixed + bytes == 0) return;
  Buffer* const chunk = TakeChunk(fixed + bytes);
  if (chunk == nullptr) return;  // the line does without
  char* out = chunk->data;
  for (const std::string_view part : {method, before, mark, target.substr(0, bytes)}) {
    out += part.copy(out, part.size());
  }
  noted_ = Slice(chunk, 0, static_cast<uint32_t>(fixed + bytes));
  noted_method_bytes_ = static_cast<uint8_t>(method.size());
  noted_cut_ = !whole || bytes < target.size();
}

void Exchange::Log() {
  if (head_bytes_ == 0 && !noted_.holds_buffer() && !from_client_.empty()) {  // it did not come whole
    http::ParseRequest(from_client_.bytes(), proxy_.request_head());
    NoteRequest();
  }
  AccessRecord record;
  record.minor = request_.minor;
  record.has_version = !no_version_;
  record.client = address_;
  record.peer = client_.peer;
  if (client_.introduction != nullptr) {
    record.peer = client_.introduction->peer;
    record.tlvs = client_.introduction->tlvs();
  }
  if (authenticated_ && user_ != nullptr) record.user = user_->name;
  // What was asked stands in the head we serialised: "METHOD target HTTP/1.1\r\nHost: host\r\n…".
  const bool aside = deciding_;  // head_ is the subrequest
  std::string_view head{aside ? leg_->head.data() : head_.data(), aside ? leg_->head_bytes : head_bytes_};
  if (const size_t method_end = head.find(' '); method_end != std::string_view::npos) {
    record.method = head.substr(0, method_end);
    const size_t line_end = head.find(" HTTP/1.1\r\n");
    record.target = head.substr(method_end + 1, line_end - method_end - 1);
    if (pool_ != nullptr && !aside && attempts_.count() > 0) record.forwarded_target = record.target;
    const auto value_of = [head](std::string_view name) -> std::string_view {
      const size_t at = head.find(name);
      if (at == std::string_view::npos) return {};
      const size_t begin = at + name.size();
      return head.substr(begin, head.find('\r', begin) - begin);
    };
    record.request_head = head;
    record.host = value_of("\r\nHost: ");
    record.request_id = value_of("\r\nX-Request-ID: ");
  }
  if (noted_.holds_buffer()) {
    if (noted_method_bytes_ > 0) record.method = noted_.view().substr(0, noted_method_bytes_);
    record.target = noted_.view().substr(noted_method_bytes_);
    record.target_cut = noted_cut_;
  }
  if (pool_ != nullptr) record.upstream = snapshot_->settings().upstreams[route_->upstream].name;
  record.https = https_;
  record.status = answer_begun_ ? status_ : 0;
  record.bytes_received = body_received_;
  record.bytes_sent = client_.stream.sent_bytes() - client_sent_before_;
  record.body_bytes_sent = record.bytes_sent - std::min<uint64_t>(record.bytes_sent, answer_head_bytes_);
  record.kept_response = kept_.view();
  record.total_us = ElapsedUs(shard_.now_ns());
  record.connect_us = upstream_ns_ == 0 || reused_ ? 0 : ElapsedUs(upstream_ns_);
  record.response_us = response_ns_ == 0 ? 0 : ElapsedUs(response_ns_);
  record.endpoint = endpoint_ == UpstreamPool::kNone ? nullptr : &pool_->address(endpoint_);
  record.retries = attempts_.count() > 0 ? attempts_.count() - 1 : 0;
  record.end = end_;
  proxy_.log()->Write(record, snapshot_->settings().log_format.get());
}

}  // namespace weir::lb
