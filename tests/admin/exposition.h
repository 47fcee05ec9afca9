// A strict reader of the Prometheus text format 0.0.4, stricter than the format where good manners ask for
// more: each metric has one HELP, then one TYPE, then all of its samples; no series comes twice; names of
// counters end in _total; histograms have rising bounds, cumulative counts and an +Inf bucket that equals
// their count.
#pragma once

#include <cstdlib>
#include <map>
#include <set>
#include <string>
#include <string_view>

namespace weir::tests {

class Exposition {
 public:
  // Empty when the page is right; else the first line that is not, and why.
  std::string Read(std::string_view page) {
    if (!page.empty() && page.back() != '\n') return "the last line has no end";
    while (!page.empty()) {
      const size_t end = page.find('\n');
      const std::string line(page.substr(0, end));
      page.remove_prefix(end + 1);
      if (const char* problem = Line(line)) return line + ": " + problem;
    }
    if (const char* problem = EndMetric()) return metric_ + ": " + problem;
    return "";
  }

  // By "name" or "name{label="value"}".
  std::map<std::string, double> samples;
  std::map<std::string, std::string> types;

 private:
  static bool IsName(std::string_view text) {
    if (text.empty() || (text[0] >= '0' && text[0] <= '9')) return false;
    for (const char c : text) {
      if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_'))
        return false;
    }
    return true;
  }

  const char* Line(const std::string& line) {
    if (line.starts_with("# HELP ")) return Help(line.substr(7));
    if (line.starts_with("# TYPE ")) return Type(line.substr(7));
    if (line.starts_with("#") || line.empty()) return "neither metadata nor a sample";
    return Sample(line);
  }
  const char* Help(const std::string& rest) {
    if (const char* problem = EndMetric()) return problem;
    const size_t space = rest.find(' ');
    metric_ = rest.substr(0, space);
    if (!IsName(metric_)) return "a bad name";
    if (types.contains(metric_)) return "the metric has ended before";
    if (space == std::string::npos || rest.size() < space + 10 || !rest.ends_with('.')) return "no help";
    return nullptr;
  }
  const char* Type(const std::string& rest) {
    const size_t space = rest.find(' ');
    if (rest.substr(0, space) != metric_ || types.contains(metric_))
      return "not the metric whose HELP came before";
    type_ = space == std::string::npos ? "" : rest.substr(space + 1);
    if (type_ != "counter" && type_ != "gauge" && type_ != "histogram") return "an unknown type";
    if ((type_ == "counter") != metric_.ends_with("_total")) return "_total is for counters";
    types[metric_] = type_;
    return nullptr;
  }
  const char* Sample(const std::string& line) {
    if (!types.contains(metric_)) return "a sample without TYPE";
    const size_t name_end = line.find_first_of("{ ");
    if (name_end == std::string::npos) return "no value";
    const std::string name = line.substr(0, name_end);
    size_t at = name_end;
    std::string le;
    if (line[at] == '{') {
      if (const char* problem = Labels(line, at, le)) return problem;
    }
    if (line[at] != ' ') return "no space before the value";
    const std::string value = line.substr(at + 1);
    char* end;
    const double number = std::strtod(value.c_str(), &end);
    if (value.empty() || *end != '\0' || value[0] == ' ') return "not a number";
    if (type_ != "gauge" && number < 0) return "a negative count";
    if (!samples.emplace(line.substr(0, at), number).second) return "the series comes twice";
    ++count_;
    if (type_ != "histogram") return name == metric_ ? nullptr : "not a sample of this metric";
    return HistogramSample(name, le, number);
  }
  const char* Labels(const std::string& line, size_t& at, std::string& le) {
    std::set<std::string> names;
    do {
      const size_t equals = line.find('=', ++at);
      if (equals == std::string::npos || line[equals + 1] != '"') return "a bad label";
      const std::string name = line.substr(at, equals - at);
      if (!IsName(name) || !names.insert(name).second) return "a bad label name";
      std::string value;
      for (at = equals + 2; at < line.size() && line[at] != '"'; ++at) {
        if (line[at] == '\\') {
          ++at;
          if (at == line.size() || (line[at] != '\\' && line[at] != '"' && line[at] != 'n'))
            return "a bad escape";
        }
        value += line[at];
      }
      if (at == line.size()) return "an open label";
      ++at;
      if (name == "le") le = value;
    } while (line[at] == ',');
    return line[at++] == '}' ? nullptr : "open labels";
  }
  const char* HistogramSample(const std::string& name, const std::string& le, double number) {
    if (name == metric_ + "_sum") return nullptr;
    if (name == metric_ + "_count") return number == infinite_ ? nullptr : "the +Inf bucket is not the count";
    if (name != metric_ + "_bucket" || le.empty()) return "not a sample of this histogram";
    if (number < below_) return "counts are cumulative";
    below_ = number;
    if (le == "+Inf") {
      infinite_ = number;
      return nullptr;
    }
    char* end;
    const double bound = std::strtod(le.c_str(), &end);
    if (*end != '\0' || bound <= bound_) return "bounds rise";
    bound_ = bound;
    return nullptr;
  }
  const char* EndMetric() {
    if (!metric_.empty() && count_ == 0) return "a metric without samples";
    if (type_ == "histogram" && infinite_ < 0) return "no +Inf bucket";
    count_ = 0;
    below_ = 0;
    infinite_ = bound_ = -1;
    type_.clear();
    return nullptr;
  }

  std::string metric_;
  std::string type_;
  int count_ = 0;
  double below_ = 0;
  double infinite_ = -1;
  double bound_ = -1;
};

}  // namespace weir::tests
