// The sums of lb/config/budget.h against the real types: what one costs must not be more than what is counted
// for it.
#include "core/buffer.h"
#include "gtest/gtest.h"
#include "lb/attempts.h"
#include "lb/client_connection.h"
#include "lb/config/budget.h"
#include "lb/config/flag_table.h"
#include "lb/l7/exchange.h"
#include "lb/log/access_log.h"
#include "lb/proxy.h"
#include "lb/upstream/upstream.h"

namespace weir::lb {
namespace {

TEST(Bounds, TypesCostNoMoreThanTheirLine) {
  EXPECT_LE(sizeof(ClientConnection), kConnectionBytes);
  EXPECT_LE(sizeof(UpstreamConnection), kUpstreamConnectionBytes);
  EXPECT_LE(Arena::RoundUp(sizeof(Introduction) + Introduction::kMostTlvBytes), kIntroductionBytes);
  EXPECT_LE(sizeof(Exchange), kRequestBytes);
  EXPECT_LE(sizeof(PasswordDesk) + sizeof(PasswordPool::Job) * PasswordPool::kJobsPerShard +
                sizeof(SpscRing) + (PasswordDesk::kRightEntries + PasswordDesk::kWrongEntries) * size_t{24},
            kPasswordShardBytes);
  EXPECT_LE(size_t{AccessLog::kBlocks} * LogBlock::kBytes, kLogBytes);
}

TEST(Bounds, NumbersThatStandTwiceAgree) {
  EXPECT_EQ(Proxy::kOverLimit, kOverLimitConnections);
  EXPECT_LT(kMaxRetries, Attempts::kMax);
}

// Two buffers of a pool lie a whole slot apart.
TEST(Bounds, ABufferTakesItsSlot) {
  Arena arena(1 << 20);
  BufferPool pool(arena, 33);
  EXPECT_EQ(static_cast<size_t>(pool.at(32)->data - pool.at(0)->data), 32 * kBufferSlotBytes);
}

}  // namespace
}  // namespace weir::lb
