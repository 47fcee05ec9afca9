#include "lb/config/endpoint_overlay.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "lb/balance/balancer.h"

namespace weir::lb {
namespace {

using Entry = EndpointOverlay::Entry;
using Kind = EndpointOverlay::Kind;

// By the address: its text has an order.
template <class Element>
std::map<std::string, size_t> IndexOf(const std::vector<Element>& elements) {
  std::map<std::string, size_t> index;
  for (size_t i = 0; i < elements.size(); ++i) index.emplace(elements[i].address.ToString(), i);
  return index;
}

std::vector<EndpointSettings> Applied(const EndpointOverlay::Upstream& upstream) {
  const std::map<std::string, size_t> entries = IndexOf(upstream.entries);
  std::vector<EndpointSettings> endpoints;
  for (const EndpointSettings& endpoint : upstream.file) {
    const auto at = entries.find(endpoint.address.ToString());
    const Entry* const entry = at == entries.end() ? nullptr : &upstream.entries[at->second];
    if (entry != nullptr && entry->kind == Kind::kRemoved) continue;
    endpoints.push_back(endpoint);
    if (entry != nullptr) endpoints.back().weight = entry->weight;
  }
  // Nobody said where one that was added is: there, if all are in Weir's zone; else it may be far.
  const bool all_here = std::all_of(upstream.file.begin(), upstream.file.end(),
                                    [](const EndpointSettings& endpoint) { return endpoint.in_own_zone; });
  for (const Entry& entry : upstream.entries) {
    if (entry.kind != Kind::kAdded) continue;
    EndpointSettings& added = endpoints.emplace_back();
    added.address = entry.address;
    added.weight = entry.weight;
    added.text = entry.address.ToString();
    added.in_own_zone = all_here;
  }
  return endpoints;
}

// Null: it could be an endpoint.
const char* WhyNoEndpoint(const Settings& settings, const UpstreamSettings& upstream,
                          const SocketAddress& address) {
  const bool listens =
      std::any_of(settings.listeners.begin(), settings.listeners.end(),
                  [&](const ListenerSettings& listener) { return listener.address == address; });
  if (listens || (settings.has_admin && settings.admin == address))
    return "is an address that Weir itself listens on";
  if (address.is_unix() && upstream.health_check.port != 0)
    return "has no port, and health_check.port of the upstream wants one";
  return nullptr;
}

const EndpointSettings* FindAddress(const std::vector<EndpointSettings>& endpoints,
                                    const SocketAddress& address) {
  const auto at = std::find_if(endpoints.begin(), endpoints.end(),
                               [&](const EndpointSettings& endpoint) { return endpoint.address == address; });
  return at == endpoints.end() ? nullptr : &*at;
}

// One edit of one upstream.
class Editor {
 public:
  Editor(const Settings& running, const EndpointEdit& edit) : running_(running), edit_(edit) {}

  EditedSettings Run() {
    const auto at = std::find_if(running_.upstreams.begin(), running_.upstreams.end(),
                                 [&](const UpstreamSettings& one) { return one.name == edit_.upstream; });
    if (at == running_.upstreams.end())
      return Refused(404, "\"" + edit_.upstream + "\": no upstream has this name; /upstreams lists them");
    upstream_ = &*at;
    if (running_.overlay != nullptr) overlay_ = *running_.overlay;
    changed_ = &overlay_.upstreams[edit_.upstream];
    if (changed_->entries.empty()) changed_->file = upstream_->endpoints;
    if (edit_.kind == EndpointEdit::Kind::kAdd) return Add();
    for (const EndpointSettings& endpoint : upstream_->endpoints) {
      if (endpoint.text == edit_.endpoint || endpoint.address.ToString() == edit_.endpoint)
        meant_.push_back(&endpoint);
    }
    if (meant_.empty()) {
      return Refused(404, "\"" + edit_.endpoint + "\": upstream " + edit_.upstream +
                              " has no such endpoint; /upstreams/" + edit_.upstream + " lists them");
    }
    return edit_.kind == EndpointEdit::Kind::kWeight ? ChangeWeight() : Remove();
  }

 private:
  static EditedSettings Refused(uint16_t status, const std::string& why) { return {status, why + "\n", {}}; }

