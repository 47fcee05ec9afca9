// EndpointNews: what an operator is told of endpoints on standard error: one is set aside (why, for how
// long), one takes connections again, its checks fail or pass again, it is ejected or back, an upstream has
// none left, or one again. Once for the process, by
// whichever shard is the first to find it: EndpointBook has the state, shards change it, and who changes it
// posts the book to the control shard, which compares that with what it said last and writes the line. So a
// change that is over before it was told is not told, and the last word is always what is so.
// "Set aside" is told once; that it is tried again in between, without success, is not.
//
// Bounds: kMostLines in kWindowMs, the rest is counted and said at its end; and no line that standard error
// does not take at once. Owner: the server, on the control shard, for as long as shards may post.
#pragma once

#include <cstdint>
#include <string>

#include "core/shard.h"
#include "lb/upstream/plan.h"

namespace weir::lb {

class EndpointNews {
 public:
  static constexpr uint32_t kMostLines = 20;
  static constexpr uint32_t kMostEndpointLines = 15;  // of these; the others are for whole upstreams
  static constexpr uint32_t kWindowMs = 10'000;

  // `write` is LogLineNow but for tests: a line without its line feed; false: it was not taken.
  using WriteLine = bool (*)(const std::string& line);
  explicit EndpointNews(Shard& control, WriteLine write = nullptr);
  ~EndpointNews();
  EndpointNews(const EndpointNews&) = delete;
  EndpointNews& operator=(const EndpointNews&) = delete;

  // On the shard `from`, which has `plan` in force: `book` of it is set aside for `delay_ms`, as connecting
  // ended with `error`; or takes connections again. Nothing happens unless that is new.
  void SetAside(Shard& from, UpstreamPlan& plan, EndpointBook& book, int error, uint32_t delay_ms);
  void Back(Shard& from, UpstreamPlan& plan, EndpointBook& book);
  // On the control shard: the checks of `book` have changed its view, and `why`.
  void Checked(UpstreamPlan& plan, EndpointBook& book, const std::string& why);
  // Likewise: the view of `book` has changed, as `what` says.
  void Tell(UpstreamPlan& plan, EndpointBook& book, const std::string& what);
  // Likewise: what became of all of it.
  void Panic(const UpstreamPlan& plan, const std::string& what);
  // Likewise: somebody else has changed views of `plan`, and told of it.
  void LookAt(UpstreamPlan& plan) { TellIfNoneLeft(plan); }

 private:
  struct WindowEnd : Runnable {
    explicit WindowEnd(EndpointNews* news);
    EndpointNews* news;
  };

  void Post(Shard& from, UpstreamPlan& plan, EndpointBook& book);
  void Take(UpstreamPlan& plan, EndpointBook& book);
  void TellIfNoneLeft(UpstreamPlan& plan);
  void Say(const std::string& line, uint32_t most_lines);
  void EndWindow();

  Shard& control_;
  const WriteLine write_;
  uint32_t lines_ = 0;   // in this window; 0: there is none
  uint64_t untold_ = 0;  // changes beyond them
  Timer timer_;
  WindowEnd window_end_;
};

}  // namespace weir::lb
