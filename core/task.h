// Task<T>: a coroutine that is awaited where it is made and cannot be moved: `T x = co_await Child(a, b);`.
// It starts when awaited and resumes its parent by symmetric transfer when it ends, so one request's chain
// runs to its end without going round the loop and without growing the stack. Root: a coroutine with no
// parent, owned by the Scope that is its first parameter; it starts at once, and the Scope can be joined
// (design: what must outlive its caller is spawned into a Scope). Frames come from the current shard's arena
// (frame.h). No exceptions: one that escapes ends the process. Parameters of a Root by value or owned by
// something that outlives it. No capturing-lambda coroutines.
#pragma once

#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <utility>

#include "core/check.h"
#include "core/frame.h"
#include "core/runnable.h"

namespace weir {

namespace internal {

struct FramePromise {
  static void* operator new(size_t bytes) { return AllocateFrame(bytes); }
  static void operator delete(void* frame, size_t bytes) { FreeFrame(frame, bytes); }
  [[noreturn]] void unhandled_exception() { std::terminate(); }
};

struct TaskPromiseBase : FramePromise {
  struct Final {
    bool await_ready() const noexcept { return false; }
    template <class Promise>
    std::coroutine_handle<> await_suspend(std::coroutine_handle<Promise> self) const noexcept {
      return self.promise().parent;
    }
    void await_resume() const noexcept {}
  };
  std::suspend_always initial_suspend() const noexcept { return {}; }
  Final final_suspend() const noexcept { return {}; }
  std::coroutine_handle<> parent;
};

template <class T>
struct TaskPromise : TaskPromiseBase {
  std::coroutine_handle<TaskPromise> get_return_object() {
    return std::coroutine_handle<TaskPromise>::from_promise(*this);
  }
  void return_value(T v) { value = std::move(v); }
  T Take() { return std::move(value); }
  T value{};
};

template <>
struct TaskPromise<void> : TaskPromiseBase {
  std::coroutine_handle<TaskPromise> get_return_object() {
    return std::coroutine_handle<TaskPromise>::from_promise(*this);
  }
  void return_void() {}
  void Take() {}
};

}  // namespace internal

template <class T = void>
class [[nodiscard]] Task {
 public:
  using promise_type = internal::TaskPromise<T>;
  using Handle = std::coroutine_handle<promise_type>;

  Task(Handle handle) : handle_(handle) {}  // NOLINT: what get_return_object gives
  Task(const Task&) = delete;
  Task& operator=(const Task&) = delete;
  ~Task() { handle_.destroy(); }

  struct Awaiter {
    Handle child;
    bool await_ready() const noexcept { return false; }
    std::coroutine_handle<> await_suspend(std::coroutine_handle<> parent) const noexcept {
      child.promise().parent = parent;
      return child;
    }
    T await_resume() const { return child.promise().Take(); }
  };
  Awaiter operator co_await() && { return Awaiter{handle_}; }

 private:
  Handle handle_;
};

// Waiter: the one thing a coroutine parks on. Ops, timers and events hold a pointer to it and wake it; the
// coroutine then looks at what happened, so waiting for any of several needs nothing more than handing the
// same Waiter to all. Wake-ups may be spurious: every wait is a loop over its condition. Park may be used by
// the coroutine that owns the Waiter or by any child awaited from it.
struct Waiter : Runnable {
  Waiter() : Runnable(&Waiter::Resume) {}
  ~Waiter() { WEIR_CHECK(!queued()); }

  struct Awaiter {
    Waiter& waiter;
    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> self) const noexcept { waiter.handle = self; }
    void await_resume() const noexcept {}
  };
  Awaiter Park() { return Awaiter{*this}; }

  static void Resume(Runnable* self) {
    auto* waiter = static_cast<Waiter*>(self);
    if (waiter->handle == nullptr) return;  // woken before it parked: it looks at its condition anyway
    std::exchange(waiter->handle, nullptr).resume();
  }

  std::coroutine_handle<> handle;
};

// Scope: counts the Roots that run in it. Everything spawned must end before the Scope does.
class Scope {
 public:
  Scope() = default;
  Scope(const Scope&) = delete;
  Scope& operator=(const Scope&) = delete;
  ~Scope() { WEIR_CHECK(running_ == 0); }

  uint32_t running() const { return running_; }
  // Woken when the last one ends.
  void set_waiter(Runnable* waiter) { waiter_ = waiter; }

 private:
  friend struct RootPromise;
  uint32_t running_ = 0;
  Runnable* waiter_ = nullptr;
};

void WakeLater(Runnable* runnable);  // shard.cc: into the current shard's ready list

struct RootPromise;
struct Root {
  using promise_type = RootPromise;
};

struct RootPromise : internal::FramePromise {
  template <class... Args>
  explicit RootPromise(Scope& scope, Args&&...) : scope(scope) {
    ++scope.running_;
  }
  // The same for a member function: its object comes first.
  template <class Self, class... Args>
  RootPromise(Self&, Scope& scope, Args&&...) : scope(scope) {
    ++scope.running_;
  }
  ~RootPromise() {
    if (--scope.running_ == 0 && scope.waiter_ != nullptr) WakeLater(scope.waiter_);
  }
  Root get_return_object() const { return {}; }
  std::suspend_never initial_suspend() const noexcept { return {}; }
  std::suspend_never final_suspend() const noexcept { return {}; }
  void return_void() {}
  Scope& scope;
};

}  // namespace weir
