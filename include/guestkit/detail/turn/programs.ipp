#pragma once

#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <utility>

#include "guestkit/detail/base/host_files.hpp"
#include "guestkit/detail/base/text.hpp"
#include "guestkit/detail/base/threads.hpp"
#include "guestkit/detail/turn/programs.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

GUESTKIT_INLINE std::string file_of(pid_t process, const char* name) {
  return read_text("/proc/" + std::to_string(process) + "/" + name);
}

GUESTKIT_INLINE process_status status_of(pid_t process) {
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

GUESTKIT_INLINE program::program(pid_t number, bool is_hypervisor)
    : hypervisor(is_hypervisor),
      number_(number),
      process_(static_cast<int>(::syscall(SYS_pidfd_open, number, 0))),
      begin_(process_.get() < 0 && errno != ESRCH ? status_of(number).begin : 0) {}

GUESTKIT_INLINE program::program(program&& other) noexcept
    : hypervisor(other.hypervisor),
      number_(other.number_),
      process_(std::move(other.process_)),
      begin_(std::exchange(other.begin_, 0)),
      is_stopped_(std::exchange(other.is_stopped_, false)) {}

GUESTKIT_INLINE program::~program() {
  if (is_stopped_) send(SIGCONT);
}

GUESTKIT_INLINE bool program::send(int signal) const {
  if (process_.get() >= 0) return ::syscall(SYS_pidfd_send_signal, process_.get(), signal, nullptr, 0) == 0;
  return begin_ != 0 && status_of(number_).begin == begin_ && ::kill(number_, signal) == 0;
}

/// The entries of a directory of /proc that are numbers.
inline std::vector<pid_t> numbers_in(const std::string& directory) {
  std::vector<pid_t> numbers;
  for (const auto& name : host_names_in(directory))
    if (name.front() >= '1' && name.front() <= '9') numbers.push_back(std::atoi(name.c_str()));
  return numbers;
}

/// The children of a process that one of its threads has started: the kernel lists them by thread.
inline std::vector<pid_t> children_of(pid_t process, pid_t thread) {
  const auto text =
      read_text("/proc/" + std::to_string(process) + "/task/" + std::to_string(thread) + "/children");
  std::vector<pid_t> children;
  std::string_view rest = text;
  for (auto word = take_word(rest); !word.empty(); word = take_word(rest))
    children.push_back(std::atoi(word.data()));
  return children;
}

inline std::vector<pid_t> children_of(pid_t process) {
  std::vector<pid_t> all;
  for (const pid_t thread : numbers_in("/proc/" + std::to_string(process) + "/task"))
    for (const pid_t child : children_of(process, thread)) all.push_back(child);
  return all;
}

/// Whether the arguments of a program contain that text.
inline bool arguments_hold(pid_t process, std::string_view text) {
  return !text.empty() && file_of(process, "cmdline").find(text) != std::string::npos;
}

/// Whether one of the arguments of a program is that word.
inline bool has_argument(pid_t process, std::string_view word) {
  const std::string end(1, '\0');
  return !word.empty() &&
         (end + file_of(process, "cmdline")).find((end + std::string(word)) + end) != std::string::npos;
}

/// Whether this is a program, other than the hypervisor, that libguestfs runs and may wait for without end,
/// or a fork of our own process that is about to run one through a shell.
/// @param hypervisor  the program whose features libguestfs queries before the launch proper
inline bool is_tool(pid_t process, std::string_view hypervisor) {
  if (arguments_hold(process, "qemu-img") || arguments_hold(process, "supermin") ||
      arguments_hold(process, hypervisor))
    return true;
  for (const pid_t child : children_of(process))
    if (is_tool(child, hypervisor)) return true;
  return false;
}

/// Whether a child of the call's thread may be one that libguestfs has started and waits for.
inline bool is_of_libguestfs(pid_t child, const running_call& call) {
  if (!call.spared) return is_tool(child, call.hypervisor);
  if (std::find(call.spared->begin(), call.spared->end(), child) != call.spared->end()) return false;
  return call.thread != ::getpid() || is_tool(child, call.hypervisor);
}

GUESTKIT_INLINE std::vector<pid_t> children_of_this_thread() {
  return children_of(::getpid(), thread_id());
}

GUESTKIT_INLINE long long ticks_now() noexcept {
  static const long per_second = ::sysconf(_SC_CLK_TCK);
  timespec now{};
  ::clock_gettime(CLOCK_BOOTTIME, &now);
  return static_cast<long long>(now.tv_sec) * per_second + now.tv_nsec / (1000000000 / per_second);
}

/// Waits at most a tenth of a second until a stopped program has really come to a halt: it may have been
/// starting another one.
inline void wait_until_stopped(pid_t process) {
  constexpr timespec pause{.tv_sec = 0, .tv_nsec = 1000000};
  for (int i = 0; i < 100; ++i) {
    const char state = status_of(process).state;
    if (state != 'R' && state != 'S') return;
    ::nanosleep(&pause, nullptr);
  }
}

GUESTKIT_INLINE void add_program(std::vector<program>& found, pid_t process, pid_t parent, long long since,
                                 bool hypervisor) {
  program held(process, hypervisor);
  const auto status = status_of(process);
  if (!held.is_there() || status.parent != parent || status.begin < since) return;
  held.stop();
  wait_until_stopped(process);
  found.push_back(std::move(held));
  for (const pid_t child : children_of(process)) add_program(found, child, process, since, false);
}

GUESTKIT_INLINE std::vector<program> programs_of(std::string_view name, const running_call& call) {
  std::vector<program> found;
  const pid_t self = ::getpid();
  for (const pid_t child : children_of(self))
    if (has_argument(child, name)) add_program(found, child, self, 0, true);
  if (call.thread == 0) return found;
  for (const pid_t child : children_of(self, call.thread))
    if (!has_argument(child, name) && is_of_libguestfs(child, call))
      add_program(found, child, self, call.since, false);
  return found;
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
