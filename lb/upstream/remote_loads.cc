#include "lb/upstream/remote_loads.h"

#include <algorithm>

namespace weir::lb {

RemoteLoads::RemoteLoads(const UpstreamPlan& plan, uint32_t shard, Choices& choices)
    : plan_(plan),
      shard_(shard),
      shards_(static_cast<uint32_t>(plan.seats.size())),
      seen_(size_t{shards_} * plan.books.size()),
      remote_(plan.books.size()),
      read_(shards_) {
  if (plan.changes != nullptr) {
    for (uint32_t i = 0; i < shards_; ++i) read_[i] = plan.changes[i].end();
  }
  for (uint32_t i = 0; i < remote_.size(); ++i) ReadAll(i, choices);
}

void RemoteLoads::ReadChanges(Choices& choices) {
  const auto endpoints = static_cast<uint32_t>(remote_.size());
  uint32_t turns = endpoints;
  if (plan_.changes != nullptr) {
    for (uint32_t shard = 0; shard < shards_; ++shard) {
      if (shard == shard_) continue;
      const ChangeLog& log = plan_.changes[shard];
      const uint64_t end = log.end();
      uint64_t& at = read_[shard];
      if (end - at > ChangeLog::kEntries) {
        at = end - ChangeLog::kEntries;
        missed_ = endpoints;
      }
      for (; at < end; ++at) {
        const ChangeLog::Entry entry = log.Read(at);
        Take(shard, entry.endpoint, entry.active, choices);
      }
    }
    turns = missed_ > 0 ? kHealing : kInTurns;
    missed_ -= std::min(missed_, turns);
  }
  for (uint32_t i = 0; i < turns; ++i) {
    ReadAll(turn_, choices);
    turn_ = turn_ + 1 < endpoints ? turn_ + 1 : 0;
  }
}

void RemoteLoads::ReadAll(uint32_t endpoint, Choices& choices) {
  for (uint32_t shard = 0; shard < shards_; ++shard) {
    if (shard == shard_) continue;
    const uint64_t active = plan_.books[endpoint]->page(shard).counters.active.Get();
    Take(shard, endpoint, static_cast<uint32_t>(active), choices);
  }
}

void RemoteLoads::Take(uint32_t shard, uint32_t endpoint, uint32_t active, Choices& choices) {
  uint32_t& seen = seen_[size_t{shard} * remote_.size() + endpoint];
  if (seen == active) return;
  remote_[endpoint] += active - seen;
  seen = active;
  choices.SetRemote(endpoint, remote_[endpoint]);
}

}  // namespace weir::lb
