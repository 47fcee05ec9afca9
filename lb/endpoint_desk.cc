#include "lb/endpoint_desk.h"

#include <optional>
#include <utility>

#include "core/log.h"

namespace weir::lb {
namespace {

constexpr uint64_t kBits[] = {0, EndpointBook::kDraining, EndpointBook::kForcedDown};
constexpr const char* kWords[] = {"ready", "draining", "down"};
constexpr uint64_t kAll = EndpointBook::kDraining | EndpointBook::kForcedDown;

UpstreamPlan* FindPlan(const Generation& generation, std::string_view name) {
  for (uint32_t u = 0; u < generation.settings().upstreams.size(); ++u) {
    if (generation.plan(u)->settings.name == name) return generation.plan(u).get();
  }
  return nullptr;
}

}  // namespace

void EndpointDesk::Change(const Generation& generation, std::string_view target, std::string_view who,
                          Answer answer) {
  std::string error;
  const std::optional<EndpointCall> call = ReadEndpointCall(target, &error);
  if (!call) return answer({400, error + "\n"});
  UpstreamPlan* const plan = FindPlan(generation, call->upstream);
  if (plan == nullptr) {
    return answer({404, "\"" + call->upstream + "\": no upstream has this name; /upstreams lists them\n"});
  }
  const auto state = static_cast<size_t>(call->state);
  std::string text;
  for (uint32_t i = 0; i < plan->books.size(); ++i) {
    const std::shared_ptr<EndpointBook>& book = plan->books[i];
    const std::string address = book->address().ToString();
    // A name stands for all of its addresses.
    if (address != call->endpoint && plan->settings.endpoints[i].text != call->endpoint) continue;
    const std::string line =
        "upstream " + plan->settings.name + ": endpoint " + address + " is " + kWords[state];
    text += line + "\n";
    if ((book->seen() & kAll) == kBits[state]) continue;
    publisher_.Publish(book, (book->seen() & ~kAll) | kBits[state]);
    LogLine("%s, says the operator (%.*s)", line.c_str(), static_cast<int>(who.size()), who.data());
  }
  if (text.empty()) {
    return answer({404, "\"" + call->endpoint + "\": upstream " + call->upstream +
                            " has no such endpoint; /upstreams/" + call->upstream + " lists them\n"});
  }
  if (news_ != nullptr) news_->LookAt(*plan);
  publisher_.AfterAll([answer = std::move(answer), text] { answer({200, text}); });
}

}  // namespace weir::lb
