#include "lb/log/line_writer.h"

namespace weir::lb {
namespace {

constexpr char kLowerHex[] = "0123456789abcdef";
constexpr char kUpperHex[] = "0123456789ABCDEF";
constexpr std::string_view kMonths[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                        "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

bool IsPlain(char c) { return c >= 0x20 && c < 0x7f && c != '"' && c != '\\'; }

struct CivilTime {
  uint32_t year, month, day, hour, minute, second, millisecond;
};

// Days to civil date: Howard Hinnant, "chrono-compatible low-level date algorithms".
CivilTime ToCivil(int64_t wall_ms) {
  const int64_t days = (wall_ms >= 0 ? wall_ms : wall_ms - 86'399'999) / 86'400'000;
  const auto ms = static_cast<uint32_t>(wall_ms - days * 86'400'000);
  const int64_t z = days + 719'468;
  const int64_t era = (z >= 0 ? z : z - 146'096) / 146'097;
  const auto doe = static_cast<uint32_t>(z - era * 146'097);
  const uint32_t yoe = (doe - doe / 1'460 + doe / 36'524 - doe / 146'096) / 365;
  const uint32_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
  const uint32_t mp = (5 * doy + 2) / 153;
  const uint32_t month = mp < 10 ? mp + 3 : mp - 9;
  return {.year = static_cast<uint32_t>(era * 400 + yoe + (month <= 2 ? 1 : 0)),
          .month = month,
          .day = doy - (153 * mp + 2) / 5 + 1,
          .hour = ms / 3'600'000,
          .minute = ms / 60'000 % 60,
          .second = ms / 1'000 % 60,
          .millisecond = ms % 1'000};
}

}  // namespace

void LineWriter::TextPart(std::string_view part) {
  if (cut_) return;
  const char* const end = text_end_;
  char* at = at_;  // local: a byte written through a member might, to the compiler, be that member
  for (const char c : part) {
    if (end - at < kRoom) {
      at_ = at;
      CutText();
      return;
    }
    if (IsPlain(c)) {
      *at++ = c;
    } else {
      at_ = at;
      Escape(static_cast<unsigned char>(c));
      at = at_;
    }
  }
  at_ = at;
}

void LineWriter::EscapedPart(char c) {
  if (cut_) return;
  if (text_end_ - at_ < kRoom) return CutText();
  Escape(static_cast<unsigned char>(c));
}

void LineWriter::Escape(unsigned char c) {
  Raw('\\');
  if (escapes_ == Escapes::kHex) {
    Raw('x');
    Raw(kUpperHex[c >> 4]);
    Raw(kUpperHex[c & 15]);
    return;
  }
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
      Raw(kLowerHex[c >> 4]);
      Raw(kLowerHex[c & 15]);
  }
}

void LineWriter::ClockTime(uint32_t hour, uint32_t minute, uint32_t second) {
  Padded(hour, 2);
  Raw(':');
  Padded(minute, 2);
  Raw(':');
  Padded(second, 2);
}

void LineWriter::IsoTime(int64_t wall_ms) {
  const CivilTime time = ToCivil(wall_ms);
  Padded(time.year, 4);
  Raw('-');
  Padded(time.month, 2);
  Raw('-');
  Padded(time.day, 2);
  Raw('T');
  ClockTime(time.hour, time.minute, time.second);
  Raw('.');
  Padded(time.millisecond, 3);
  Raw('Z');
}

void LineWriter::NcsaTime(int64_t wall_ms) {
  const CivilTime time = ToCivil(wall_ms);
  Padded(time.day, 2);
  Raw('/');
  Raw(kMonths[time.month - 1]);
  Raw('/');
  Padded(time.year, 4);
  Raw(':');
  ClockTime(time.hour, time.minute, time.second);
  Raw(" +0000");
}

}  // namespace weir::lb
