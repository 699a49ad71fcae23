// The programs that libguestfs has started for a handle, found without the handle's lock: what must end when
// a call does not.
#pragma once

#include <signal.h>
#include <sys/types.h>

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/base/unique_fd.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// How often this process has been forked from the one that loaded guestkit. A handle belongs to the
/// process that made it: in a forked child it must not be touched, or the parent's appliance suffers.
unsigned fork_generation() noexcept;

/// What all threads of a process share, made when it is first used and never destroyed. A forked child makes
/// its own: the parent's may be locked, or half changed, by a thread that is not there.
///
/// Whatever is static and not a mere atomic is one of these, itself `static constinit`. Threads: any.
template <class T>
class of_process {
 public:
  constexpr of_process() noexcept = default;

  /// This process' object; null if it has not been made.
  T* existing() const noexcept {
    entry* const found = current_.load();
    return found != nullptr && found->generation == fork_generation() ? &found->object : nullptr;
  }

  T& get() {
    if (T* const found = existing()) return *found;
    auto made = std::make_unique<entry>();
    made->parents = current_.load();
    while (made->parents == nullptr || made->parents->generation != made->generation)
      if (current_.compare_exchange_weak(made->parents, made.get())) return made.release()->object;
    return made->parents->object;  // another thread was faster
  }

 private:
  struct entry {
    unsigned generation = fork_generation();
    entry* parents = nullptr;  // kept, so that no tool takes it for a leak
    T object{};
  };
  std::atomic<entry*> current_{nullptr};
};

/// The calling thread, as the kernel numbers it.
struct thread_numbers {
  unsigned generation = 0;  // of the process, from one on; zero: not known yet
  pid_t id = 0;
  bool is_main = false;  // of the process' threads
};

/// Asks the kernel once a thread, and again in a forked child, whose only thread has another number.
const thread_numbers& this_thread() noexcept;
pid_t thread_id() noexcept;

/// While it lives, threads are started that handle no signals: those are the program's.
class signals_blocked {
 public:
  signals_blocked() noexcept;
  signals_blocked(const signals_blocked&) = delete;
  signals_blocked& operator=(const signals_blocked&) = delete;
  ~signals_blocked();

 private:
  sigset_t before_;
};

/// Starts a thread that ends by itself and handles no signals. Throws Error where there can be none.
/// @param op  the call that needs it
pthread_t start_thread(const char* op, std::function<void()> body);

/// A file of a process; empty, or as much as could be read, if the process ends meanwhile.
std::string file_of(pid_t process, const char* name);

struct process_status {
  char state = 0;  // R: runs, S: sleeps, T: stopped, …
  pid_t parent = 0;
  long long begin = 0;  // in ticks
};

process_status status_of(pid_t process);

/// A program that is to end, held by a descriptor: its number may be another process' by now. Where the
/// kernel has no such descriptors (before 5.3) or a sandbox forbids them, the time of its start tells.
class program {
 public:
  program(pid_t number, bool is_hypervisor);
  program(program&& other) noexcept;
  program& operator=(program&&) = delete;
  ~program();

  bool is_there() const noexcept { return process_.get() >= 0 || begin_ != 0; }
  bool kill() const { return send(SIGKILL); }

  /// Until it is killed, or this object ends, it starts nothing that would escape.
  void stop() { is_stopped_ = send(SIGSTOP); }

  bool hypervisor = false;

 private:
  bool send(int signal) const;

  pid_t number_;
  unique_fd process_;
  long long begin_;  // in ticks; 0: there is a descriptor, or no process
  bool is_stopped_ = false;
};

/// The time since the host's start, in the unit in which the kernel tells when a process began.
long long ticks_now() noexcept;

/// A call that runs: what it starts are children of its thread that began after it.
struct running_call {
  pid_t thread = 0;
  long long since = 0;     // in ticks
  std::string hypervisor;  // the program that the handle takes for QEMU; empty: unknown
};

/// Adds the process with all that it has started, if it still is a child of that one.
/// @param since  in ticks; one that began before is left alone
void add_program(std::vector<program>& found, pid_t process, pid_t parent, long long since, bool hypervisor);

/// The programs of a handle: its hypervisor, by the name that guestkit gave it, and the tools that a call
/// runs. Never anything that the user's program has started. They stand still while they are held.
/// @param name  of the handle's hypervisor; empty: it has none
std::vector<program> programs_of(std::string_view name, const running_call& call);

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/launch/processes.ipp"
#endif
