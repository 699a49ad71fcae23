// The programs that libguestfs has started for a handle, found without the handle's lock: what must end when
// a call does not.
#pragma once

#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "error.hpp"
#include "posix.hpp"
#include "unique_fd.hpp"

namespace guestkit::detail {

inline constinit std::atomic<unsigned> forks{0};
/// When the program or module is loaded: no thread can be caught in it by a fork.
inline const int forks_are_counted =
    ::pthread_atfork(nullptr, nullptr, [] { forks.fetch_add(1, std::memory_order_relaxed); });

/// How often this process has been forked from the one that loaded guestkit. A handle belongs to the
/// process that made it: in a forked child it must not be touched, or the parent's appliance suffers.
inline unsigned fork_generation() noexcept {
  return forks.load(std::memory_order_relaxed);
}

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
inline const thread_numbers& this_thread() noexcept {
  thread_local thread_numbers known;
  const unsigned generation = fork_generation() + 1;
  if (known.generation != generation) {
    const auto id = static_cast<pid_t>(::syscall(SYS_gettid));
    known = {generation, id, id == ::getpid()};
  }
  return known;
}
inline pid_t thread_id() noexcept {
  return this_thread().id;
}

/// While it lives, threads are started that handle no signals: those are the program's.
class signals_blocked {
 public:
  signals_blocked() noexcept {
    sigset_t all;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  signals_blocked(const signals_blocked&) = delete;
  signals_blocked& operator=(const signals_blocked&) = delete;
  ~signals_blocked() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

 private:
  sigset_t before_;
};

/// Starts a thread that ends by itself and handles no signals. Throws Error where there can be none.
/// @param op  the call that needs it
template <class F>
pthread_t start_thread(const char* op, F body) {
  const signals_blocked blocked;
  auto kept = std::make_unique<F>(std::move(body));
  const auto run = [](void* function) -> void* {
    const std::unique_ptr<F> mine(static_cast<F*>(function));
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
  return thread;
}

/// A file of a process; empty, or as much as could be read, if the process ends meanwhile.
inline std::string file_of(pid_t process, const char* name) {
  return read_text("/proc/" + std::to_string(process) + "/" + name);
}

struct process_status {
  char state = 0;  // R: runs, S: sleeps, T: stopped, …
  pid_t parent = 0;
  long long begin = 0;  // in ticks
};

inline process_status status_of(pid_t process) {
  const std::string stat = file_of(process, "stat");  // PID (NAME) STATE PARENT … and the 22nd is the start
  const auto name_end = stat.rfind(')');
  if (name_end == std::string::npos) return {};
  std::string_view fields = std::string_view(stat).substr(name_end + 1);
  process_status status;
  std::string_view field;
  for (int i = 0; i < 20; ++i) {
    field = take_word(fields);
    if (field.empty()) return {};
    if (i == 0) status.state = field.front();
    if (i == 1) status.parent = std::atoi(field.data());
  }
  status.begin = std::atoll(field.data());
  return status;
}

/// A program that is to end, held by a descriptor: its number may be another process' by now. Where the
/// kernel has no such descriptors (before 5.3) or a sandbox forbids them, the time of its start tells.
class program {
 public:
  program(pid_t number, bool is_hypervisor)
      : hypervisor(is_hypervisor),
        number_(number),
        process_(static_cast<int>(::syscall(SYS_pidfd_open, number, 0))),
        begin_(process_.get() < 0 && errno != ESRCH ? status_of(number).begin : 0) {}
  program(program&& other) noexcept
      : hypervisor(other.hypervisor),
        number_(other.number_),
        process_(std::move(other.process_)),
        begin_(std::exchange(other.begin_, 0)),
        is_stopped_(std::exchange(other.is_stopped_, false)) {}
  program& operator=(program&&) = delete;
  ~program() {
    if (is_stopped_) send(SIGCONT);
  }

  bool is_there() const noexcept { return process_.get() >= 0 || begin_ != 0; }
  bool kill() const { return send(SIGKILL); }

  /// Until it is killed, or this object ends, it starts nothing that would escape.
  void stop() { is_stopped_ = send(SIGSTOP); }

  bool hypervisor = false;

 private:
  bool send(int signal) const {
    if (process_.get() >= 0) return ::syscall(SYS_pidfd_send_signal, process_.get(), signal, nullptr, 0) == 0;
    return begin_ != 0 && status_of(number_).begin == begin_ && ::kill(number_, signal) == 0;
  }

  pid_t number_;
  unique_fd process_;
  long long begin_;  // in ticks; 0: there is a descriptor, or no process
  bool is_stopped_ = false;
};

/// The files of a directory of /proc that are numbers.
template <class = void>
std::vector<pid_t> numbers_in(const std::string& directory) {
  std::vector<pid_t> numbers;
  each_name(directory, [&](std::string_view name) {
    if (name.front() >= '1' && name.front() <= '9') numbers.push_back(std::atoi(name.data()));
  });
  return numbers;
}

/// The children of a process that one of its threads has started. The kernel keeps them by thread.
template <class = void>
std::vector<pid_t> children_of(pid_t process, pid_t thread) {
  const auto text =
      read_text("/proc/" + std::to_string(process) + "/task/" + std::to_string(thread) + "/children");
  std::vector<pid_t> children;
  std::string_view rest = text;
  for (auto word = take_word(rest); !word.empty(); word = take_word(rest))
    children.push_back(std::atoi(word.data()));
  return children;
}

template <class = void>
std::vector<pid_t> children_of(pid_t process) {
  std::vector<pid_t> all;
  for (const pid_t thread : numbers_in("/proc/" + std::to_string(process) + "/task"))
    for (const pid_t child : children_of(process, thread)) all.push_back(child);
  return all;
}

/// Whether the arguments of a program hold that text.
inline bool arguments_hold(pid_t process, std::string_view text) {
  return !text.empty() && file_of(process, "cmdline").find(text) != std::string::npos;
}

/// Whether this is what libguestfs runs besides the hypervisor and may wait for without end, or a fork of our
/// own process that has a shell run it.
/// @param hypervisor  the program that libguestfs asks what it can do, before the launch proper
template <class = void>
bool is_tool(pid_t process, std::string_view hypervisor) {
  if (arguments_hold(process, "qemu-img") || arguments_hold(process, "supermin") ||
      arguments_hold(process, hypervisor))
    return true;
  for (const pid_t child : children_of(process))
    if (is_tool(child, hypervisor)) return true;
  return false;
}

/// The time since the host's start, in the unit in which the kernel tells when a process began.
inline long long ticks_now() noexcept {
  static const long per_second = ::sysconf(_SC_CLK_TCK);
  timespec now{};
  ::clock_gettime(CLOCK_BOOTTIME, &now);
  return static_cast<long long>(now.tv_sec) * per_second + now.tv_nsec / (1000000000 / per_second);
}

/// Waits, for a tenth of a second at most, until a program that was told to stop has left what it was doing:
/// it may have been starting another one.
inline void wait_until_stopped(pid_t process) {
  constexpr timespec pause{.tv_sec = 0, .tv_nsec = 1000000};
  for (int i = 0; i < 100; ++i) {
    const char state = status_of(process).state;
    if (state != 'R' && state != 'S') return;
    ::nanosleep(&pause, nullptr);
  }
}

/// Adds the process with all that it has started, if it still is a child of that one.
/// @param since  in ticks; one that began before is left alone
template <class = void>
void add_program(std::vector<program>& found, pid_t process, pid_t parent, long long since, bool hypervisor) {
  program held(process, hypervisor);
  const auto status = status_of(process);
  if (!held.is_there() || status.parent != parent || status.begin < since) return;
  held.stop();
  wait_until_stopped(process);
  found.push_back(std::move(held));
  for (const pid_t child : children_of(process)) add_program(found, child, process, since, false);
}

/// A call that runs: what it starts are children of its thread that began after it.
struct running_call {
  pid_t thread = 0;
  long long since = 0;     // in ticks
  std::string hypervisor;  // the program that the handle takes for QEMU; empty: unknown
};

/// The programs of a handle: its hypervisor, by the name that guestkit gave it, and the tools that a call
/// runs. Never anything that the user's program has started. They stand still while they are held.
/// @param name  of the handle's hypervisor; empty: it has none
template <class = void>
std::vector<program> programs_of(std::string_view name, const running_call& call) {
  std::vector<program> found;
  const pid_t self = ::getpid();
  for (const pid_t child : children_of(self))
    if (arguments_hold(child, name)) add_program(found, child, self, 0, true);
  if (call.thread == 0) return found;
  for (const pid_t child : children_of(self, call.thread))
    if (!arguments_hold(child, name) && is_tool(child, call.hypervisor))
      add_program(found, child, self, call.since, false);
  return found;
}

}  // namespace guestkit::detail
