// Finds the programs that libguestfs has started for a handle, without the handle's lock, so that they can be
// killed when a call does not end.
#pragma once

#include <signal.h>
#include <sys/types.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/base/unique_fd.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// The content of a process' file in /proc; empty or partial if the process ends meanwhile.
std::string file_of(pid_t process, const char* name);

struct process_status {
  char state = 0;  // R: runs, S: sleeps, T: stopped, …
  pid_t parent = 0;
  long long begin = 0;  // in ticks
};

process_status status_of(pid_t process);

/// A program to be ended, held by a descriptor, because its number may have been reused. If the kernel has no
/// such descriptors (before 5.3) or a sandbox forbids them, its start time identifies it.
class program {
 public:
  program(pid_t number, bool is_hypervisor);
  program(program&& other) noexcept;
  program& operator=(program&&) = delete;
  ~program();

  bool is_there() const noexcept { return process_.get() >= 0 || begin_ != 0; }
  bool kill() const { return send(SIGKILL); }

  /// Keeps it from starting anything that would escape, until it is killed or this object ends.
  void stop() { is_stopped_ = send(SIGSTOP); }

  bool hypervisor = false;

 private:
  bool send(int signal) const;

  pid_t number_;
  unique_fd process_;
  long long begin_;  // in ticks; 0: there is a descriptor, or no process
  bool is_stopped_ = false;
};

/// The time since the host's start, in the kernel's unit for the start times of processes.
long long ticks_now() noexcept;

/// A running call: the programs that it starts are children of its thread, younger than the call.
struct running_call {
  pid_t thread = 0;
  long long since = 0;     // in ticks
  std::string hypervisor;  // the program that the handle takes for QEMU; empty: unknown
  /// Of a launch: the thread's children that are the user's. All others are libguestfs', whatever their
  /// names: the hypervisor may be a script that runs another program in its place. On the process' main
  /// thread tools are known by their names all the same: the kernel makes it the parent of what ended threads
  /// have left behind and, where the process is a subreaper, ended children.
  std::optional<std::vector<pid_t>> spared = {};
};

/// The children that the calling thread has started and that have not been waited for.
std::vector<pid_t> children_of_this_thread();

/// Adds the process and everything it has started, if it is still a child of that parent.
/// @param since  in ticks; a process that began earlier is left alone
void add_program(std::vector<program>& found, pid_t process, pid_t parent, long long since, bool hypervisor);

/// The programs of a handle: its hypervisor, found by the name that guestkit gave it, and the tools that the
/// call runs. Never anything that the user's program has started. They are stopped while they are held.
/// @param name  of the handle's hypervisor; empty: it has none
std::vector<program> programs_of(std::string_view name, const running_call& call);

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/turn/programs.ipp"
#endif