  EditedSettings Add() {
    const std::string name = edit_.address.ToString();
    if (FindAddress(upstream_->endpoints, edit_.address) != nullptr)
      return Refused(409, name + ": upstream " + edit_.upstream + " has this endpoint already");
    if (const char* const why = WhyNoEndpoint(running_, *upstream_, edit_.address))
      return Refused(409, name + " " + why);
    if (upstream_->endpoints.size() >= Balancer::kMaxEndpoints) {
      return Refused(409, "upstream " + edit_.upstream + " has " + std::to_string(Balancer::kMaxEndpoints) +
                              " endpoints: more are not possible");
    }
    const EndpointSettings* const in_file = FindAddress(changed_->file, edit_.address);
    const uint32_t weight = edit_.weight != 0 ? edit_.weight : in_file != nullptr ? in_file->weight : 1;
    SetWeight(edit_.address, weight);
    Say(edit_.address, "is added with weight " + std::to_string(weight));
    return Changed();
  }

  EditedSettings ChangeWeight() {
    bool same = true;
    for (const EndpointSettings* endpoint : meant_) {
      same = same && endpoint->weight == edit_.weight;
      SetWeight(endpoint->address, edit_.weight);
      Say(endpoint->address, "has weight " + std::to_string(edit_.weight));
    }
    return same ? EditedSettings{.status = 200, .text = text_, .settings = {}} : Changed();
  }

  EditedSettings Remove() {
    const std::vector<EndpointSettings>& all = upstream_->endpoints;
    const bool one_stays = std::any_of(all.begin(), all.end(), [this](const EndpointSettings& endpoint) {
      return !endpoint.backup() && std::find(meant_.begin(), meant_.end(), &endpoint) == meant_.end();
    });
    if (!one_stays) {
      return Refused(409, "\"" + edit_.endpoint + "\" is all that upstream " + edit_.upstream + " has" +
                              (meant_.size() < all.size() ? " but for backups" : "") +
                              ": one endpoint must stay; state=drain or down takes it out");
    }
    for (const EndpointSettings* endpoint : meant_) {
      Drop(endpoint->address);
      if (FindAddress(changed_->file, endpoint->address) != nullptr)
        changed_->entries.push_back({Kind::kRemoved, endpoint->address});
      Say(endpoint->address, "is removed");
    }
    return Changed();
  }

  void Drop(const SocketAddress& address) {
    std::erase_if(changed_->entries, [&](const Entry& entry) { return entry.address == address; });
  }
  void SetWeight(const SocketAddress& address, uint32_t weight) {
    const EndpointSettings* const in_file = FindAddress(changed_->file, address);
    const auto at = std::find_if(changed_->entries.begin(), changed_->entries.end(),
                                 [&](const Entry& entry) { return entry.address == address; });
    const Entry entry{in_file == nullptr ? Kind::kAdded : Kind::kWeight, address, weight};
    if (in_file != nullptr && in_file->weight == weight) {
      Drop(address);  // as the file has it
    } else if (at != changed_->entries.end()) {
      *at = entry;  // in its place: the order is that of the endpoints that were added
    } else {
      changed_->entries.push_back(entry);
    }
  }
  void Say(const SocketAddress& address, const std::string& what) {
    text_ += "upstream " + edit_.upstream + ": endpoint " + address.ToString() + " " + what + "\n";
  }

  EditedSettings Changed() {
    EditedSettings edited{.status = 200, .text = std::move(text_), .settings = running_};
    auto& upstream = edited.settings->upstreams[static_cast<size_t>(upstream_ - running_.upstreams.data())];
    upstream.endpoints = Applied(*changed_);
    if (changed_->entries.empty()) overlay_.upstreams.erase(edit_.upstream);
    edited.settings->overlay =
        overlay_.upstreams.empty() ? nullptr : std::make_shared<const EndpointOverlay>(std::move(overlay_));
    return edited;
  }

  const Settings& running_;
  const EndpointEdit& edit_;
  const UpstreamSettings* upstream_ = nullptr;
  EndpointOverlay overlay_;
  EndpointOverlay::Upstream* changed_ = nullptr;  // in overlay_
  std::vector<const EndpointSettings*> meant_;
  std::string text_;
};

// What of a reload is told: the first so many sentences of an upstream.
class Sentences {
 public:
  Sentences(const std::string& upstream, std::string* messages) : upstream_(upstream), messages_(*messages) {}
  ~Sentences() {
    if (said_ > kMost) Write("and " + std::to_string(said_ - kMost) + " more");
  }
  void Say(const std::string& sentence) {
    if (++said_ <= kMost) Write(sentence);
  }
  void Say(const Entry& entry, const std::string& sentence) {
    Say("endpoint " + entry.address.ToString() + " " + sentence);
  }

