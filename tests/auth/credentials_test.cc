// What a request says of who asks, which hashes are accepted, and what is remembered.
#include "lb/auth/credentials.h"

#include <cstring>

#include "gtest/gtest.h"
#include "lb/auth/basic_auth.h"
#include "lb/auth/digest_cache.h"
#include "lb/auth/password.h"
#include "lb/auth/sip_hash.h"

namespace weir::lb {
namespace {

// Of the authors' reference: key 00 01 ... 0f, input 00 01 ... of each length.
TEST(SipHash, Vectors) {
  const SipKey key = {0x0706050403020100, 0x0f0e0d0c0b0a0908};
  const std::string input("\x00\x01\x02\x03\x04\x05\x06\x07", 8);
  const auto hex = [&](size_t bytes) {
    const Digest digest = SipHash128(key, std::string_view(input).substr(0, bytes));
    unsigned char raw[16];
    std::memcpy(raw, &digest.low, 8);
    std::memcpy(raw + 8, &digest.high, 8);
    std::string text;
    for (const unsigned char byte : raw) {
      text += "0123456789abcdef"[byte >> 4];
      text += "0123456789abcdef"[byte & 15];
    }
    return text;
  };
  EXPECT_EQ(hex(0), "a3817f04ba25a8e66df67214c7550293");
  EXPECT_EQ(hex(1), "da87c1d86b99af44347659119b22fc45");
  EXPECT_EQ(hex(2), "8177228da4a45dc7fca38bdef60affe4");
}

TEST(Credentials, OfTheBasicScheme) {
  const auto read = [](const std::string& value) -> std::string {
    Credentials credentials;
    if (!credentials.Read(value)) return "-";
    return std::string(credentials.user()) + "|" + std::string(credentials.password());
  };
  EXPECT_EQ(read("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="), "Aladdin|open sesame");
  EXPECT_EQ(read("bASIC  QWxhZGRpbjpvcGVuIHNlc2FtZQ"), "Aladdin|open sesame");
  EXPECT_EQ(read("Basic dGVzdDoxMjPCow=="), "test|123\xc2\xa3");
  EXPECT_EQ(read("Basic YTpiOmM="), "a|b:c");
  EXPECT_EQ(read("Basic Og=="), "|");
  for (const char* bad :
       {"", "Basic", "Basic ", "Bearer QWxhZGRpbjpvcGVuIHNlc2FtZQ==", "BasicQTpi", "Basic YWJj",  // no colon
        "Basic Q", "Basic QTpi=", "Basic QTpi====", "Basic QT pi", "Basic QT-_", "Basic QTo=x",
        "Basic QTp=", "Basic YTpiAA==", "Basic YQo6Yg==", "Basic YTpi "}) {
    EXPECT_EQ(read(bad), "-") << bad;
  }
  // "a:" and a password, at the limit and beyond.
  const auto of_length = [](size_t bytes) {
    std::string text;
    const std::string plain = "a:" + std::string(bytes, 'a');
    static constexpr char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint32_t bits = 0;
    int count = 0;
    for (const char c : plain) {
      bits = bits << 8 | static_cast<unsigned char>(c);
      for (count += 8; count >= 6; count -= 6) text += kDigits[bits >> (count - 6) & 63];
    }
    if (count > 0) text += kDigits[bits << (6 - count) & 63];
    return "Basic " + text;
  };
  EXPECT_EQ(read(of_length(256)), "a|" + std::string(256, 'a'));
  EXPECT_EQ(read(of_length(257)), "-");
  EXPECT_EQ(read(of_length(100'000)), "-");
}

constexpr const char* kBcrypt =
    "$2b$04$WUHhXETkX0fnYkrqZU3ta.zwoU3NOuzYB7by401ZrGRFKs239bMTy";  // open sesame
constexpr const char* kSha =
    "$6$rounds=1000$V7qMYJaNbVKOeh4P$LVHCmciZGQDJWKT0Sln7CuAsFJENNdAumoZzAsSsZ/g/"
    "Ino8rp5tm7YJULARnTGtNMMRtiPB3NCzVd2g.hqhF.";  // secret
constexpr const char* kYescrypt =
    "$y$j75$uI/apFbxQeR2/BGt8g62X/$JPsDHmjZecYtQzNOxikC0m.5LzLL04wDj9VuxZcPNO2";  // x

TEST(Password, WhichHashesAreAccepted) {
  for (const char* good :
       {kBcrypt, kSha, kYescrypt, "$5$hDKoAHPptZAnRhmL$bNBWL5fYPfnwQZRQCqguS2mNl4cKpE.IMq4.ZOpqkm2",
        "$2y$05$X2fcDw.D546UJI5Y0gfvuuzQs0fmJyNIVvKwTvBwUi4A1JTLnkOyi"}) {
    EXPECT_EQ(WhyNoPasswordHash(good), nullptr) << good;
  }
  const std::string bcrypt = kBcrypt;
  for (const std::string& bad :
       {std::string("secret"), std::string(), std::string("$"), std::string("*0"), std::string("*1"),
        std::string("$1$OnmESzOm$ABgvrx9MAaaS1ZtMOudXK."), std::string("$apr1$x$y"),
        std::string("{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ="), std::string("ab0JsJ.mGPfYA"), bcrypt.substr(0, 59),
        bcrypt + "x", "$2b$4$" + bcrypt.substr(7), "$2b$xx$" + bcrypt.substr(7), "$2x" + bcrypt.substr(3),
        bcrypt.substr(0, 59) + ":", std::string(kSha) + ".", std::string("$y$j9T$salt$short"),
        std::string("$6$rounds=10$salt$") + std::string(86, 'x'), std::string("$7$CU..../....x$y")}) {
    ASSERT_NE(WhyNoPasswordHash(bad), nullptr) << bad;
    EXPECT_NE(std::string(WhyNoPasswordHash(bad)).find("expected a hash of bcrypt"), std::string::npos)
        << bad;
  }
  for (const std::string& slow :
       {"$2b$15$" + bcrypt.substr(7), "$6$rounds=999999999$salt$" + std::string(86, 'x'),
        std::string("$y$jCT$") + std::string(kYescrypt).substr(7)}) {
    ASSERT_NE(WhyNoPasswordHash(slow), nullptr) << slow;
    EXPECT_NE(std::string(WhyNoPasswordHash(slow)).find("takes seconds"), std::string::npos) << slow;
  }
}

TEST(Password, Matches) {
  PasswordChecker checker;
  EXPECT_TRUE(checker.Matches("open sesame", kBcrypt));
  EXPECT_FALSE(checker.Matches("open sesam", kBcrypt));
  EXPECT_FALSE(checker.Matches("", kBcrypt));
  EXPECT_TRUE(checker.Matches("secret", kSha));
  EXPECT_FALSE(checker.Matches("Secret", kSha));
  EXPECT_TRUE(checker.Matches("x", kYescrypt));
  EXPECT_FALSE(checker.Matches("*0", "*0")) << "crypt's word for an error is nobody's hash";
}

// libcrypt's bcrypt ends at 72 bytes: it would let in whoever knows the beginning of a longer password.
TEST(Password, ALongerOneThanBcryptReadsIsWrong) {
  PasswordChecker checker;
  const std::string most = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef12345678";
  ASSERT_EQ(most.size(), kMaxBcryptPasswordBytes);
  const char* const bcrypt = "$2b$04$WUHhXETkX0fnYkrqZU3ta.FHL15mkzIzUuls92P2g06sGhECm/jMW";
  EXPECT_TRUE(checker.Matches(most.c_str(), bcrypt));
  EXPECT_FALSE(checker.Matches((most + "x").c_str(), bcrypt));
  EXPECT_FALSE(checker.Matches((most.substr(1) + "9").c_str(), bcrypt));
}

TEST(BasicAuth, Users) {
  BasicAuth auth;
  auth.users = {{"bob", "2"}, {"alice", "1"}, {"carol", "3"}};
  EXPECT_EQ(auth.Finish(), nullptr);
  ASSERT_NE(auth.Find("alice"), nullptr);
  EXPECT_EQ(auth.Find("alice")->hash, "1");
  EXPECT_EQ(auth.Find("Alice"), nullptr);
  EXPECT_EQ(auth.Find(""), nullptr);
  auth.users.push_back({"bob", "4"});
  ASSERT_NE(auth.Finish(), nullptr);
  EXPECT_EQ(*auth.Finish(), "bob");
  auth.realm = "the shop";
  EXPECT_EQ(auth.Challenge(), "WWW-Authenticate: Basic realm=\"the shop\", charset=\"UTF-8\"\r\n");
}

TEST(DigestCache, UseRenews) {
  DigestCache cache(16, 100);
  const Digest digest{7, 7};
  EXPECT_FALSE(cache.Use(digest, 0)) << "nothing is there yet";
  cache.Add(digest, 0);
  EXPECT_TRUE(cache.Use(digest, 90));
  EXPECT_TRUE(cache.Has(digest, 189));
  EXPECT_FALSE(cache.Use(digest, 190)) << "too late";
  EXPECT_FALSE(cache.Has(digest, 191));
}

TEST(DigestCache, RemembersForAWhile) {
  DigestCache cache(8, 100);  // two places of four
  EXPECT_FALSE(cache.Has({0, 1}, 0));
  cache.Add({0, 1}, 0);
  EXPECT_TRUE(cache.Has({0, 1}, 99));
  EXPECT_FALSE(cache.Has({0, 1}, 100));
  EXPECT_FALSE(cache.Has({0, 2}, 0));
  EXPECT_FALSE(cache.Has({2, 1}, 0)) << "the same place, another digest";
  cache.Add({0, 1}, 50);
  EXPECT_TRUE(cache.Has({0, 1}, 149));
  // Five for one place: the one that ends first goes.
  for (uint64_t i = 2; i <= 5; ++i) cache.Add({0, i}, static_cast<int64_t>(50 + i));
  EXPECT_FALSE(cache.Has({0, 1}, 60));
  for (uint64_t i = 2; i <= 5; ++i) EXPECT_TRUE(cache.Has({0, i}, 60)) << i;
  EXPECT_FALSE(cache.Has({0, 0}, 0)) << "what an empty entry holds is not known";
}

}  // namespace
}  // namespace weir::lb
