#include "lb/log/access_line.h"

#include <charconv>
#include <cstring>

namespace weir::lb {
namespace {

constexpr char kHex[] = "0123456789abcdef";
constexpr std::string_view kCutMark = "\u2026";

// What the fixed parts can take: keys, punctuation, time, two addresses, numbers of up to 20 digits.
constexpr size_t kFixedBytes = 768;
static_assert(kFixedBytes + kMaxLoggedTarget + kMaxLoggedHost + kMaxLoggedMethod + kMaxLoggedRequestId +
                  kMaxLoggedEnd <=
              kMaxAccessLineBytes);

// Appends without looking at a bound: the static_assert above is the bound.
class LineWriter {
 public:
  explicit LineWriter(char* out) : at_(out) {}
  char* at() const { return at_; }

  void Raw(std::string_view text) {
    std::memcpy(at_, text.data(), text.size());
    at_ += text.size();
  }
  void Raw(char c) { *at_++ = c; }
  void Number(uint64_t value) { at_ = std::to_chars(at_, at_ + 20, value).ptr; }
  // `digits` decimal digits.
  void Padded(uint32_t value, int digits) {
    for (int i = digits - 1; i >= 0; --i, value /= 10) at_[i] = static_cast<char>('0' + value % 10);
    at_ += digits;
  }
  void Field(std::string_view key_and_colon, uint64_t value) {
    Raw(key_and_colon);
    Number(value);
  }
  // Quoted and escaped, at most `limit` bytes between the quotes.
  void Text(std::string_view text, size_t limit);
  void Address(const SocketAddress& address) {
    Raw('"');
    at_ += address.Write(at_);  // nothing in it has to be escaped
    Raw('"');
  }
  void Time(int64_t wall_ms);

 private:
  void Escape(unsigned char c);

  char* at_;
};

bool IsPlain(char c) { return c >= 0x20 && c < 0x7f && c != '"' && c != '\\'; }

void LineWriter::Text(std::string_view text, size_t limit) {
  Raw('"');
  char* const end = at_ + limit;
  // While this much room is left, the next byte fits whatever it becomes, and so does the mark behind it.
  constexpr ptrdiff_t kRoom = 6 + static_cast<ptrdiff_t>(kCutMark.size());
  const char* from = text.data();
  const char* const stop = from + text.size();
  for (; from != stop; ++from) {
    if (end - at_ < kRoom) {
      Raw(kCutMark);
      break;
    }
    if (IsPlain(*from)) {
      *at_++ = *from;
    } else {
      Escape(static_cast<unsigned char>(*from));
    }
  }
  Raw('"');
}

void LineWriter::Escape(unsigned char c) {
  Raw('\\');
  switch (c) {
    case '"':
    case '\\':
      return Raw(static_cast<char>(c));
    case '\n':
      return Raw('n');
    case '\r':
      return Raw('r');
    case '\t':
      return Raw('t');
    default:
      Raw("u00");
      Raw(kHex[c >> 4]);
      Raw(kHex[c & 15]);
  }
}

// "2026-11-22T14:55:52.123Z". Days to civil date: Howard Hinnant, "chrono-compatible low-level date
// algorithms".
void LineWriter::Time(int64_t wall_ms) {
  const int64_t day = (wall_ms >= 0 ? wall_ms : wall_ms - 86'399'999) / 86'400'000;
  const auto ms = static_cast<uint32_t>(wall_ms - day * 86'400'000);
  const int64_t z = day + 719'468;
  const int64_t era = (z >= 0 ? z : z - 146'096) / 146'097;
  const auto doe = static_cast<uint32_t>(z - era * 146'097);
  const uint32_t yoe = (doe - doe / 1'460 + doe / 36'524 - doe / 146'096) / 365;
  const uint32_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
  const uint32_t mp = (5 * doy + 2) / 153;
  const uint32_t month = mp < 10 ? mp + 3 : mp - 9;
  const auto year = static_cast<uint32_t>(era * 400 + yoe + (month <= 2 ? 1 : 0));
  Raw('"');
  Padded(year, 4);
  Raw('-');
  Padded(month, 2);
  Raw('-');
  Padded(doy - (153 * mp + 2) / 5 + 1, 2);
  Raw('T');
  Padded(ms / 3'600'000, 2);
  Raw(':');
  Padded(ms / 60'000 % 60, 2);
  Raw(':');
  Padded(ms / 1'000 % 60, 2);
  Raw('.');
  Padded(ms % 1'000, 3);
  Raw("Z\"");
}

}  // namespace

size_t FormatAccessLine(const AccessRecord& record, int64_t wall_ms, char* out, size_t capacity) {
  if (capacity < kMaxAccessLineBytes) return 0;
  LineWriter line(out);
  line.Raw("{\"time\":");
  line.Time(wall_ms);
  line.Raw(record.tcp ? ",\"protocol\":\"tcp\",\"client\":" : ",\"protocol\":\"http\",\"client\":");
  line.Address(record.client);
  if (!record.tcp) {
    line.Raw(",\"method\":");
    line.Text(record.method, kMaxLoggedMethod);
    line.Raw(",\"host\":");
    line.Text(record.host, kMaxLoggedHost);
    line.Raw(",\"path\":");
    line.Text(record.target, kMaxLoggedTarget);
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
    line.Address(*record.endpoint);
  }
  line.Field(",\"retries\":", record.retries);
  if (!record.tcp) {
    line.Raw(",\"request_id\":");
    line.Text(record.request_id, kMaxLoggedRequestId);
  }
  line.Raw(",\"end\":");
  line.Text(record.end, kMaxLoggedEnd);
  line.Raw("}\n");
  return static_cast<size_t>(line.at() - out);
}

}  // namespace weir::lb
