#include "lb/health/publisher.h"

#include <utility>

#include "lb/upstream/upstream.h"

namespace weir::lb {

Publisher::Publisher(Shard& control)
    : control_(control), letters_(std::make_unique<Letter[]>(control.switchboard().control())) {
  for (uint32_t shard = 0; shard < control_.switchboard().control(); ++shard) {
    Letter& letter = letters_[shard];
    letter.publisher = this;
    letter.shard = shard;
    letter.deliver = [](Message* message, Shard& receiver) {
      Upstreams* upstreams = nullptr;
      for (const auto& book : static_cast<Letter*>(message)->changed) {
        Endpoint* endpoint = book->page(receiver.index()).endpoint;
        if (endpoint == nullptr) continue;
        upstreams = endpoint->upstreams;
        upstreams->ReadView(*endpoint);
      }
      if (upstreams != nullptr) upstreams->EndViews();
    };
    letter.recycle = [](Message* message, Shard&) {
      Letter& home = *static_cast<Letter*>(message);
      home.out = false;
      home.heard += home.changed.size();
      home.changed.clear();
      if (!home.next.empty()) home.publisher->Send(home);
      home.publisher->WakeWaiting();
    };
  }
}

void Publisher::Publish(const std::shared_ptr<EndpointBook>& book, uint64_t view) {
  const uint64_t before = book->seen();
  const bool takes_requests = (view & EndpointBook::kNoRequests) == 0;
  if (greeter_ != nullptr && takes_requests != ((before & EndpointBook::kNoRequests) == 0)) {
    view = (view & ~EndpointBook::kMissing) | greeter_->Missing(book, takes_requests);
  }
  if (before == view) return;
  book->view.store(view, std::memory_order_relaxed);
  if (listener_ != nullptr && ((before ^ view) & EndpointBook::kNoRequests) != 0)
    listener_->Changed(*book, before);
  for (uint32_t shard = 0; shard < control_.switchboard().control(); ++shard) {
    if (book->awaited[shard]) continue;  // it will read this when it comes to it
    book->awaited[shard] = true;
    letters_[shard].next.push_back(book);
    ++letters_[shard].queued;
    if (!letters_[shard].out) Send(letters_[shard]);
  }
}

void Publisher::Send(Letter& letter) {
  while (!letter.next.empty() && letter.changed.size() < kMostAtOnce) {
    letter.next.front()->awaited[letter.shard] = false;
    letter.changed.push_back(std::move(letter.next.front()));
    letter.next.pop_front();
  }
  letter.out = true;
  control_.Post(letter.shard, &letter);
}

bool Publisher::Heard(const Waiting& waiting) const {
  for (uint32_t shard = 0; shard < waiting.heard.size(); ++shard) {
    if (letters_[shard].heard < waiting.heard[shard]) return false;
  }
  return true;
}

void Publisher::AfterAll(std::function<void()> then) {
  Waiting waiting;
  for (uint32_t shard = 0; shard < control_.switchboard().control(); ++shard)
    waiting.heard.push_back(letters_[shard].queued);
  waiting.then = std::move(then);
  waiting_.push_back(std::move(waiting));
  WakeWaiting();
}

// Who asked later waits for as much at least.
void Publisher::WakeWaiting() {
  while (!waiting_.empty() && Heard(waiting_.front())) {
    const std::function<void()> then = std::move(waiting_.front().then);
    waiting_.pop_front();
    then();
  }
}

bool Publisher::idle() const {
  for (uint32_t shard = 0; shard < control_.switchboard().control(); ++shard) {
    if (letters_[shard].out) return false;
  }
  return true;
}

}  // namespace weir::lb