 private:
  static constexpr size_t kMost = 20;

  void Write(const std::string& sentence) { messages_ += "upstream " + upstream_ + ": " + sentence + "\n"; }

  const std::string& upstream_;
  std::string& messages_;
  size_t said_ = 0;
};

// What becomes of `entry` beside the file's endpoint of that address (null: it has none); false: nothing.
bool Keep(const Settings& settings, const UpstreamSettings& upstream, const EndpointSettings* in_file,
          Entry& entry, Sentences& sentences) {
  const std::string weight = std::to_string(entry.weight);
  if (entry.kind == Kind::kRemoved) {
    if (in_file == nullptr)
      sentences.Say(entry, "was removed by an operator, and is not in the file any more");
    return in_file != nullptr;
  }
  if (in_file == nullptr) {
    const char* const why =
        entry.kind == Kind::kAdded ? WhyNoEndpoint(settings, upstream, entry.address) : nullptr;
    if (why != nullptr)
      sentences.Say(entry, "was added by an operator, and is none any more: it " + std::string(why));
    if (entry.kind == Kind::kWeight)
      sentences.Say(entry,
                    "is not in the file any more: weight " + weight + ", said by an operator, is gone too");
    return entry.kind == Kind::kAdded && why == nullptr;
  }
  const char* const was = entry.kind == Kind::kAdded ? "was added by an operator, and is in the file now"
                                                     : "had its weight from an operator";
  if (in_file->weight == entry.weight) {
    sentences.Say(entry, std::string(was) + ": the file has the same weight");
    return false;
  }
  if (entry.kind == Kind::kAdded) sentences.Say(entry, std::string(was) + ", but keeps weight " + weight);
  entry.kind = Kind::kWeight;
  return true;
}

}  // namespace

EditedSettings EditEndpoints(const Settings& running, const EndpointEdit& edit) {
  return Editor(running, edit).Run();
}

bool KeepEdits(const Settings& running, Settings& settings, std::string* messages) {
  if (running.overlay == nullptr) return true;
  EndpointOverlay kept;
  for (const auto& [name, before] : running.overlay->upstreams) {
    Sentences sentences(name, messages);
    const auto at = std::find_if(settings.upstreams.begin(), settings.upstreams.end(),
                                 [&name](const UpstreamSettings& one) { return one.name == name; });
    if (at == settings.upstreams.end()) {
      sentences.Say("it is gone, and with it what operators changed of " +
                    std::to_string(before.entries.size()) + " of its endpoints");
      continue;
    }
    EndpointOverlay::Upstream now{.file = at->endpoints, .entries = {}};
    const std::map<std::string, size_t> in_file = IndexOf(now.file);
    for (Entry entry : before.entries) {
      const auto found = in_file.find(entry.address.ToString());
      const EndpointSettings* const same = found == in_file.end() ? nullptr : &now.file[found->second];
      if (Keep(settings, *at, same, entry, sentences)) now.entries.push_back(entry);
    }
    std::vector<EndpointSettings> endpoints = Applied(now);
    const bool serves = std::any_of(endpoints.begin(), endpoints.end(),
                                    [](const EndpointSettings& endpoint) { return !endpoint.backup(); });
    if (!serves) {
      sentences.Say("all that the file has, backups aside, was removed by operators: it is used again");
      std::erase_if(now.entries, [](const Entry& entry) { return entry.kind == Kind::kRemoved; });
      endpoints = Applied(now);
    }
    if (endpoints.size() > Balancer::kMaxEndpoints) {
      *messages += "upstream " + name + ": " + std::to_string(endpoints.size()) +
                   " endpoints with those that operators added: at most " +
                   std::to_string(Balancer::kMaxEndpoints) + " are possible\n";
      return false;
    }
    at->endpoints = std::move(endpoints);
    if (!now.entries.empty()) kept.upstreams.emplace(name, std::move(now));
  }
  if (!kept.upstreams.empty()) settings.overlay = std::make_shared<const EndpointOverlay>(std::move(kept));
  return true;
}

}  // namespace weir::lb
