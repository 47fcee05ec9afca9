#include "lb/log/access_log.h"

#include <utility>

#include "lb/log/log_writer.h"

namespace weir::lb {

AccessLog::FlushTimer::FlushTimer(AccessLog* log)
    : Runnable([](Runnable* self) { static_cast<FlushTimer*>(self)->log->Flush(); }), log(log) {}

static_assert(AccessFormat::kMostLineBytes <= LogBlock::kBytes && kMaxAccessLineBytes <= LogBlock::kBytes);

AccessLog::AccessLog(Shard& shard, LogWriter& writer, uint32_t writer_shard, ProxyCounters& counters)
    : shard_(shard),
      writer_(writer),
      writer_shard_(writer_shard),
      counters_(counters),
      blocks_(std::make_unique<LogBlock[]>(kBlocks)),
      memory_(std::make_unique_for_overwrite<char[]>(size_t{kBlocks} * LogBlock::kBytes)),
      flush_(this) {
  timer_.waiter = &flush_;
  for (uint32_t i = kBlocks; i-- > 0;) {
    LogBlock& block = blocks_[i];
    block.log = this;
    block.writer = &writer_;
    block.shard = shard_.index();
    block.data = memory_.get() + size_t{i} * LogBlock::kBytes;
    block.next_block = free_;
    free_ = &block;
  }
}

AccessLog::~AccessLog() {
  WEIR_CHECK(away_ == 0);
  shard_.ClearTimer(timer_);
  shard_.Forget(flush_);
}

void AccessLog::Write(const AccessRecord& record, const AccessFormat* format) {
  if (format != nullptr && !format->Wants(record, shard_.random())) return;
  const size_t most = format == nullptr ? kMaxAccessLineBytes : format->max_line_bytes();
  // After a line of another format.
  if (current_ != nullptr && LogBlock::kBytes - current_->length < most) Flush();
  if (current_ == nullptr) {
    if (free_ == nullptr) {
      counters_.log_lines_dropped.Add();
      return;
    }
    current_ = free_;
    free_ = current_->next_block;
    current_->length = 0;
    current_->lines = 0;
  }
  if (current_->lines == 0) shard_.SetTimer(timer_, kFlushMs);
  char* const out = current_->data + current_->length;
  const size_t room = LogBlock::kBytes - current_->length;
  const size_t bytes = format == nullptr ? FormatAccessLine(record, shard_.wall_ms(), out, room)
                                         : format->Write(record, shard_.wall_ms(), out);
  current_->length += static_cast<uint32_t>(bytes);
  ++current_->lines;
  counters_.log_lines.Add();
  if (LogBlock::kBytes - current_->length < most) Flush();
}

void AccessLog::Flush() {
  if (current_ == nullptr || current_->lines == 0) return;
  shard_.ClearTimer(timer_);
  LogBlock* block = std::exchange(current_, nullptr);
  ++away_;
  block->deliver = [](Message* message, Shard&) {
    auto* arrived = static_cast<LogBlock*>(message);
    arrived->writer->Add(arrived);
  };
  shard_.Post(writer_shard_, block);
}

void AccessLog::TakeHome(LogBlock* block) {
  WEIR_CHECK(away_ > 0);
  --away_;
  block->next_block = free_;
  free_ = block;
}

}  // namespace weir::lb
