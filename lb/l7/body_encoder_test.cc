#include "lb/l7/body_encoder.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>

namespace weir::lb {
namespace {

class WriteBeforeTest : public testing::Test {
 protected:
  static constexpr uint32_t kOldHead = 100;

  WriteBeforeTest() : arena_(1 << 20), pool_(arena_, 8) {}
  // What a receive brought: an old head, then the body.
  Slice Received() {
    Buffer* buffer = pool_.Take();
    std::memset(buffer->data, 'o', kOldHead);
    std::memcpy(buffer->data + kOldHead, "body", 4);
    return Slice(buffer, 0, kOldHead + 4);
  }
  static Slice BodyOf(Slice received) {
    received.RemovePrefix(kOldHead);
    return received;
  }

  Arena arena_;
  BufferPool pool_;
};

TEST_F(WriteBeforeTest, TakesThePlaceOfTheOldHead) {
  Slice body = BodyOf(Received());
  EXPECT_TRUE(WriteBefore(std::string(40, 'n'), body));
  EXPECT_EQ(body.view(), std::string(40, 'n') + "body");
}

TEST_F(WriteBeforeTest, MayBeLongerByTheHeadroom) {
  constexpr uint32_t kMost = kOldHead + BufferPool::kHeadroomBytes;
  Slice body = BodyOf(Received());
  EXPECT_FALSE(WriteBefore(std::string(kMost + 1, 'n'), body));
  EXPECT_EQ(body.view(), "body");
  EXPECT_TRUE(WriteBefore(std::string(kMost, 'n'), body));
  EXPECT_EQ(body.view(), std::string(kMost, 'n') + "body");
}

// The last message's body may lie before, and be on its way.
TEST_F(WriteBeforeTest, LeavesABufferAloneThatSomebodyElseHolds) {
  const Slice received = Received();
  Slice body = BodyOf(received);
  EXPECT_FALSE(WriteBefore("head", body));
  EXPECT_EQ(received.view(), std::string(kOldHead, 'o') + "body");
}

TEST_F(WriteBeforeTest, NeverGrowsAChunk) {
  Slice body(pool_.TakeChunk(200), 0, 200);
  body.RemovePrefix(100);
  EXPECT_FALSE(WriteBefore("head", body));
  EXPECT_EQ(body.size(), 100u);
}

}  // namespace
}  // namespace weir::lb
