// The threads of guestkit, and their numbers.
#pragma once

#include <signal.h>
#include <sys/types.h>

#include <functional>

#include "guestkit/detail/base/form.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// The calling thread's number in the kernel.
struct thread_numbers {
  unsigned generation = 0;  // of the process, from one on; zero: not yet known
  pid_t id = 0;
  bool is_main = false;  // whether it is the process' main thread
};

/// Asks the kernel once per thread, and again in a forked child, whose only thread has a new number.
const thread_numbers& this_thread() noexcept;
pid_t thread_id() noexcept;

/// While it lives, new threads start with signals blocked: they are the program's to handle. Only those of a
/// crash get through, so that a handler such as faulthandler's sees them.
class signals_blocked {
 public:
  signals_blocked() noexcept;
  signals_blocked(const signals_blocked&) = delete;
  signals_blocked& operator=(const signals_blocked&) = delete;
  ~signals_blocked();

 private:
  sigset_t before_;
};

/// Starts a detached thread that handles no signals but those of its own crash. Throws Error if no thread can
/// be started.
/// @param op  the call that needs it
void start_thread(const char* op, std::function<void()> body);

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/base/threads.ipp"
#endif
