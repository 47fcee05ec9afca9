#include "lb/loader.h"

#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <utility>

#include "core/check.h"
#include "core/socket_calls.h"
#include "lb/config/endpoint_overlay.h"

namespace weir::lb {
namespace {

// The shards' work goes first, also on a machine where they have all CPUs.
constexpr int kNiceness = 10;

}  // namespace

Loader::Loader(LoadSettings load, Generation::Keeper* keeper)
    : load_(std::move(load)), keeper_(keeper), event_fd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  WEIR_CHECK(event_fd_ >= 0);
  thread_ = std::thread([this] { Run(); });
}

Loader::~Loader() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_one();
  thread_.join();
  close(event_fd_);
}

void Loader::Begin(const Generation& running, LoadSettings change) {
  WEIR_CHECK(!busy_);
  busy_ = true;
  {
    const std::lock_guard lock(mutex_);
    running_ = &running;
    change_ = std::move(change);
  }
  wake_.notify_one();
}

std::unique_ptr<Loader::Result> Loader::Take() {
  uint64_t events = 0;
  while (read(event_fd_, &events, sizeof(events)) > 0) {
  }
  const std::lock_guard lock(mutex_);
  if (result_ != nullptr) busy_ = false;
  return std::move(result_);
}

void Loader::End(std::unique_ptr<Generation> generation) {
  {
    const std::lock_guard lock(mutex_);
    ended_.push_back(std::move(generation));
  }
  wake_.notify_one();
}

void Loader::Run() {
  pthread_setname_np(pthread_self(), "weir-load");
  setpriority(PRIO_PROCESS, static_cast<id_t>(gettid()), kNiceness);
  std::unique_lock lock(mutex_);
  for (;;) {
    wake_.wait(lock, [this] { return stop_ || running_ != nullptr || !ended_.empty(); });
    if (stop_) return;
    const std::vector<std::unique_ptr<Generation>> ended = std::exchange(ended_, {});
    const Generation* const running = std::exchange(running_, nullptr);
    const LoadSettings change = std::exchange(change_, nullptr);
    lock.unlock();
    if (running != nullptr) {
      std::unique_ptr<Result> result = Load(*running, change);
      lock.lock();
      result_ = std::move(result);
      lock.unlock();
      const uint64_t one = 1;
      WEIR_CHECK(write(event_fd_, &one, sizeof(one)) == sizeof(one));
    }
    lock.lock();
  }
}

LoadedSettings Loader::Reload(const Settings& running) {
  LoadedSettings loaded = load_(running);
  if (loaded.settings && !KeepEdits(running, *loaded.settings, &loaded.messages)) loaded.settings.reset();
  return loaded;
}

std::unique_ptr<Loader::Result> Loader::Load(const Generation& running, const LoadSettings& change) {
  const auto begin = std::chrono::steady_clock::now();
  auto result = std::make_unique<Result>();
  LoadedSettings loaded = change ? change(running.settings()) : Reload(running.settings());
  result->messages = std::move(loaded.messages);
  result->status = loaded.status;
  if (loaded.settings) {
    auto generation = std::make_unique<Generation>(*std::move(loaded.settings), &running, keeper_);
    int error = 0;
    const uint32_t failed = generation->OpenSockets(
        [](SocketAddress& address, const ListenOptions& options) { return ListenOn(address, options); },
        [](int fd) { close(fd); }, &error);
    if (failed == Generation::kNew) {
      result->generation = std::move(generation);
    } else {
      const ListenerSettings& listener = generation->settings().listeners[failed];
      const std::string where = listener.where.empty() ? "--listen" : listener.where;
      result->messages += "weir: " + where + ": " + listener.text + ": " + std::strerror(error) + "\n";
    }
  }
  result->took_us =
      std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now() - begin).count();
  return result;
}

}  // namespace weir::lb
