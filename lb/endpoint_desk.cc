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

void TellOperator(std::string_view sentence, std::string_view who) {
  LogLine("%.*s, says the operator (%.*s)", static_cast<int>(sentence.size()), sentence.data(),
          static_cast<int>(who.size()), who.data());
}

EndpointEdit EditOf(const EndpointCall& call) {
  const auto kind = call.kind == EndpointCall::Kind::kAdd      ? EndpointEdit::Kind::kAdd
                    : call.kind == EndpointCall::Kind::kRemove ? EndpointEdit::Kind::kRemove
                                                               : EndpointEdit::Kind::kWeight;
  return {.kind = kind,
          .upstream = call.upstream,
          .endpoint = call.endpoint,
          .address = call.address,
          .weight = call.weight};
}

}  // namespace

void EndpointDesk::Change(const Generation& generation, bool removes, std::string_view target,
                          std::string_view who, Answer answer) {
  std::string error;
  std::optional<EndpointCall> call = ReadEndpointCall(removes, target, &error);
  if (!call) return answer({400, error + "\n"});
  if (call->kind == EndpointCall::Kind::kChange && call->weight == 0)
    return SetState(generation, *call, who, "", std::move(answer));
  Edit(*std::move(call), std::string(who), std::move(answer));
}

void EndpointDesk::Edit(EndpointCall call, std::string who, Answer answer) {
  const EndpointEdit edit = EditOf(call);
  ask_(edit, [this, call = std::move(call), who = std::move(who), answer = std::move(answer)](
                 Reply reply, const Generation& newest) {
    if (reply.status != 200) return answer(std::move(reply));
    for (std::string_view rest = reply.text; !rest.empty();) {
      const size_t end = rest.find('\n');
      TellOperator(rest.substr(0, end), who);
      rest.remove_prefix(std::min(end, rest.size() - 1) + 1);
    }
    if (!call.state) return answer(std::move(reply));
    SetState(newest, call, who, std::move(reply.text), answer);
  });
}

void EndpointDesk::SetState(const Generation& generation, const EndpointCall& call, std::string_view who,
                            std::string before, Answer answer) {
  UpstreamPlan* const plan = FindPlan(generation, call.upstream);
  if (plan == nullptr) {
    return answer({404, "\"" + call.upstream + "\": no upstream has this name; /upstreams lists them\n"});
  }
  const auto state = static_cast<size_t>(*call.state);
  std::string text;
  for (uint32_t i = 0; i < plan->books.size(); ++i) {
    const std::shared_ptr<EndpointBook>& book = plan->books[i];
    const std::string address = book->address().ToString();
    // A name stands for all of its addresses.
    if (address != call.endpoint && plan->settings.endpoints[i].text != call.endpoint) continue;
    const std::string line =
        "upstream " + plan->settings.name + ": endpoint " + address + " is " + kWords[state];
    text += line + "\n";
    const bool readmitted = outliers_ != nullptr && kBits[state] == 0 && outliers_->Readmit(*plan, book);
    if ((book->seen() & kAll) == kBits[state] && !readmitted) continue;
    publisher_.Publish(book, (book->seen() & ~kAll) | kBits[state]);
    TellOperator(line, who);
  }
  if (text.empty()) {
    return answer({404, "\"" + call.endpoint + "\": upstream " + call.upstream +
                            " has no such endpoint; /upstreams/" + call.upstream + " lists them\n"});
  }
  if (news_ != nullptr) news_->LookAt(*plan);
  publisher_.AfterAll([answer = std::move(answer), text = std::move(before) + text] { answer({200, text}); });
}

}  // namespace weir::lb
