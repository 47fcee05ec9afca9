#include "lb/log/access_line.h"

#include "lb/log/line_writer.h"

namespace weir::lb {
namespace {

// What the fixed parts can take: keys, punctuation, time, two addresses, numbers of up to 20 digits.
constexpr size_t kFixedBytes = 768;
static_assert(kFixedBytes + kMaxLoggedUser + kMaxLoggedTarget + kMaxLoggedHost + kMaxLoggedMethod +
                  kMaxLoggedRequestId + kMaxLoggedEnd <=
              kMaxAccessLineBytes);

}  // namespace

size_t FormatAccessLine(const AccessRecord& record, int64_t wall_ms, char* out, size_t capacity) {
  if (capacity < kMaxAccessLineBytes) return 0;
  LineWriter line(out);
  line.Raw("{\"time\":\"");
  line.IsoTime(wall_ms);
  line.Raw(record.tcp ? "\",\"protocol\":\"tcp\",\"client\":\"" : "\",\"protocol\":\"http\",\"client\":\"");
  line.Address(record.client);
  line.Raw('"');
  if (!record.tcp) {
    line.Raw(",\"user\":");
    if (record.user.empty()) {
      line.Raw("null");
    } else {
      line.QuotedText(record.user, kMaxLoggedUser);
    }
    line.Raw(",\"method\":");
    line.QuotedText(record.method, kMaxLoggedMethod);
    line.Raw(",\"host\":");
    line.QuotedText(record.host, kMaxLoggedHost);
    line.Raw(",\"path\":\"");
    line.Text(record.target, kMaxLoggedTarget);
    if (record.target_cut) line.CutText();
    line.Raw('"');
    line.Field(",\"status\":", record.status);
  }
  line.Field(",\"bytes_received\":", record.bytes_received);
  line.Field(",\"bytes_sent\":", record.bytes_sent);
  line.Field(",\"duration_us\":", record.total_us);
  line.Field(",\"connect_us\":", record.connect_us);
  if (!record.tcp) line.Field(",\"response_us\":", record.response_us);
  line.Raw(",\"endpoint\":");
  if (record.endpoint == nullptr) {
    line.Raw("null");
  } else {
    line.Raw('"');
    line.Address(*record.endpoint);
    line.Raw('"');
  }
  line.Field(",\"retries\":", record.retries);
  if (!record.tcp) {
    line.Raw(",\"request_id\":");
    line.QuotedText(record.request_id, kMaxLoggedRequestId);
  }
  line.Raw(",\"end\":");
  line.QuotedText(record.end, kMaxLoggedEnd);
  line.Raw("}\n");
  return static_cast<size_t>(line.at() - out);
}

}  // namespace weir::lb
