// Generation: what holds from one reload to the next: settings, a plan for each upstream, and what changed
// against the generation before. Made off the data path (some milliseconds for 10,000 routes) and never
// changed; every shard adopts each generation, in order. What a shard does then costs it time for what
// changed, not for what is there.
//
// Snapshot: a shard's share in a generation. A request goes by the snapshot that was the newest when it
// began, until its end; `users` says how many still do. Life: control posts `adopt`; the shard posts
// `adopted`, and, when a later one is there and nobody uses this one any more, `gone`. When all are gone, the
// keeper ends the generation.
//
// Owner: the control thread. The first generation is adopted by the proxies as they are made.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/backend.h"
#include "core/mailbox.h"
#include "core/stats.h"
#include "lb/config/settings.h"
#include "lb/upstream/plan.h"

namespace weir {
class UnixSocketFile;
}

namespace weir::lb {

class ClientTable;
class Generation;

struct Snapshot {
  struct Note : Message {
    Snapshot* snapshot = nullptr;
  };

  const Settings& settings() const;

  Generation* generation = nullptr;
  uint32_t shard = 0;
  Counter users;  // written by the shard: requests, and TCP connections that still connect
  // For each of Settings::listeners: a listening socket; -1: the shard has it, or another one has the only
  // one.
  std::vector<int> sockets;
  int64_t adopt_us = 0;  // how long the shard took; to be read after `adopted`
  Note adopt;
  Note adopted;
  Note gone;
};

// What one request goes by.
struct SnapshotHold {
  Snapshot* snapshot;
  const ListenerSettings* listener;
};

class Generation {
 public:
  // Hears from the shards, on the control thread.
  class Keeper {
   public:
    virtual ~Keeper() = default;
    virtual void OnAdopted(Snapshot& snapshot) = 0;
    virtual void OnGone(Snapshot& snapshot) = 0;
  };

  static constexpr uint32_t kNew = UINT32_MAX;

  // `before` (null: this is the first one) is what all shards have, or are about to.
  Generation(Settings settings, const Generation* before, Keeper* keeper);
  Generation(const Generation&) = delete;
  Generation& operator=(const Generation&) = delete;

  uint64_t number() const { return number_; }
  const Settings& settings() const { return settings_; }
  Snapshot& snapshot(uint32_t shard) { return snapshots_[shard]; }
  uint32_t shards() const { return settings_.shards; }
  Keeper& keeper() { return *keeper_; }

  // Of Settings::upstreams.
  const std::shared_ptr<UpstreamPlan>& plan(uint32_t upstream) const { return plans_[upstream]; }
  // For each of Settings::listeners: which one it was in the generation before, or kNew.
  std::span<const uint32_t> listeners_before() const { return listeners_before_; }
  // Of each of these what no other listener has had, whatever its place in the settings.
  uint64_t listener_id(uint32_t listener) const { return listener_ids_[listener]; }
  // Listeners of the generation before that are gone.
  std::span<const uint32_t> listeners_removed() const { return listeners_removed_; }
  struct Change {
    std::shared_ptr<UpstreamPlan> before;
    std::shared_ptr<UpstreamPlan> after;  // null: removed
  };
  // Null as long as no listener has ever had a limit for each client.
  ClientTable* client_table() const { return client_table_.get(); }
  // Upstreams of the generation before whose plan is not here.
  std::span<const Change> changed() const { return changed_; }
  uint32_t upstreams_added() const { return upstreams_added_; }
  // Parts of the configuration that say something else than in the generation before (Settings::parts).
  std::span<const std::string> parts_changed() const { return parts_changed_; }
  // Requests that still go by it.
  uint64_t users() const;

  // Of the new listeners: opens one socket per shard by `listen` (which sets port 0 to a real one) and gives
  // the index of the one that failed and its error, or kNew. Then nothing stays open (`close`). A unix
  // socket's path has one listener: one of the shards gets it.
  template <class Listen, class Close>
  uint32_t OpenSockets(const Listen& listen, const Close& close, int* error);
  // What OpenSockets made, where it is not wanted after all.
  template <class Close>
  void CloseSockets(const Close& close);

  // The files of unix listeners, on the control thread, as they outlive sockets and generations. Of a
  // generation that is to be adopted: those of listeners that are gone are removed (then nobody comes there
  // any more), those that stay get their mode; the first errno, or 0.
  int UpdateFiles();
  // All of them, at the end.
  void RemoveFiles();

  // Kept by the keeper.
  int64_t made_wall_ms = 0;
  uint32_t snapshots_adopted = 0;
  uint32_t snapshots_gone = 0;

 private:
  void MatchListeners(const Generation& before);
  void MakePlans(const Generation* before);
  void CompareParts(const Generation& before);
  void RememberFile(uint32_t listener);
  void RemoveFile(uint32_t listener);

  Settings settings_;
  const uint64_t number_;
  Keeper* const keeper_;
  std::vector<std::shared_ptr<UpstreamPlan>> plans_;
  std::vector<uint32_t> listeners_before_;
  std::vector<uint32_t> listeners_removed_;
  std::vector<uint64_t> listener_ids_;
  uint64_t last_listener_id_ = 0;
  std::vector<std::shared_ptr<UnixSocketFile>> files_;  // for each of Settings::listeners
  std::vector<std::shared_ptr<UnixSocketFile>> files_removed_;
  std::shared_ptr<ClientTable> client_table_;
  std::vector<Change> changed_;
  uint32_t upstreams_added_ = 0;
  std::vector<std::string> parts_changed_;
  std::unique_ptr<Snapshot[]> snapshots_;
};

inline const Settings& Snapshot::settings() const { return generation->settings(); }

template <class Listen, class Close>
uint32_t Generation::OpenSockets(const Listen& listen, const Close& close, int* error) {
  for (uint32_t i = 0; i < settings_.listeners.size(); ++i) {
    if (listeners_before_[i] != kNew) continue;
    ListenerSettings& listener = settings_.listeners[i];
    const bool alone = listener.address.is_unix();
    for (uint32_t shard = 0; shard < shards(); ++shard) {
      if (alone && shard != i % shards()) continue;
      const int fd = listen(listener.address, ListenOptions{.unix_mode = listener.unix_mode});
      if (fd >= 0) {
        snapshots_[shard].sockets[i] = fd;
        if (alone) RememberFile(i);
        continue;
      }
      *error = -fd;
      CloseSockets(close);
      return i;
    }
  }
  return kNew;
}

template <class Close>
void Generation::CloseSockets(const Close& close) {
  for (uint32_t i = 0; i < settings_.listeners.size(); ++i) {
    if (listeners_before_[i] != kNew) continue;
    RemoveFile(i);
    for (uint32_t shard = 0; shard < shards(); ++shard) {
      int& open = snapshots_[shard].sockets[i];
      if (open >= 0) close(open);
      open = -1;
    }
  }
}

}  // namespace weir::lb
