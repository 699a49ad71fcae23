#pragma once

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <map>
#include <mutex>
#include <string_view>
#include <vector>

#include "guestkit/detail/base/fork.hpp"
#include "guestkit/detail/base/host_files.hpp"
#include "guestkit/detail/base/unique_fd.hpp"
#include "guestkit/detail/launch/appliance.hpp"
#include "guestkit/detail/launch/kept_verdicts.hpp"
#include "guestkit/detail/launch/sandbox.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

GUESTKIT_INLINE SandboxStatus probe_sandbox(const std::string& qemu, const program_limit& limit,
                                            const std::function<void()>& look) {
  // QEMU lists its machines after it has set up the filter.
  const std::vector<std::string> command{qemu,          "-sandbox",        sandbox_rules,
                                         "-nodefaults", "-no-user-config", "-display",
                                         "none",        "-machine",        "help"};
  const auto end = run_program(command, {.limit = limit, .look = look});
  if (end.succeeded()) return {.usable = true, .reason = ""};
  if (end.error != 0)
    return {.reason = qemu + " cannot be run: " + std::strerror(end.error), .settled = is_lasting(end.error)};
  if (end.timed_out)
    return {.reason = qemu + " does not answer whether it can filter system calls", .settled = false};
  // Its filter, or the kernel when memory is short. Only the first says anything of the next launch.
  if (WIFSIGNALED(end.status) && WTERMSIG(end.status) != SIGSYS)
    return {.reason = qemu + " was killed (" + ::strsignal(WTERMSIG(end.status)) +
                      ") when asked whether it can filter system calls",
            .settled = false};
  const std::string line = end.last_line();
  return {.reason = qemu + " cannot filter system calls" + (line.empty() ? "" : " (" + line + ")")};
}

GUESTKIT_INLINE SandboxStatus sandbox_status(const std::string& qemu, const std::function<void()>& look) {
  struct statuses {
    std::mutex mutex;
    std::map<std::string, SandboxStatus> known;
  };
  static constinit of_process<statuses> all;
  constexpr program_limit limit{.given = std::chrono::seconds(5), .in_all = std::chrono::seconds(30)};
  constexpr auto verdict = "sandbox-works";
  const std::string program = program_file(qemu);
  const std::string key = boot_key() + ' ' + program + ' ' + file_key(program) + std::to_string(::geteuid()) +
                          ' ' + sandbox_rules;
  auto& [mutex, known] = all.get();
  {
    const std::lock_guard lock(mutex);
    if (const auto found = known.find(key); found != known.end()) return found->second;
  }
  const kept_verdicts kept(cache_directory());
  const bool works = !kept.find(verdict, key).empty();
  const auto status =
      works ? SandboxStatus{.usable = true, .reason = ""} : probe_sandbox(program, limit, look);
  if (status.usable && !works) kept.keep(verdict, key, "it works");
  if (status.settled) {
    const std::lock_guard lock(mutex);
    known[key] = status;
  }
  return status;
}

GUESTKIT_INLINE bool is_script(const std::string& program) {
  const unique_fd file(::open(program.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  char begin[2] = {};
  return ::pread(file.get(), begin, sizeof begin, 0) == 2 && begin[0] == '#' && begin[1] == '!';
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
