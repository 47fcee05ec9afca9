#include "core/buffer.h"

#include <gtest/gtest.h>

#include <cstring>
#include <set>
#include <vector>

#include "core/resident.h"

namespace weir {
namespace {

class BufferTest : public testing::Test {
 protected:
  static constexpr uint32_t kCount = 40;
  Arena arena_{1 << 20};
  BufferPool pool_{arena_, kCount};
};

TEST_F(BufferTest, GivesEachBufferOnceAndTheLastReturnedFirst) {
  std::set<Buffer*> all;
  for (uint32_t i = 0; i < kCount; ++i) {
    Buffer* buffer = pool_.Take();
    ASSERT_NE(buffer, nullptr);
    EXPECT_EQ(pool_.at(buffer->index), buffer);
    all.insert(buffer);
  }
  EXPECT_EQ(all.size(), kCount);
  EXPECT_EQ(pool_.Take(), nullptr);
  EXPECT_EQ(pool_.free_count(), 0u);
  Buffer* last = nullptr;
  for (Buffer* buffer : all) BufferPool::Release(last = buffer);
  EXPECT_EQ(pool_.free_count(), kCount);
  Buffer* again = pool_.Take();
  EXPECT_EQ(again, last);
  BufferPool::Release(again);
}

TEST_F(BufferTest, HeadAndTailroomBelongToTheBuffer) {
  std::vector<Buffer*> all;
  for (uint32_t i = 0; i < kCount; ++i) {
    all.push_back(pool_.Take());
    std::memset(all.back()->data - BufferPool::kHeadroomBytes, static_cast<int>(i),
                BufferPool::kHeadroomBytes + BufferPool::kBufferBytes + BufferPool::kTailroomBytes);
  }
  for (uint32_t i = 0; i < kCount; ++i) {
    EXPECT_EQ(all[i]->data[-static_cast<int>(BufferPool::kHeadroomBytes)], static_cast<char>(i));
    EXPECT_EQ(all[i]->data[BufferPool::kBufferBytes + BufferPool::kTailroomBytes - 1], static_cast<char>(i));
    BufferPool::Release(all[i]);
  }
}

TEST_F(BufferTest, ASliceCountsItsBuffer) {
  Buffer* buffer = pool_.Take();
  std::memcpy(buffer->data, "hello world", 11);
  {
    Slice slice(buffer, 0, 11);
    EXPECT_EQ(buffer->references, 1u);
    Slice copy = slice;
    EXPECT_EQ(buffer->references, 2u);
    Slice moved = std::move(copy);
    EXPECT_EQ(buffer->references, 2u);
    EXPECT_TRUE(copy.empty());  // NOLINT: a moved-from slice holds nothing, by contract
    EXPECT_FALSE(copy.holds_buffer());
    moved.RemovePrefix(6);
    EXPECT_EQ(moved.view(), "world");
    EXPECT_EQ(slice.view(), "hello world");
    slice.Truncate(5);
    EXPECT_EQ(slice.view(), "hello");
    slice = moved;
    EXPECT_EQ(slice.view(), "world");
    Slice& self = slice;
    slice = self;
    EXPECT_EQ(slice.view(), "world");
    EXPECT_EQ(buffer->references, 2u);
    moved.Clear();
    EXPECT_EQ(buffer->references, 1u);
    EXPECT_EQ(pool_.free_count(), kCount - 1);
  }
  EXPECT_EQ(pool_.free_count(), kCount);
}

TEST_F(BufferTest, ASliceGrowsIntoHeadAndTailroomAndNoFurther) {
  Slice slice(pool_.Take(), 0, BufferPool::kBufferBytes);
  slice.Grow(BufferPool::kHeadroomBytes, BufferPool::kTailroomBytes);
  EXPECT_EQ(slice.size(), BufferPool::kHeadroomBytes + BufferPool::kBufferBytes + BufferPool::kTailroomBytes);
  EXPECT_EQ(slice.data(), slice.buffer()->data - BufferPool::kHeadroomBytes);
  Slice copy = slice;
  EXPECT_DEATH(copy.Grow(1, 0), "kHeadroomBytes");
  EXPECT_DEATH(copy.Grow(0, 1), "kTailroomBytes");
}

TEST_F(BufferTest, ChunksAreRightSized) {
  {
    Slice chunk(pool_.TakeChunk(100), 0, 100);
    std::memset(chunk.data(), 'c', 100);
    EXPECT_LT(arena_.used_bytes(), 200u);
    EXPECT_EQ(pool_.free_count(), kCount);
    Slice largest(pool_.TakeChunk(BufferPool::kLargestChunk), 0, BufferPool::kLargestChunk);
    std::memset(largest.data(), 'l', largest.size());
    EXPECT_EQ(chunk.view(), std::string(100, 'c'));
  }
  EXPECT_EQ(arena_.used_bytes(), 0u);
  std::vector<Slice> all;
  while (Buffer* buffer = pool_.TakeChunk(1000)) all.emplace_back(buffer, 0, 1000);
  EXPECT_GT(all.size(), 500u);
}

TEST_F(BufferTest, TrimGivesBackWhatABurstTouched) {
  std::vector<Buffer*> all;
  while (Buffer* buffer = pool_.Take()) {
    std::memset(buffer->data, 1, BufferPool::kBufferBytes);
    all.push_back(buffer);
  }
  for (Buffer* buffer : all) BufferPool::Release(buffer);
  const auto resident = [&] {
    size_t bytes = 0;
    for (Buffer* buffer : all) bytes += ResidentBytes(buffer->data, BufferPool::kBufferBytes);
    return bytes;
  };
  pool_.Trim(UINT32_MAX);  // everything was in use since the last call: nothing is given back yet
  EXPECT_GE(resident(), kCount * BufferPool::kBufferBytes);
  // One stays in use: the hot end of the stack is left alone.
  Buffer* hot = pool_.Take();
  hot->data[0] = 1;
  pool_.Trim(3);
  EXPECT_GT(resident(), (kCount - 5) * BufferPool::kBufferBytes);
  pool_.Trim(UINT32_MAX);
  EXPECT_LE(resident(), 2 * size_t{BufferPool::kBufferBytes + 8192});
  EXPECT_EQ(hot->data[0], 1);
  BufferPool::Release(hot);
}

TEST_F(BufferTest, ReturnedTwiceIsFound) {
  Buffer* buffer = pool_.Take();
  BufferPool::Release(buffer);
  EXPECT_DEATH(BufferPool::Release(buffer), "references > 0");
}

TEST_F(BufferTest, ASliceOutsideItsBufferIsFound) {
  Buffer* buffer = pool_.Take();
  EXPECT_DEATH(Slice(buffer, 1, BufferPool::kBufferBytes), "capacity");
  Slice slice(buffer, 0, 10);
  EXPECT_DEATH(slice.RemovePrefix(11), "bytes <= length_");
}

}  // namespace
}  // namespace weir
