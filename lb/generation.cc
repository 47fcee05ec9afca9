#include "lb/generation.h"

#include <sys/random.h>

#include <algorithm>
#include <map>
#include <string_view>

#include "core/check.h"
#include "core/unix_listener.h"
#include "lb/client_table.h"

namespace weir::lb {
namespace {

// The same socket serves both. A port that the kernel chose stays what it is.
bool SameSocket(const ListenerSettings& now, const ListenerSettings& before) {
  // Connections that are there speak the protocol that it had.
  if (now.protocol != before.protocol) return false;
  if (now.address.port == 0 && !now.address.is_unix()) return now.text == before.text;
  return now.address == before.address;
}

bool LimitsClients(const std::vector<ListenerSettings>& listeners) {
  return std::any_of(listeners.begin(), listeners.end(),
                     [](const auto& listener) { return listener.max_connections_per_client > 0; });
}

std::shared_ptr<ClientTable> MakeClientTable(const Settings& settings) {
  SipKey key;
  WEIR_CHECK(getrandom(key.data(), sizeof(key), 0) == sizeof(key));
  return std::make_shared<ClientTable>(settings.max_connections, key);
}

}  // namespace

Generation::Generation(Settings settings, const Generation* before, Keeper* keeper)
    : settings_(std::move(settings)),
      number_(before == nullptr ? 1 : before->number_ + 1),
      keeper_(keeper),
      listeners_before_(settings_.listeners.size(), kNew),
      snapshots_(std::make_unique<Snapshot[]>(settings_.shards)) {
  files_.resize(settings_.listeners.size());
  listener_ids_.resize(settings_.listeners.size());
  if (before != nullptr) {
    MatchListeners(*before);
    CompareParts(*before);
  }
  for (size_t i = 0; i < settings_.listeners.size(); ++i) {
    if (listeners_before_[i] != kNew) continue;
    files_[i] = std::make_shared<UnixSocketFile>();
    listener_ids_[i] = ++last_listener_id_;
  }
  if (before != nullptr) client_table_ = before->client_table_;
  if (client_table_ == nullptr && LimitsClients(settings_.listeners))
    client_table_ = MakeClientTable(settings_);
  MakePlans(before);
  for (uint32_t shard = 0; shard < settings_.shards; ++shard) {
    Snapshot& snapshot = snapshots_[shard];
    snapshot.generation = this;
    snapshot.shard = shard;
    snapshot.adopt.snapshot = snapshot.adopted.snapshot = snapshot.gone.snapshot = &snapshot;
    snapshot.adopted.deliver = [](Message* message, Shard&) {
      Snapshot& from = *static_cast<Snapshot::Note*>(message)->snapshot;
      from.generation->keeper().OnAdopted(from);
    };
    snapshot.gone.deliver = [](Message* message, Shard&) {
      Snapshot& from = *static_cast<Snapshot::Note*>(message)->snapshot;
      from.generation->keeper().OnGone(from);
    };
    snapshot.sockets.assign(settings_.listeners.size(), -1);
  }
}

void Generation::MatchListeners(const Generation& before) {
  const std::vector<ListenerSettings>& old = before.settings_.listeners;
  last_listener_id_ = before.last_listener_id_;
  std::vector<bool> kept(old.size());
  for (size_t i = 0; i < settings_.listeners.size(); ++i) {
    for (size_t o = 0; o < old.size(); ++o) {
      if (kept[o] || !SameSocket(settings_.listeners[i], old[o])) continue;
      kept[o] = true;
      listeners_before_[i] = static_cast<uint32_t>(o);
      settings_.listeners[i].address = old[o].address;
      files_[i] = before.files_[o];
      listener_ids_[i] = before.listener_ids_[o];
      break;
    }
  }
  for (size_t o = 0; o < old.size(); ++o) {
    if (kept[o]) continue;
    listeners_removed_.push_back(static_cast<uint32_t>(o));
    files_removed_.push_back(before.files_[o]);
  }
}

int Generation::UpdateFiles() {
  int error = 0;
  for (const auto& file : files_removed_) file->Remove();
  for (size_t i = 0; i < files_.size(); ++i) {
    const int refused = files_[i]->SetMode(settings_.listeners[i].unix_mode);
    if (error == 0) error = refused;
  }
  return error;
}

void Generation::RemoveFiles() {
  for (const auto& file : files_) file->Remove();
}

void Generation::RememberFile(uint32_t listener) {
  files_[listener]->Remember(settings_.listeners[listener].address);
}

void Generation::RemoveFile(uint32_t listener) { files_[listener]->Remove(); }

void Generation::MakePlans(const Generation* before) {
  std::map<std::string_view, std::shared_ptr<UpstreamPlan>> left;
  if (before != nullptr) {
    for (const auto& plan : before->plans_) left.emplace(plan->settings.name, plan);
  }
  for (const UpstreamSettings& upstream : settings_.upstreams) {
    const auto found = left.find(upstream.name);
    const std::shared_ptr<UpstreamPlan> old = found == left.end() ? nullptr : found->second;
    if (old != nullptr) left.erase(found);
    if (old != nullptr && old->settings == upstream) {
      plans_.push_back(old);
      continue;
    }
    plans_.push_back(std::make_shared<UpstreamPlan>(upstream, settings_.shards, old.get()));
    if (old != nullptr) {
      changed_.push_back({old, plans_.back()});
    } else {
      ++upstreams_added_;
    }
  }
  for (const auto& [name, plan] : left) changed_.push_back({plan, nullptr});
}

void Generation::CompareParts(const Generation& before) {
  std::map<std::string, size_t> old = before.settings_.parts;
  for (const auto& [name, hash] : settings_.parts) {
    const auto at = old.find(name);
    if (at == old.end() || at->second != hash) parts_changed_.push_back(name);
    if (at != old.end()) old.erase(at);
  }
  for (const auto& [name, hash] : old) parts_changed_.push_back(name);
}

uint64_t Generation::users() const {
  uint64_t users = 0;
  for (uint32_t shard = 0; shard < settings_.shards; ++shard) users += snapshots_[shard].users.Get();
  return users;
}

}  // namespace weir::lb
