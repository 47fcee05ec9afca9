#include "tests/sim/stage.h"

#include <utility>

namespace weir::lb::trial {

Speaker::Speaker(sim::Peer& peer) : peer(peer) {
  peer.manner.most_fragment_bytes = 1 << 20;
  peer.on_bytes = [this](sim::Peer&, std::string_view bytes) {
    heard_bytes += bytes.size();
    if (keep) heard += bytes;
    if (on_heard) on_heard(*this);
  };
  peer.on_end = [this](sim::Peer& p) {
    ended_ = true;
    over_ns_ = p.world().now_ns();
  };
  peer.on_error = [this](sim::Peer& p, int error) {
    error_ = error;
    if (over_ns_ == 0) over_ns_ = p.world().now_ns();
  };
}

size_t Speaker::Count(std::string_view text) const {
  size_t count = 0;
  for (size_t at = heard.find(text); at != std::string::npos; at = heard.find(text, at + text.size()))
    ++count;
  return count;
}

Stage::Stage(uint64_t seed, Options options) {
  Rig::Options rig;
  rig.world.seed = seed;
  rig.world.faults = options.faults;
  rig.world.least_window_bytes = options.least_window_bytes;
  rig.world.most_window_bytes = options.most_window_bytes;
  rig.buffers = options.buffers;
  rig.shards = options.shards;
  rig.settings = std::move(options.settings);
  rig_ = std::make_unique<Rig>(std::move(rig));
  begin_ns_ = world().now_ns();
}

Stage::~Stage() {
  for (auto& client : clients_) client->peer.Reset();
  for (auto& origin : origins_) {
    origin->on_heard = nullptr;
    origin->peer.Reset();
  }
  rig_->End();
}

sim::PeerServer& Stage::Origin(uint32_t endpoint, std::function<void(Speaker&)> on_request) {
  return world().Serve(Rig::EndpointAddress(endpoint), [this, on_request](sim::Peer& peer) {
    origins_.push_back(std::make_unique<Speaker>(peer));
    if (!on_request) return;
    auto answered = std::make_shared<size_t>(0);
    origins_.back()->on_heard = [on_request, answered](Speaker& speaker) {
      for (; *answered < speaker.Count("\r\n\r\n"); ++*answered) on_request(speaker);
    };
  });
}

Speaker& Stage::Client(std::string_view bytes, const char* to) {
  clients_.push_back(std::make_unique<Speaker>(world().Connect(to)));
  if (!bytes.empty()) clients_.back()->Say(bytes);
  return *clients_.back();
}

std::string Get(std::string_view target, std::string_view fields) {
  return "GET " + std::string(target) + " HTTP/1.1\r\nHost: a.test\r\n" + std::string(fields) + "\r\n";
}

std::string Post(std::string_view target, std::string_view fields, std::string_view body) {
  return "POST " + std::string(target) + " HTTP/1.1\r\nHost: a.test\r\n" + std::string(fields) + "\r\n" +
         std::string(body);
}

void SayOk(Speaker& speaker) { speaker.Say(kOk); }

}  // namespace weir::lb::trial
