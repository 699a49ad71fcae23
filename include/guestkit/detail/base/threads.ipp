#pragma once

#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <system_error>
#include <utility>

#include "guestkit/detail/base/fork.hpp"
#include "guestkit/detail/base/threads.hpp"
#include "guestkit/error.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

GUESTKIT_INLINE const thread_numbers& this_thread() noexcept {
  thread_local thread_numbers known;
  const unsigned generation = fork_generation() + 1;
  if (known.generation != generation) {
    const auto id = static_cast<pid_t>(::syscall(SYS_gettid));
    known = {generation, id, id == ::getpid()};
  }
  return known;
}

GUESTKIT_INLINE pid_t thread_id() noexcept {
  return this_thread().id;
}

GUESTKIT_INLINE signals_blocked::signals_blocked() noexcept {
  sigset_t all;
  ::sigfillset(&all);
  for (const int own : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS}) ::sigdelset(&all, own);
  ::pthread_sigmask(SIG_BLOCK, &all, &before_);
}

GUESTKIT_INLINE signals_blocked::~signals_blocked() {
  ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
}

GUESTKIT_INLINE void start_thread(const char* op, std::function<void()> body) {
  const signals_blocked blocked;
  auto kept = std::make_unique<std::function<void()>>(std::move(body));
  const auto run = [](void* function) -> void* {
    const std::unique_ptr<std::function<void()>> mine(static_cast<std::function<void()>*>(function));
    (*mine)();
    return nullptr;
  };
  pthread_t thread{};
  if (const int error = ::pthread_create(&thread, nullptr, run, kept.get()); error != 0)
    throw Error(op,
                "no thread can be started (" + std::generic_category().message(error) +
                    "): end others, or raise the limit of this user (ulimit -u) or of the control group "
                    "(pids.max)",
                error);
  static_cast<void>(kept.release());
  ::pthread_detach(thread);
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
