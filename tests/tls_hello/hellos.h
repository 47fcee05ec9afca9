// ClientHellos: real ones as they were caught, and others put together by hand, right or wrong.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>

namespace weir::lb {

inline std::string FromHex(std::string_view hex) {
  std::string bytes;
  const auto digit = [](char c) { return c <= '9' ? c - '0' : c - 'a' + 10; };
  for (size_t i = 0; i + 1 < hex.size(); i += 2)
    bytes += static_cast<char>(digit(hex[i]) * 16 + digit(hex[i + 1]));
  return bytes;
}

inline std::string Number(size_t value, int bytes) {
  std::string text;
  for (int i = bytes - 1; i >= 0; --i) text += static_cast<char>(value >> (8 * i) & 0xff);
  return text;
}
// With its length before it.
inline std::string Vector(std::string_view bytes, int length_bytes) {
  return Number(bytes.size(), length_bytes) + std::string(bytes);
}

inline std::string Extension(uint16_t type, std::string_view bytes) {
  return Number(type, 2) + Vector(bytes, 2);
}
inline std::string NameEntry(std::string_view name, uint8_t type = 0) {
  return Number(type, 1) + Vector(name, 2);
}
inline std::string ServerName(std::string_view name) { return Extension(0, Vector(NameEntry(name), 2)); }
inline std::string Protocols(std::initializer_list<std::string_view> names) {
  std::string list;
  for (const std::string_view name : names) list += Vector(name, 1);
  return list;
}
inline std::string Alpn(std::initializer_list<std::string_view> names) {
  return Extension(16, Vector(Protocols(names), 2));
}

// The fields of a ClientHello, each as its bytes.
struct HelloParts {
  std::string version = "\x03\x03";
  std::string random = std::string(32, 'r');
  std::string session_id = Vector("", 1);
  std::string suites = Vector("\x13\x01\x13\x02", 2);
  std::string compressions = Vector(std::string_view("\0", 1), 1);
  std::string extensions;  // without their length
  bool has_extensions = true;
  std::string behind;

  std::string Body() const {
    return version + random + session_id + suites + compressions +
           (has_extensions ? Vector(extensions, 2) : std::string()) + behind;
  }
};

inline std::string HelloMessage(std::string_view body, uint8_t type = 1) {
  return Number(type, 1) + Vector(body, 3);
}
inline std::string TlsRecord(std::string_view bytes, uint8_t type = 22, uint16_t version = 0x0301) {
  return Number(type, 1) + Number(version, 2) + Vector(bytes, 2);
}
// In records of so many bytes each.
inline std::string TlsRecords(std::string_view message, size_t bytes_each) {
  std::string wire;
  for (; !message.empty(); message.remove_prefix(std::min(bytes_each, message.size())))
    wire += TlsRecord(message.substr(0, bytes_each));
  return wire;
}
inline std::string Hello(std::string_view extensions) {
  HelloParts parts;
  parts.extensions = extensions;
  return TlsRecord(HelloMessage(parts.Body()));
}

// OpenSSL 3.0 s_client -servername Shop.Example -alpn h2,http/1.1.
inline const std::string kOpenssl13 = FromHex(
    "160301014b010001470303302bfc4e7a32b93bdd1df5829b00fc0d861f9e408ae4f4d823eb6e812beeb3a820f617fe36cc62"
    "e69a4d9a0fa2c18cf08453afaaee92042840e5b83cf1a4c4577c003e130213031301c02cc030009fcca9cca8ccaac02bc02f"
    "009ec024c028006bc023c0270067c00ac0140039c009c0130033009d009c003d003c0035002f00ff010000c000000011000f"
    "00000c53686f702e4578616d706c65000b000403000102000a00160014001d0017001e001900180100010101020103010400"
    "2300000010000e000c02683208687474702f312e310016000000170000000d002a0028040305030603080708080809080a08"
    "0b080408050806040105010601030303010302040205020602002b0009080304030303020301002d00020101003300260024"
    "001d0020da849453502a1231c57870d261116fda7f0f5de9294566636119769d734b2171");
// ... -servername shop.example -tls1_2.
inline const std::string kOpenssl12 = FromHex(
    "16030100cc010000c8030321024e40e3d4d9d3f8ac6b221fadc8331e41fd563b8c8869d8d4cd7df8ead5fe000038c02cc030"
    "009fcca9cca8ccaac02bc02f009ec024c028006bc023c0270067c00ac0140039c009c0130033009d009c003d003c0035002f"
    "00ff0100006700000011000f00000c73686f702e6578616d706c65000b000403000102000a000c000a001d0017001e001900"
    "18002300000016000000170000000d002a0028040305030603080708080809080a080b080408050806040105010601030303"
    "010302040205020602");
// ... -noservername.
inline const std::string kOpensslNoName = FromHex(
    "1603010124010001200303dc77b5dd86fe680bdb9fe69111b066b0186cea12870ec0c124af7f5dbf33abbe2043730122ff35"
    "3398603a9b21c0326a46ea9fda43ffe9a188922e51975e844445003e130213031301c02cc030009fcca9cca8ccaac02bc02f"
    "009ec024c028006bc023c0270067c00ac0140039c009c0130033009d009c003d003c0035002f00ff01000099000b00040300"
    "0102000a00160014001d0017001e0019001801000101010201030104002300000016000000170000000d002a002804030503"
    "0603080708080809080a080b080408050806040105010601030303010302040205020602002b000908030403030302030100"
    "2d00020101003300260024001d0020f40f2b6799ee6fadf5cdce22a21875d7e1e6948a0bcf65abfc9a59e2ed9c4325");
// ... -servername old.example -tls1.
inline const std::string kOpensslTls10 = FromHex(
    "16030100930100008f03013ed919dd916b4a44b185462f85f5f937affab10d0c7d97b315aef799dca27c5600002ec00ac014"
    "0039003800880087c019003a0089c009c0130033003200450044c0180034004600350084002f004100ff0100003800000010"
    "000e00000b6f6c642e6578616d706c65000b000403000102000a000c000a001d0017001e0019001800230000001600000017"
    "0000");
// curl 7.88 to https://www.shop.example.
inline const std::string kCurl = FromHex(
    "1603010200010001fc0303487bd52bccf59a7a92d424753f4143e9278dcff7c8405abdfa1c249cfca2ca0620c6f5a0ed981b"
    "40eac8f6362787594d822ca7ed6ceca1ec66475dd577031e7970003e130213031301c02cc030009fcca9cca8ccaac02bc02f"
    "009ec024c028006bc023c0270067c00ac0140039c009c0130033009d009c003d003c0035002f00ff01000175000000150013"
    "0000107777772e73686f702e6578616d706c65000b000403000102000a00160014001d0017001e0019001801000101010201"
    "0301040010000e000c02683208687474702f312e31001600000017000000310000000d002a00280403050306030807080808"
    "09080a080b080408050806040105010601030303010302040205020602002b0009080304030303020301002d000201010033"
    "00260024001d0020c1b3bc30758530e75da6480e56f2022ced0e4f39e9cb7a4696c492b2735ec048001500ad000000000000"
    "0000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"
    "0000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"
    "0000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"
    "0000000000000000000000000000000000");

}  // namespace weir::lb
