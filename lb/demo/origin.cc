#include "lb/demo/origin.h"

#include <string_view>

namespace weir::lb {
namespace {

std::string Escape(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

}  // namespace

MiniReply DemoReply(uint32_t number, const std::string& address, const http::RequestHead& head) {
  static constexpr const char* kColours[] = {"#7a8", "#68b", "#b86"};
  std::string body =
      "<!doctype html>\n<html lang=en><meta charset=utf-8><title>Origin " + std::to_string(number) +
      "</title>\n<style>body{font:16px/1.5 system-ui,sans-serif;margin:3em auto;max-width:46em}"
      "h1{color:" +
      kColours[(number - 1) % 3] +
      "}td{padding:0 1em 0 0;vertical-align:top}td+td{font-family:monospace}</style>\n<h1>Origin " +
      std::to_string(number) + " answered</h1>\n<p>It listens on " + address +
      ". Weir chose it; reload, and another one answers.</p>\n<p>What reached it:</p>\n<table>\n<tr><td>" +
      "request<td>" + Escape(head.method) + " " + Escape(head.target) + "\n";
  for (const http::Field& field : head.fields()) {
    body += "<tr><td>" + Escape(field.name()) + "<td>" + Escape(field.value()) + "\n";
  }
  body += "</table></html>\n";
  return {.status = 200,
          .content_type = "text/html; charset=utf-8",
          .body = std::move(body),
          .extra_fields = "X-Origin: " + std::to_string(number) + "\r\nCache-Control: no-store\r\n"};
}

}  // namespace weir::lb
