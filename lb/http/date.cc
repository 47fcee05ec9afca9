#include "lb/http/date.h"

#include <algorithm>
#include <string_view>

namespace weir::http {
namespace {

char* Text(std::string_view text, char* out) { return std::copy(text.begin(), text.end(), out); }

char* TwoDigits(int64_t value, char* out) {
  out[0] = static_cast<char>('0' + value / 10);
  out[1] = static_cast<char>('0' + value % 10);
  return out + 2;
}

}  // namespace

// Days to civil date by counting 400-year eras that begin on 1 March, so that a leap day is the last of its
// year.
void FormatDate(int64_t unix_seconds, char* out) {
  const int64_t days = unix_seconds / 86400;
  const int64_t second = unix_seconds % 86400;
  const int64_t shifted = days + 719468;  // days since 0000-03-01
  const int64_t era = shifted / 146097;
  const int64_t day_of_era = shifted % 146097;
  const int64_t year_of_era =
      (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
  const int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
  const int64_t month_from_march = (5 * day_of_year + 2) / 153;
  const int64_t day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
  const int64_t month = month_from_march < 10 ? month_from_march + 2 : month_from_march - 10;  // 0 is January
  const int64_t year = year_of_era + era * 400 + (month < 2 ? 1 : 0);

  constexpr std::string_view kDays = "ThuFriSatSunMonTueWed";
  constexpr std::string_view kMonths = "JanFebMarAprMayJunJulAugSepOctNovDec";
  out = Text(kDays.substr(static_cast<size_t>(days % 7) * 3, 3), out);
  out = TwoDigits(day, Text(", ", out));
  out = Text(kMonths.substr(static_cast<size_t>(month) * 3, 3), Text(" ", out));
  out = TwoDigits(year % 100, TwoDigits(year / 100, Text(" ", out)));
  out = TwoDigits(second / 3600, Text(" ", out));
  out = TwoDigits(second / 60 % 60, Text(":", out));
  out = TwoDigits(second % 60, Text(":", out));
  Text(" GMT", out);
}

}  // namespace weir::http
